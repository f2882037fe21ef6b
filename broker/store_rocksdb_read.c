/*
 * Reading from RocksDB: snapshots, values and iterators. Checksums are verified
 * on every read, so damage is an error and never other bytes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <rocksdb/c.h>

#include "broker/store_rocksdb_state.h"

rocksdb_readoptions_t *store_rocks_read_options(void)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();

    rocksdb_readoptions_set_ignore_range_deletions(options, 1);
    return options;
}

struct rocks_snapshot {
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
};

struct rocks_iterator {
    struct store_iterator iterator;
    struct rocks_store *rocks;
    rocksdb_iterator_t *rocks_iterator;
    rocksdb_readoptions_t *read;
    struct store_range_copy range;
};

/* ---- Snapshots and values --------------------------------------------------- */

enum es_status store_rocks_snapshot_new(struct store *store, struct store_snapshot **ret_snapshot)
{
    struct rocks_store *rocks = store_rocks_of(store);
    struct rocks_snapshot *snapshot = calloc(1, sizeof *snapshot);

    if (snapshot == NULL) {
        return ES_E_NO_MEMORY;
    }
    snapshot->snapshot = rocksdb_create_snapshot(rocks->db);
    snapshot->read = store_rocks_read_options();
    rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->snapshot);
    *ret_snapshot = (struct store_snapshot *)snapshot;
    return ES_OK;
}

void store_rocks_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    struct rocks_snapshot *rocks_snapshot = (struct rocks_snapshot *)snapshot;

    rocksdb_readoptions_destroy(rocks_snapshot->read);
    rocksdb_release_snapshot(store_rocks_of(store)->db, rocks_snapshot->snapshot);
    free(rocks_snapshot);
}

static const rocksdb_readoptions_t *read_options(const struct rocks_store *rocks,
                                                 const struct store_snapshot *snapshot)
{
    return snapshot == NULL ? rocks->read_latest : ((const struct rocks_snapshot *)snapshot)->read;
}

/* Hands one pinned value, or none, to the visitor and lets it go. */
static enum es_status visit_pinned(rocksdb_pinnableslice_t *pinned, size_t index,
                                   store_visit_fn visit, void *context)
{
    struct store_slice value = {NULL, 0};
    enum es_status status = ES_OK;

    if (pinned == NULL) {
        return visit(context, index, NULL);
    }
    value.bytes = rocksdb_pinnableslice_value(pinned, &value.size);
    status = visit(context, index, &value);
    rocksdb_pinnableslice_destroy(pinned);
    return status;
}

static enum es_status get_one(struct rocks_store *rocks, const rocksdb_readoptions_t *read,
                              enum store_family family, struct store_slice key,
                              store_visit_fn visit, void *context)
{
    char *why = NULL;
    rocksdb_pinnableslice_t *pinned =
        rocksdb_get_pinned_cf(rocks->db, read, rocks->families[family], key.bytes, key.size, &why);

    if (why != NULL) {
        return store_rocks_status(rocks, why);
    }
    return visit_pinned(pinned, 0, visit, context);
}

enum es_status store_rocks_get_many(struct store *store, const struct store_snapshot *snapshot,
                                    enum store_family family, const struct store_slice *keys,
                                    size_t key_count, store_visit_fn visit, void *context)
{
    struct rocks_store *rocks = store_rocks_of(store);
    const rocksdb_readoptions_t *read = read_options(rocks, snapshot);
    rocksdb_pinnableslice_t *pinned[STORE_GET_MANY_MAX] = {NULL};
    const char *key_bytes[STORE_GET_MANY_MAX];
    size_t key_sizes[STORE_GET_MANY_MAX];
    char *whys[STORE_GET_MANY_MAX] = {NULL};
    enum es_status status = ES_OK;

    if (key_count == 1) {
        return get_one(rocks, read, family, keys[0], visit, context);
    }
    for (size_t i = 0; i < key_count; i++) {
        key_bytes[i] = keys[i].bytes;
        key_sizes[i] = keys[i].size;
    }
    rocksdb_batched_multi_get_cf(rocks->db, read, rocks->families[family], key_count, key_bytes,
                                 key_sizes, pinned, whys, false);
    for (size_t i = 0; i < key_count; i++) {
        if (whys[i] != NULL) {
            enum es_status failure = store_rocks_status(rocks, whys[i]);

            status = status == ES_OK ? failure : status;
        }
        if (status != ES_OK) {
            if (pinned[i] != NULL) {
                rocksdb_pinnableslice_destroy(pinned[i]);
            }
        } else {
            status = visit_pinned(pinned[i], i, visit, context);
        }
    }
    return status;
}

