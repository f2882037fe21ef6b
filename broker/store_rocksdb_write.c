/*
 * Writing to RocksDB: batches checked and applied, memory tables cut and flushed.
 */
#include <assert.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <rocksdb/c.h>

#include "broker/store_growth.h"
#include "broker/store_rocksdb_state.h"

enum {
    FLUSH_POLL_NS = 2 * 1000 * 1000,
    FLUSH_POLLS_MAX = 30 * 60 * 500
};

/* Looks into one family while a batch is checked; opened when the first look is needed. */
struct event_reader {
    struct rocks_store *rocks;
    struct rocksdb_iterator_t *iterator;
    bool is_on_event; /* it stands where the last event was looked for */
};

static void open_iterator(struct event_reader *reader)
{
    struct rocks_store *rocks = reader->rocks;

    if (reader->iterator == NULL) {
        reader->iterator = rocksdb_create_iterator_cf(rocks->db, rocks->read_stream,
                                                      rocks->families[STORE_EVENTS]);
    }
}

/* The highest sequence that RocksDB holds of a prefix, 0 without any. */
static enum es_status find_highest(struct event_reader *reader, struct store_slice prefix,
                                   uint64_t *ret_highest)
{
    uint8_t last[STORE_KEY_BYTES_MAX];
    size_t size = prefix.size + STORE_SEQUENCE_BYTES;
    uint64_t highest = 0;
    char *why = NULL;

    open_iterator(reader);
    reader->is_on_event = false;
    memcpy(last, prefix.bytes, prefix.size);
    memset(last + prefix.size, 0xff, STORE_SEQUENCE_BYTES);
    rocksdb_iter_seek_for_prev(reader->iterator, (const char *)last, size);
    while (rocksdb_iter_valid(reader->iterator) != 0) {
        struct store_slice key = {NULL, 0};

        key.bytes = rocksdb_iter_key(reader->iterator, &key.size);
        if (key.size < prefix.size || memcmp(key.bytes, prefix.bytes, prefix.size) != 0) {
            break;
        }
        if (key.size == size) {
            highest = store_event_sequence(key);
            break;
        }
        /* Of another prefix that begins with the same bytes. Files that were passed over may
         * hide some of those, but none of this prefix. */
        rocksdb_iter_prev(reader->iterator);
    }
    rocksdb_iter_get_error(reader->iterator, &why);
    if (why == NULL) {
        *ret_highest = highest;
    }
    return store_rocks_status(reader->rocks, why);
}

/*
 * ES_OK: the event is there, with these bytes. ES_E_EXISTS: it is not. In the order of
 * keys each is found a step behind the one before.
 */
static enum es_status find_same(struct event_reader *reader,
                                const struct store_operation *operation)
{
    struct store_slice key = {NULL, 0};
    struct store_slice value = {NULL, 0};
    char *why = NULL;

    if (reader->is_on_event && rocksdb_iter_valid(reader->iterator) != 0) {
        rocksdb_iter_next(reader->iterator);
        if (rocksdb_iter_valid(reader->iterator) != 0) {
            key.bytes = rocksdb_iter_key(reader->iterator, &key.size);
        }
    }
    if (key.bytes == NULL || store_slice_compare(key, operation->key) != 0) {
        rocksdb_iter_seek(reader->iterator, operation->key.bytes, operation->key.size);
    }
    reader->is_on_event = true;
    if (rocksdb_iter_valid(reader->iterator) == 0) {
        rocksdb_iter_get_error(reader->iterator, &why);
        return why == NULL ? ES_E_EXISTS : store_rocks_status(reader->rocks, why);
    }
    key.bytes = rocksdb_iter_key(reader->iterator, &key.size);
    value.bytes = rocksdb_iter_value(reader->iterator, &value.size);
    return store_slice_compare(key, operation->key) == 0 &&
                   store_slice_compare(value, operation->value) == 0
               ? ES_OK
               : ES_E_EXISTS;
}

/* ES_OK: write it. ES_EMPTY: a replay, and it is there with the same bytes. ES_E_EXISTS. */
static enum es_status check_event(struct event_reader *reader,
                                  const struct store_operation *operation,
                                  enum store_apply_mode mode)
{
    struct rocks_store *rocks = reader->rocks;
    struct store_slice prefix = store_event_prefix(operation->key);
    uint64_t sequence = store_event_sequence(operation->key);
    enum es_status status = store_growth_raise(rocks->growth, prefix, sequence);

