#include "broker/store_growth.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store_backend.h"

enum {
    WAYS = 8,
    SET_COUNT = GROWTH_PREFIXES_MAX / WAYS
};

struct prefix {
    struct prefix *next; /* of the extra ones only */
    uint64_t hash;
    uint64_t highest;
    uint64_t batch; /* the last one that used it; 0: the place is free */
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

struct store_growth {
    uint64_t seed;
    uint64_t batch;
    struct prefix *extra; /* of this batch, for which their set had no room */
    struct prefix places[SET_COUNT][WAYS];
};

enum es_status store_growth_new(uint64_t seed, struct store_growth **ret_growth)
{
    struct store_growth *growth = calloc(1, sizeof *growth);

    if (growth == NULL) {
        return ES_E_NO_MEMORY;
    }
    growth->seed = seed | 1;
    growth->batch = 1;
    *ret_growth = growth;
    return ES_OK;
}

static void free_extra(struct store_growth *growth)
{
    while (growth->extra != NULL) {
        struct prefix *extra = growth->extra;

        growth->extra = extra->next;
        free(extra->bytes);
        free(extra);
    }
}

void store_growth_free(struct store_growth *growth)
{
    if (growth == NULL) {
        return;
    }
    free_extra(growth);
    for (size_t i = 0; i < SET_COUNT; i++) {
        for (size_t way = 0; way < WAYS; way++) {
            free(growth->places[i][way].bytes);
        }
    }
    free(growth);
}

void store_growth_begin(struct store_growth *growth)
{
    free_extra(growth);
    growth->batch++;
}

void store_growth_clear(struct store_growth *growth)
{
    free_extra(growth);
    for (size_t i = 0; i < SET_COUNT; i++) {
        for (size_t way = 0; way < WAYS; way++) {
            growth->places[i][way].batch = 0;
        }
    }
}

static bool is_prefix(const struct prefix *known, uint64_t hash, struct store_slice prefix)
{
    return known->batch != 0 && known->hash == hash && known->size == prefix.size &&
           memcmp(known->bytes, prefix.bytes, prefix.size) == 0;
}

static struct prefix *find(struct store_growth *growth, uint64_t hash, struct store_slice prefix)
{
    struct prefix *set = growth->places[hash % SET_COUNT];

    for (size_t way = 0; way < WAYS; way++) {
        if (is_prefix(&set[way], hash, prefix)) {
            return &set[way];
        }
    }
    for (struct prefix *extra = growth->extra; extra != NULL; extra = extra->next) {
        if (is_prefix(extra, hash, prefix)) {
            return extra;
        }
    }
    return NULL;
}

enum es_status store_growth_raise(struct store_growth *growth, struct store_slice prefix,
                                  uint64_t sequence)
{
    struct prefix *known = find(growth, store_slice_hash(growth->seed, prefix), prefix);

    if (known == NULL) {
        return ES_EMPTY;
    }
    known->batch = growth->batch;
    if (sequence <= known->highest) {
        return ES_E_EXISTS;
    }
    known->highest = sequence;
    return ES_OK;
}

/* The least recently used place of a set; NULL: this batch has used them all. */
static struct prefix *make_room(struct store_growth *growth, uint64_t hash)
{
    struct prefix *set = growth->places[hash % SET_COUNT];
    struct prefix *oldest = &set[0];

    for (size_t way = 1; way < WAYS; way++) {
        if (set[way].batch < oldest->batch) {
            oldest = &set[way];
        }
    }
    return oldest->batch == growth->batch ? NULL : oldest;
}

enum es_status store_growth_learn(struct store_growth *growth, struct store_slice prefix,
                                  uint64_t highest)
{
    uint64_t hash = store_slice_hash(growth->seed, prefix);
    struct prefix *place = make_room(growth, hash);

    assert(find(growth, hash, prefix) == NULL);
    if (place == NULL) {
        place = calloc(1, sizeof *place);
        if (place == NULL) {
            return ES_E_NO_MEMORY;
        }
        place->next = growth->extra;
        growth->extra = place;
    }
    place->batch = 0;
    if (place->capacity < prefix.size) {
        uint8_t *bytes = realloc(place->bytes, prefix.size);

        if (bytes == NULL) {
            return ES_E_NO_MEMORY;
        }
        place->bytes = bytes;
        place->capacity = prefix.size;
    }
    assert(place->bytes != NULL); /* a prefix is never empty */
    memcpy(place->bytes, prefix.bytes, prefix.size);
    place->size = prefix.size;
    place->hash = hash;
    place->highest = highest;
    place->batch = growth->batch;
    return ES_OK;
}
