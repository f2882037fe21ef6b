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
#include "broker/log.h"
#include "broker/publication.h"
#include "broker/store.h"
#include "broker/witness.h"

struct committer;

struct committer_config {
    struct log *log; /* all of these outlive it */
    struct store *store;
    struct heads *heads;
    struct lanes *lanes;
    struct inbox *inbox;
    void (*publish)(void *context, const struct publication *publication);
    void *publish_context;
    struct flusher *flusher;
    struct witness *witness;
    struct counters *counters;
    uint64_t epoch;
    bool syncs_commits; /* durability fsync */
};

/* 'end' is where the history stands. */
ES_MUST_USE enum es_status committer_new(const struct committer_config *config,
                                         const struct history_point *end,
                                         struct committer **ret_committer);
void committer_free(struct committer *committer);

/* Empties 'batch' and makes it the one after everything committed. */
void committer_begin_batch(const struct committer *committer, struct batch *batch);

/*
 * Commits what the sequencer has put into 'batch', and answers.
 *
 * ES_E_*: nobody was told anything; the outcome is unknown, the process must
 * end, and the next start decides. '*ret_what' names the step (static text).
 */
ES_MUST_USE enum es_status committer_commit(struct committer *committer, struct batch *batch,
                                            const char **ret_what);

/* Where the history stands. */
const struct history_point *committer_end(const struct committer *committer);

#endif
