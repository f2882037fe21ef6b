/*
 * The commit log's files: made, opened and judged by their headers. What is in
 * the records is read by log_recovery.c, and written by log_writer.c.
 */
#include "broker/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log_state.h"
#include "shm/probe.h"

void log_file_name(uint32_t index, char ret_name[DISK_NAME_MAX])
{
    snprintf(ret_name, DISK_NAME_MAX, "segment-%02" PRIu32, index);
}

enum es_status log_fail(struct log *log, enum es_status status, const char *what, uint32_t index)
{
    int reason = errno;

    pthread_mutex_lock(&log->state_lock);
    if (log->why[0] == '\0') {
        snprintf(log->why, sizeof log->why, "segment-%02" PRIu32 ": %s: %s", index, what,
                 strerror(reason));
    }
    pthread_mutex_unlock(&log->state_lock);
    atomic_store(&log->failed, true);
    errno = reason;
    return status;
}

enum es_status log_header_write(struct log_file *file, const struct log_segment_header *header)
{
    struct log_segment_header next = *header;
    uint8_t slot[LOG_HEADER_SLOT_BYTES];
    struct iovec part = {slot, sizeof slot};
    enum es_status status = ES_OK;

    next.revision = file->header.revision + 1;
    log_segment_header_encode(&next, slot);
    status = disk_write(file->file, log_header_slot_offset(next.revision), &part, 1);
    ES_PROBE(log_header_written);
    if (status == ES_OK) {
        status = disk_sync(file->file);
    }
    if (status == ES_OK) {
        file->header = next;
        file->state = LOG_FILE_VALID;
        ES_PROBE(log_header_synced);
    }
    return status;
}

/* ---- Creation ------------------------------------------------------------ */

/*
 * Clears the way for a segment file: what a creation that was cut short has left
 * (never a header) is removed. ES_E_EXISTS: a segment that was in use.
 */
static enum es_status remove_leftover(struct disk *disk, const char *name)
{
    uint8_t page[LOG_HEADER_PAGE_BYTES];
    struct log_segment_header header;
    struct disk_file *file = NULL;
    enum es_status status = disk_open(disk, name, DISK_READ_ONLY, &file);

    if (status != ES_OK) {
        return status == ES_NOT_FOUND ? ES_OK : status;
    }
    status = disk_read(file, 0, page, sizeof page);
    disk_close(file);
    if (status == ES_OK && log_header_page_decode(page, &header) != ES_EMPTY) {
        return ES_E_EXISTS;
    }
    if (status == ES_OK || status == ES_E_CORRUPT) { /* corrupt: shorter than a page */
        status = disk_unlink(disk, name);
    }
    return status;
}

static enum es_status create_files(struct disk *disk, const struct log_geometry *geometry)
{
    char name[DISK_NAME_MAX];
    enum es_status status = ES_OK;

    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX && status == ES_OK; i++) {
        log_file_name(i, name);
        status = remove_leftover(disk, name);
    }
    for (uint32_t i = 0; i < geometry->segment_count && status == ES_OK; i++) {
        struct disk_file *file = NULL;

        log_file_name(i, name);
        status = disk_create(disk, name, geometry->segment_bytes, &file);
        disk_close(file);
        ES_PROBE(log_file_made);
    }
    if (status == ES_OK) {
        status = disk_sync_directory(disk);
    }
    return status;
}

enum es_status log_create(struct disk *disk, const struct log_identity *identity,
                          const struct log_geometry *geometry, const struct log_point *start)
{
    struct log_segment_header header = {
        .identity = *identity,
        .geometry = *geometry,
        .segment_number = 1,
        .first_batch = start->batch_number + 1,
        .flushed = *start,
    };
    struct log_file first = {.file = NULL};
    char name[DISK_NAME_MAX];
    enum es_status status = ES_OK;

    if (!log_geometry_is_valid(geometry)) {
        return ES_E_INVALID;
    }
    memcpy(header.previous_store_hash, start->store_hash, LOG_HASH_BYTES);
    status = create_files(disk, geometry);
    if (status != ES_OK) {
        return status;
    }
    log_file_name(0, name);
    status = disk_open(disk, name, DISK_READ_WRITE, &first.file);
    for (int i = 0; i < LOG_HEADER_SLOT_COUNT && status == ES_OK; i++) {
        status = log_header_write(&first, &header);
    }
    disk_close(first.file);
    return status;
}

/* ---- Opening --------------------------------------------------------------- */

static enum es_status file_open(struct log *log, uint32_t index)
{
    uint8_t page[LOG_HEADER_PAGE_BYTES];
    struct log_file *file = &log->files[index];
    char name[DISK_NAME_MAX];
    enum es_status status = ES_OK;

    log_file_name(index, name);
    status = disk_open(log->disk, name, log->access, &file->file);
    if (status == ES_NOT_FOUND) {
        file->state = LOG_FILE_MISSING;
        return ES_OK;
    }
    if (status == ES_OK) {
        status = disk_read(file->file, 0, page, sizeof page);
    }
    if (status != ES_OK && status != ES_E_CORRUPT) {
        return status;
    }
    if (status == ES_OK) {
        status = log_header_page_decode(page, &file->header);
    }
    switch (status) {
    case ES_OK: file->state = LOG_FILE_VALID; break;
    case ES_EMPTY: file->state = LOG_FILE_UNUSED; break;
    case ES_E_CORRUPT: file->state = LOG_FILE_SPOILT; break;
    default: return status;
    }
    return ES_OK;
}

