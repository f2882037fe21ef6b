#include "broker/startup_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/apply.h"
#include "broker/epochs.h"
#include "broker/startup_epoch.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "shm/crc32c.h"

/* Everything that is open while the check goes on. */
struct checking {
    struct data_directory *directory;
    struct startup_finding *finding;
    struct log *log;
    struct store *store;
    struct anchor *anchor;
    struct heads *heads;
    struct batch *batch;
    struct store_batch *writes;
    struct lanes_remains *remains;
    bool store_is_broken;   /* not the record, but what it continues */
    const char *broken_why; /* why a record with a sound checksum is none of ours */
    const char *witness;    /* who names another history at the same batch */
    char *why;
};

enum es_status startup_explain(char why[DATA_WHY_BYTES], enum es_status status, const char *format,
                               ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, DATA_WHY_BYTES, format, arguments);
    va_end(arguments);
    return status;
}

uint32_t startup_note_record(uint32_t records_crc32c, const struct log_record *record)
{
    uint64_t number = record->batch_number;

    records_crc32c = es_crc32c(records_crc32c, &number, sizeof number);
    return es_crc32c(records_crc32c, &record->body_crc32c, sizeof record->body_crc32c);
}

/* Not damage: what lacks is memory, descriptors, a permission, a disk that answers. Saying
 * "damaged" then would send somebody for a backup that is not needed. */
static bool lacks_means(enum es_status status)
{
    return status == ES_E_NO_MEMORY || status == ES_E_IO || status == ES_E_LIMIT ||
           status == ES_NO_SPACE || status == ES_E_PERMISSION;
}

/*
 * A control page is a witness of its own epoch. One of an earlier epoch of this store
 * knows of what was given up since; a backup is older than the page by intent. One of
 * an epoch that the store has never had tells that these files are not the newest.
 */
static enum es_status check_control_page(struct checking *checking)
{
    const uint64_t page_epoch = checking->remains->identity.epoch;
    struct es_epochs epochs;
    uint64_t end = 0;
    enum es_status status = ES_OK;

    if (!checking->remains->is_witness || page_epoch == checking->finding->epoch) {
        return ES_OK;
    }
    if (!data_directory_has(checking->directory, DATA_BACKUP_NAME)) {
        status = epochs_load(checking->store, NULL, &epochs);
        if (status == ES_OK) {
            status = epochs_find_end(&epochs, page_epoch, 0, &end);
        }
    }
    if (status == ES_OK) {
        memset(checking->remains, 0, sizeof *checking->remains);
        return ES_OK;
    }
    return startup_explain(checking->why, ES_E_CORRUPT,
                           "in this run directory a broker has served a history of this store "
                           "(epoch %016" PRIx64 ") that %s knows nothing of: put the newer files "
                           "back, or name another run directory; nothing was changed",
                           page_epoch, checking->directory->path);
}

static enum es_status point_of_commit(struct store_slice value, struct history_point *point)
{
    struct es_commit_view view;
    enum es_status status = es_commit_decode(value.bytes, value.size, &view);

    if (status == ES_OK) {
        point->commit_number = view.commit_number;
        point->position = es_commit_last_position(&view);
        point->time_us = view.time_us;
        memcpy(point->store_hash, view.store_hash, ES_HASH_SIZE);
    }
    return status;
}

/* Walks back from the store's newest commit: it may hold more than the log's
 * header says, for the header is written after the flush. */
enum es_status startup_find_flushed(struct store *store, const struct log_origin *origin,
                                    struct history_point *ret_point, char why[DATA_WHY_BYTES])
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    struct history_point point = {.batch_number = origin->flushed.batch_number};
    bool is_found = false;
    enum es_status status = store_iterator_new(store, NULL, STORE_COMMITS, &all, &iterator);

    if (status != ES_OK) {
        return startup_explain(why, status, "cannot read the commits: %s", store_why(store));
    }
    es_store_hash_genesis(origin->identity.store_id, point.store_hash);
    is_found = memcmp(point.store_hash, origin->flushed.store_hash, ES_HASH_SIZE) == 0;
    store_iterator_seek_last(iterator);
    while (status == ES_OK && !is_found && store_iterator_valid(iterator)) {
        status = point_of_commit(store_iterator_value(iterator), &point);
        is_found = status == ES_OK &&
                   memcmp(point.store_hash, origin->flushed.store_hash, ES_HASH_SIZE) == 0;
        store_iterator_prev(iterator);
    }
    if (status == ES_OK && !is_found) {
        status = store_iterator_status(iterator);
    }
    store_iterator_free(iterator);
    if (lacks_means(status)) {
        return startup_explain(why, status, "the store cannot be read: %s", es_status_text(status));
    }
    if (status != ES_OK || !is_found) {
        return startup_explain(why, ES_E_CORRUPT,
                               "the store does not hold batch %" PRIu64 ", which the commit log "
                               "says was flushed into it: rocksdb/ is older than log/, or "
                               "damaged: " STARTUP_RESTORE_HINT,
                               origin->flushed.batch_number);
    }
    *ret_point = point;
    return ES_OK;
}

