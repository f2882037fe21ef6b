/*
 * Writing the commit log: records into the newest segment, the next segment when
 * it is full, and the flushed mark that makes old ones reusable.
 *
 * What must hold at every instant, for log_recovery.c to be right:
 *   - a segment is synced before the header of the next is written;
 *   - a header is synced before a record of its segment is written;
 *   - a file is overwritten only when a synced header elsewhere says that all its
 *     batches are flushed.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log_state.h"
#include "shm/crc32c.h"
#include "shm/probe.h"

static bool is_writing(const struct log *log)
{
    return log->writing && !atomic_load(&log->failed);
}

/* Syncs the newest segment if it holds anything unsynced. */
static enum es_status sync_newest(struct log *log)
{
    enum es_status status = ES_OK;
    uint64_t last_batch = 0;
    uint32_t index = 0;
    bool needed = false;

    pthread_mutex_lock(&log->state_lock);
    index = log->newest;
    last_batch = log->last_batch;
    needed = log->durable_batch < last_batch;
    pthread_mutex_unlock(&log->state_lock);
    if (!needed) {
        return ES_OK;
    }
    status = disk_sync(log->files[index].file);
    if (status != ES_OK) {
        return log_fail(log, status, "sync", index);
    }
    ES_PROBE(log_synced);
    /* Whatever lies in older segments was synced when this one began. */
    pthread_mutex_lock(&log->state_lock);
    if (log->durable_batch < last_batch) {
        log->durable_batch = last_batch;
    }
    pthread_mutex_unlock(&log->state_lock);
    return ES_OK;
}

/* The file to use next: one never used, else that of the oldest segment. */
static uint32_t next_file(const struct log *log)
{
    uint32_t oldest = UINT32_MAX;

    for (uint32_t i = 0; i < log->origin.geometry.segment_count; i++) {
        if (log->files[i].state == LOG_FILE_UNUSED) {
            return i;
        }
        if (i != log->newest &&
            (oldest == UINT32_MAX ||
             log->files[i].header.segment_number < log->files[oldest].header.segment_number)) {
            oldest = i;
        }
    }
    return oldest;
}

/* The last batch of the segment in a file that is not the newest; 0: it holds none. */
static uint64_t last_batch_of(const struct log *log, uint32_t index)
{
    uint64_t number = log->files[index].header.segment_number;
    uint64_t following = UINT64_MAX;
    uint64_t last_batch = 0;

    if (log->files[index].state == LOG_FILE_UNUSED) {
        return 0;
    }
    for (uint32_t i = 0; i < log->origin.geometry.segment_count; i++) {
        const struct log_segment_header *header = &log->files[i].header;

        if (log->files[i].state == LOG_FILE_VALID && header->segment_number > number &&
            header->segment_number < following) {
            following = header->segment_number;
            last_batch = header->first_batch - 1;
        }
    }
    return last_batch;
}

/* Begins a segment in file 'index' after 'previous'; under header_lock. */
static enum es_status begin_segment(struct log *log, uint32_t index,
                                    const struct log_point *previous)
{
    struct log_segment_header header = {
        .identity = log->origin.identity,
        .geometry = log->origin.geometry,
        .segment_number = log->segment_max + 1,
        .first_batch = previous->batch_number + 1,
        .flushed = log->flushed,
        .books = log->books,
    };
    enum es_status status = ES_OK;

    memcpy(header.previous_store_hash, previous->store_hash, LOG_HASH_BYTES);
    /* Both slots, one synced after the other: a torn write leaves a sound one, and a bit
     * that flips later in one of them does not hide the segment. */
    for (int i = 0; i < LOG_HEADER_SLOT_COUNT && status == ES_OK; i++) {
        status = log_header_write(&log->files[index], &header);
    }
    if (status != ES_OK) {
        return log_fail(log, status, "write of a segment header", index);
    }
    log->segment_max++;
    log->offset = LOG_HEADER_PAGE_BYTES;
    pthread_mutex_lock(&log->state_lock);
    log->newest = index;
    pthread_mutex_unlock(&log->state_lock);
    ES_PROBE(log_segment_begun);
    return ES_OK;
}

/* Says in the newest header that everything up to 'point' is flushed; under header_lock. */
static enum es_status write_flushed(struct log *log, const struct log_point *point)
{
    struct log_file *file = &log->files[log->newest];
    struct log_segment_header header = file->header;
    enum es_status status = ES_OK;

    header.flushed = *point;
    status = log_header_write(file, &header);
    if (status != ES_OK) {
        return log_fail(log, status, "write of the flushed mark", log->newest);
    }
    log->flushed = *point;
    ES_PROBE(log_flushed_marked);
    return ES_OK;
}

enum es_status log_begin(struct log *log, uint64_t epoch, const struct log_point *end)
{
    enum es_status status = ES_OK;

    assert(log->replayed);
    assert(!log->writing);
    if (log->access != DISK_READ_WRITE) {
        return ES_E_PERMISSION;
    }
    if (log->defect[0] != '\0') {
        return ES_E_CORRUPT;
    }
    if (end->batch_number < log->flushed.batch_number) {
        return ES_E_INVALID;
    }
    pthread_mutex_lock(&log->header_lock);
    status = write_flushed(log, end);
    if (status == ES_OK) {
        log->origin.identity.epoch = epoch;
        status = begin_segment(log, next_file(log), end);
    }
    if (status == ES_OK) {
        log->last_batch = end->batch_number;
        log->durable_batch = end->batch_number;
        log->writing = true;
    }
    pthread_mutex_unlock(&log->header_lock);
    return status;
}

