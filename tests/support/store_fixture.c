#include "tests/support/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/support/temp_directory.h"

enum {
    KEY_BYTES_MAX = 128,
    TEXT_BYTES_MAX = 1024 * 1024
};

static const char *const kind_names[FIXTURE_KIND_COUNT] = {
    [FIXTURE_MEMORY] = "memory",
    [FIXTURE_ROCKSDB] = "rocksdb",
    [FIXTURE_OVERLAY] = "overlay over memory",
    [FIXTURE_OVERLAY_OVER_ROCKSDB] = "overlay over a read-only rocksdb",
};

static enum fixture_kind kinds[FIXTURE_KIND_COUNT] = {
    FIXTURE_MEMORY, FIXTURE_ROCKSDB, FIXTURE_OVERLAY, FIXTURE_OVERLAY_OVER_ROCKSDB};

void *fixture_kind(size_t kind)
{
    return &kinds[kind];
}

const char *fixture_kind_name(size_t kind)
{
    return kind_names[kind];
}

static struct store_slice slice_of(const char *text)
{
    return (struct store_slice){text, strlen(text)};
}

enum es_status fixture_open_rocksdb(const char *directory, enum store_mode mode,
                                    char why[STORE_WHY_BYTES], struct store **ret_store)
{
    char db[TEMP_DIRECTORY_BYTES_MAX + 8];
    char logs[TEMP_DIRECTORY_BYTES_MAX + 8];
    struct store_rocksdb_options options = {
        .directory = db, .logs_directory = logs, .mode = mode, .unflushed_bytes_max = 1 << 20};

    snprintf(db, sizeof db, "%s/db", directory);
    snprintf(logs, sizeof logs, "%s/logs", directory);
    (void)mkdir(logs, 0700);
    return store_rocksdb_open(&options, why, ret_store);
}

static struct store *expect_rocksdb(const char *directory, enum store_mode mode)
{
    char why[STORE_WHY_BYTES] = "";
    struct store *store = NULL;
    enum es_status status = fixture_open_rocksdb(directory, mode, why, &store);

    if (status != ES_OK) {
        fail_msg("RocksDB does not open: %s", why);
    }
    return store;
}

/* A RocksDB that holds some events, opened read-only. */
static struct store *make_base(struct store_fixture *fixture)
{
    struct store *store = expect_rocksdb(fixture->directory, STORE_CREATE);

    fixture->store = store;
    for (uint64_t sequence = 1; sequence <= 5; sequence++) {
        fixture_put_event(fixture, "S:base:E:", sequence, "below");
    }
    fixture_apply(fixture);
    assert_int_equal(store_flush_all(store), ES_OK);
    store_free(store);
    return expect_rocksdb(fixture->directory, STORE_READ_ONLY);
}

int fixture_set_up(void **state)
{
    struct store_fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->kind = *(const enum fixture_kind *)*state;
    fixture->text = malloc(TEXT_BYTES_MAX);
    fixture->directory = calloc(1, TEMP_DIRECTORY_BYTES_MAX);
    assert_non_null(fixture->text);
    assert_non_null(fixture->directory);
    assert_int_equal(store_batch_new(&fixture->batch), ES_OK);
    if (fixture->kind == FIXTURE_ROCKSDB || fixture->kind == FIXTURE_OVERLAY_OVER_ROCKSDB) {
        temp_directory_make(fixture->directory);
    }
    switch (fixture->kind) {
    case FIXTURE_MEMORY: assert_int_equal(store_memory_new(&fixture->store), ES_OK); break;
    case FIXTURE_ROCKSDB: fixture->store = expect_rocksdb(fixture->directory, STORE_CREATE); break;
    case FIXTURE_OVERLAY: assert_int_equal(store_memory_new(&fixture->base), ES_OK); break;
    default: fixture->base = make_base(fixture); break;
    }
    if (fixture->base != NULL) {
        assert_int_equal(store_overlay_new(fixture->base, &fixture->store), ES_OK);
    }
    *state = fixture;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct store_fixture *fixture = *state;

    store_free(fixture->store);
    store_free(fixture->base);
    if (fixture->directory[0] != '\0') {
        temp_directory_remove(fixture->directory);
    }
    store_batch_free(fixture->batch);
    store_buffer_deinit(&fixture->buffer);
    free(fixture->directory);
    free(fixture->text);
    free(fixture);
    return 0;
}

void fixture_put(struct store_fixture *fixture, enum store_family family, const char *key,
                 const char *value)
{
    assert_int_equal(store_batch_put(fixture->batch, family, slice_of(key), slice_of(value)),
                     ES_OK);
}

void fixture_delete(struct store_fixture *fixture, enum store_family family, const char *key)
{
    assert_int_equal(store_batch_delete(fixture->batch, family, slice_of(key)), ES_OK);
}

