/*
 * A store over another that stays untouched: writes go into a memory store, in
 * which each value begins with one byte that tells a value from the mark of a
 * deletion; reads look there first. For offline verify, which replays the commit
 * log over a RocksDB that was opened read-only.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store_backend.h"

enum {
    MARK_DELETED = 0,
    MARK_VALUE = 1,
    MARK_BYTES = 1
};

struct overlay_store {
    struct store store;
    struct store *base;
    struct store *top;
    struct store_batch *marked; /* the batch being applied, as 'top' keeps it */
    struct store_buffer value;  /* the applying thread's */
};

/* An iterator over both; stands on the nearer key, and 'top' wins where both have it. */
struct overlay_iterator {
    struct store_iterator iterator;
    struct store_iterator *base;
    struct store_iterator *top;
    struct store_buffer key; /* where it stands, kept for a change of direction */
    bool on_top;             /* the entry is that of 'top' */
    bool on_base;            /* and 'base' stands on the same key, or only 'base' does */
    bool forward;
    bool valid;
    enum es_status status;
};

static struct overlay_store *overlay_of(const struct store *store)
{
    return (struct overlay_store *)store;
}

static void overlay_free(struct store *store)
{
    struct overlay_store *overlay = overlay_of(store);

    store_free(overlay->top);
    store_batch_free(overlay->marked);
    store_buffer_deinit(&overlay->value);
    store_deinit(store);
    free(overlay);
}

static bool is_deleted(const struct store_slice *marked)
{
    return ((const uint8_t *)marked->bytes)[0] == MARK_DELETED;
}

static struct store_slice unmarked(struct store_slice marked)
{
    return (struct store_slice){(const uint8_t *)marked.bytes + MARK_BYTES,
                                marked.size - MARK_BYTES};
}

/* ---- Writing ---------------------------------------------------------------- */

/* The highest sequence that 'base' holds of a prefix, 0 without any. */
static enum es_status base_highest(const struct overlay_store *overlay, struct store_slice prefix,
                                   uint64_t *ret_highest)
{
    uint8_t end_bytes[STORE_KEY_BYTES_MAX];
    size_t end_size = store_prefix_end(prefix, end_bytes);
    struct store_range range = {.first = prefix, .end = {end_bytes, end_size}};
    struct store_iterator *iterator = NULL;
    enum es_status status =
        store_iterator_new(overlay->base, NULL, STORE_EVENTS, &range, &iterator);

    if (status != ES_OK) {
        return status;
    }
    *ret_highest = 0;
    store_iterator_seek_last(iterator);
    /* Longer keys may begin with the same bytes: only those of this very prefix count. */
    while (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        if (key.size == prefix.size + STORE_SEQUENCE_BYTES) {
            *ret_highest = store_event_sequence(key);
            break;
        }
        store_iterator_prev(iterator);
    }
    status = store_iterator_status(iterator);
    store_iterator_free(iterator);
    return status;
}

/* ES_OK: 'base' has nothing against it. ES_EMPTY: it is there already. ES_E_EXISTS. */
static enum es_status check_event(struct overlay_store *overlay,
                                  const struct store_operation *operation,
                                  enum store_apply_mode mode)
{
    uint64_t highest = 0;
    enum es_status status = base_highest(overlay, store_event_prefix(operation->key), &highest);

    if (status != ES_OK || store_event_sequence(operation->key) > highest) {
        return status;
    }
    if (mode == STORE_APPLY_LIVE) {
        return ES_E_EXISTS;
    }
    status = store_get(overlay->base, NULL, STORE_EVENTS, operation->key, &overlay->value);
    if (status == ES_NOT_FOUND) {
        return ES_E_EXISTS;
    }
    if (status == ES_OK &&
        store_slice_compare((struct store_slice){overlay->value.bytes, overlay->value.size},
                            operation->value) != 0) {
        return ES_E_EXISTS;
    }
    return status == ES_OK ? ES_EMPTY : status;
}

