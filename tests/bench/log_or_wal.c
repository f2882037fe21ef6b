/*
 * Which write should an acknowledgement wait for? The same batches of events go
 *   log    into the broker's commit log, synced, then into RocksDB without WAL;
 *   wal    into RocksDB with its WAL, synced;
 *   floor  as bare bytes into a prewritten file, with fdatasync: what the disk allows.
 * One thread commits, as in the broker. docs/adr/0002 tells what came out.
 *
 *   log_or_wal DIRECTORY log|wal|floor BATCH EVENTS STREAMS
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <rocksdb/c.h>

#include "broker/log.h"
#include "broker/store.h"
#include "broker/store_rocksdb_settings.h"

enum {
    VALUE_BYTES = 300,
    KEY_BYTES = 64,
    HEAD_BYTES = 110,
    RUN_BYTES = 60,
    PATH_BYTES = 512,
    POOL_BYTES = 4 * 1024 * 1024 /* values are taken from: half text, half noise */
};

struct bench {
    const char *directory;
    uint64_t batch_size;
    uint64_t event_count;
    uint64_t stream_count;
    uint64_t *sequences; /* of each stream */
    uint64_t *touched;   /* the commit that has put its head */
    uint64_t random;
    uint8_t *pool;
    uint8_t *body; /* of one commit: what the log gets; in the pool */
    size_t body_bytes;
    struct store_batch *writes;
    double *latencies_us;
    size_t commit_count;
    double started_us;  /* of the first commit */
    double finished_us; /* of the last */
};

struct flusher {
    struct store *store;
    struct log *log;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct log_point point;
    bool wanted;
    bool stop;
    uint64_t count;
};

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "log_or_wal: %s failed\n", what);
        exit(1);
    }
}

static double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static uint64_t next_random(struct bench *bench)
{
    bench->random = bench->random * 6364136223846793005U + 1442695040888963407U;
    return bench->random >> 33;
}

/* Different bytes each time, which compress to about half. */
static const char *value_bytes(struct bench *bench, size_t size)
{
    return (const char *)bench->pool + next_random(bench) % (POOL_BYTES - size);
}

static void put(struct bench *bench, enum store_family family, const void *key, size_t key_size,
                size_t value_size)
{
    must(store_batch_put(bench->writes, family, (struct store_slice){key, key_size},
                         (struct store_slice){value_bytes(bench, value_size), value_size}) == ES_OK,
         "store_batch_put");
}

static size_t append_sequence(char key[KEY_BYTES], size_t size, uint64_t sequence)
{
    for (int i = 0; i < 8; i++) {
        key[size++] = (char)(sequence >> (56 - 8 * i));
    }
    return size;
}

/* One head a stream and commit. */
static bool is_first_touch(struct bench *bench, uint64_t stream)
{
    bool first = bench->touched[stream] != bench->commit_count + 1;

    bench->touched[stream] = bench->commit_count + 1;
    return first;
}

/* Fills the batch of one commit: events, heads, positions, the commit record and Last. */
static void make_commit(struct bench *bench, uint64_t position)
{
    char key[KEY_BYTES];
    size_t size = 0;

    store_batch_clear(bench->writes);
    for (uint64_t i = 0; i < bench->batch_size; i++) {
        uint64_t stream = next_random(bench) % bench->stream_count;
        int prefix = snprintf(key, sizeof key, "S:prod:main:L0:orders:M%06" PRIu64 ":", stream);
        uint64_t sequence = ++bench->sequences[stream];

        memcpy(key + prefix, "E:", 2);
        put(bench, STORE_EVENTS, key, append_sequence(key, (size_t)prefix + 2, sequence),
            VALUE_BYTES);
        if (is_first_touch(bench, stream)) {
            memcpy(key + prefix, "Head", 4);
            put(bench, STORE_STREAM_META, key, (size_t)prefix + 4, HEAD_BYTES);
        }
        if (sequence % 64 == 0) {
            memcpy(key + prefix, "Pos:", 4);
            put(bench, STORE_STREAM_META, key, append_sequence(key, (size_t)prefix + 4, sequence),
                9);
        }
    }
    size = append_sequence(key, append_sequence(key, 0, position), position);
    put(bench, STORE_COMMITS, key, size, 150 + (size_t)bench->batch_size * RUN_BYTES);
    put(bench, STORE_DEFAULT, "Last", 4, 60);
    put(bench, STORE_DEFAULT, "Category:prod:main:L0:orders", 28, 9);
}