static enum es_status check_identity(struct checking *checking)
{
    const struct log_origin *origin = log_origin(checking->log);
    struct store_buffer value = {0};
    struct es_store_identity identity;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_store(&key);
    status = store_get(checking->store, NULL, STORE_DEFAULT,
                       (struct store_slice){key.bytes, key.size}, &value);
    if (status == ES_OK) {
        status = es_store_identity_decode(value.bytes, value.size, &identity);
    }
    store_buffer_deinit(&value);
    if (status != ES_OK) {
        return startup_explain(
            checking->why, status == ES_E_VERSION || lacks_means(status) ? status : ES_E_CORRUPT,
            "%s holds no identity of a store that can be read: " STARTUP_RESTORE_HINT,
            checking->directory->store_path);
    }
    if (identity.format_version > ES_STORE_FORMAT_VERSION) {
        return startup_explain(checking->why, ES_E_VERSION,
                               "the store has format %" PRIu64 ", this program knows %u: use a "
                               "newer Eventspine; nothing was changed",
                               identity.format_version, ES_STORE_FORMAT_VERSION);
    }
    if (memcmp(identity.store_id, origin->identity.store_id, ES_STORE_ID_SIZE) != 0 ||
        memcmp(identity.store_id, checking->finding->anchor.store_id, ES_STORE_ID_SIZE) != 0) {
        return startup_explain(checking->why, ES_E_CORRUPT,
                               "log/, rocksdb/ and anchor in %s belong to different stores: "
                               "put back files that belong together; nothing was changed",
                               checking->directory->path);
    }
    memcpy(checking->finding->store_id, identity.store_id, ES_STORE_ID_SIZE);
    checking->finding->epoch = origin->identity.epoch;
    return ES_OK;
}

static enum es_status open_all(struct checking *checking)
{
    struct data_directory *directory = checking->directory;
    char log_why_text[LOG_WHY_BYTES] = "";
    char store_why_text[STORE_WHY_BYTES] = "";
    struct store_rocksdb_options options = {.directory = directory->store_path,
                                            .logs_directory = directory->store_logs_path,
                                            .mode = STORE_READ_ONLY};
    enum es_status status = anchor_open(directory->disk, DATA_ANCHOR_NAME, DISK_READ_ONLY,
                                        &checking->finding->anchor, &checking->anchor);

    if (status != ES_OK) {
        return startup_explain(
            checking->why, status == ES_E_VERSION || lacks_means(status) ? status : ES_E_CORRUPT,
            "the anchor of %s is %s: " STARTUP_RESTORE_HINT, directory->path,
            status == ES_NOT_FOUND ? "missing" : es_status_text(status));
    }
    status = data_directory_open_log(directory);
    if (status == ES_OK) {
        status = log_open(directory->log_disk, DISK_READ_ONLY, log_why_text, &checking->log);
    }
    if (status != ES_OK) {
        return startup_explain(checking->why, status == ES_NOT_FOUND ? ES_E_CORRUPT : status,
                               "the commit log in %s cannot be used (%s): " STARTUP_RESTORE_HINT,
                               directory->log_path,
                               log_why_text[0] != '\0' ? log_why_text : es_status_text(status));
    }
    options.books.number = log_origin(checking->log)->books.number;
    options.books.bytes = log_origin(checking->log)->books.bytes;
    status = store_rocksdb_open(&options, store_why_text, &checking->store);
    if (status != ES_OK) {
        return startup_explain(checking->why, status == ES_NOT_FOUND ? ES_E_CORRUPT : status,
                               "the store in %s cannot be opened (%s): " STARTUP_RESTORE_HINT,
                               directory->store_path, store_why_text);
    }
    return check_identity(checking);
}

/* A witness that names a batch names its store hash too. */
static bool agrees(uint64_t batch_number, const uint8_t *hash, const struct history_point *point)
{
    return batch_number != point->batch_number ||
           memcmp(hash, point->store_hash, ES_HASH_SIZE) == 0;
}

static enum es_status compare_witnesses(struct checking *checking)
{
    const struct anchor_state *anchor = &checking->finding->anchor;
    const struct history_point *point = &checking->finding->end;

