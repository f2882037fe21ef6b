/*
 * The store of store.h in memory: one versioned tree a family. A snapshot is a
 * hold on their roots; a batch works on new versions, which take the place of
 * the old ones all at once.
 *
 * Nothing survives the process. For tests it remembers what the last flush
 * would have kept, and store_memory_power_cut() goes back to that.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store_backend.h"
#include "broker/store_tree.h"

enum {
    ENTRY_OVERHEAD_BYTES = 96
}; /* node, entry and what malloc adds */

struct roots {
    struct store_tree_node *families[STORE_FAMILY_COUNT];
};

struct memory_store {
    struct store store;
    pthread_mutex_t lock; /* guards everything below */
    struct roots latest;
    struct roots cut;     /* held from flush_begin to flush_wait */
    struct roots flushed; /* what a power cut leaves */
    bool flushing;
    uint64_t bytes; /* of keys and values in the latest version, with overhead */
};

struct memory_snapshot {
    struct roots roots;
};

struct memory_iterator {
    struct store_iterator iterator;
    struct store_tree_node *root; /* held */
    const struct store_tree_node *at;
    struct store_range_copy range;
};

static struct memory_store *memory_of(const struct store *store)
{
    return (struct memory_store *)store;
}

static void roots_release(struct roots *roots)
{
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        store_tree_release(roots->families[i]);
        roots->families[i] = NULL;
    }
}

/* Another hold on all of them. */
static struct roots roots_hold(const struct roots *roots)
{
    struct roots held;

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        held.families[i] = store_tree_hold(roots->families[i]);
    }
    return held;
}

static void memory_free(struct store *store)
{
    struct memory_store *memory = memory_of(store);

    roots_release(&memory->latest);
    roots_release(&memory->cut);
    roots_release(&memory->flushed);
    pthread_mutex_destroy(&memory->lock);
    store_deinit(store);
    free(memory);
}

/* ---- Writing -------------------------------------------------------------- */

/* The entry with the highest sequence of 'prefix'; NULL: it has none. */
static const struct store_tree_node *highest_of(const struct store_tree_node *events,
                                                struct store_slice prefix)
{
    uint8_t last[STORE_KEY_BYTES_MAX];
    size_t size = prefix.size + STORE_SEQUENCE_BYTES;
    const struct store_tree_node *node = NULL;

    memcpy(last, prefix.bytes, prefix.size);
    memset(last + prefix.size, 0xff, STORE_SEQUENCE_BYTES);
    node = store_tree_at_or_before(events, (struct store_slice){last, size}, true);
    while (node != NULL) {
        struct store_slice key = store_tree_key(node);

        if (key.size < prefix.size || memcmp(key.bytes, prefix.bytes, prefix.size) != 0) {
            return NULL;
        }
        if (key.size == size) {
            return node;
        }
        /* Of another prefix that begins with the same bytes. */
        node = store_tree_at_or_before(events, key, false);
    }
    return NULL;
}

/* Whether an event may be written: ES_OK, ES_EMPTY (there already, skip it), ES_E_EXISTS. */
static enum es_status check_event(const struct store_tree_node *events, struct store_slice key,
                                  struct store_slice value, enum store_apply_mode mode)
{
    const struct store_tree_node *highest = highest_of(events, store_event_prefix(key));
    const struct store_tree_node *same = NULL;

    if (highest == NULL || store_slice_compare(store_tree_key(highest), key) < 0) {
        return ES_OK;
    }
    same = mode != STORE_APPLY_LIVE ? store_tree_find(events, key) : NULL;
    return same != NULL && store_slice_compare(store_tree_value(same), value) == 0 ? ES_EMPTY
                                                                                   : ES_E_EXISTS;
}

static uint64_t entry_bytes(const struct store_tree_node *node)
{
    return node == NULL
               ? 0
               : store_tree_key(node).size + store_tree_value(node).size + ENTRY_OVERHEAD_BYTES;
}

static enum es_status apply_operation(struct roots *roots, const struct store_operation *operation,
                                      enum store_apply_mode mode, uint64_t *bytes)
{
    struct store_tree_node **root = &roots->families[operation->family];
    enum es_status status = ES_OK;

    *bytes -= entry_bytes(store_tree_find(*root, operation->key));
    if (operation->kind == STORE_OPERATION_DELETE) {
        return store_tree_delete(root, operation->key);
    }
    if (operation->family == STORE_EVENTS) {
        status = check_event(*root, operation->key, operation->value, mode);
    }
    if (status == ES_OK) {
        status = store_tree_put(root, operation->key, operation->value);
    }
    if (status == ES_OK || status == ES_EMPTY) {
        *bytes += entry_bytes(store_tree_find(*root, operation->key));
        status = ES_OK;
    }
    return status;
}

static enum es_status memory_apply(struct store *store, const struct store_batch *batch,
                                   enum store_apply_mode mode)
{
    struct memory_store *memory = memory_of(store);
    struct roots old;
    struct roots next;
    uint64_t bytes = 0;
    enum es_status status = ES_OK;