    if (status == ES_EMPTY) {
        uint64_t highest = 0;

        status = find_highest(reader, prefix, &highest);
        if (status == ES_OK) {
            status = store_growth_learn(rocks->growth, prefix, highest);
        }
        if (status == ES_OK) {
            status = store_growth_raise(rocks->growth, prefix, sequence);
        }
    }
    if (status == ES_E_EXISTS && mode == STORE_APPLY_CHECKED) {
        return ES_EMPTY;
    }
    if (status == ES_E_EXISTS && mode == STORE_APPLY_REPLAY) {
        open_iterator(reader);
        status = find_same(reader, operation);
        return status == ES_OK ? ES_EMPTY : status;
    }
    return status;
}

static enum es_status fill_writes(struct event_reader *reader, const struct store_batch *batch,
                                  enum store_apply_mode mode)
{
    struct rocks_store *rocks = reader->rocks;

    for (size_t i = 0; i < store_batch_count(batch); i++) {
        struct store_operation operation = store_batch_at(batch, i);
        rocksdb_column_family_handle_t *family = rocks->families[operation.family];
        enum es_status status = ES_OK;

        if (rocks->read_only && operation.family != STORE_EVENTS) {
            continue;
        }
        if (operation.kind == STORE_OPERATION_DELETE) {
            rocksdb_writebatch_delete_cf(rocks->writes, family, operation.key.bytes,
                                         operation.key.size);
            continue;
        }
        if (operation.family == STORE_EVENTS) {
            status = check_event(reader, &operation, mode);
        }
        if (status == ES_OK && !rocks->read_only) {
            rocksdb_writebatch_put_cf(rocks->writes, family, operation.key.bytes,
                                      operation.key.size, operation.value.bytes,
                                      operation.value.size);
        } else if (status != ES_OK && status != ES_EMPTY) {
            return status;
        }
    }
    return ES_OK;
}

/* Makes a batch into rocks->writes, if it may be written; of a read-only store checks it alone. */
static enum es_status prepare(struct rocks_store *rocks, const struct store_batch *batch,
                              enum store_apply_mode mode)
{
    struct event_reader reader = {.rocks = rocks, .iterator = NULL};
    enum es_status status = ES_OK;

    rocksdb_set_perf_level(rocksdb_disable); /* of this thread; counting costs 17 % an event */
    rocksdb_writebatch_clear(rocks->writes);
    store_growth_begin(rocks->growth);
    status = fill_writes(&reader, batch, mode);
    if (reader.iterator != NULL) {
        rocksdb_iter_destroy(reader.iterator);
    }
    if (status != ES_OK) {
        store_growth_clear(rocks->growth);
    }
    return status == ES_E_EXISTS ? store_fail(&rocks->store, status, "an event key does not grow")
                                 : status;
}

enum es_status store_rocks_begin_merging(struct store *store)
{
    static const char *const name[] = {"disable_auto_compactions"};
    static const char *const value[] = {"false"};
    struct rocks_store *rocks = store_rocks_of(store);
    enum es_status status = ES_OK;

    for (int i = 0; i < STORE_FAMILY_COUNT && status == ES_OK; i++) {
        char *why = NULL;

        rocksdb_set_options_cf(rocks->db, rocks->families[i], 1, name, value, &why);
        status = store_rocks_status(rocks, why);
    }
    return status;
}

enum es_status store_rocks_check_replay(struct store *store, const struct store_batch *batch)
{
    return prepare(store_rocks_of(store), batch, STORE_APPLY_REPLAY);
}

enum es_status store_rocks_apply(struct store *store, const struct store_batch *batch,
                                 enum store_apply_mode mode)
{
    struct rocks_store *rocks = store_rocks_of(store);
    enum es_status status = ES_OK;
    char *why = NULL;

    if (rocks->read_only) {
        return ES_E_PERMISSION;
    }
    status = prepare(rocks, batch, mode);
    if (status == ES_OK) {
        rocksdb_write(rocks->db, rocks->write_without_wal, rocks->writes, &why);
        status = store_rocks_status(rocks, why);
    }
    if (mode != STORE_APPLY_LIVE) { /* many commits in one: their memory is not needed again */
        rocksdb_writebatch_destroy(rocks->writes);
        rocks->writes = rocksdb_writebatch_create();
    }
    return status;
}

