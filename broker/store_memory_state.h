/*
 * The inside of a store in memory, shared by store_memory.c (the store, and writing) and
 * store_memory_read.c, and by nobody else.
 */
#ifndef BROKER_STORE_MEMORY_STATE_H
#define BROKER_STORE_MEMORY_STATE_H

#include <pthread.h>

#include "broker/store_backend.h"
#include "broker/store_tree.h"

struct memory_roots {
    struct store_tree_node *families[STORE_FAMILY_COUNT];
};

struct memory_store {
    struct store store;
    pthread_mutex_t lock; /* guards everything below */
    struct memory_roots latest;
    struct memory_roots cut;     /* held from flush_begin to flush_wait */
    struct memory_roots flushed; /* what a power cut leaves */
    bool flushing;
    uint64_t bytes; /* of keys and values in the latest version, with overhead */
};

static inline struct memory_store *memory_of(const struct store *store)
{
    return (struct memory_store *)store;
}

static inline void memory_roots_release(struct memory_roots *roots)
{
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        store_tree_release(roots->families[i]);
        roots->families[i] = NULL;
    }
}

/* Another hold on all of them. */
static inline struct memory_roots memory_roots_hold(const struct memory_roots *roots)
{
    struct memory_roots held;

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        held.families[i] = store_tree_hold(roots->families[i]);
    }
    return held;
}

/* As struct store_operations has them. */
ES_MUST_USE enum es_status store_memory_snapshot_new(struct store *store,
                                                     struct store_snapshot **ret_snapshot);
void store_memory_snapshot_free(struct store *store, struct store_snapshot *snapshot);
ES_MUST_USE enum es_status store_memory_get_many(struct store *store,
                                                 const struct store_snapshot *snapshot,
                                                 enum store_family family,
                                                 const struct store_slice *keys, size_t key_count,
                                                 store_visit_fn visit, void *context);
ES_MUST_USE enum es_status store_memory_iterator_new(struct store *store,
                                                     const struct store_snapshot *snapshot,
                                                     enum store_family family,
                                                     const struct store_range *range,
                                                     struct store_iterator **ret_iterator);

#endif