static struct store_slice event_key(const char *prefix, uint64_t sequence,
                                    uint8_t ret_bytes[KEY_BYTES_MAX])
{
    size_t size = strlen(prefix);

    assert_true(size + 8 <= KEY_BYTES_MAX);
    memcpy(ret_bytes, prefix, size);
    for (int i = 0; i < 8; i++) {
        ret_bytes[size++] = (uint8_t)(sequence >> (56 - 8 * i));
    }
    return (struct store_slice){ret_bytes, size};
}

void fixture_put_event(struct store_fixture *fixture, const char *prefix, uint64_t sequence,
                       const char *value)
{
    uint8_t bytes[KEY_BYTES_MAX];

    assert_int_equal(store_batch_put(fixture->batch, STORE_EVENTS,
                                     event_key(prefix, sequence, bytes), slice_of(value)),
                     ES_OK);
}

enum es_status fixture_try(struct store_fixture *fixture, enum store_apply_mode mode)
{
    enum es_status status = store_apply(fixture->store, fixture->batch, mode);

    store_batch_clear(fixture->batch);
    return status;
}

void fixture_apply(struct store_fixture *fixture)
{
    assert_int_equal(fixture_try(fixture, STORE_APPLY_LIVE), ES_OK);
}

static const char *get(struct store_fixture *fixture, const struct store_snapshot *snapshot,
                       enum store_family family, struct store_slice key)
{
    enum es_status status = store_get(fixture->store, snapshot, family, key, &fixture->buffer);

    if (status == ES_NOT_FOUND) {
        return NULL;
    }
    assert_int_equal(status, ES_OK);
    assert_true(fixture->buffer.size < TEXT_BYTES_MAX);
    memcpy(fixture->text, fixture->buffer.bytes, fixture->buffer.size);
    fixture->text[fixture->buffer.size] = '\0';
    return fixture->text;
}

const char *fixture_get(struct store_fixture *fixture, const struct store_snapshot *snapshot,
                        enum store_family family, const char *key)
{
    return get(fixture, snapshot, family, slice_of(key));
}

const char *fixture_get_event(struct store_fixture *fixture, const char *prefix, uint64_t sequence)
{
    uint8_t bytes[KEY_BYTES_MAX];

    return get(fixture, NULL, STORE_EVENTS, event_key(prefix, sequence, bytes));
}

const char *fixture_at(const struct store_iterator *iterator)
{
    static char text[KEY_BYTES_MAX * 2];
    struct store_slice key;
    struct store_slice value;

    assert_int_equal(store_iterator_status(iterator), ES_OK);
    if (!store_iterator_valid(iterator)) {
        return "";
    }
    key = store_iterator_key(iterator);
    value = store_iterator_value(iterator);
    snprintf(text, sizeof text, "%.*s=%.*s", (int)key.size, (const char *)key.bytes,
             (int)value.size, (const char *)value.bytes);
    return text;
}

/* Goes back from the end and finds the same entries, the last first. */
static void check_backwards(struct store_iterator *iterator, const char *text)
{
    size_t left = strlen(text);

    for (store_iterator_seek_last(iterator); store_iterator_valid(iterator);
         store_iterator_prev(iterator)) {
        const char *at = fixture_at(iterator);
        size_t size = strlen(at) + 1;

        assert_true(size <= left);
        assert_memory_equal(text + left - size, at, size - 1);
        left -= size;
    }
    assert_int_equal(left, 0);
}

const char *fixture_list(struct store_fixture *fixture, const struct store_snapshot *snapshot,
                         enum store_family family, const char *first, const char *end)
{
    struct store_range range = {slice_of(first), slice_of(end)};
    struct store_iterator *iterator = NULL;
    size_t used = 0;

    assert_int_equal(store_iterator_new(fixture->store, snapshot, family, &range, &iterator),
                     ES_OK);
    fixture->text[0] = '\0';
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        used += (size_t)snprintf(fixture->text + used, TEXT_BYTES_MAX - used, "%s ",
                                 fixture_at(iterator));
        assert_true(used < TEXT_BYTES_MAX);
    }
    check_backwards(iterator, fixture->text);
    store_iterator_free(iterator);
    return fixture->text;
}

int fixture_run(const struct CMUnitTest *tests, size_t count)
{
    struct CMUnitTest *of_kind = malloc(count * sizeof *of_kind);
    int failed = 0;

    assert_non_null(of_kind);
    for (size_t kind = 0; kind < FIXTURE_KIND_COUNT; kind++) {
        memcpy(of_kind, tests, count * sizeof *of_kind);
        for (size_t i = 0; i < count; i++) {
            of_kind[i].setup_func = fixture_set_up;
            of_kind[i].teardown_func = fixture_tear_down;
            of_kind[i].initial_state = fixture_kind(kind);
        }
        failed += _cmocka_run_group_tests(fixture_kind_name(kind), of_kind, count, NULL, NULL);
    }
    free(of_kind);
    return failed;
}
