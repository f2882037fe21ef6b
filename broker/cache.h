/*
 * A bounded table from keys to fixed-size values, for what the sequencer
 * remembers of the store: heads, category positions, key revisions. Memory does
 * not grow with the number of streams: what was not used lately makes room,
 * unless a batch that is not yet applied has changed it, for then the store
 * does not know it yet. What the values mean is heads.h.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_CACHE_H
#define BROKER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Else uthash ends the program where memory does. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "shm/eventspine_status.h"

struct cache_entry {
    UT_hash_handle hh;
    uint64_t changed_batch; /* the newest batch that changed the value; 0: none did */
    uint64_t saved_mark;    /* the undo mark its value was last saved for, see undo.h */
    bool used;              /* since the eviction last passed by */
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint8_t *key;                 /* behind the value */
    _Alignas(16) uint8_t value[]; /* 'value_bytes' */
};

struct cache;

/* Keeps 'entry_count_max' entries, and for the time being those that are pinned. */
ES_MUST_USE enum es_status cache_new(uint32_t entry_count_max, uint32_t value_bytes,
                                     struct cache **ret_cache);
void cache_free(struct cache *cache);

/* NULL: it is not here. The entry stays in place until the next cache_add(). */
struct cache_entry *cache_find(struct cache *cache, const void *key, uint32_t key_bytes);

/*
 * Adds a key that is not here, with a zeroed value. Entries that a batch above
 * 'applied_batch' has changed are kept. ES_E_NO_MEMORY: nothing was added.
 */
ES_MUST_USE enum es_status cache_add(struct cache *cache, const void *key, uint32_t key_bytes,
                                     uint64_t applied_batch, struct cache_entry **ret_entry);

/* Forgets everything: the store has been changed by others than the sequencer. */
void cache_clear(struct cache *cache);

#endif
