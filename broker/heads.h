/*
 * What the sequencer knows of the store, as of the newest transaction that it
 * has accepted: heads of streams, last positions of categories, revisions of
 * keys, owners and last numbers of named producers. It runs ahead of the disk, so
 * requests never look here (reader.h reads store snapshots). Bounded caches; what
 * is not in them is read from the store.
 *
 * Values are changed by batch.h and sequencer.h, after heads_will_change().
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_HEADS_H
#define BROKER_HEADS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/cache.h"
#include "broker/counters.h"
#include "broker/store.h"
#include "shm/codec/head_record.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/view.h"

struct heads;

struct stream_state {
    bool exists;
    uint32_t run_index; /* of its newest run, in batch 'run_batch' */
    uint64_t run_batch;
    struct es_head_value head; /* zeros unless it exists */
};

struct category_state {
    uint64_t last_position; /* 0: no event yet */
    uint32_t run_index;     /* of its newest run, in batch 'run_batch' */
    uint64_t run_batch;
};

struct key_state {
    uint64_t revision; /* 0: the key is not there */
};

/* A named producer. Changed once a transaction is accepted, so nothing is to be undone. */
struct producer_state {
    bool exists;                /* the name was used */
    uint32_t owner_uid;         /* its first user */
    uint64_t owner_incarnation; /* of the lane that owns it; 0: none ever did */
    uint64_t last_number;
    uint64_t touched_batch; /* the newest batch that writes its entry */
};

static inline struct stream_state *stream_state(struct cache_entry *entry)
{
    return (struct stream_state *)(void *)entry->value;
}

static inline struct category_state *category_state(struct cache_entry *entry)
{
    return (struct category_state *)(void *)entry->value;
}

static inline struct key_state *key_state(struct cache_entry *entry)
{
    return (struct key_state *)(void *)entry->value;
}

static inline struct producer_state *producer_state(struct cache_entry *entry)
{
    return (struct producer_state *)(void *)entry->value;
}

/* 'store' and 'counters' outlive it. */
ES_MUST_USE enum es_status heads_new(struct store *store, struct counters *counters,
                                     uint32_t stream_count_max, struct heads **ret_heads);
void heads_free(struct heads *heads);

/* Batches up to this one are in the store: what they changed may be forgotten. */
void heads_set_applied(struct heads *heads, uint64_t batch_number);
uint64_t heads_applied(const struct heads *heads);

/*
 * The entry of a stream, category, key or named producer, with its state as of now. It stays
 * valid until the next call of the same function, longer once it was changed by
 * a batch that is not applied.
 *
 * ES_E_CORRUPT, ES_E_IO, ES_E_VERSION: the store's value cannot be used.
 */
ES_MUST_USE enum es_status heads_stream(struct heads *heads, struct es_text stream,
                                        struct cache_entry **ret_entry);
ES_MUST_USE enum es_status heads_category(struct heads *heads, struct es_text category,
                                          struct cache_entry **ret_entry);
ES_MUST_USE enum es_status heads_key(struct heads *heads, enum es_kv_family family,
                                     struct es_text name_space, struct es_text key,
                                     struct cache_entry **ret_entry);
ES_MUST_USE enum es_status heads_producer(struct heads *heads, struct es_text producer,
                                          struct cache_entry **ret_entry);

#endif