/* Finds the newest valid header. False: there is none. */
static bool find_newest(struct log *log)
{
    bool found = false;

    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX; i++) {
        const struct log_file *file = &log->files[i];

        if (file->state == LOG_FILE_VALID &&
            (!found || file->header.segment_number > log->segment_max)) {
            log->newest = i;
            log->segment_max = file->header.segment_number;
            found = true;
        }
    }
    return found;
}

static bool same_log(const struct log_segment_header *a, const struct log_segment_header *b)
{
    return memcmp(a->identity.store_id, b->identity.store_id, LOG_STORE_ID_BYTES) == 0 &&
           a->identity.secret == b->identity.secret &&
           a->geometry.segment_count == b->geometry.segment_count &&
           a->geometry.segment_bytes == b->geometry.segment_bytes;
}

static void set_defect(struct log *log, uint32_t index, const char *what)
{
    if (log->defect[0] == '\0') {
        snprintf(log->defect, sizeof log->defect, "segment-%02" PRIu32 " %s", index, what);
    }
}

/* Judges one file against the newest header; a defect is kept for log_replay(). */
static enum es_status file_check(struct log *log, uint32_t index)
{
    const struct log_segment_header *newest = &log->files[log->newest].header;
    struct log_file *file = &log->files[index];
    uint64_t size = 0;
    enum es_status status = ES_OK;

    if (file->state == LOG_FILE_MISSING) {
        if (index < newest->geometry.segment_count) {
            set_defect(log, index, "is missing");
        }
        return ES_OK;
    }
    status = disk_size(file->file, &size);
    if (status != ES_OK) {
        return status;
    }
    if (index >= newest->geometry.segment_count) {
        set_defect(log, index, "is one file too many");
    } else if (size != newest->geometry.segment_bytes) {
        set_defect(log, index, "has been cut or has grown");
        file->state = LOG_FILE_MISSING;
    } else if (file->state == LOG_FILE_SPOILT) {
        set_defect(log, index, "has no sound header");
    }
    return file->state == LOG_FILE_VALID && !same_log(&file->header, newest) ? ES_E_CORRUPT : ES_OK;
}

static void find_twins(struct log *log)
{
    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (log->files[i].state == LOG_FILE_VALID && log->files[j].state == LOG_FILE_VALID &&
                log->files[i].header.segment_number == log->files[j].header.segment_number) {
                set_defect(log, i, "holds the same segment as another file");
            }
        }
    }
}

/* What to answer when no file has a valid header. */
static enum es_status without_header(const struct log *log, const char **ret_what)
{
    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX; i++) {
        if (log->files[i].state == LOG_FILE_SPOILT) {
            *ret_what = "the commit log has no sound segment header";
            return ES_E_CORRUPT;
        }
    }
    *ret_what = "there is no commit log";
    return ES_NOT_FOUND;
}

static enum es_status files_open(struct log *log, const char **ret_what)
{
    enum es_status status = ES_OK;

    *ret_what = "a segment file cannot be read";
    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX && status == ES_OK; i++) {
        status = file_open(log, i);
    }
    if (status == ES_E_VERSION) {
        *ret_what = "the commit log has a newer format than this program";
    }
    if (status != ES_OK) {
        return status;
    }
    if (!find_newest(log)) {
        return without_header(log, ret_what);
    }
    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX && status == ES_OK; i++) {
        status = file_check(log, i);
    }
    if (status == ES_E_CORRUPT) {
        *ret_what = "the commit log's segment files belong to different logs";
    }
    find_twins(log);
    return status;
}

enum es_status log_open(struct disk *disk, enum disk_access access, char *why, struct log **ret_log)
{
    const char *what = "out of memory";
    enum es_status status = ES_E_NO_MEMORY;
    struct log *log = calloc(1, sizeof *log);

    if (log != NULL) {
        log->disk = disk;
        log->access = access;
        pthread_mutex_init(&log->header_lock, NULL);
        pthread_mutex_init(&log->state_lock, NULL);
        errno = 0;
        status = files_open(log, &what);
    }
    if (status != ES_OK) {
        snprintf(why, LOG_WHY_BYTES, errno != 0 && status == ES_E_IO ? "%s: %s" : "%s", what,
                 strerror(errno));
        log_free(log);
        return status;
    }
    log->origin.identity = log->files[log->newest].header.identity;
    log->origin.geometry = log->files[log->newest].header.geometry;
    log->origin.flushed = log->files[log->newest].header.flushed;
    log->origin.books = log->files[log->newest].header.books;
    log->flushed = log->origin.flushed;
    log->books = log->origin.books;
    *ret_log = log;
    return ES_OK;
}

void log_free(struct log *log)
{
    if (log == NULL) {
        return;
    }
    for (uint32_t i = 0; i < LOG_SEGMENT_COUNT_MAX; i++) {
        disk_close(log->files[i].file);
    }
    pthread_mutex_destroy(&log->header_lock);
    pthread_mutex_destroy(&log->state_lock);
    free(log);
}

const struct log_origin *log_origin(const struct log *log)
{
    return &log->origin;
}

void log_rewind(struct log *log, uint64_t batch_number)
{
    assert(log->access == DISK_READ_ONLY);
    log->origin.flushed.batch_number = batch_number;
}

const char *log_why(const struct log *log)
{
    return atomic_load(&log->failed) ? log->why : "";
}