static enum es_status mark_operation(struct overlay_store *overlay,
                                     const struct store_operation *operation,
                                     enum store_apply_mode mode)
{
    static const uint8_t deleted[MARK_BYTES] = {MARK_DELETED};
    static const uint8_t value[MARK_BYTES] = {MARK_VALUE};
    struct store_buffer *buffer = &overlay->value;
    enum es_status status = ES_OK;

    if (operation->kind == STORE_OPERATION_DELETE) {
        return store_batch_put(overlay->marked, operation->family, operation->key,
                               (struct store_slice){deleted, sizeof deleted});
    }
    if (operation->family == STORE_EVENTS) {
        status = check_event(overlay, operation, mode);
    }
    if (status != ES_OK) {
        return status == ES_EMPTY ? ES_OK : status;
    }
    /* Made as large as needed first, then filled: the mark, the value. */
    buffer->size = 0;
    if (buffer->capacity < operation->value.size + MARK_BYTES) {
        uint8_t *larger = realloc(buffer->bytes, operation->value.size + MARK_BYTES);

        if (larger == NULL) {
            return ES_E_NO_MEMORY;
        }
        buffer->bytes = larger;
        buffer->capacity = operation->value.size + MARK_BYTES;
    }
    memcpy(buffer->bytes, value, MARK_BYTES);
    if (operation->value.size > 0) {
        memcpy(buffer->bytes + MARK_BYTES, operation->value.bytes, operation->value.size);
    }
    buffer->size = operation->value.size + MARK_BYTES;
    return store_batch_put(overlay->marked, operation->family, operation->key,
                           (struct store_slice){buffer->bytes, buffer->size});
}

static enum es_status overlay_apply(struct store *store, const struct store_batch *batch,
                                    enum store_apply_mode mode)
{
    struct overlay_store *overlay = overlay_of(store);
    enum es_status status = ES_OK;

    store_batch_clear(overlay->marked);
    for (size_t i = 0; i < store_batch_count(batch) && status == ES_OK; i++) {
        struct store_operation operation = store_batch_at(batch, i);

        status = mark_operation(overlay, &operation, mode);
    }
    if (status == ES_OK) {
        status = store_apply(overlay->top, overlay->marked, mode);
    }
    return status == ES_OK ? ES_OK
                           : store_fail(store, status,
                                        status == ES_E_EXISTS ? "an event key does not grow"
                                                              : "the store below cannot be read");
}

static enum es_status overlay_flush(struct store *store)
{
    (void)store;
    return ES_E_PERMISSION; /* nothing of it can be made durable */
}

static enum es_status overlay_checkpoint(struct store *store, const char *directory)
{
    (void)store;
    (void)directory;
    return ES_E_PERMISSION;
}

static uint64_t overlay_memory_bytes(const struct store *store)
{
    return store_memory_bytes(overlay_of(store)->top) + store_memory_bytes(overlay_of(store)->base);
}

/* ---- Reading ------------------------------------------------------------------ */

/* 'base' does not change, so the top's snapshot is the whole's. */
static enum es_status overlay_snapshot_new(struct store *store,
                                           struct store_snapshot **ret_snapshot)
{
    return store_snapshot_new(overlay_of(store)->top, ret_snapshot);
}

static void overlay_snapshot_free(struct store *store, struct store_snapshot *snapshot)
{
    store_snapshot_free(overlay_of(store)->top, snapshot);
}

struct top_visit {
    struct overlay_store *overlay;
    enum store_family family;
    const struct store_slice *keys;
    store_visit_fn visit;
    void *context;
};

struct base_visit {
    const struct top_visit *top;
    size_t index;
};

static enum es_status visit_from_base(void *context, size_t index, const struct store_slice *value)
{
    struct base_visit *base = context;

    (void)index;
    return base->top->visit(base->top->context, base->index, value);
}