/* ---- Iterators ---------------------------------------------------------------- */

static struct rocks_iterator *iterator_of(const struct store_iterator *iterator)
{
    return (struct rocks_iterator *)iterator;
}

static void iterator_free(struct store_iterator *iterator)
{
    struct rocks_iterator *rocks = iterator_of(iterator);

    rocksdb_iter_destroy(rocks->rocks_iterator);
    rocksdb_readoptions_destroy(rocks->read);
    store_range_copy_deinit(&rocks->range);
    free(rocks);
}

static void iterator_seek_first(struct store_iterator *iterator)
{
    rocksdb_iter_seek_to_first(iterator_of(iterator)->rocks_iterator);
}

static void iterator_seek_last(struct store_iterator *iterator)
{
    rocksdb_iter_seek_to_last(iterator_of(iterator)->rocks_iterator);
}

static void iterator_seek(struct store_iterator *iterator, struct store_slice key)
{
    rocksdb_iter_seek(iterator_of(iterator)->rocks_iterator, key.bytes, key.size);
}

static void iterator_seek_for_prev(struct store_iterator *iterator, struct store_slice key)
{
    rocksdb_iter_seek_for_prev(iterator_of(iterator)->rocks_iterator, key.bytes, key.size);
}

static void iterator_next(struct store_iterator *iterator)
{
    rocksdb_iter_next(iterator_of(iterator)->rocks_iterator);
}

static void iterator_prev(struct store_iterator *iterator)
{
    rocksdb_iter_prev(iterator_of(iterator)->rocks_iterator);
}

static struct store_slice iterator_key(const struct store_iterator *iterator)
{
    struct store_slice key = {NULL, 0};

    key.bytes = rocksdb_iter_key(iterator_of(iterator)->rocks_iterator, &key.size);
    return key;
}

static struct store_slice iterator_value(const struct store_iterator *iterator)
{
    struct store_slice value = {NULL, 0};

    value.bytes = rocksdb_iter_value(iterator_of(iterator)->rocks_iterator, &value.size);
    return value;
}

static bool iterator_valid(const struct store_iterator *iterator)
{
    return rocksdb_iter_valid(iterator_of(iterator)->rocks_iterator) != 0;
}

static enum es_status iterator_status(const struct store_iterator *iterator)
{
    char *why = NULL;

    rocksdb_iter_get_error(iterator_of(iterator)->rocks_iterator, &why);
    return store_rocks_status(iterator_of(iterator)->rocks, why);
}

static const struct store_iterator_operations iterator_operations = {
    .free = iterator_free,
    .seek_first = iterator_seek_first,
    .seek_last = iterator_seek_last,
    .seek = iterator_seek,
    .seek_for_prev = iterator_seek_for_prev,
    .next = iterator_next,
    .prev = iterator_prev,
    .key = iterator_key,
    .value = iterator_value,
    .valid = iterator_valid,
    .status = iterator_status,
};

enum es_status store_rocks_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                        enum store_family family, const struct store_range *range,
                                        struct store_iterator **ret_iterator)
{
    struct rocks_store *rocks = store_rocks_of(store);
    struct rocks_iterator *iterator = calloc(1, sizeof *iterator);
    const struct store_range *bounds = NULL;
    enum es_status status = ES_E_NO_MEMORY;

    if (iterator != NULL) {
        status = store_range_copy_init(&iterator->range, range);
    }
    if (status != ES_OK) {
        free(iterator);
        return status;
    }
    bounds = &iterator->range.range;
    iterator->iterator.operations = &iterator_operations;
    iterator->rocks = rocks;
    iterator->read = store_rocks_read_options();
    /* Across streams: without this the filters of the prefixes would hide entries. */
    rocksdb_readoptions_set_total_order_seek(iterator->read, 1);
    if (snapshot != NULL) {
        rocksdb_readoptions_set_snapshot(iterator->read,
                                         ((const struct rocks_snapshot *)snapshot)->snapshot);
    }
    if (bounds->first.size > 0) {
        rocksdb_readoptions_set_iterate_lower_bound(iterator->read, bounds->first.bytes,
                                                    bounds->first.size);
    }
    if (bounds->end.size > 0) {
        rocksdb_readoptions_set_iterate_upper_bound(iterator->read, bounds->end.bytes,
                                                    bounds->end.size);
    }
    iterator->rocks_iterator =
        rocksdb_create_iterator_cf(rocks->db, iterator->read, rocks->families[family]);
    *ret_iterator = &iterator->iterator;
    return ES_OK;
}
