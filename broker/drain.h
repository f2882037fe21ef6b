/*
 * Fetches what waits to be stored and hands it to the sequencer, until the
 * batch is full or nothing waits: requests from the inbox, then records from the
 * lanes in the order of the rings' tickets, then, each SWEEP_INTERVAL_NS, what
 * was published without a ticket; where full batches leave no room for that, it comes
 * first after SWEEP_LATE_NS. What has to do with a producer's name waits until
 * everything that the lane which owns the name had published lies in batches before
 * it (inbox.h, errand). Records are copied out of shared memory and
 * only the copies are looked at (shm/lane_reader.h).
 *
 * What it does not do: judge a transaction (sequencer.h), or decide when a batch
 * is written (commit_loop.h).
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_DRAIN_H
#define BROKER_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/batch.h"
#include "broker/counters.h"
#include "broker/inbox.h"
#include "broker/lanes.h"
#include "broker/sequencer.h"

struct drain;

struct drain_config {
    struct lanes *lanes; /* these outlive it */
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct heads *heads;
    struct counters *counters;
    uint32_t record_bytes_max; /* of a ring record */
};

ES_MUST_USE enum es_status drain_new(const struct drain_config *config, struct drain **ret_drain);
void drain_free(struct drain *drain);

/*
 * Adds to 'batch' what waits. '*ret_is_full' says that more waits for which this
 * batch had no room. Calls from the inbox are run and answered here.
 *
 * ES_E_*: the sequencer cannot go on; stop.
 */
ES_MUST_USE enum es_status drain_fill(struct drain *drain, struct batch *batch, int64_t now_ns,
                                      bool *ret_is_full);

/* The last batch is finished: refuses what was taken from the inbox and not done. */
void drain_end(struct drain *drain);

/* Whether the batch must be written: it has answers, or so many stale tickets
 * were passed over that their slots have to be freed. */
bool drain_needs_commit(struct drain *drain, const struct batch *batch);

/* Whether drain_fill() would find something, tickets and inbox alone: for a look
 * before sleeping. Rings that rest (share.h) have nothing. */
bool drain_has_work(struct drain *drain, int64_t now_ns);

#endif