    pthread_mutex_lock(&memory->lock);
    next = roots_hold(&memory->latest);
    bytes = memory->bytes;
    pthread_mutex_unlock(&memory->lock);
    for (size_t i = 0; i < store_batch_count(batch) && status == ES_OK; i++) {
        struct store_operation operation = store_batch_at(batch, i);

        status = apply_operation(&next, &operation, mode, &bytes);
    }
    if (status != ES_OK) {
        roots_release(&next);
        return store_fail(store, status,
                          status == ES_E_EXISTS ? "an event key does not grow" : "out of memory");
    }
    pthread_mutex_lock(&memory->lock);
    old = memory->latest;
    memory->latest = next;
    memory->bytes = bytes;
    pthread_mutex_unlock(&memory->lock);
    roots_release(&old);
    return ES_OK;
}

static enum es_status memory_flush_begin(struct store *store)
{
    struct memory_store *memory = memory_of(store);
    enum es_status status = ES_FULL;

    pthread_mutex_lock(&memory->lock);
    if (!memory->flushing) {
        memory->cut = roots_hold(&memory->latest);
        memory->flushing = true;
        status = ES_OK;
    }
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static enum es_status memory_flush_wait(struct store *store)
{
    struct memory_store *memory = memory_of(store);
    struct roots old = {{NULL}};

    pthread_mutex_lock(&memory->lock);
    if (memory->flushing) {
        old = memory->flushed;
        memory->flushed = memory->cut;
        memory->cut = (struct roots){{NULL}};
        memory->flushing = false;
    }
    pthread_mutex_unlock(&memory->lock);
    roots_release(&old);
    return ES_OK;
}

void store_memory_power_cut(struct store *store, uint32_t flushed_early)
{
    struct memory_store *memory = memory_of(store);

    pthread_mutex_lock(&memory->lock);
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        if ((flushed_early >> i & 1) == 0) {
            store_tree_release(memory->latest.families[i]);
            memory->latest.families[i] = store_tree_hold(memory->flushed.families[i]);
        }
    }
    roots_release(&memory->cut);
    roots_release(&memory->flushed);
    memory->flushed = roots_hold(&memory->latest);
    memory->flushing = false;
    pthread_mutex_unlock(&memory->lock);
}

static void replace_family(struct roots *roots, int family, struct store_tree_node *with)
{
    struct store_tree_node *former = roots->families[family];

    roots->families[family] = store_tree_hold(with);
    store_tree_release(former);
}

void store_memory_flush_early(struct store *store, uint32_t families, bool as_cut)
{
    struct memory_store *memory = memory_of(store);

    pthread_mutex_lock(&memory->lock);
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        if ((families >> i & 1) == 0) {
            continue;
        }
        if (!as_cut) {
            replace_family(&memory->flushed, i, memory->latest.families[i]);
        } else if (memory->flushing) {
            replace_family(&memory->flushed, i, memory->cut.families[i]);
        }
        if (!as_cut && memory->flushing) { /* the cut must not take it back */
            replace_family(&memory->cut, i, memory->latest.families[i]);
        }
    }
    pthread_mutex_unlock(&memory->lock);
}

static enum es_status memory_checkpoint(struct store *store, const char *directory)
{
    (void)store;
    (void)directory;
    return ES_E_PERMISSION;
}

static uint64_t memory_memory_bytes(const struct store *store)
{
    struct memory_store *memory = memory_of(store);
    uint64_t bytes = 0;

    pthread_mutex_lock(&memory->lock);
    bytes = memory->bytes;
    pthread_mutex_unlock(&memory->lock);
    return bytes;
}

/* ---- Reading -------------------------------------------------------------- */

static enum es_status memory_snapshot_new(struct store *store, struct store_snapshot **ret_snapshot)
{
    struct memory_store *memory = memory_of(store);
    struct memory_snapshot *snapshot = malloc(sizeof *snapshot);

    if (snapshot == NULL) {
        return ES_E_NO_MEMORY;
    }
    pthread_mutex_lock(&memory->lock);
    snapshot->roots = roots_hold(&memory->latest);
    pthread_mutex_unlock(&memory->lock);
    *ret_snapshot = (struct store_snapshot *)snapshot;
    return ES_OK;
}

static void memory_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    (void)store;
    roots_release(&((struct memory_snapshot *)snapshot)->roots);
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

static enum es_status memory_get_many(struct store *store, const struct store_snapshot *snapshot,
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

static enum es_status memory_iterator_new(struct store *store,
                                          const struct store_snapshot *snapshot,
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

static const struct store_operations memory_operations = {
    .free = memory_free,
    .apply = memory_apply,
    .flush_begin = memory_flush_begin,
    .flush_wait = memory_flush_wait,
    .checkpoint = memory_checkpoint,
    .memory_bytes = memory_memory_bytes,
    .snapshot_new = memory_snapshot_new,
    .snapshot_free = memory_snapshot_free,
    .get_many = memory_get_many,
    .iterator_new = memory_iterator_new,
};

enum es_status store_memory_new(struct store **ret_store)
{
    struct memory_store *memory = calloc(1, sizeof *memory);

    if (memory == NULL) {
        return ES_E_NO_MEMORY;
    }
    store_init(&memory->store, &memory_operations);
    pthread_mutex_init(&memory->lock, NULL);
    *ret_store = &memory->store;
    return ES_OK;
}
