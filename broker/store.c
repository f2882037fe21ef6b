/*
 * What all kinds of store share: buffers and slices, and the calls of store.h handed
 * to whichever store it is. The batch is store_batch.c.
 */
#include "broker/store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store_backend.h"

static const char *const family_names[STORE_FAMILY_COUNT] = {
    [STORE_DEFAULT] = "default",
    [STORE_EVENTS] = "events",
    [STORE_STREAM_META] = "stream_meta",
    [STORE_SNAPSHOTS] = "snapshots",
    [STORE_KV] = "kv",
    [STORE_READ_MODELS] = "read_models",
    [STORE_COMMITS] = "commits",
    [STORE_PRODUCERS] = "producers",
    [STORE_CONSUMERS] = "consumers",
};

const char *store_family_name(enum store_family family)
{
    assert(family < STORE_FAMILY_COUNT);
    return family_names[family];
}

/* ---- Bytes ---------------------------------------------------------------- */

int store_slice_compare(struct store_slice a, struct store_slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.bytes, b.bytes, common);

    if (order != 0) {
        return order;
    }
    return (a.size > b.size) - (a.size < b.size);
}

/* Multiply and fold, eight bytes at a time. */
uint64_t store_slice_hash(uint64_t seed, struct store_slice slice)
{
    const uint8_t *bytes = slice.bytes;
    uint64_t hash = seed ^ slice.size;
    size_t left = slice.size;

    while (left > 0) {
        size_t part = left < sizeof(uint64_t) ? left : sizeof(uint64_t);
        uint64_t word = 0;
        unsigned __int128 product = 0;

        memcpy(&word, bytes, part);
        product =
            (unsigned __int128)(hash ^ word ^ 0xa0761d6478bd642fU) * (seed ^ 0xe7037ed1a0b428dbU);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
        bytes += part;
        left -= part;
    }
    return hash;
}

void store_buffer_deinit(struct store_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct store_buffer){0};
}

enum es_status store_buffer_set(struct store_buffer *buffer, struct store_slice bytes)
{
    if (buffer->capacity < bytes.size || buffer->bytes == NULL) {
        size_t capacity = bytes.size < 256 ? 256 : bytes.size + bytes.size / 4;
        uint8_t *larger = realloc(buffer->bytes, capacity);

        if (larger == NULL) {
            return ES_E_NO_MEMORY;
        }
        buffer->bytes = larger;
        buffer->capacity = capacity;
    }
    if (bytes.size > 0) {
        memcpy(buffer->bytes, bytes.bytes, bytes.size);
    }
    buffer->size = bytes.size;
    return ES_OK;
}

struct store_slice store_event_prefix(struct store_slice key)
{
    assert(key.size > STORE_SEQUENCE_BYTES);
    return (struct store_slice){key.bytes, key.size - STORE_SEQUENCE_BYTES};
}

uint64_t store_event_sequence(struct store_slice key)
{
    const uint8_t *bytes = (const uint8_t *)key.bytes + key.size - STORE_SEQUENCE_BYTES;
    uint64_t sequence = 0;

    for (int i = 0; i < STORE_SEQUENCE_BYTES; i++) {
        sequence = sequence << 8 | bytes[i];
    }
    return sequence;
}

size_t store_prefix_end(struct store_slice prefix, void *ret_end)
{
    const uint8_t *from = prefix.bytes;
    uint8_t *end = ret_end;
    size_t size = prefix.size;

    while (size > 0 && from[size - 1] == 0xff) {
        size--;
    }
    if (size > 0) {
        memcpy(end, from, size);
        end[size - 1]++;
    }
    return size;
}

enum es_status store_range_copy_init(struct store_range_copy *copy, const struct store_range *range)
{
    uint8_t *bytes = malloc(range->first.size + range->end.size + 1);

    if (bytes == NULL) {
        return ES_E_NO_MEMORY;
    }
    if (range->first.size > 0) {
        memcpy(bytes, range->first.bytes, range->first.size);
    }
    if (range->end.size > 0) {
        memcpy(bytes + range->first.size, range->end.bytes, range->end.size);
    }
    copy->bytes = bytes;
    copy->range.first = (struct store_slice){bytes, range->first.size};
    copy->range.end = (struct store_slice){bytes + range->first.size, range->end.size};
    return ES_OK;
}

void store_range_copy_deinit(struct store_range_copy *copy)
{
    free(copy->bytes);
}

/* ---- Whichever store it is ------------------------------------------------ */

void store_init(struct store *store, const struct store_operations *operations)
{
    store->operations = operations;
    pthread_mutex_init(&store->why_lock, NULL);
    store->why[0] = '\0';
}

void store_deinit(struct store *store)
{
    pthread_mutex_destroy(&store->why_lock);
}

enum es_status store_fail(struct store *store, enum es_status status, const char *what)
{
    pthread_mutex_lock(&store->why_lock);
    if (store->why[0] == '\0') {
        snprintf(store->why, sizeof store->why, "%s", what);
    }
    pthread_mutex_unlock(&store->why_lock);
    return status;
}

