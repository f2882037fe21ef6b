/*
 * What one user's ring may take of the commit thread while other users publish too.
 *
 * Alone, a ring fills whole batches. Once several users are about, each gets a share of
 * a batch, for the others wait for all of it; and a ring that used its share up rests for
 * SHARE_REST_NS, for batch upon batch of one user's flood would take the processor, the
 * disk and the store's background work from the others, however short each batch is.
 * What rests lies in its lanes, and its producers wait as they do for a full ring.
 * So does a ring that has the commit thread look at it again and again for nothing, by
 * tickets without records or a bell without tickets. With sound producers there is a
 * record behind each ticket and a ticket behind each bell: late bells make one such look
 * for each producer of the user at most, and the next record begins the count anew.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_SHARE_H
#define BROKER_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/batch.h"
#include "broker/lanes.h"

/* What is left of a ring's share of the batch that is being filled. */
struct share {
    bool is_limited;
    uint32_t tickets_left;
    uint32_t answers_max; /* of the batch, with what others have in it */
    uint32_t bytes_max;
};

/* It has tickets that are to be taken now: it does not rest. */
bool share_is_ready(const struct lane_ring *ring, int64_t now_ns);

/* When the first ring that rests does so no more; INT64_MAX: none rests. */
int64_t share_rests_until(struct lanes *lanes, int64_t now_ns);

/* Several users publish lately. */
bool share_is_due(struct lanes *lanes, int64_t now_ns);

void share_begin(struct share *share, struct lanes *lanes, const struct lane_ring *ring,
                 const struct batch *batch, int64_t now_ns);

/* Whether a record more is within the share. */
bool share_has_room(const struct share *share, const struct batch *batch);

/* False: it is used up, and the ring rests from now on. */
bool share_take_ticket(struct share *share, struct lane_ring *ring, const struct batch *batch,
                       int64_t now_ns);

/* The commit thread turned to a ring, for its tickets or its bell, and got no record. A record
 * of it, however it is taken, sets vain_turns to 0. */
void share_note_vain_turn(struct lanes *lanes, struct lane_ring *ring, int64_t now_ns);

#endif
