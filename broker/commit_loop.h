/*
 * The commit thread's life: fill a batch, have it written, and while the disk is
 * busy finish the one before and gather the next; when nothing waits look again
 * for a moment, then sleep until a bell rings. Group commit needs no timer: what
 * arrives during one fsync is the next batch.
 *
 * Threads. commit_loop_run() is the commit thread. commit_loop_wake() and
 *          commit_loop_stop(): any thread.
 */
#ifndef BROKER_COMMIT_LOOP_H
#define BROKER_COMMIT_LOOP_H

#include <stdint.h>

#include "broker/batch.h"
#include "broker/committer.h"
#include "broker/disk.h"
#include "broker/drain.h"
#include "broker/sequencer.h"

enum {
    COMMIT_LOOP_BATCHES = 2
}; /* one is written while the other is filled */

struct commit_loop;

struct commit_loop_config {
    struct drain *drain; /* all of these outlive it */
    struct committer *committer;
    struct sequencer *sequencer;
    struct lanes *lanes;
    struct scribe *scribe;
    struct batch *batches[COMMIT_LOOP_BATCHES];
    struct counters *counters;
    struct disk *disk;                                 /* whose free space is watched */
    uint64_t reserve_bytes;                            /* appends are refused while less is free */
    void (*failed)(const char *what, const char *why); /* fail-stop; does not return */
};

ES_MUST_USE enum es_status commit_loop_new(struct commit_loop **ret_loop);
void commit_loop_free(struct commit_loop *loop);

/* Runs until commit_loop_stop(), then commits what is in the rings and returns. */
void commit_loop_run(struct commit_loop *loop, const struct commit_loop_config *config);

/* There is something in the inbox. 'loop' is a struct commit_loop. */
void commit_loop_wake(void *loop);

void commit_loop_stop(struct commit_loop *loop);

#endif
