/*
 * What sequencer.c (which judges a transaction as a whole) and sequencer_operations.c
 * (which goes through its operations) share, and nobody else.
 */
#ifndef BROKER_SEQUENCER_STATE_H
#define BROKER_SEQUENCER_STATE_H

#include <string.h>

#include "broker/sequencer.h"
#include "shm/codec/transaction.h"

struct sequencer {
    struct store *store;
    struct heads *heads;
    struct undo *undo;
    uint64_t last_revision;
    bool no_space;
};

/* What becomes of a transaction while its operations are gone through. */
struct verdict {
    enum es_status status; /* ES_OK so far, or of the first operation that failed */
    enum es_reason reason;
    bool batch_full;
    bool is_first;              /* nothing of other transactions is in the batch */
    bool needs_barrier;         /* it must be that, and everything before it be applied */
    bool was_broken;            /* the lane's row of ordered records, before this one */
    struct cache_entry *stream; /* whose state the answer tells, where it failed */
    struct cache_entry *key;
    struct cache_entry *producer; /* NULL: unnamed */
    bool is_repeat;               /* the answer is that of the first time */
};

/* A broken rule is REJECTED, an expectation that does not hold a CONFLICT. */
static inline void sequencer_refuse(struct verdict *verdict, enum es_status status,
                                    enum es_reason reason)
{
    verdict->status = status;
    verdict->reason = reason;
}

static inline void sequencer_tell_stream(struct es_lane_result *result,
                                         const struct stream_state *state)
{
    result->stream_sequence = state->head.last_sequence;
    memcpy(result->hash, state->head.last_hash, ES_HASH_SIZE);
    result->tick = state->head.last_tick;
    result->position = state->head.last_position;
}

/*
 * Adds the transaction's operations to the batch that it was begun in, one after the
 * other, up to the first that fails: 'verdict' says how, and '*result' what the answer
 * tells. It takes nothing back. ES_E_*: the store cannot be read; stop.
 */
ES_MUST_USE enum es_status sequencer_add_operations(struct sequencer *sequencer,
                                                    struct batch *batch,
                                                    struct es_transaction_reader *reader,
                                                    struct verdict *verdict,
                                                    struct es_lane_result *result);

#endif
