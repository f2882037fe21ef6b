/*
 * The batch of store.h: operations in the order in which they came, keys and values
 * behind each other in one block.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store_backend.h"

struct batch_entry {
    enum store_operation_kind kind;
    enum store_family family;
    size_t key_offset; /* in the batch's bytes; the value follows the key */
    size_t key_size;
    size_t value_size;
};

struct store_batch {
    struct batch_entry *entries;
    size_t count;
    size_t capacity;
    uint8_t *bytes;
    size_t bytes_used;
    size_t bytes_capacity;
};

enum es_status store_batch_new(struct store_batch **ret_batch)
{
    struct store_batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL) {
        return ES_E_NO_MEMORY;
    }
    *ret_batch = batch;
    return ES_OK;
}

void store_batch_free(struct store_batch *batch)
{
    if (batch != NULL) {
        free(batch->entries);
        free(batch->bytes);
        free(batch);
    }
}

void store_batch_clear(struct store_batch *batch)
{
    batch->count = 0;
    batch->bytes_used = 0;
}

size_t store_batch_count(const struct store_batch *batch)
{
    return batch->count;
}

/* Makes room for one more entry with 'size' bytes. */
static enum es_status batch_reserve(struct store_batch *batch, size_t size)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        struct batch_entry *entries = realloc(batch->entries, capacity * sizeof *entries);

        if (entries == NULL) {
            return ES_E_NO_MEMORY;
        }
        batch->entries = entries;
        batch->capacity = capacity;
    }
    if (batch->bytes_capacity - batch->bytes_used < size) {
        size_t capacity = batch->bytes_capacity == 0 ? 16384 : batch->bytes_capacity;
        uint8_t *bytes = NULL;

        while (capacity - batch->bytes_used < size) {
            capacity *= 2;
        }
        bytes = realloc(batch->bytes, capacity);
        if (bytes == NULL) {
            return ES_E_NO_MEMORY;
        }
        batch->bytes = bytes;
        batch->bytes_capacity = capacity;
    }
    return ES_OK;
}

static void batch_copy(struct store_batch *batch, struct store_slice slice)
{
    if (slice.size > 0) {
        memcpy(batch->bytes + batch->bytes_used, slice.bytes, slice.size);
        batch->bytes_used += slice.size;
    }
}

static enum es_status batch_add(struct store_batch *batch, enum store_operation_kind kind,
                                enum store_family family, struct store_slice key,
                                struct store_slice value)
{
    enum es_status status = ES_OK;

    assert(family < STORE_FAMILY_COUNT);
    if (key.size == 0 || key.size > STORE_KEY_BYTES_MAX || value.size > STORE_VALUE_BYTES_MAX) {
        return ES_E_TOO_LARGE;
    }
    if (family == STORE_EVENTS && key.size <= STORE_SEQUENCE_BYTES) {
        return ES_E_INVALID;
    }
    status = batch_reserve(batch, key.size + value.size);
    if (status != ES_OK) {
        return status;
    }
    batch->entries[batch->count] = (struct batch_entry){.kind = kind,
                                                        .family = family,
                                                        .key_offset = batch->bytes_used,
                                                        .key_size = key.size,
                                                        .value_size = value.size};
    batch_copy(batch, key);
    batch_copy(batch, value);
    batch->count++;
    return ES_OK;
}

enum es_status store_batch_put(struct store_batch *batch, enum store_family family,
                               struct store_slice key, struct store_slice value)
{
    return batch_add(batch, STORE_OPERATION_PUT, family, key, value);
}

enum es_status store_batch_delete(struct store_batch *batch, enum store_family family,
                                  struct store_slice key)
{
    return batch_add(batch, STORE_OPERATION_DELETE, family, key, (struct store_slice){NULL, 0});
}

struct store_operation store_batch_at(const struct store_batch *batch, size_t index)
{
    const struct batch_entry *entry = &batch->entries[index];
    const uint8_t *key = batch->bytes + entry->key_offset;

    assert(index < batch->count);
    return (struct store_operation){.kind = entry->kind,
                                    .family = entry->family,
                                    .key = {key, entry->key_size},
                                    .value = {key + entry->key_size, entry->value_size}};
}

