/*
 * Reading of the store in memory: snapshots, values and iterators, each of them a hold on
 * the trees that were the latest then.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/store_memory_state.h"

struct memory_snapshot {
    struct memory_roots roots;
};

struct memory_iterator {
    struct store_iterator iterator;
    struct store_tree_node *root; /* held */
    const struct store_tree_node *at;
    struct store_range_copy range;
};

enum es_status store_memory_snapshot_new(struct store *store, struct store_snapshot **ret_snapshot)
{
    struct memory_store *memory = memory_of(store);
    struct memory_snapshot *snapshot = malloc(sizeof *snapshot);

    if (snapshot == NULL) {
        return ES_E_NO_MEMORY;
    }
    pthread_mutex_lock(&memory->lock);
    snapshot->roots = memory_roots_hold(&memory->latest);
    pthread_mutex_unlock(&memory->lock);
    *ret_snapshot = (struct store_snapshot *)snapshot;
    return ES_OK;
}

void store_memory_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    (void)store;
    memory_roots_release(&((struct memory_snapshot *)snapshot)->roots);
    free(snapshot);
}

/* A hold on one family, of a snapshot or of the latest version. */
static struct store_tree_node *family_hold(struct store *store,
                                           const struct store_snapshot *snapshot,
                                           enum store_family family)
{
    struct memory_store *memory = memory_of(store);
    struct store_tree_node *root = NULL;

    if (snapshot != NULL) {
        return store_tree_hold(((const struct memory_snapshot *)snapshot)->roots.families[family]);
    }
    pthread_mutex_lock(&memory->lock);
    root = store_tree_hold(memory->latest.families[family]);
    pthread_mutex_unlock(&memory->lock);
    return root;
}

enum es_status store_memory_get_many(struct store *store, const struct store_snapshot *snapshot,
                                     enum store_family family, const struct store_slice *keys,
                                     size_t key_count, store_visit_fn visit, void *context)
{
    struct store_tree_node *root = family_hold(store, snapshot, family);
    enum es_status status = ES_OK;

    for (size_t i = 0; i < key_count && status == ES_OK; i++) {
        const struct store_tree_node *node = store_tree_find(root, keys[i]);

        if (node == NULL) {
            status = visit(context, i, NULL);
        } else {
            struct store_slice value = store_tree_value(node);

            status = visit(context, i, &value);
        }
    }
    store_tree_release(root);
    return status;
}

static struct memory_iterator *memory_iterator_of(const struct store_iterator *iterator)
{
    return (struct memory_iterator *)iterator;
}

/* Stands on 'node' if it lies in the range. */
static void stand_on(struct memory_iterator *iterator, const struct store_tree_node *node)
{
    const struct store_range *range = &iterator->range.range;

    iterator->at = NULL;
    if (node != NULL && store_slice_compare(store_tree_key(node), range->first) >= 0 &&
        (range->end.size == 0 || store_slice_compare(store_tree_key(node), range->end) < 0)) {
        iterator->at = node;
    }
}

static void memory_iterator_free(struct store_iterator *iterator)
{
    store_tree_release(memory_iterator_of(iterator)->root);
    store_range_copy_deinit(&memory_iterator_of(iterator)->range);
    free(iterator);
}

static void memory_seek(struct store_iterator *iterator, struct store_slice key)
{
    struct memory_iterator *memory = memory_iterator_of(iterator);
    struct store_slice first = memory->range.range.first;

    if (store_slice_compare(key, first) < 0) {
        key = first;
    }
    stand_on(memory, store_tree_at_or_after(memory->root, key, true));
}

static void memory_seek_for_prev(struct store_iterator *iterator, struct store_slice key)
{
    struct memory_iterator *memory = memory_iterator_of(iterator);
    struct store_slice end = memory->range.range.end;
    bool beyond = end.size > 0 && store_slice_compare(key, end) >= 0;

    stand_on(memory, store_tree_at_or_before(memory->root, beyond ? end : key, !beyond));
}

static void memory_seek_first(struct store_iterator *iterator)
{
    memory_seek(iterator, memory_iterator_of(iterator)->range.range.first);
}

static void memory_seek_last(struct store_iterator *iterator)
{
    struct memory_iterator *memory = memory_iterator_of(iterator);
    struct store_slice end = memory->range.range.end;

    stand_on(memory, end.size == 0 ? store_tree_last(memory->root)
                                   : store_tree_at_or_before(memory->root, end, false));
}

static void memory_next(struct store_iterator *iterator)
{
    struct memory_iterator *memory = memory_iterator_of(iterator);

    assert(memory->at != NULL);
    stand_on(memory, store_tree_at_or_after(memory->root, store_tree_key(memory->at), false));
}

static void memory_prev(struct store_iterator *iterator)
{
    struct memory_iterator *memory = memory_iterator_of(iterator);

    assert(memory->at != NULL);
    stand_on(memory, store_tree_at_or_before(memory->root, store_tree_key(memory->at), false));
}

static struct store_slice memory_key(const struct store_iterator *iterator)
{
    assert(memory_iterator_of(iterator)->at != NULL);
    return store_tree_key(memory_iterator_of(iterator)->at);
}

static struct store_slice memory_value(const struct store_iterator *iterator)
{
    assert(memory_iterator_of(iterator)->at != NULL);
    return store_tree_value(memory_iterator_of(iterator)->at);
}

static bool memory_valid(const struct store_iterator *iterator)
{
    return memory_iterator_of(iterator)->at != NULL;
}

static enum es_status memory_status(const struct store_iterator *iterator)
{
    (void)iterator;
    return ES_OK;
}

static const struct store_iterator_operations memory_iterator_operations = {
    .free = memory_iterator_free,
    .seek_first = memory_seek_first,
    .seek_last = memory_seek_last,
    .seek = memory_seek,
    .seek_for_prev = memory_seek_for_prev,
    .next = memory_next,
    .prev = memory_prev,
    .key = memory_key,
    .value = memory_value,
    .valid = memory_valid,
    .status = memory_status,
};

enum es_status store_memory_iterator_new(struct store *store, const struct store_snapshot *snapshot,
                                         enum store_family family, const struct store_range *range,
                                         struct store_iterator **ret_iterator)
{
    struct memory_iterator *iterator = calloc(1, sizeof *iterator);
    enum es_status status = ES_E_NO_MEMORY;

    if (iterator != NULL) {
        status = store_range_copy_init(&iterator->range, range);
    }
    if (status != ES_OK) {
        free(iterator);
        return status;
    }
    iterator->iterator.operations = &memory_iterator_operations;
    iterator->root = family_hold(store, snapshot, family);
    *ret_iterator = &iterator->iterator;
    return ES_OK;
}
