/*
 * A store of each kind for tests, with keys and values that are strings. What
 * is returned as a string lasts until the next call.
 */
#ifndef TESTS_SUPPORT_STORE_FIXTURE_H
#define TESTS_SUPPORT_STORE_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "broker/store.h"

enum fixture_kind {
    FIXTURE_MEMORY,
    FIXTURE_ROCKSDB,
    FIXTURE_OVERLAY,              /* over an empty store in memory */
    FIXTURE_OVERLAY_OVER_ROCKSDB, /* read-only, and holding the streams 'S:base:...' */
    FIXTURE_KIND_COUNT
};

struct CMUnitTest;

struct store_fixture {
    enum fixture_kind kind;
    struct store *store;
    struct store *base; /* of an overlay */
    char *directory;    /* temporary, "" if none; RocksDB's is db/ below it */
    struct store_batch *batch;
    struct store_buffer buffer;
    char *text;
};

/* For a cmocka test's initial state, and its name. */
void *fixture_kind(size_t kind);
const char *fixture_kind_name(size_t kind);

/* cmocka's set-up and tear-down: '*state' is a fixture_kind(), then a struct store_fixture *. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* Runs the tests, made with cmocka_unit_test(), on a store of each kind. The count of failures. */
int fixture_run(const struct CMUnitTest *tests, size_t count);

/* RocksDB under 'directory'/db, its LOG files in 'directory'/logs. */
enum es_status fixture_open_rocksdb(const char *directory, enum store_mode mode,
                                    char why[STORE_WHY_BYTES], struct store **ret_store);

void fixture_put(struct store_fixture *fixture, enum store_family family, const char *key,
                 const char *value);
void fixture_delete(struct store_fixture *fixture, enum store_family family, const char *key);
void fixture_put_event(struct store_fixture *fixture, const char *prefix, uint64_t sequence,
                       const char *value);

/* Applies the batch and clears it. fixture_apply() expects ES_OK. */
enum es_status fixture_try(struct store_fixture *fixture, enum store_apply_mode mode);
void fixture_apply(struct store_fixture *fixture);

/* NULL: not found. Anything but ES_OK and ES_NOT_FOUND fails the test. */
const char *fixture_get(struct store_fixture *fixture, const struct store_snapshot *snapshot,
                        enum store_family family, const char *key);
const char *fixture_get_event(struct store_fixture *fixture, const char *prefix, uint64_t sequence);

/* "key=value key=value " of a range, read forwards and checked backwards. */
const char *fixture_list(struct store_fixture *fixture, const struct store_snapshot *snapshot,
                         enum store_family family, const char *first, const char *end);

/* "key=value" where the iterator stands, "" where it is not valid. */
const char *fixture_at(const struct store_iterator *iterator);

#endif