static void record(struct bench *bench, double started_us)
{
    if (bench->commit_count == 0) {
        bench->started_us = started_us;
    }
    bench->finished_us = now_us();
    bench->latencies_us[bench->commit_count++] = bench->finished_us - started_us;
}

/* ---- The commit log, then RocksDB without its WAL ------------------------------- */

static void *flush_in_background(void *context)
{
    struct flusher *flusher = context;

    pthread_mutex_lock(&flusher->lock);
    while (!flusher->stop || flusher->wanted) {
        struct log_point point = flusher->point;

        if (!flusher->wanted) {
            pthread_cond_wait(&flusher->wake, &flusher->lock);
            continue;
        }
        pthread_mutex_unlock(&flusher->lock);
        must(store_flush_wait(flusher->store) == ES_OK, "store_flush_wait");
        must(log_mark_flushed(flusher->log, &point) == ES_OK, "log_mark_flushed");
        pthread_mutex_lock(&flusher->lock);
        flusher->wanted = false;
        flusher->count++;
        pthread_cond_broadcast(&flusher->wake);
    }
    pthread_mutex_unlock(&flusher->lock);
    return NULL;
}

static void segment_begun(struct flusher *flusher, const struct log_point *before)
{
    pthread_mutex_lock(&flusher->lock);
    while (flusher->wanted) {
        pthread_cond_wait(&flusher->wake, &flusher->lock);
    }
    must(store_flush_begin(flusher->store) == ES_OK, "store_flush_begin");
    flusher->point = *before;
    flusher->wanted = true;
    pthread_cond_broadcast(&flusher->wake);
    pthread_mutex_unlock(&flusher->lock);
}

static void append(struct flusher *flusher, const struct log_batch *batch)
{
    bool begun = false;
    enum es_status status = log_append(flusher->log, batch, &begun);

    while (status == ES_FULL) {
        pthread_mutex_lock(&flusher->lock);
        if (flusher->wanted) {
            pthread_cond_wait(&flusher->wake, &flusher->lock);
        }
        pthread_mutex_unlock(&flusher->lock);
        status = log_append(flusher->log, batch, &begun);
    }
    must(status == ES_OK, "log_append");
    must(log_sync(flusher->log) == ES_OK, "log_sync");
    if (begun) {
        segment_begun(flusher, &batch->previous);
    }
}

static void open_log(struct bench *bench, struct flusher *flusher)
{
    struct log_identity identity = {.epoch = 1, .secret = 1};
    struct log_geometry geometry = {LOG_SEGMENT_COUNT_DEFAULT, LOG_SEGMENT_BYTES_DEFAULT};
    struct log_point start = {0};
    struct log_ending ending;
    struct disk *disk = NULL;
    char path[PATH_BYTES];
    char why[LOG_WHY_BYTES];

    snprintf(path, sizeof path, "%s/log", bench->directory);
    must(mkdir(path, 0700) == 0, "mkdir log");
    must(disk_posix_new(path, &disk) == ES_OK, "disk_posix_new");
    must(log_create(disk, &identity, &geometry, &start) == ES_OK, "log_create");
    must(log_open(disk, DISK_READ_WRITE, why, &flusher->log) == ES_OK, "log_open");
    must(log_replay(flusher->log, 0, NULL, NULL, &ending) == ES_OK, "log_replay");
    must(log_begin(flusher->log, 1, &start) == ES_OK, "log_begin");
}

static void open_store(struct bench *bench, struct flusher *flusher)
{
    char db[PATH_BYTES];
    char logs[PATH_BYTES];
    char why[STORE_WHY_BYTES];
    struct store_rocksdb_options options = {.directory = db,
                                            .logs_directory = logs,
                                            .mode = STORE_CREATE,
                                            .unflushed_bytes_max = 96 << 20};

    snprintf(db, sizeof db, "%s/db", bench->directory);
    snprintf(logs, sizeof logs, "%s/logs", bench->directory);
    must(mkdir(logs, 0700) == 0, "mkdir logs");
    if (store_rocksdb_open(&options, why, &flusher->store) != ES_OK) {
        fprintf(stderr, "log_or_wal: %s\n", why);
        exit(1);
    }
}