/* ES_FULL: the next file is still needed. */
static enum es_status rotate(struct log *log, const struct log_point *previous)
{
    enum es_status status = ES_FULL;
    uint32_t index = 0;

    pthread_mutex_lock(&log->header_lock);
    index = next_file(log);
    if (last_batch_of(log, index) <= log->flushed.batch_number) {
        status = sync_newest(log);
        if (status == ES_OK) {
            status = begin_segment(log, index, previous);
        }
    }
    pthread_mutex_unlock(&log->header_lock);
    return status;
}

/* Sums up the body's parts; ES_E_TOO_LARGE over the bound. */
static enum es_status measure_body(const struct log *log, const struct log_batch *batch,
                                   struct log_record_header *record)
{
    uint64_t left = log_body_bytes_max(&log->origin.geometry);
    uint32_t crc32c = 0;

    for (int i = 0; i < batch->part_count; i++) {
        if (batch->parts[i].iov_len > left) {
            return ES_E_TOO_LARGE;
        }
        left -= batch->parts[i].iov_len;
        crc32c = es_crc32c(crc32c, batch->parts[i].iov_base, batch->parts[i].iov_len);
    }
    record->body_bytes = (uint32_t)(log_body_bytes_max(&log->origin.geometry) - left);
    record->body_crc32c = crc32c;
    return ES_OK;
}

static enum es_status write_record(struct log *log, const struct log_batch *batch,
                                   const struct log_record_header *record)
{
    uint8_t bytes[LOG_RECORD_HEADER_BYTES];
    struct iovec parts[DISK_IOV_MAX] = {{bytes, sizeof bytes}};
    enum es_status status = ES_OK;

    log_record_header_encode(record, bytes);
    memcpy(parts + 1, batch->parts, (size_t)batch->part_count * sizeof parts[0]);
    status = disk_write(log->files[log->newest].file, log->offset, parts, batch->part_count + 1);
    if (status != ES_OK) {
        return log_fail(log, status, "write of a record", log->newest);
    }
    ES_PROBE(log_record_written);
    log->offset += log_record_stride(record->body_bytes);
    return ES_OK;
}

enum es_status log_append(struct log *log, const struct log_batch *batch, bool *ret_segment_begun)
{
    struct log_record_header record = {
        .secret = log->origin.identity.secret,
        .batch_number = batch->previous.batch_number + 1,
    };
    bool begun = false;
    enum es_status status = ES_OK;

    if (!is_writing(log)) {
        return ES_E_CLOSED;
    }
    if (batch->part_count < 1 || batch->part_count > LOG_BODY_PARTS_MAX ||
        batch->previous.batch_number != log->last_batch) {
        return ES_E_INVALID;
    }
    status = measure_body(log, batch, &record);
    if (status != ES_OK) {
        return status;
    }
    if (log->offset + log_record_stride(record.body_bytes) > log->origin.geometry.segment_bytes) {
        status = rotate(log, &batch->previous);
        if (status != ES_OK) {
            return status;
        }
        begun = true;
    }
    record.segment_number = log->segment_max;
    record.durable_batch = log_durable_batch(log);
    status = write_record(log, batch, &record);
    if (status == ES_OK) {
        pthread_mutex_lock(&log->state_lock);
        log->last_batch = record.batch_number;
        pthread_mutex_unlock(&log->state_lock);
        *ret_segment_begun = begun;
    }
    return status;
}

enum es_status log_sync(struct log *log)
{
    return is_writing(log) ? sync_newest(log) : ES_E_CLOSED;
}

uint64_t log_durable_batch(struct log *log)
{
    uint64_t durable_batch = 0;

    pthread_mutex_lock(&log->state_lock);
    durable_batch = log->durable_batch;
    pthread_mutex_unlock(&log->state_lock);
    return durable_batch;
}

enum es_status log_note_books(struct log *log, const struct log_books *books)
{
    struct log_segment_header header;
    enum es_status status = ES_OK;

    if (atomic_load(&log->failed)) {
        return ES_E_CLOSED;
    }
    if (log->access != DISK_READ_WRITE) {
        return ES_E_PERMISSION;
    }
    pthread_mutex_lock(&log->header_lock);
    if (books->number != log->books.number || books->bytes != log->books.bytes) {
        header = log->files[log->newest].header;
        header.books = *books;
        status = log_header_write(&log->files[log->newest], &header);
        if (status == ES_OK) {
            log->books = *books;
        } else {
            status = log_fail(log, status, "write of the note about the store", log->newest);
        }
    }
    pthread_mutex_unlock(&log->header_lock);
    return status;
}

enum es_status log_mark_flushed(struct log *log, const struct log_point *point)
{
    enum es_status status = ES_OK;

    if (!is_writing(log)) {
        return ES_E_CLOSED;
    }
    if (point->batch_number > log_durable_batch(log)) {
        return ES_E_INVALID;
    }
    pthread_mutex_lock(&log->header_lock);
    if (point->batch_number > log->flushed.batch_number) {
        status = write_flushed(log, point);
    }
    pthread_mutex_unlock(&log->header_lock);
    return status;
}