    if (!agrees(anchor->batch_number, anchor->store_hash, point)) {
        checking->witness = "the anchor";
    }
    if (checking->remains->is_witness &&
        !agrees(checking->remains->head.batch_number, checking->remains->head.store_hash, point)) {
        checking->witness = "the control page of the running system";
    }
    return checking->witness == NULL ? ES_OK : ES_E_CORRUPT;
}

/* What the replay will read of the store can be read: found out now, for once it is
 * open for writing a refusal comes too late to have changed nothing. */
static enum es_status check_group(struct checking *checking)
{
    enum es_status status = store_batch_order(checking->writes, epochs_random());

    if (status != ES_OK) {
        return status;
    }
    status = store_check_replay(checking->store, checking->writes);
    store_batch_clear(checking->writes);
    if (status != ES_OK) {
        checking->broken_why = store_why(checking->store);
        checking->store_is_broken = true;
    }
    return status;
}

static enum es_status visit(void *context, const struct log_record *record)
{
    struct checking *checking = context;
    struct es_last last;
    enum es_status status =
        batch_load(checking->batch, checking->heads, record->body, record->body_bytes,
                   &checking->finding->end, &last, &checking->broken_why);

    if (status != ES_OK) {
        return status;
    }
    status = apply_add(checking->batch, checking->writes);
    if (status == ES_OK && store_batch_bytes(checking->writes) >= STARTUP_GROUP_BYTES) {
        status = check_group(checking);
    }
    if (status != ES_OK) {
        return status;
    }
    checking->finding->records_crc32c =
        startup_note_record(checking->finding->records_crc32c, record);
    return compare_witnesses(checking);
}

static enum es_status explain_replay(struct checking *checking, enum es_status status)
{
    const struct history_point *end = &checking->finding->end;

    if (checking->witness != NULL) {
        return startup_explain(checking->why, ES_E_CORRUPT,
                               "%s names another history at batch %" PRIu64 " (position %" PRIu64
                               "): these files are not of one time: " STARTUP_RESTORE_HINT,
                               checking->witness, end->batch_number, end->position);
    }
    return startup_explain(
        checking->why, status,
        "%s batch %" PRIu64 ", at position %" PRIu64 ": %s: " STARTUP_RESTORE_HINT,
        checking->store_is_broken ? "the store is damaged where the commit log goes on, up to"
                                  : "the commit log is damaged at",
        end->batch_number + (checking->store_is_broken ? 0 : 1), end->position,
        checking->broken_why != NULL ? checking->broken_why : es_status_text(status));
}

/* The highest batch that anybody but the log knows to have been durable. */
static uint64_t durable_floor(const struct checking *checking)
{
    uint64_t floor = checking->finding->anchor.batch_number;

    if (checking->remains->is_witness && checking->remains->head.batch_number > floor) {
        floor = checking->remains->head.batch_number;
    }
    return floor;
}

static enum es_status explain_shorter(struct checking *checking)
{
    const struct startup_finding *finding = checking->finding;
    uint64_t known = finding->anchor.position;

    if (checking->remains->is_witness && checking->remains->head.durable_position > known) {
        known = checking->remains->head.durable_position;
    }
    if (known > finding->end.position) {
        return startup_explain(checking->why, ES_E_CORRUPT,
                               "the history ends at position %" PRIu64 ", but positions %" PRIu64
                               " to %" PRIu64 " at least were durable and are lost (batch %" PRIu64
                               " of %" PRIu64 ": %s): " STARTUP_RESTORE_HINT,
                               finding->end.position, finding->end.position + 1, known,
                               finding->ending.last_batch, finding->ending.vouched_batch,
                               finding->ending.what);
    }
    return startup_explain(checking->why, ES_E_CORRUPT,
                           "the commit log is damaged after batch %" PRIu64 " (position %" PRIu64
                           "): %s: " STARTUP_RESTORE_HINT,
                           finding->ending.last_batch, finding->end.position, finding->ending.what);
}

/* The newest commit that RocksDB holds, 0 for none. */
static enum es_status newest_commit(struct store *store, uint64_t *ret_number)
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    uint64_t position = 0;
    enum es_status status = store_iterator_new(store, NULL, STORE_COMMITS, &all, &iterator);

    if (status != ES_OK) {
        return status;
    }
    *ret_number = 0;
    store_iterator_seek_last(iterator);
    if (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        status = es_key_commit_parse((struct es_bytes){key.bytes, (uint32_t)key.size}, &position,
                                     ret_number);
    } else {
        status = store_iterator_status(iterator);
    }
    store_iterator_free(iterator);
    return status;
}