static bool is_flushing(struct rocks_store *rocks)
{
    bool flushing = false;

    pthread_mutex_lock(&rocks->store.why_lock);
    flushing = rocks->flushing;
    pthread_mutex_unlock(&rocks->store.why_lock);
    return flushing;
}

static void set_flushing(struct rocks_store *rocks, bool flushing)
{
    pthread_mutex_lock(&rocks->store.why_lock);
    rocks->flushing = flushing;
    pthread_mutex_unlock(&rocks->store.why_lock);
}

/* Switches every family to a new memory table; RocksDB's own threads write the old ones. */
enum es_status store_rocks_flush_begin(struct store *store)
{
    struct rocks_store *rocks = store_rocks_of(store);
    enum es_status status = ES_OK;

    if (rocks->read_only) {
        return ES_E_PERMISSION;
    }
    if (is_flushing(rocks)) {
        return ES_FULL;
    }
    for (int i = 0; i < STORE_FAMILY_COUNT && status == ES_OK; i++) {
        char *why = NULL;

        rocksdb_flush_cf(rocks->db, rocks->flush_without_wait, rocks->families[i], &why);
        status = store_rocks_status(rocks, why);
    }
    if (status == ES_OK) {
        set_flushing(rocks, true);
    }
    return status;
}

/* Memory tables that are cut and not yet in synced files. */
static enum es_status count_cut(struct rocks_store *rocks, uint64_t *ret_count)
{
    uint64_t count = 0;
    uint64_t errors = 0;

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        uint64_t tables = 0;

        if (rocksdb_property_int_cf(rocks->db, rocks->families[i],
                                    "rocksdb.num-immutable-mem-table", &tables) != 0) {
            return store_fail(&rocks->store, ES_E_IO, "RocksDB does not tell its memory tables");
        }
        count += tables;
    }
    if (rocksdb_property_int(rocks->db, "rocksdb.background-errors", &errors) != 0 || errors > 0) {
        return store_fail(&rocks->store, ES_E_IO, "RocksDB failed to write a file: see its LOG");
    }
    *ret_count = count;
    return ES_OK;
}

/*
 * Looks again and again: a waiting flush would also cut, and so write what has
 * been applied since, which the log may not have synced yet.
 */
enum es_status store_rocks_flush_wait(struct store *store)
{
    struct rocks_store *rocks = store_rocks_of(store);
    struct timespec pause = {.tv_nsec = FLUSH_POLL_NS};

    if (!is_flushing(rocks)) {
        return ES_OK;
    }
    for (int i = 0; i < FLUSH_POLLS_MAX; i++) {
        uint64_t count = 0;
        enum es_status status = count_cut(rocks, &count);

        if (status != ES_OK) {
            return status;
        }
        if (count == 0) {
            set_flushing(rocks, false);
            return ES_OK;
        }
        nanosleep(&pause, NULL);
    }
    return store_fail(store, ES_E_IO, "RocksDB has not flushed within half an hour");
}

enum es_status store_rocks_checkpoint(struct store *store, const char *directory)
{
    struct rocks_store *rocks = store_rocks_of(store);
    struct stat about;
    char *why = NULL;
    rocksdb_checkpoint_t *checkpoint = NULL;

    if (lstat(directory, &about) == 0) {
        return ES_E_EXISTS;
    }
    checkpoint = rocksdb_checkpoint_object_create(rocks->db, &why);
    if (why == NULL) {
        rocksdb_checkpoint_create(checkpoint, directory, 0, &why);
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    return store_rocks_status(rocks, why);
}

uint64_t store_rocks_memory_bytes(const struct store *store)
{
    const struct rocks_store *rocks = store_rocks_of(store);
    uint64_t total = rocksdb_cache_get_usage(rocks->cache);

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        uint64_t tables = 0;
        uint64_t readers = 0;

        (void)rocksdb_property_int_cf(rocks->db, rocks->families[i], "rocksdb.size-all-mem-tables",
                                      &tables);
        (void)rocksdb_property_int_cf(rocks->db, rocks->families[i],
                                      "rocksdb.estimate-table-readers-mem", &readers);
        total += tables + readers;
    }
    return total;
}
