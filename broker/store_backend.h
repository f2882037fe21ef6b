/*
 * What a kind of store implements, and the inside of a batch: for store*.c only.
 */
#ifndef BROKER_STORE_BACKEND_H
#define BROKER_STORE_BACKEND_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/store.h"

enum {
    STORE_SEQUENCE_BYTES = 8
};

struct store_operations {
    void (*free)(struct store *store);
    enum es_status (*apply)(struct store *store, const struct store_batch *batch,
                            enum store_apply_mode mode);
    enum es_status (*books)(struct store *store, struct store_books *ret_books); /* NULL: none */
    enum es_status (*begin_merging)(struct store *store); /* NULL: there is nothing to merge */
    /* NULL: reading cannot fail. */
    enum es_status (*check_replay)(struct store *store, const struct store_batch *batch);
    enum es_status (*flush_begin)(struct store *store);
    enum es_status (*flush_wait)(struct store *store);
    enum es_status (*checkpoint)(struct store *store, const char *directory);
    uint64_t (*memory_bytes)(const struct store *store);
    enum es_status (*snapshot_new)(struct store *store, struct store_snapshot **ret_snapshot);
    void (*snapshot_free)(struct store *store, struct store_snapshot *snapshot);
    enum es_status (*get_many)(struct store *store, const struct store_snapshot *snapshot,
                               enum store_family family, const struct store_slice *keys,
                               size_t key_count, store_visit_fn visit, void *context);
    enum es_status (*iterator_new)(struct store *store, const struct store_snapshot *snapshot,
                                   enum store_family family, const struct store_range *range,
                                   struct store_iterator **ret_iterator);
};

/* First member of every kind of store. */
struct store {
    const struct store_operations *operations;
    pthread_mutex_t why_lock;
    char why[STORE_WHY_BYTES];
};

void store_init(struct store *store, const struct store_operations *operations);
void store_deinit(struct store *store);

/* Keeps the first failure in words; returns 'status'. */
enum es_status store_fail(struct store *store, enum es_status status, const char *what);

struct store_iterator_operations {
    void (*free)(struct store_iterator *iterator);
    void (*seek_first)(struct store_iterator *iterator);
    void (*seek_last)(struct store_iterator *iterator);
    void (*seek)(struct store_iterator *iterator, struct store_slice key);
    void (*seek_for_prev)(struct store_iterator *iterator, struct store_slice key);
    void (*next)(struct store_iterator *iterator);
    void (*prev)(struct store_iterator *iterator);
    struct store_slice (*key)(const struct store_iterator *iterator);
    struct store_slice (*value)(const struct store_iterator *iterator);
    bool (*valid)(const struct store_iterator *iterator);
    enum es_status (*status)(const struct store_iterator *iterator);
};

/* First member of every kind of iterator. */
struct store_iterator {
    const struct store_iterator_operations *operations;
};

/* A range whose bounds somebody keeps: both slices point into 'bytes'. */
struct store_range_copy {
    struct store_range range;
    uint8_t *bytes;
};

ES_MUST_USE enum es_status store_range_copy_init(struct store_range_copy *copy,
                                                 const struct store_range *range);
void store_range_copy_deinit(struct store_range_copy *copy);

/* memcmp order, the shorter first. */
int store_slice_compare(struct store_slice a, struct store_slice b);

/* With a seed that nobody can know, so that nobody can choose bytes that fall together. */
uint64_t store_slice_hash(uint64_t seed, struct store_slice slice);

enum store_operation_kind {
    STORE_OPERATION_PUT,
    STORE_OPERATION_DELETE
};

struct store_operation {
    enum store_operation_kind kind;
    enum store_family family;
    struct store_slice key;
    struct store_slice value; /* of a put */
};

/* The operation at 'index' < store_batch_count(); valid until the batch changes. */
struct store_operation store_batch_at(const struct store_batch *batch, size_t index);

/* Replaces the contents of a buffer. */
ES_MUST_USE enum es_status store_buffer_set(struct store_buffer *buffer, struct store_slice bytes);

/* An event key less its sequence, and the sequence. */
struct store_slice store_event_prefix(struct store_slice key);
uint64_t store_event_sequence(struct store_slice key);

#endif
