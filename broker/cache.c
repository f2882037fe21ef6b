#include "broker/cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* How many entries one addition looks at for one to evict. When all of them are
 * pinned or in use the table grows instead: pins are bounded by two batches. */
enum {
    EVICTION_LOOKS_MAX = 8
};

struct cache {
    struct cache_entry *entries; /* uthash: also a list, oldest first */
    uint32_t entry_count_max;
    uint32_t value_bytes;
};

enum es_status cache_new(uint32_t entry_count_max, uint32_t value_bytes, struct cache **ret_cache)
{
    struct cache *cache = NULL;

    assert(entry_count_max > 0);
    cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        return ES_E_NO_MEMORY;
    }
    cache->entry_count_max = entry_count_max;
    cache->value_bytes = value_bytes;
    *ret_cache = cache;
    return ES_OK;
}

void cache_clear(struct cache *cache)
{
    struct cache_entry *entry = NULL;
    struct cache_entry *next = NULL;

    HASH_ITER(hh, cache->entries, entry, next)
    {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the table goes with the last entry only */
        HASH_DEL(cache->entries, entry);
        free(entry);
    }
}

void cache_free(struct cache *cache)
{
    if (cache != NULL) {
        cache_clear(cache);
        free(cache);
    }
}

struct cache_entry *cache_find(struct cache *cache, const void *key, uint32_t key_bytes)
{
    struct cache_entry *entry = NULL;

    HASH_FIND(hh, cache->entries, key, key_bytes, entry);
    if (entry != NULL) {
        entry->used = true;
    }
    return entry;
}

static void move_to_the_young_end(struct cache *cache, struct cache_entry *entry)
{
    HASH_DEL(cache->entries, entry);
    HASH_ADD_KEYPTR(hh, cache->entries, entry->key, entry->key_bytes, entry);
}

/* Second chance: an entry used since the last visit goes to the young end once. */
static void make_room(struct cache *cache, uint64_t applied_batch)
{
    for (int looks = 0; looks < EVICTION_LOOKS_MAX; looks++) {
        struct cache_entry *oldest = cache->entries;

        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed is no longer in the table */
        if (HASH_COUNT(cache->entries) < cache->entry_count_max) {
            return;
        }
        assert(oldest != NULL);
        if (!oldest->used && oldest->changed_batch <= applied_batch) {
            HASH_DEL(cache->entries, oldest);
            free(oldest);
        } else {
            oldest->used = false;
            move_to_the_young_end(cache, oldest);
        }
    }
}

enum es_status cache_add(struct cache *cache, const void *key, uint32_t key_bytes,
                         uint64_t applied_batch, struct cache_entry **ret_entry)
{
    struct cache_entry *entry = NULL;

    make_room(cache, applied_batch);
    entry = calloc(1, sizeof *entry + cache->value_bytes + key_bytes);
    if (entry == NULL) {
        return ES_E_NO_MEMORY;
    }
    entry->key = entry->value + cache->value_bytes;
    entry->key_bytes = key_bytes;
    entry->value_bytes = cache->value_bytes;
    entry->used = true;
    memcpy(entry->key, key, key_bytes);
    HASH_ADD_KEYPTR(hh, cache->entries, entry->key, entry->key_bytes, entry);
    if (entry->hh.tbl == NULL) { /* how uthash says that it got no memory */
        free(entry);
        return ES_E_NO_MEMORY;
    }
    *ret_entry = entry;
    return ES_OK;
}