/* Written once, so it may be read without the lock once the lock has been passed. */
const char *store_why(const struct store *store)
{
    struct store *lockable = (struct store *)(uintptr_t)store;

    pthread_mutex_lock(&lockable->why_lock);
    pthread_mutex_unlock(&lockable->why_lock);
    return store->why;
}

void store_free(struct store *store)
{
    if (store != NULL) {
        store->operations->free(store);
    }
}

enum es_status store_apply(struct store *store, const struct store_batch *batch,
                           enum store_apply_mode mode)
{
    return store->operations->apply(store, batch, mode);
}

enum es_status store_books(struct store *store, struct store_books *ret_books)
{
    *ret_books = (struct store_books){.number = 0};
    return store->operations->books == NULL ? ES_OK : store->operations->books(store, ret_books);
}

enum es_status store_begin_merging(struct store *store)
{
    return store->operations->begin_merging == NULL ? ES_OK
                                                    : store->operations->begin_merging(store);
}

enum es_status store_check_replay(struct store *store, const struct store_batch *batch)
{
    return store->operations->check_replay == NULL ? ES_OK
                                                   : store->operations->check_replay(store, batch);
}

enum es_status store_flush_begin(struct store *store)
{
    return store->operations->flush_begin(store);
}

enum es_status store_flush_wait(struct store *store)
{
    return store->operations->flush_wait(store);
}

enum es_status store_flush_all(struct store *store)
{
    enum es_status status = store_flush_wait(store);

    if (status == ES_OK) {
        status = store_flush_begin(store);
    }
    return status == ES_OK ? store_flush_wait(store) : status;
}

enum es_status store_checkpoint(struct store *store, const char *directory)
{
    return store->operations->checkpoint(store, directory);
}

uint64_t store_memory_bytes(const struct store *store)
{
    return store->operations->memory_bytes(store);
}

enum es_status store_snapshot_new(struct store *store, struct store_snapshot **ret_snapshot)
{
    return store->operations->snapshot_new(store, ret_snapshot);
}

void store_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    if (snapshot != NULL) {
        store->operations->snapshot_free(store, snapshot);
    }
}

struct get_context {
    struct store_buffer *value;
    bool found;
};

static enum es_status get_visit(void *context, size_t index, const struct store_slice *value)
{
    struct get_context *get = context;

    (void)index;
    if (value == NULL) {
        return ES_OK;
    }
    get->found = true;
    return store_buffer_set(get->value, *value);
}

enum es_status store_get(struct store *store, const struct store_snapshot *snapshot,
                         enum store_family family, struct store_slice key,
                         struct store_buffer *ret_value)
{
    struct get_context get = {.value = ret_value, .found = false};
    enum es_status status = store_get_many(store, snapshot, family, &key, 1, get_visit, &get);

    return status == ES_OK && !get.found ? ES_NOT_FOUND : status;
}

enum es_status store_get_many(struct store *store, const struct store_snapshot *snapshot,
                              enum store_family family, const struct store_slice *keys,
                              size_t key_count, store_visit_fn visit, void *context)
{
    assert(family < STORE_FAMILY_COUNT);
    assert(key_count >= 1);
    assert(key_count <= STORE_GET_MANY_MAX);
    return store->operations->get_many(store, snapshot, family, keys, key_count, visit, context);
}

enum es_status store_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                  enum store_family family, const struct store_range *range,
                                  struct store_iterator **ret_iterator)
{
    assert(family < STORE_FAMILY_COUNT);
    return store->operations->iterator_new(store, snapshot, family, range, ret_iterator);
}

void store_iterator_free(struct store_iterator *iterator)
{
    if (iterator != NULL) {
        iterator->operations->free(iterator);
    }
}

void store_iterator_seek_first(struct store_iterator *iterator)
{
    iterator->operations->seek_first(iterator);
}

void store_iterator_seek_last(struct store_iterator *iterator)
{
    iterator->operations->seek_last(iterator);
}

void store_iterator_seek(struct store_iterator *iterator, struct store_slice key)
{
    iterator->operations->seek(iterator, key);
}

void store_iterator_seek_for_prev(struct store_iterator *iterator, struct store_slice key)
{
    iterator->operations->seek_for_prev(iterator, key);
}

void store_iterator_next(struct store_iterator *iterator)
{
    iterator->operations->next(iterator);
}

void store_iterator_prev(struct store_iterator *iterator)
{
    iterator->operations->prev(iterator);
}

struct store_slice store_iterator_key(const struct store_iterator *iterator)
{
    return iterator->operations->key(iterator);
}

struct store_slice store_iterator_value(const struct store_iterator *iterator)
{
    return iterator->operations->value(iterator);
}

bool store_iterator_valid(const struct store_iterator *iterator)
{
    return iterator->operations->valid(iterator);
}

enum es_status store_iterator_status(const struct store_iterator *iterator)
{
    return iterator->operations->status(iterator);
}
