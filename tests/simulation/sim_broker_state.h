/*
 * The process that sim_broker.c begins, runs and ends, for sim_broker_calls.c, which asks
 * it what clients want.
 */
#ifndef TESTS_SIMULATION_SIM_BROKER_STATE_H
#define TESTS_SIMULATION_SIM_BROKER_STATE_H

#include "broker/commit_loop.h"
#include "broker/startup.h"
#include "tests/simulation/sim_broker.h"

/* In the broker's memory, but for what the host asks after its end. */
struct sim_process {
    struct counters counters;
    struct startup startup;
    struct lanes *lanes;
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct batch *batches[COMMIT_LOOP_BATCHES];
    struct drain *drain;
    struct flusher *flusher;
    struct scribe *scribe;
    struct witness *witness;
    struct committer *committer;
    struct commit_loop *loop;
};

extern struct sim_process sim_process;

/* In a fiber: anything else ends the process as failed. */
void sim_broker_must(enum es_status status);

#endif