static enum es_status visit_from_top(void *context, size_t index, const struct store_slice *value)
{
    struct top_visit *top = context;
    struct base_visit base = {.top = top, .index = index};
    struct store_slice bare;

    if (value == NULL) {
        return store_get_many(top->overlay->base, NULL, top->family, &top->keys[index], 1,
                              visit_from_base, &base);
    }
    bare = unmarked(*value);
    return top->visit(top->context, index, is_deleted(value) ? NULL : &bare);
}

static enum es_status overlay_get_many(struct store *store, const struct store_snapshot *snapshot,
                                       enum store_family family, const struct store_slice *keys,
                                       size_t key_count, store_visit_fn visit, void *context)
{
    struct top_visit top = {.overlay = overlay_of(store),
                            .family = family,
                            .keys = keys,
                            .visit = visit,
                            .context = context};

    return store_get_many(top.overlay->top, snapshot, family, keys, key_count, visit_from_top,
                          &top);
}

static struct overlay_iterator *iterator_of(const struct store_iterator *iterator)
{
    return (struct overlay_iterator *)iterator;
}

static void iterator_free(struct store_iterator *iterator)
{
    store_iterator_free(iterator_of(iterator)->base);
    store_iterator_free(iterator_of(iterator)->top);
    store_buffer_deinit(&iterator_of(iterator)->key);
    free(iterator);
}

/* Moves those halves one step on that stand on the present key. */
static void step(struct overlay_iterator *overlay)
{
    if (overlay->on_top) {
        (overlay->forward ? store_iterator_next : store_iterator_prev)(overlay->top);
    }
    if (overlay->on_base) {
        (overlay->forward ? store_iterator_next : store_iterator_prev)(overlay->base);
    }
}

/* Of the two halves chooses the nearer, and passes over what 'top' has deleted. */
static void settle(struct overlay_iterator *overlay)
{
    overlay->valid = false;
    for (;;) {
        bool top = store_iterator_valid(overlay->top);
        bool base = store_iterator_valid(overlay->base);
        struct store_slice value = {NULL, 0};
        int order = 0;

        overlay->status = store_iterator_status(overlay->base);
        if (overlay->status != ES_OK || (!top && !base)) {
            return;
        }
        if (top && base) {
            order = store_slice_compare(store_iterator_key(overlay->top),
                                        store_iterator_key(overlay->base));
            order = overlay->forward ? order : -order;
        }
        overlay->on_top = top && (!base || order <= 0);
        overlay->on_base = base && (!top || order >= 0);
        if (overlay->on_top) {
            value = store_iterator_value(overlay->top);
        }
        if (!overlay->on_top || !is_deleted(&value)) {
            break;
        }
        step(overlay);
    }
    overlay->status = store_buffer_set(
        &overlay->key, store_iterator_key(overlay->on_top ? overlay->top : overlay->base));
    overlay->valid = overlay->status == ES_OK;
}

static void iterator_seek_first(struct store_iterator *iterator)
{
    struct overlay_iterator *overlay = iterator_of(iterator);

    overlay->forward = true;
    store_iterator_seek_first(overlay->top);
    store_iterator_seek_first(overlay->base);
    settle(overlay);
}

static void iterator_seek_last(struct store_iterator *iterator)
{
    struct overlay_iterator *overlay = iterator_of(iterator);

    overlay->forward = false;
    store_iterator_seek_last(overlay->top);
    store_iterator_seek_last(overlay->base);
    settle(overlay);
}

static void iterator_seek(struct store_iterator *iterator, struct store_slice key)
{
    struct overlay_iterator *overlay = iterator_of(iterator);

    overlay->forward = true;
    store_iterator_seek(overlay->top, key);
    store_iterator_seek(overlay->base, key);
    settle(overlay);
}

