/*
 * esbench store: log and store alone. One thread encodes commits of --batch events, appends each to
 * the commit log, syncs it and applies it: what the broker's commit does, without ring, publisher
 * and other threads but the one that flushes. Encoding and hashing are timed apart.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/disk.h"
#include "broker/log.h"
#include "broker/store.h"
#include "tools/esbench/bare.h"
#include "tools/esbench/bench.h"
#include "tools/esbench/temporary.h"

static_assert((int)LOG_WHY_BYTES >= (int)STORE_WHY_BYTES, "one buffer for the words of both");

struct bare_store {
    struct disk *disk;
    struct log *log;
    struct store *store;
    struct store_batch *batch;
    struct log_point before; /* the state before the next batch */
    pthread_t flusher;
    bool is_flushing;
    struct log_point flush_point;
    enum es_status flush_status;
};

static void *flush_main(void *context)
{
    struct bare_store *bare = context;

    bare->flush_status = store_flush_wait(bare->store);
    if (bare->flush_status == ES_OK) {
        bare->flush_status = log_mark_flushed(bare->log, &bare->flush_point);
    }
    return NULL;
}

static enum es_status flush_end(struct bare_store *bare)
{
    if (!bare->is_flushing) {
        return ES_OK;
    }
    (void)pthread_join(bare->flusher, NULL);
    bare->is_flushing = false;
    return bare->flush_status;
}

/* A segment was begun: what was applied so far goes to disk in the background. */
static enum es_status flush_begin(struct bare_store *bare)
{
    enum es_status status = flush_end(bare);

    if (status == ES_OK) {
        status = store_flush_begin(bare->store);
    }
    if (status != ES_OK) {
        return status;
    }
    bare->flush_point = bare->before;
    if (pthread_create(&bare->flusher, NULL, flush_main, bare) != 0) {
        return ES_E_NO_MEMORY;
    }
    bare->is_flushing = true;
    return ES_OK;
}

/* Log, sync, apply: the order of the broker. */
static enum es_status commit(struct bare_store *bare, const struct bare_commits *commits,
                             bool is_synced)
{
    struct iovec part = {.iov_base = commits->body, .iov_len = commits->body_bytes};
    struct log_batch log_batch = {.previous = bare->before, .parts = &part, .part_count = 1};
    bool segment_begun = false;
    enum es_status status = log_append(bare->log, &log_batch, &segment_begun);

    if (status == ES_FULL) { /* the log has come round to what is not flushed yet */
        status = flush_end(bare);
        if (status == ES_OK) {
            status = log_append(bare->log, &log_batch, &segment_begun);
        }
    }
    if (status == ES_OK && is_synced) {
        status = log_sync(bare->log);
    }
    if (status == ES_OK && segment_begun) {
        status = flush_begin(bare);
    }
    if (status == ES_OK) {
        store_batch_clear(bare->batch);
        status = bare_keys(commits, bare->batch);
    }
    if (status == ES_OK) {
        status = store_apply(bare->store, bare->batch, STORE_APPLY_LIVE);
    }
    bare->before.batch_number = commits->commit_number;
    memcpy(bare->before.store_hash, commits->store_hash, sizeof bare->before.store_hash);
    return status;
}

static enum es_status no_record(void *context, const struct log_record *record)
{
    (void)context;
    (void)record;
    return ES_E_CORRUPT; /* the log is new */
}

static enum es_status log_make(struct bare_store *bare, const struct bare_commits *commits,
                               char *why)
{
    const struct log_identity identity = {.store_id = {1}, .epoch = 1, .secret = 1};
    const struct log_geometry geometry = {.segment_count = LOG_SEGMENT_COUNT_DEFAULT,
                                          .segment_bytes = LOG_SEGMENT_BYTES_DEFAULT};
    struct log_ending ending;
    enum es_status status = ES_OK;

    memcpy(bare->before.store_hash, commits->store_hash, sizeof bare->before.store_hash);
    status = log_create(bare->disk, &identity, &geometry, &bare->before);
    if (status == ES_OK) {
        status = log_open(bare->disk, DISK_READ_WRITE, why, &bare->log);
    }
    if (status == ES_OK) {
        status = log_replay(bare->log, 0, no_record, NULL, &ending);
    }
    if (status == ES_OK) {
        status = log_begin(bare->log, identity.epoch, &bare->before);
    }
    return status;
}