static void run_log(struct bench *bench)
{
    struct flusher flusher = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    struct log_point at = {0};
    struct iovec part = {bench->body, bench->body_bytes};
    pthread_t thread;

    open_log(bench, &flusher);
    open_store(bench, &flusher);
    must(pthread_create(&thread, NULL, flush_in_background, &flusher) == 0, "pthread_create");
    for (uint64_t done = 0; done < bench->event_count; done += bench->batch_size) {
        struct log_batch batch = {.previous = at, .parts = &part, .part_count = 1};
        double started_us = now_us();

        make_commit(bench, done + bench->batch_size);
        append(&flusher, &batch);
        must(store_apply(flusher.store, bench->writes, STORE_APPLY_LIVE) == ES_OK, "store_apply");
        at.batch_number++;
        record(bench, started_us);
    }
    pthread_mutex_lock(&flusher.lock);
    flusher.stop = true;
    pthread_cond_broadcast(&flusher.wake);
    pthread_mutex_unlock(&flusher.lock);
    pthread_join(thread, NULL);
    printf("store memory %.1f MB, flushes %" PRIu64 "\n",
           (double)store_memory_bytes(flusher.store) / 1e6, flusher.count);
    fflush(stdout);
    store_free(flusher.store);
    log_free(flusher.log);
}

/* ---- RocksDB's WAL ------------------------------------------------------------------ */

struct wal {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *families[STORE_FAMILY_COUNT];
    rocksdb_writeoptions_t *synced;
    rocksdb_writebatch_t *writes;
};

/* As RocksDB is commonly run with a WAL: small memory tables that it flushes by itself. */
static void open_wal(struct bench *bench, struct wal *wal)
{
    rocksdb_options_t *base = rocksdb_options_create();
    rocksdb_options_t *options = rocksdb_options_create();
    const rocksdb_options_t *all[STORE_FAMILY_COUNT];
    const char *names[STORE_FAMILY_COUNT];
    char string[SETTINGS_STRING_BYTES];
    char path[PATH_BYTES];
    char *why = NULL;

    store_settings_database(string);
    rocksdb_get_options_from_string(base, string, options, &why);
    must(why == NULL, "rocksdb_get_options_from_string");
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_write_buffer_size(options, 32 << 20);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_max_total_wal_size(options, 96 << 20);
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        names[i] = store_family_name((enum store_family)i);
        all[i] = options;
    }
    snprintf(path, sizeof path, "%s/db", bench->directory);
    wal->db = rocksdb_open_column_families(options, path, STORE_FAMILY_COUNT, names, all,
                                           wal->families, &why);
    must(why == NULL, "rocksdb_open_column_families");
    wal->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(wal->synced, 1);
    wal->writes = rocksdb_writebatch_create();
    rocksdb_set_perf_level(rocksdb_disable);
}

static void run_wal(struct bench *bench)
{
    struct wal wal;
    char *why = NULL;
    size_t size = 0;
    char key[KEY_BYTES];

    open_wal(bench, &wal);
    for (uint64_t done = 0; done < bench->event_count; done += bench->batch_size) {
        double started_us = now_us();
        rocksdb_writebatch_clear(wal.writes);
        for (uint64_t i = 0; i < bench->batch_size; i++) {
            uint64_t stream = next_random(bench) % bench->stream_count;
            int prefix = snprintf(key, sizeof key, "S:prod:main:L0:orders:M%06" PRIu64 ":", stream);
            uint64_t sequence = ++bench->sequences[stream];

            memcpy(key + prefix, "E:", 2);
            size = append_sequence(key, (size_t)prefix + 2, sequence);
            rocksdb_writebatch_put_cf(wal.writes, wal.families[STORE_EVENTS], key, size,
                                      value_bytes(bench, VALUE_BYTES), VALUE_BYTES);
            if (!is_first_touch(bench, stream)) {
                continue;
            }
            memcpy(key + prefix, "Head", 4);
            rocksdb_writebatch_put_cf(wal.writes, wal.families[STORE_STREAM_META], key,
                                      (size_t)prefix + 4, value_bytes(bench, HEAD_BYTES),
                                      HEAD_BYTES);
        }
        size = append_sequence(key, append_sequence(key, 0, done), done);
        rocksdb_writebatch_put_cf(wal.writes, wal.families[STORE_COMMITS], key, size,
                                  (const char *)bench->body,
                                  150 + (size_t)bench->batch_size * RUN_BYTES);
        rocksdb_writebatch_put_cf(wal.writes, wal.families[STORE_DEFAULT], "Last", 4,
                                  (const char *)bench->body, 60);
        rocksdb_write(wal.db, wal.synced, wal.writes, &why);
        must(why == NULL, "rocksdb_write");
        record(bench, started_us);
    }
    rocksdb_writebatch_destroy(wal.writes);
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        rocksdb_column_family_handle_destroy(wal.families[i]);
    }
    rocksdb_close(wal.db);
}

