/*
 * The store of store.h in memory: one versioned tree a family. A snapshot is a
 * hold on their roots; a batch works on new versions, which take the place of
 * the old ones all at once.
 *
 * Nothing survives the process. For tests it remembers what the last flush
 * would have kept, and store_memory_power_cut() goes back to that.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/store_memory_state.h"

enum {
    ENTRY_OVERHEAD_BYTES = 96
}; /* node, entry and what malloc adds */

static void memory_free(struct store *store)
{
    struct memory_store *memory = memory_of(store);

    memory_roots_release(&memory->latest);
    memory_roots_release(&memory->cut);
    memory_roots_release(&memory->flushed);
    pthread_mutex_destroy(&memory->lock);
    store_deinit(store);
    free(memory);
}

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

static enum es_status apply_operation(struct memory_roots *roots,
                                      const struct store_operation *operation,
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
    struct memory_roots old;
    struct memory_roots next;
    uint64_t bytes = 0;
    enum es_status status = ES_OK;

    pthread_mutex_lock(&memory->lock);
    next = memory_roots_hold(&memory->latest);
    bytes = memory->bytes;
    pthread_mutex_unlock(&memory->lock);
    for (size_t i = 0; i < store_batch_count(batch) && status == ES_OK; i++) {
        struct store_operation operation = store_batch_at(batch, i);

        status = apply_operation(&next, &operation, mode, &bytes);
    }
    if (status != ES_OK) {
        memory_roots_release(&next);
        return store_fail(store, status,
                          status == ES_E_EXISTS ? "an event key does not grow" : "out of memory");
    }
    pthread_mutex_lock(&memory->lock);
    old = memory->latest;
    memory->latest = next;
    memory->bytes = bytes;
    pthread_mutex_unlock(&memory->lock);
    memory_roots_release(&old);
    return ES_OK;
}

static enum es_status memory_flush_begin(struct store *store)
{
    struct memory_store *memory = memory_of(store);
    enum es_status status = ES_FULL;

    pthread_mutex_lock(&memory->lock);
    if (!memory->flushing) {
        memory->cut = memory_roots_hold(&memory->latest);
        memory->flushing = true;
        status = ES_OK;
    }
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static enum es_status memory_flush_wait(struct store *store)
{
    struct memory_store *memory = memory_of(store);
    struct memory_roots old = {{NULL}};

    pthread_mutex_lock(&memory->lock);
    if (memory->flushing) {
        old = memory->flushed;
        memory->flushed = memory->cut;
        memory->cut = (struct memory_roots){{NULL}};
        memory->flushing = false;
    }
    pthread_mutex_unlock(&memory->lock);
    memory_roots_release(&old);
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
    memory_roots_release(&memory->cut);
    memory_roots_release(&memory->flushed);
    memory->flushed = memory_roots_hold(&memory->latest);
    memory->flushing = false;
    pthread_mutex_unlock(&memory->lock);
}

static void replace_family(struct memory_roots *roots, int family, struct store_tree_node *with)
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

static const struct store_operations memory_operations = {
    .free = memory_free,
    .apply = memory_apply,
    .flush_begin = memory_flush_begin,
    .flush_wait = memory_flush_wait,
    .checkpoint = memory_checkpoint,
    .memory_bytes = memory_memory_bytes,
    .snapshot_new = store_memory_snapshot_new,
    .snapshot_free = store_memory_snapshot_free,
    .get_many = store_memory_get_many,
    .iterator_new = store_memory_iterator_new,
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