static int open_all(struct bare_store *bare, const struct bare_commits *commits, const char *root)
{
    char why[LOG_WHY_BYTES] = "";
    char log_path[TEMPORARY_PATH_BYTES];
    char store_path[TEMPORARY_PATH_BYTES];
    char notes_path[TEMPORARY_PATH_BYTES];
    struct store_rocksdb_options store_options = {
        .directory = store_path,
        .logs_directory = notes_path,
        .mode = STORE_CREATE,
        .unflushed_bytes_max = (uint64_t)LOG_SEGMENT_COUNT_DEFAULT * LOG_SEGMENT_BYTES_DEFAULT,
    };
    enum es_status status = ES_OK;

    temporary_path(root, "log", log_path);
    temporary_path(root, "store", store_path);
    temporary_path(root, "notes", notes_path);
    if (mkdir(log_path, 0700) != 0 || mkdir(notes_path, 0700) != 0) {
        return bench_fail(EX_CANTCREAT, "cannot create %s (%s): name another --directory", log_path,
                          strerror(errno));
    }
    status = disk_posix_new(log_path, &bare->disk);
    if (status == ES_OK) {
        status = log_make(bare, commits, why);
    }
    if (status == ES_OK) {
        status = store_rocksdb_open(&store_options, why, &bare->store);
    }
    if (status == ES_OK) {
        status = store_batch_new(&bare->batch);
    }
    if (status != ES_OK) {
        return bench_fail(EX_CANTCREAT,
                          "cannot make a store in %s (%s) %s: name another --directory", root,
                          es_status_text(status), why);
    }
    return EX_OK;
}

static int feed(struct bare_store *bare, struct bare_commits *commits,
                const struct bench_options *options, struct measurement *ret_measurement)
{
    bool is_synced = strcmp(options->durability, "fsync") == 0;
    uint64_t done = 0;

    while (done < options->count) {
        uint64_t left = options->count - done;
        uint32_t count = left < options->batch ? (uint32_t)left : options->batch;
        uint64_t encode_ns = bench_now_ns();
        uint64_t commit_ns = 0;
        enum es_status status = bare_encode(commits, count);

        commit_ns = bench_now_ns();
        if (status == ES_OK) {
            status = commit(bare, commits, is_synced);
        }
        if (status != ES_OK) {
            return bench_fail(EX_IOERR,
                              "log and store failed at event %" PRIu64 " (%s) %s%s: look "
                              "at the disk of %s",
                              done, es_status_text(status), log_why(bare->log),
                              store_why(bare->store), options->directory);
        }
        if (bench_interrupted) {
            return bench_fail(EX_TEMPFAIL, "interrupted: measure again");
        }
        uint64_t end_ns = bench_now_ns();
        ret_measurement->encode_ns += commit_ns - encode_ns;
        ret_measurement->elapsed_ns += end_ns - commit_ns;
        histogram_add(&ret_measurement->latency, end_ns - commit_ns);
        done += count;
    }
    ret_measurement->events = done;
    return EX_OK;
}

int store_measure(const struct bench_options *options, struct measurement *ret_measurement)
{
    struct bare_store bare = {.disk = NULL};
    struct bare_commits commits;
    char root[TEMPORARY_PATH_BYTES];
    int code = EX_OK;

    if (!temporary_make(options->directory, root)) {
        return bench_fail(EX_CANTCREAT,
                          "no temporary directory in %s (%s): name another one with --directory",
                          options->directory, strerror(errno));
    }
    if (!bare_init(&commits, options)) {
        code = bench_fail(EX_OSERR, "no memory: use a smaller --size, --batch or --streams");
    }
    if (code == EX_OK) {
        code = open_all(&bare, &commits, root);
    }
    if (code == EX_OK) {
        code = feed(&bare, &commits, options, ret_measurement);
    }
    (void)flush_end(&bare);
    store_batch_free(bare.batch);
    log_free(bare.log);
    store_free(bare.store);
    disk_free(bare.disk);
    bare_deinit(&commits);
    temporary_remove(root);
    return code;
}
