/*
 * Writes a sealed batch into the commit log and syncs it: in the calling thread,
 * or on a thread of its own, so that the commit thread can apply the batch before
 * and gather the one after while the disk is busy. One batch at a time.
 *
 * Threads. All calls: the commit thread. What it shares with its own thread goes
 *          through 'turn' [S1]: stored with release, loaded with acquire.
 */
#ifndef BROKER_SCRIBE_H
#define BROKER_SCRIBE_H

#include <stdbool.h>

#include "broker/batch.h"
#include "broker/counters.h"
#include "broker/flusher.h"
#include "broker/log.h"

struct scribe;

struct scribe_config {
    struct log *log; /* these outlive it */
    struct flusher *flusher;
    struct counters *counters;
    bool syncs_commits; /* durability fsync */
};

/* How a write went. */
struct scribe_outcome {
    enum es_status status; /* ES_E_*: unknown what was written; stop */
    bool segment_begun;    /* cut the store before this batch is applied: flusher.h */
    int64_t took_ns;
};

ES_MUST_USE enum es_status scribe_new(const struct scribe_config *config,
                                      struct scribe **ret_scribe);

/* Nothing may be on its way. NULL is fine. */
void scribe_free(struct scribe *scribe);

/* Writes the batch that follows 'previous' and returns when it is durable. */
struct scribe_outcome scribe_write(struct scribe *scribe, const struct batch *batch,
                                   const struct log_point *previous);

/* Hands the batch over; it must stay as it is until scribe_wait() has returned. */
void scribe_begin(struct scribe *scribe, const struct batch *batch,
                  const struct log_point *previous);

/* Whether scribe_wait() would return at once. */
bool scribe_is_done(const struct scribe *scribe);

/* Waits for what was begun. */
struct scribe_outcome scribe_wait(struct scribe *scribe);

#endif