/*
 * RocksDB never holds what the log has not synced. If it does, the log's end is
 * missing: appends would be given positions that are taken. Families reach the disk
 * one after the other: of those that grow with each commit, two are asked.
 */
static enum es_status check_store_is_behind(struct checking *checking)
{
    struct store_buffer value = {0};
    struct es_last last = {.batch_number = 0};
    struct es_key key;
    uint64_t commit_number = 0;
    enum es_status status = newest_commit(checking->store, &commit_number);

    es_key_last(&key);
    if (status == ES_OK) {
        status = store_get(checking->store, NULL, STORE_DEFAULT,
                           (struct store_slice){key.bytes, key.size}, &value);
    }
    if (status == ES_OK) {
        status = es_last_decode(value.bytes, value.size, &last);
    }
    store_buffer_deinit(&value);
    if (status != ES_OK && status != ES_NOT_FOUND) { /* not found: never flushed */
        return startup_explain(
            checking->why, status,
            "the store's note of its newest batch cannot be read (%s): " STARTUP_RESTORE_HINT,
            es_status_text(status));
    }
    if (last.batch_number > checking->finding->end.batch_number ||
        commit_number > checking->finding->end.commit_number) {
        return startup_explain(checking->why, ES_E_CORRUPT,
                               "the commit log ends with batch %" PRIu64 " (position %" PRIu64
                               "), and the store holds batch %" PRIu64 " and commit %" PRIu64
                               ": the end of the log is missing: " STARTUP_RESTORE_HINT,
                               checking->finding->end.batch_number, checking->finding->end.position,
                               last.batch_number, commit_number);
    }
    return ES_OK;
}

static enum es_status check_history(struct checking *checking, struct counters *counters)
{
    struct startup_finding *finding = checking->finding;
    const struct log_origin *origin = log_origin(checking->log);
    enum es_status status =
        startup_find_flushed(checking->store, origin, &finding->flushed, checking->why);

    if (status != ES_OK) {
        return status;
    }
    finding->end = finding->flushed;
    status = heads_new(checking->store, counters, HEADS_CACHED_MAX, &checking->heads);
    if (status == ES_OK) {
        status = batch_new(log_body_bytes_max(&origin->geometry), &checking->batch);
    }
    if (status == ES_OK) {
        status = store_batch_new(&checking->writes);
    }
    if (status != ES_OK) {
        return startup_explain(checking->why, status, "not enough memory to check the history");
    }
    heads_set_applied(checking->heads, finding->end.batch_number);
    if (compare_witnesses(checking) != ES_OK) {
        return explain_replay(checking, ES_E_CORRUPT);
    }
    /* Nothing of it is applied, so nothing of what it changes may be forgotten. */
    status = log_replay(checking->log, durable_floor(checking), visit, checking, &finding->ending);
    if (status == ES_OK) {
        status = check_group(checking);
    }
    if (status != ES_OK) {
        return explain_replay(checking, status);
    }
    if (finding->ending.verdict == LOG_DAMAGED ||
        durable_floor(checking) > finding->end.batch_number) {
        return explain_shorter(checking);
    }
    return check_store_is_behind(checking);
}

enum es_status startup_check(struct data_directory *directory,
                             const struct startup_options *options, const uint8_t *boot_id,
                             struct counters *counters, struct lanes_remains *ret_remains,
                             struct startup_finding *ret_finding, char why[DATA_WHY_BYTES])
{
    struct checking checking = {
        .directory = directory, .finding = ret_finding, .remains = ret_remains, .why = why};
    enum es_status status = ES_OK;

    memset(ret_finding, 0, sizeof *ret_finding);
    memset(ret_remains, 0, sizeof *ret_remains);
    status = open_all(&checking);
    if (status == ES_OK) {
        status = startup_check_epoch(directory, checking.store, ret_finding, boot_id, why);
    }
    if (status == ES_OK && options->look != NULL) {
        options->look(options->look_context, ret_finding->store_id, boot_id, ret_remains);
    }
    if (status == ES_OK && ret_remains->is_unreadable) {
        status = startup_explain(why, ES_E_IO,
                                 "cannot open what a former broker left in shared memory: %s; "
                                 "start again when there are memory and descriptors",
                                 strerror(errno));
    }
    if (status == ES_OK) {
        status = check_control_page(&checking);
    }
    if (status == ES_OK) {
        status = check_history(&checking, counters);
    }
    store_batch_free(checking.writes);
    batch_free(checking.batch);
    heads_free(checking.heads);
    store_free(checking.store);
    log_free(checking.log);
    anchor_free(checking.anchor);
    disk_free(directory->log_disk);
    directory->log_disk = NULL;
    return status;
}