/* ---- The disk alone ------------------------------------------------------------------- */

static void run_floor(struct bench *bench)
{
    const uint64_t file_bytes = LOG_SEGMENT_BYTES_DEFAULT;
    struct iovec part = {bench->body, bench->body_bytes};
    struct disk_file *file = NULL;
    struct disk *disk = NULL;
    uint64_t offset = 0;

    must(disk_posix_new(bench->directory, &disk) == ES_OK, "disk_posix_new");
    must(disk_create(disk, "floor", file_bytes, &file) == ES_OK, "disk_create");
    for (uint64_t done = 0; done < bench->event_count; done += bench->batch_size) {
        double started_us = now_us();

        if (offset + bench->body_bytes > file_bytes) {
            offset = 0;
        }
        must(disk_write(file, offset, &part, 1) == ES_OK, "disk_write");
        must(disk_sync(file) == ES_OK, "disk_sync");
        offset += bench->body_bytes;
        record(bench, started_us);
    }
    disk_close(file);
    disk_free(disk);
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

static double cpu_us(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void report(struct bench *bench, const char *mode)
{
    double seconds = (bench->finished_us - bench->started_us) / 1e6;
    double *latencies = bench->latencies_us;
    size_t count = bench->commit_count;
    double events = (double)(count * bench->batch_size);

    qsort(latencies, count, sizeof *latencies, by_size);
    printf("%-5s batch %4" PRIu64 " streams %6" PRIu64 ": %8.0f events/s; a commit p50 %.0f us, "
           "p99 %.0f, p99.9 %.0f, max %.0f; processor time an event %.2f us, of which this "
           "thread's %.2f\n",
           mode, bench->batch_size, bench->stream_count, events / seconds, latencies[count / 2],
           latencies[count * 99 / 100], latencies[count * 999 / 1000], latencies[count - 1],
           cpu_us(RUSAGE_SELF) / events, cpu_us(RUSAGE_THREAD) / events);
}

int main(int argc, char **argv)
{
    struct bench bench = {.random = 1};

    if (argc != 6) {
        fprintf(stderr, "usage: log_or_wal DIRECTORY log|wal|floor BATCH EVENTS STREAMS\n");
        return 64;
    }
    bench.directory = argv[1];
    bench.batch_size = strtoull(argv[3], NULL, 10);
    bench.event_count = strtoull(argv[4], NULL, 10);
    bench.stream_count = strtoull(argv[5], NULL, 10);
    must(bench.batch_size >= 1 && bench.batch_size <= 4096 && bench.stream_count >= 1, "arguments");
    bench.sequences = calloc(bench.stream_count, sizeof *bench.sequences);
    bench.body_bytes = (size_t)bench.batch_size * (VALUE_BYTES + RUN_BYTES) + 150 + HEAD_BYTES;
    bench.touched = calloc(bench.stream_count, sizeof *bench.touched);
    bench.pool = malloc(POOL_BYTES);
    bench.body = bench.pool;
    bench.latencies_us =
        calloc(bench.event_count / bench.batch_size + 2, sizeof *bench.latencies_us);
    must(bench.sequences != NULL && bench.touched != NULL && bench.pool != NULL &&
             bench.latencies_us != NULL,
         "memory");
    must(store_batch_new(&bench.writes) == ES_OK, "store_batch_new");
    for (size_t i = 0; i < POOL_BYTES; i++) {
        bench.pool[i] = (uint8_t)(i / 16 % 2 == 0 ? next_random(&bench) : 'a' + i % 16);
    }
    if (strcmp(argv[2], "log") == 0) {
        run_log(&bench);
    } else if (strcmp(argv[2], "wal") == 0) {
        run_wal(&bench);
    } else {
        run_floor(&bench);
    }
    report(&bench, argv[2]);
    return 0;
}
