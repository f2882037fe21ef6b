/*
 * Judges one transaction after the other and gives it its place: validates the
 * bytes, checks the expectations against everything accepted before it (this
 * very batch included), assigns sequences, positions and revisions, and encodes
 * and chains the events into the batch (docs/adr/0010: an expected hash may name
 * an event of the same batch). A transaction that is refused leaves nothing
 * behind but its answer.
 *
 * What it does not do: fetch records (drain.h), or make anything durable
 * (committer.h).
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_SEQUENCER_H
#define BROKER_SEQUENCER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/batch.h"
#include "broker/heads.h"
#include "broker/store.h"

struct sequencer;

/* A private copy of what somebody wants stored. */
struct incoming {
    const uint8_t *transaction;
    uint32_t transaction_bytes;
    uint32_t flags; /* ES_RECORD_* of shm/lane.h */
    uint32_t uid;
    struct lane *lane; /* one of these two is set */
    struct submission *submission;
    uint64_t lane_sequence;  /* with 'lane' */
    bool *order_broken;      /* the lane's; NULL for a request */
    struct es_text producer; /* under whose name; size 0: unnamed */
    uint64_t incarnation;    /* of the lane, where it has a name; 0: a request */
    bool owner_lives;        /* of a request under a name: a lane in use owns it */
};

/* 'store' and 'heads' outlive it. Reads the last revision from the store.
 * ES_E_CORRUPT, ES_E_IO: the store cannot be used. */
ES_MUST_USE enum es_status sequencer_new(struct store *store, struct heads *heads,
                                         struct sequencer **ret_sequencer);
void sequencer_free(struct sequencer *sequencer);

/* While set, whatever adds to the store is refused with ES_NO_SPACE. */
void sequencer_set_no_space(struct sequencer *sequencer, bool no_space);
bool sequencer_has_no_space(const struct sequencer *sequencer);

/*
 * Adds the transaction to 'batch', or its refusal: either way the batch gets
 * its answer.
 *
 * ES_FULL: the batch has no room for it, or it needs to be the first of a batch
 * with nothing unapplied before it (a snapshot deletion looks into the store);
 * nothing changed: close this batch, apply it and add the transaction to the next.
 * ES_E_CORRUPT, ES_E_IO, ES_E_NO_MEMORY, ES_E_VERSION: the store cannot be read;
 * stop.
 */
ES_MUST_USE enum es_status sequencer_add(struct sequencer *sequencer, struct batch *batch,
                                         const struct incoming *incoming);

#endif
