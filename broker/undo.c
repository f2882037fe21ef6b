#include "broker/undo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNDO_BYTES_FIRST = 64 * 1024
};

/* One saved value: the entry, then its bytes. Entries stay in place meanwhile:
 * a changed one is pinned in its cache. */
struct saved {
    struct cache_entry *entry;
    size_t previous_offset; /* of the save before, to walk back */
    uint8_t value[];
};

struct undo {
    uint64_t mark; /* counts transactions, so that an entry knows whether it is saved */
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    size_t last_offset; /* SIZE_MAX: nothing is saved */
};

enum es_status undo_new(struct undo **ret_undo)
{
    struct undo *undo = calloc(1, sizeof *undo);

    if (undo == NULL) {
        return ES_E_NO_MEMORY;
    }
    undo->bytes = malloc(UNDO_BYTES_FIRST);
    if (undo->bytes == NULL) {
        free(undo);
        return ES_E_NO_MEMORY;
    }
    undo->capacity = UNDO_BYTES_FIRST;
    undo->last_offset = SIZE_MAX;
    *ret_undo = undo;
    return ES_OK;
}

void undo_free(struct undo *undo)
{
    if (undo != NULL) {
        free(undo->bytes);
        free(undo);
    }
}

void undo_begin(struct undo *undo)
{
    undo->mark++;
    undo->size = 0;
    undo->last_offset = SIZE_MAX;
}

static enum es_status reserve(struct undo *undo, size_t size)
{
    size_t capacity = undo->capacity;
    uint8_t *bytes = NULL;

    while (capacity - undo->size < size) {
        capacity *= 2;
    }
    if (capacity == undo->capacity) {
        return ES_OK;
    }
    bytes = realloc(undo->bytes, capacity);
    if (bytes == NULL) {
        return ES_E_NO_MEMORY;
    }
    undo->bytes = bytes;
    undo->capacity = capacity;
    return ES_OK;
}

enum es_status undo_save(struct undo *undo, struct cache_entry *entry)
{
    size_t size = (sizeof(struct saved) + entry->value_bytes + 15U) & ~(size_t)15U;
    struct saved *saved = NULL;
    enum es_status status = ES_OK;

    assert(undo->mark > 0);
    if (entry->saved_mark == undo->mark) {
        return ES_OK;
    }
    status = reserve(undo, size);
    if (status != ES_OK) {
        return status;
    }
    saved = (struct saved *)(void *)(undo->bytes + undo->size);
    saved->entry = entry;
    saved->previous_offset = undo->last_offset;
    memcpy(saved->value, entry->value, entry->value_bytes);
    undo->last_offset = undo->size;
    undo->size += size;
    entry->saved_mark = undo->mark;
    return ES_OK;
}

void undo_rollback(struct undo *undo)
{
    size_t offset = undo->last_offset;

    while (offset != SIZE_MAX) {
        const struct saved *saved = (const struct saved *)(const void *)(undo->bytes + offset);

        memcpy(saved->entry->value, saved->value, saved->entry->value_bytes);
        offset = saved->previous_offset;
    }
    undo_begin(undo);
}