static void iterator_seek_for_prev(struct store_iterator *iterator, struct store_slice key)
{
    struct overlay_iterator *overlay = iterator_of(iterator);

    overlay->forward = false;
    store_iterator_seek_for_prev(overlay->top, key);
    store_iterator_seek_for_prev(overlay->base, key);
    settle(overlay);
}

/* Going the other way, both halves have to be brought to the present key first. */
static void move(struct overlay_iterator *overlay, bool forward)
{
    struct store_slice key = {overlay->key.bytes, overlay->key.size};

    assert(overlay->valid);
    if (overlay->forward != forward) {
        overlay->forward = forward;
        (forward ? store_iterator_seek : store_iterator_seek_for_prev)(overlay->top, key);
        (forward ? store_iterator_seek : store_iterator_seek_for_prev)(overlay->base, key);
        settle(overlay); /* on the present key again */
        if (!overlay->valid) {
            return;
        }
    }
    step(overlay);
    settle(overlay);
}

static void iterator_next(struct store_iterator *iterator)
{
    move(iterator_of(iterator), true);
}

static void iterator_prev(struct store_iterator *iterator)
{
    move(iterator_of(iterator), false);
}

static struct store_slice iterator_key(const struct store_iterator *iterator)
{
    const struct overlay_iterator *overlay = iterator_of(iterator);

    assert(overlay->valid);
    return (struct store_slice){overlay->key.bytes, overlay->key.size};
}

static struct store_slice iterator_value(const struct store_iterator *iterator)
{
    const struct overlay_iterator *overlay = iterator_of(iterator);

    assert(overlay->valid);
    return overlay->on_top ? unmarked(store_iterator_value(overlay->top))
                           : store_iterator_value(overlay->base);
}

static bool iterator_valid(const struct store_iterator *iterator)
{
    return iterator_of(iterator)->valid;
}

static enum es_status iterator_status(const struct store_iterator *iterator)
{
    return iterator_of(iterator)->status;
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

static enum es_status overlay_iterator_new(struct store *store,
                                           const struct store_snapshot *snapshot,
                                           enum store_family family,
                                           const struct store_range *range,
                                           struct store_iterator **ret_iterator)
{
    struct overlay_store *overlay = overlay_of(store);
    struct overlay_iterator *iterator = calloc(1, sizeof *iterator);
    enum es_status status = ES_E_NO_MEMORY;

    if (iterator == NULL) {
        return status;
    }
    iterator->iterator.operations = &iterator_operations;
    iterator->forward = true;
    status = store_iterator_new(overlay->base, NULL, family, range, &iterator->base);
    if (status == ES_OK) {
        status = store_iterator_new(overlay->top, snapshot, family, range, &iterator->top);
    }
    if (status != ES_OK) {
        iterator_free(&iterator->iterator);
        return status;
    }
    *ret_iterator = &iterator->iterator;
    return ES_OK;
}

static const struct store_operations overlay_operations = {
    .free = overlay_free,
    .apply = overlay_apply,
    .flush_begin = overlay_flush,
    .flush_wait = overlay_flush,
    .checkpoint = overlay_checkpoint,
    .memory_bytes = overlay_memory_bytes,
    .snapshot_new = overlay_snapshot_new,
    .snapshot_free = overlay_snapshot_free,
    .get_many = overlay_get_many,
    .iterator_new = overlay_iterator_new,
};

enum es_status store_overlay_new(struct store *base, struct store **ret_store)
{
    struct overlay_store *overlay = calloc(1, sizeof *overlay);
    enum es_status status = ES_E_NO_MEMORY;

    if (overlay == NULL) {
        return status;
    }
    store_init(&overlay->store, &overlay_operations);
    overlay->base = base;
    status = store_memory_new(&overlay->top);
    if (status == ES_OK) {
        status = store_batch_new(&overlay->marked);
    }
    if (status != ES_OK) {
        overlay_free(&overlay->store);
        return status;
    }
    *ret_store = &overlay->store;
    return ES_OK;
}
