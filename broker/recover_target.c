/*
 * The new store of a recovery: each proven commit goes in the way that the broker's own
 * recovery takes, batch_load() and apply_fill(), which check it once more.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/apply.h"
#include "broker/backup.h"
#include "broker/epochs.h"
#include "broker/file_tree.h"
#include "broker/recover_state.h"
#include "broker/recover_target.h"
#include "broker/verify.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "shm/probe.h"

enum {
    FLUSH_BYTES = 32 * 1024 * 1024, /* kept in memory tables at most */
    ROOM_BYTES = 4 * 1024 * 1024,   /* beside what is counted */
    KEYS_PER_COMMIT = 512,
    KEY_OPERATION_BYTES = 2 * (ES_NAME_SIZE_MAX + ES_KEY_TEXT_MAX) + 256
};

#define VERIFY_SLICE_NS UINT64_C(100000000)

/*
 * The new store is as large as the old one, at most: RocksDB's files, what the log may
 * have beyond them, and a log. RocksDB ends the process where it finds no room.
 */
static enum es_status check_room(const struct data_directory *directory,
                                 const struct log_geometry *geometry, char why[DATA_WHY_BYTES])
{
    const uint64_t log_bytes = geometry->segment_bytes * geometry->segment_count;
    char tree_why[FILE_TREE_WHY_BYTES] = "";
    uint64_t bytes = 0;
    int fd = openat(directory->fd, "rocksdb", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum es_status status = fd < 0 ? ES_OK : file_tree_bytes(fd, &bytes);

    if (fd >= 0) {
        close(fd);
    }
    if (status == ES_OK) {
        status = file_tree_check_room(directory->fd, bytes + 2 * log_bytes + ROOM_BYTES, tree_why);
    }
    return status == ES_OK ? status
                           : startup_explain(why, status, "%s: %s: make room; nothing was changed",
                                             directory->path, tree_why);
}

enum es_status recover_target_new(struct recover_source *source, struct recover_target **ret_target,
                                  char why[DATA_WHY_BYTES])
{
    struct recover_target *target = calloc(1, sizeof *target);
    struct data_directory *directory = source->directory;
    char path[DATA_PATH_BYTES_MAX + 64];
    char logs[DATA_PATH_BYTES_MAX + 64];
    char store_why_text[STORE_WHY_BYTES] = "";
    const struct store_rocksdb_options options = {
        .directory = path,
        .logs_directory = logs,
        .mode = STORE_CREATE,
        .unflushed_bytes_max = source->geometry.segment_bytes * source->geometry.segment_count,
    };
    enum es_status status = ES_OK;
    int fd = -1;

    if (target == NULL) {
        return startup_explain(why, ES_E_NO_MEMORY, "not enough memory");
    }
    target->source = source;
    target->fd = -1;
    snprintf(path, sizeof path, "%s/" RECOVERED_NAME "/rocksdb", directory->path);
    snprintf(logs, sizeof logs, "%s/" RECOVERED_NAME "/rocksdb-logs", directory->path);
    status = file_tree_remove(directory->fd, RECOVERED_NAME);
    if (status == ES_OK) {
        status = check_room(directory, &source->geometry, why);
        if (status != ES_OK) {
            recover_target_free(target);
            return status;
        }
        status = file_tree_make(directory->fd, RECOVERED_NAME, &target->fd);
    }
    if (status == ES_OK) {
        status = file_tree_make(target->fd, "rocksdb-logs", &fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (status == ES_OK) {
        status = store_rocksdb_open(&options, store_why_text, &target->store);
    }
    if (status == ES_OK) {
        status = heads_new(target->store, &target->counters, HEADS_CACHED_MAX, &target->heads);
    }
    if (status == ES_OK) {
        status = batch_new(log_body_bytes_max(&source->geometry), &target->batch);
    }
    if (status == ES_OK) {
        status = store_batch_new(&target->writes);
    }
    if (status != ES_OK) {
        (void)startup_explain(why, status, "cannot make a store in %s: %s %s", path,
                              store_why_text[0] != '\0' ? store_why_text : es_status_text(status),
                              status == ES_E_IO ? strerror(errno) : "");
        recover_target_free(target);
        return status;
    }
    *ret_target = target;
    return ES_OK;
}

void recover_target_free(struct recover_target *target)
{
    if (target == NULL) {
        return;
    }
    store_batch_free(target->writes);
    batch_free(target->batch);
    heads_free(target->heads);
    store_free(target->store);
    if (target->fd >= 0) {
        close(target->fd);
    }
    free(target);
}

static enum es_status add_body(struct recover_target *target, const uint8_t *body,
                               size_t body_bytes)
{
    const char *why = "";
    struct es_last last;
    enum es_status status = ES_OK;

    if (target->end.commit_number == 0) {
        /* Before the first: the chain begins with the store's id. */
        memcpy(target->end.store_hash, target->genesis, ES_HASH_SIZE);
    }
    status = batch_load(target->batch, target->heads, body, body_bytes, &target->end, &last, &why);
    if (status == ES_OK) {
        status = apply_fill(target->batch, target->writes);
    }
    if (status == ES_OK) {
        status = store_apply(target->store, target->writes, STORE_APPLY_LIVE);
    }
    if (status != ES_OK) {
        return status;
    }
    if (target->batch->last_revision > target->last_revision) {
        target->last_revision = target->batch->last_revision;
    }
    heads_set_applied(target->heads, target->end.batch_number);
    target->unflushed_bytes += body_bytes;
    if (target->unflushed_bytes > FLUSH_BYTES) {
        target->unflushed_bytes = 0;
        status = store_flush_all(target->store);
    }
    return status;
}

enum es_status recover_target_add(void *context, const struct recover_commit *commit)
{
    struct recover_target *target = context;

    if (target->end.commit_number == 0) {
        memcpy(target->genesis, commit->view.previous_store_hash, ES_HASH_SIZE);
    }
    return add_body(target, commit->body, commit->body_bytes);
}

/* ---- keys whose values are lost -------------------------------------------------------- */

/* A commit that deletes 'kvs', so that the history itself says that they are gone. */
static enum es_status commit_deletions(struct recover_target *target,
                                       const struct es_commit_kv *kvs, uint32_t count)
{
    const struct es_commit_transaction transaction = {.origin_uid = geteuid(), .kv_count = count};
    struct es_commit_record record = {.commit_number = target->end.commit_number + 1,
                                      .first_position = target->end.position + 1,
                                      .time_us = target->end.time_us,
                                      .transactions = &transaction,
                                      .kvs = kvs,
                                      .transaction_count = 1};
    const struct es_last last = {.batch_number = target->end.batch_number + 1,
                                 .commit_number = target->end.commit_number + 1};
    size_t capacity = (size_t)count * KEY_OPERATION_BYTES + ES_LOG_BODY_OVERHEAD + 4096;
    uint8_t *bytes = malloc(2 * capacity);
    uint8_t store_hash[ES_HASH_SIZE];
    struct es_hash_state hashes;
    struct es_pack pack;
    uint32_t record_bytes = 0;
    uint32_t body_bytes = 0;
    enum es_status status = ES_E_NO_MEMORY;

    if (bytes == NULL) {
        return status;
    }
    memcpy(record.previous_store_hash, target->end.store_hash, ES_HASH_SIZE);
    es_events_hash_begin(&hashes);
    es_events_hash_end(&hashes, record.events_hash);
    status = es_commit_encode(&record, bytes, capacity, &record_bytes, store_hash);
    es_pack_init(&pack, bytes + capacity, capacity);
    if (status == ES_OK) {
        es_log_body_begin(&pack, es_bytes_make(bytes, record_bytes), 0);
        es_log_body_operations(&pack, count);
        for (uint32_t i = 0; i < count; i++) {
            const struct es_log_operation operation = {
                .kind = ES_LOG_KV_DELETE,
                .as.kv = {.family = ES_KV_TRUTH,
                          .name_space = kvs[i].name_space,
                          .key = kvs[i].key,
                          .value.revision = kvs[i].revision}};

            es_log_body_operation(&pack, &operation);
        }
        es_log_body_last(&pack, &last);
        status = es_pack_finish(&pack, &body_bytes);
    }
    if (status == ES_OK) {
        status = add_body(target, bytes + capacity, body_bytes);
    }
    free(bytes);
    return status;
}

static enum es_status delete_pending(struct recover_target *target, struct recover_finding *finding,
                                     struct store *pending, const struct recover_listener *listener)
{
    const struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct es_commit_kv *kvs = calloc(KEYS_PER_COMMIT, sizeof *kvs);
    struct es_key *keys = calloc(KEYS_PER_COMMIT, sizeof *keys);
    struct store_iterator *iterator = NULL;
    uint32_t count = 0;
    enum es_status status = kvs == NULL || keys == NULL
                                ? ES_E_NO_MEMORY
                                : store_iterator_new(pending, NULL, STORE_KV, &all, &iterator);

    for (status == ES_OK ? store_iterator_seek_first(iterator) : (void)0;
         status == ES_OK && store_iterator_valid(iterator); store_iterator_next(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        memcpy(keys[count].bytes, key.bytes, key.size);
        keys[count].size = (uint32_t)key.size;
        kvs[count] =
            (struct es_commit_kv){.op = ES_COMMIT_KV_DELETE, .revision = ++target->last_revision};
        status = es_key_kv_parse(es_bytes_make(keys[count].bytes, keys[count].size),
                                 &kvs[count].name_space, &kvs[count].key);
        if (status == ES_OK && listener != NULL && listener->lost_key != NULL) {
            listener->lost_key(listener->context, kvs[count].name_space, kvs[count].key);
        }
        finding->lost_key_count++;
        count++;
        if (status == ES_OK && count == KEYS_PER_COMMIT) {
            status = commit_deletions(target, kvs, count);
            count = 0;
        }
    }
    if (status == ES_OK && count > 0) {
        status = commit_deletions(target, kvs, count);
    }
    store_iterator_free(iterator);
    free(kvs);
    free(keys);
    return status;
}

/* ---- the end ----------------------------------------------------------------------------- */

/* Everything that is asked of the new store is answered without a finding. */
static enum es_status verify(struct recover_target *target, const uint8_t *store_id,
                             const struct recover_listener *listener, char why[DATA_WHY_BYTES])
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;
    enum es_status status = verify_new(target->store, store_id, &verify);

    while (status == ES_OK && !progress.end) {
        status = verify_slice(verify, &cursor, VERIFY_SLICE_NS, 1, recover_target_finding, why,
                              &progress);
        if (status == ES_OK && progress.findings > 0) {
            status = ES_E_CORRUPT;
        }
        if (status == ES_OK && listener != NULL && listener->progress != NULL &&
            !listener->progress(listener->context, target->end.position)) {
            status = ES_INTERRUPTED;
        }
    }
    verify_free(verify);
    return status;
}

static enum es_status make_witnesses(struct recover_target *target, struct recover_finding *finding)
{
    const struct recover_source *source = target->source;
    struct anchor_state state = {.epoch = finding->new_epoch,
                                 .durability = ANCHOR_FSYNC,
                                 .start_number = source->has_anchor ? source->anchor.start_number
                                                                    : (uint64_t)time(NULL)};

    /* Lanes are numbered by starts: where the last start is not known, seconds since 1970
     * are more than there can have been. */
    memcpy(state.store_id, finding->store_id, sizeof state.store_id);
    return backup_make_witnesses(target->fd, &state, &source->geometry, &target->end);
}

static enum es_status sync_all(const struct recover_target *target)
{
    return fsync(target->fd) == 0 && fsync(target->source->directory->fd) == 0 ? ES_OK : ES_E_IO;
}

enum es_status recover_target_finish(struct recover_target *target, struct recover_finding *finding,
                                     struct store *pending, const struct recover_listener *listener,
                                     char why[DATA_WHY_BYTES])
{
    enum es_status status = ES_OK;

    if (target->end.commit_number == 0) {
        es_store_hash_genesis(finding->store_id, target->end.store_hash);
    }
    status = recover_target_know_revisions(target, finding);
    if (status == ES_OK) {
        status = delete_pending(target, finding, pending, listener);
    }
    finding->new_epoch = epochs_random();
    if (target->end.batch_number < finding->known_batch) {
        target->end.batch_number = finding->known_batch; /* numbers are not used again */
    }
    if (status == ES_OK) {
        status = recover_target_copy_rest(target, finding);
    }
    if (status == ES_OK) {
        status = store_flush_all(target->store);
    }
    ES_PROBE(recover_store_made);
    if (status != ES_OK) {
        return startup_explain(why, status, "making the new store failed: %s %s",
                               es_status_text(status), store_why(target->store));
    }
    status = verify(target, finding->store_id, listener, why);
    if (status != ES_OK) {
        return status == ES_E_CORRUPT || status == ES_INTERRUPTED
                   ? status
                   : startup_explain(why, status, "verifying the new store failed: %s",
                                     es_status_text(status));
    }
    status = make_witnesses(target, finding);
    if (status == ES_OK) {
        status = sync_all(target);
    }
    ES_PROBE(recover_target_whole);
    if (status != ES_OK) {
        return startup_explain(why, status, "making the new log and anchor failed: %s (%s)",
                               es_status_text(status), strerror(errno));
    }
    finding->end = target->end;
    return ES_OK;
}
