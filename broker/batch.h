/*
 * One batch: what becomes durable by one write of the commit log. The sequencer
 * fills it, transaction after transaction; batch_close.h makes the commit record
 * and the body of the log record; apply.h turns it into store keys; recovery
 * fills one from a log record instead (batch_load.h), so that apply is the same
 * code live and after a crash.
 *
 * Envelopes are encoded where they will be written from: the region is already
 * the body's array. A batch is reused for ever and allocates nothing once made.
 *
 * A batch that holds neither events nor operations has no commit: it only says
 * in 'Last' which refused records were consumed.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_BATCH_H
#define BROKER_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/heads.h"
#include "broker/inbox.h"
#include "broker/limits.h"
#include "broker/undo.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/envelope.h"
#include "shm/codec/log_body.h"
#include "shm/lane.h"

struct lane; /* lanes.h */

struct batch_event {
    uint32_t offset; /* of the envelope, in 'envelopes' (or in 'loaded') */
    uint32_t size;
    uint32_t run_index;
    uint8_t hash[ES_HASH_SIZE];
};

/* Events of one stream that follow each other in position. */
struct batch_run {
    struct cache_entry *stream; /* pinned until the batch is applied; its key is the text */
    uint32_t category_bytes;
    uint32_t first_event;
    uint64_t first_position;
    uint64_t previous_in_category;
    bool last_of_stream;       /* of this batch: writes the head */
    bool last_of_category;     /* writes the category's last position */
    struct es_head_value head; /* after the run; set by batch_close() where last_of_stream */
};

/* The answer to one transaction. */
struct batch_answer {
    struct lane *lane;             /* NULL: it came by request */
    struct submission *submission; /* NULL: it came through the ring */
    bool stored;                   /* gets commit number, store hash and time on closing */
    struct es_lane_result result;
};

struct batch {
    uint64_t number;
    uint64_t commit_number; /* 0: this batch has no commit */
    uint64_t first_position;
    uint64_t time_us;
    uint64_t last_revision; /* of keys; 0: no operation gave one */
    uint8_t previous_store_hash[ES_HASH_SIZE];
    uint8_t store_hash[ES_HASH_SIZE]; /* after it; without a commit the previous one */

    uint32_t event_count;
    uint32_t run_count;
    uint32_t transaction_count;
    uint32_t kv_count;
    uint32_t operation_count;
    uint32_t producer_count; /* named producers whose entry it writes */
    uint32_t named_count;    /* transactions that have a number of a named producer */
    uint32_t answer_count;
    uint32_t answer_count_max; /* the batch is full then; may be lowered after batch_begin() */
    uint32_t bytes;            /* of envelopes, runs and operations together, an upper bound */
    uint32_t bytes_max;        /* of the same: what a log record has room for */

    const uint8_t *envelopes;   /* where the offsets of events begin */
    struct es_bytes record;     /* the encoded commit record; after closing */
    struct es_bytes operations; /* encoded, without array header; after closing */
    struct es_bytes last;       /* encoded; after closing */
    struct es_last progress;    /* what 'last' says: how far rings and lanes have come */

    struct batch_event *events;
    struct batch_run *runs;
    struct es_commit_run *commit_runs; /* beside 'runs' */
    struct es_commit_transaction *transactions;
    struct es_commit_kv *kvs;
    struct batch_answer *answers;
    struct cache_entry **producers; /* pinned until the batch is applied */

    struct batch_memory *memory; /* private; see batch_state.h */
};

/* Where a transaction began; see batch_rollback(). */
struct batch_mark {
    uint32_t event_count;
    uint32_t run_count;
    uint32_t transaction_count;
    uint32_t kv_count;
    uint32_t operation_count;
    uint32_t named_count;
    uint32_t bytes;
    size_t envelope_bytes;
    size_t operation_bytes;
    uint64_t last_run_events; /* counts of what may have grown in place */
    uint32_t last_transaction_runs;
    uint32_t last_transaction_kvs;
    uint64_t last_revision;
};

/* 'body_bytes_max' is log_body_bytes_max(); a batch never makes a larger one. */
ES_MUST_USE enum es_status batch_new(uint64_t body_bytes_max, struct batch **ret_batch);
void batch_free(struct batch *batch);

/* The largest transaction that always fits into an empty batch. */
uint32_t batch_transaction_bytes_max(const struct batch *batch);

/* Empties it. The first event, if one comes, gets 'first_position'. */
void batch_begin(struct batch *batch, uint64_t number, uint64_t first_position,
                 const uint8_t previous_store_hash[ES_HASH_SIZE]);

/* A transaction of 'uid' begins; unnamed ones of one uid share an entry. */
void batch_mark(const struct batch *batch, struct batch_mark *ret_mark);
ES_MUST_USE enum es_status batch_begin_transaction(struct batch *batch, uint32_t uid);

/*
 * The same, of a named producer: with an entry of its own, and room for the
 * producer's. 'producer' is the cache's key of the name: batch_touch_producer()
 * keeps it in place.
 */
ES_MUST_USE enum es_status batch_begin_named(struct batch *batch, uint32_t uid,
                                             struct es_text producer, uint64_t number,
                                             const uint8_t content_hash[ES_CONTENT_HASH_SIZE]);

/* Room for the entry of a producer whose owner changes. ES_FULL: there is none. */
ES_MUST_USE enum es_status batch_reserve_producer(struct batch *batch, struct es_text producer);

/* The batch writes the producer's entry, as it will stand when the batch is
 * closed. Room for it was reserved by one of the two above. */
void batch_touch_producer(struct batch *batch, struct cache_entry *entry);

/*
 * Takes back everything since the mark but answers. The caches are put back by
 * undo_rollback().
 */
void batch_rollback(struct batch *batch, const struct batch_mark *mark);

/*
 * Appends one event to the stream of 'entry': encodes and hashes it as the
 * successor of the head there, and moves that head on. 'event->previous_hash'
 * is set here.
 *
 * ES_FULL: no room; nothing changed, but what was saved for undo.
 */
ES_MUST_USE enum es_status batch_append_event(struct batch *batch, struct undo *undo,
                                              struct cache_entry *entry,
                                              struct es_event_fields *event,
                                              const uint8_t **ret_hash);

/* Adds an operation; 'kv', if not NULL, is what the commit record says of it. ES_FULL: no room. */
ES_MUST_USE enum es_status batch_add_operation(struct batch *batch,
                                               const struct es_log_operation *operation,
                                               const struct es_commit_kv *kv);

/* The operations that it holds so far, as they will be in the log. */
struct es_bytes batch_operations(const struct batch *batch);

/* Room for one more answer; NULL: the batch is full. It is zeroed. */
struct batch_answer *batch_add_answer(struct batch *batch);

/* Whether it changes the store by more than 'Last'. */
static inline bool batch_has_commit(const struct batch *batch)
{
    return batch->event_count > 0 || batch->operation_count > 0 || batch->producer_count > 0;
}

/* Position of the store's last event once the batch is applied. */
static inline uint64_t batch_last_position(const struct batch *batch)
{
    return batch->first_position + batch->event_count - 1;
}

#endif
