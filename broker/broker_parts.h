/*
 * The parts of a broker, and how they are joined: each is made with what it needs of
 * those before it.
 *
 * What it does not do: run them (broker.h).
 *
 * Threads. The main thread.
 */
#ifndef BROKER_BROKER_PARTS_H
#define BROKER_BROKER_PARTS_H

#include "broker/backup.h"
#include "broker/broker_status.h"
#include "broker/commit_loop.h"
#include "broker/control.h"
#include "broker/options.h"
#include "broker/publisher.h"
#include "broker/requests.h"
#include "broker/run_directory.h"
#include "broker/startup.h"

/* In the order in which they are made; taken apart in reverse. */
struct broker_parts {
    const struct options *options;
    void (*failed)(const char *what, const char *why); /* ends the process */
    struct counters counters;
    struct counters request_counters;
    struct run_directory run;
    struct startup startup;
    struct lanes *lanes;
    struct transport *transport;
    struct publisher *publisher;
    struct commit_loop *loop;
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct batch *batches[COMMIT_LOOP_BATCHES];
    struct drain *drain;
    struct flusher *flusher;
    struct scribe *scribe;
    struct witness *witness;
    struct committer *committer;
    struct control *control;
    struct broker_status status;
    struct backup *backup;
    struct requests *requests;
    struct es_geometry geometry; /* of shared memory: the options', or that of what was found */
    uint32_t transaction_bytes_max;
    char why[DATA_WHY_BYTES];
};

/* Nothing is made yet. 'options' outlive it; 'failed' does not return. */
void broker_parts_init(struct broker_parts *parts, const struct options *options,
                       void (*failed)(const char *what, const char *why));

/*
 * Makes all but the request workers: from here on producers can attach and clients
 * connect, and wait. On failure parts->why is the sentence for the user, and
 * what was made waits for broker_parts_deinit().
 */
ES_MUST_USE enum es_status broker_parts_make(struct broker_parts *parts);

/* Makes the request workers, once the commit thread runs that answers their appends.
 * On failure as above. */
ES_MUST_USE enum es_status broker_parts_make_questions(struct broker_parts *parts);

/* Takes apart whatever was made. */
void broker_parts_deinit(struct broker_parts *parts);

#endif