size_t store_batch_bytes(const struct store_batch *batch)
{
    return batch->bytes_used;
}

/* ---- Order ---------------------------------------------------------------- */

/* The operations on one key, or on the events of one prefix, in the order in which they came. */
struct chain {
    enum store_family family;
    struct store_slice key; /* or prefix */
    uint32_t first;         /* indexes of operations */
    uint32_t last;
};

/* What is needed while a batch is brought into order. */
struct ordering {
    const struct store_batch *batch;
    struct chain *chains;
    uint32_t chain_count;
    uint32_t *slots; /* a hash table: 1 + index of a chain, or 0 */
    size_t slot_mask;
    uint32_t *next; /* of each operation, the next one of its chain */
    struct batch_entry *entries;
};

static enum es_status ordering_init(struct ordering *ordering, const struct store_batch *batch)
{
    size_t slots = 64;

    while (slots < 2 * batch->count) {
        slots *= 2;
    }
    ordering->batch = batch;
    ordering->slot_mask = slots - 1;
    ordering->chains = malloc(batch->count * sizeof *ordering->chains);
    ordering->slots = calloc(slots, sizeof *ordering->slots);
    ordering->next = malloc(batch->count * sizeof *ordering->next);
    ordering->entries = malloc(batch->capacity * sizeof *ordering->entries);
    return ordering->chains == NULL || ordering->slots == NULL || ordering->next == NULL ||
                   ordering->entries == NULL
               ? ES_E_NO_MEMORY
               : ES_OK;
}

static void ordering_deinit(struct ordering *ordering)
{
    free(ordering->chains);
    free(ordering->slots);
    free(ordering->next);
    free(ordering->entries);
}

/* Puts an operation at the end of its chain; of those on one key only the last is kept. */
static void chain_operation(struct ordering *ordering, uint32_t index, uint64_t seed)
{
    const struct store_operation operation = store_batch_at(ordering->batch, index);
    const bool is_event = operation.family == STORE_EVENTS;
    const struct store_slice key = is_event ? store_event_prefix(operation.key) : operation.key;
    size_t slot = store_slice_hash(seed + operation.family, key) & ordering->slot_mask;

    for (; ordering->slots[slot] != 0; slot = (slot + 1) & ordering->slot_mask) {
        struct chain *chain = &ordering->chains[ordering->slots[slot] - 1];

        if (chain->family == operation.family && store_slice_compare(chain->key, key) == 0) {
            if (is_event) {
                ordering->next[chain->last] = index;
            } else {
                chain->first = index;
            }
            chain->last = index;
            return;
        }
    }
    ordering->chains[ordering->chain_count++] = (struct chain){operation.family, key, index, index};
    ordering->slots[slot] = ordering->chain_count;
}

static int compare_chains(const void *left, const void *right)
{
    const struct chain *a = left;
    const struct chain *b = right;

    return a->family != b->family ? (a->family > b->family) - (a->family < b->family)
                                  : store_slice_compare(a->key, b->key);
}

enum es_status store_batch_order(struct store_batch *batch, uint64_t seed)
{
    struct ordering ordering = {.chain_count = 0};
    enum es_status status = ES_OK;
    size_t count = 0;

    if (batch->count < 2) {
        return ES_OK;
    }
    assert(batch->count < UINT32_MAX);
    status = ordering_init(&ordering, batch);
    if (status == ES_OK) {
        for (uint32_t i = 0; i < batch->count; i++) {
            chain_operation(&ordering, i, seed);
        }
        qsort(ordering.chains, ordering.chain_count, sizeof *ordering.chains, compare_chains);
        for (uint32_t i = 0; i < ordering.chain_count; i++) {
            const struct chain *chain = &ordering.chains[i];

            for (uint32_t at = chain->first; at != chain->last; at = ordering.next[at]) {
                ordering.entries[count++] = batch->entries[at];
            }
            ordering.entries[count++] = batch->entries[chain->last];
        }
        free(batch->entries);
        batch->entries = ordering.entries;
        batch->count = count;
        ordering.entries = NULL;
    }
    ordering_deinit(&ordering);
    return status;
}
