/*
 * Makes a batch durable and visible, in the one order that keeps the promises.
 * Everything that a commit does, it does here, step by step.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_COMMITTER_H
#define BROKER_COMMITTER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/batch.h"
#include "broker/batch_load.h"
#include "broker/counters.h"
#include "broker/flusher.h"
#include "broker/heads.h"
#include "broker/inbox.h"
#include "broker/lanes.h"
#include "broker/publication.h"
#include "broker/scribe.h"
#include "broker/store.h"
#include "broker/witness.h"

struct committer;

struct committer_config {
    struct store *store; /* all of these outlive it */
    struct heads *heads;
    struct lanes *lanes;
    struct inbox *inbox;
    void (*publish)(void *context, const struct publication *publication);
    void *publish_context;
    struct flusher *flusher;
    struct scribe *scribe;
    struct witness *witness;
    struct counters *counters;
    uint64_t epoch;
};

/* 'end' is where the history stands. */
ES_MUST_USE enum es_status committer_new(const struct committer_config *config,
                                         const struct history_point *end,
                                         struct committer **ret_committer);
void committer_free(struct committer *committer);

/*
 * A batch goes through three calls: begin, seal, and, once the scribe has made
 * it durable, finish. While one is being written the next one may be begun and
 * sealed; they are written and finished in their order.
 */

/* Empties 'batch' and makes it the one after everything sealed. */
void committer_begin_batch(const struct committer *committer, struct batch *batch);

/*
 * Nothing more comes into 'batch': makes its record and stages its answers.
 * '*ret_previous' is what the log wants to know of the history before it.
 * ES_E_*: stop.
 */
ES_MUST_USE enum es_status committer_seal(struct committer *committer, struct batch *batch,
                                          struct log_point *ret_previous);

/*
 * The batch is durable, with 'outcome' of its write: applies it, announces it,
 * answers it, publishes it.
 *
 * ES_E_*: nobody was told anything; the outcome is unknown, the process must
 * end, and the next start decides. '*ret_what' names the step (static text).
 */
ES_MUST_USE enum es_status committer_finish(struct committer *committer, struct batch *batch,
                                            const struct scribe_outcome *outcome,
                                            const char **ret_what);

/* Seal, write and finish, one after the other. */
ES_MUST_USE enum es_status committer_commit(struct committer *committer, struct batch *batch,
                                            const char **ret_what);

/* Where the history stands: everything up to here is finished. */
const struct history_point *committer_end(const struct committer *committer);

#endif
