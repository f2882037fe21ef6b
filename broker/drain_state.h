/*
 * What the files of the drain share; nobody else includes it.
 *
 *   drain.c         tickets, sweeps, requests: what goes into the next batch
 *   drain_names.c   submissions that have to do with a producer's name
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_DRAIN_STATE_H
#define BROKER_DRAIN_STATE_H

#include "broker/drain.h"

/* A record or request that was fetched but found no room in its batch: the next
 * batch begins with it. */
struct held {
    bool is_held;
    struct incoming incoming;
    struct es_record record;
};

/* A submission that has to do with a producer's name, until it is done. */
struct waiting {
    struct submission *submission; /* NULL: none waits */
    struct incoming incoming;      /* of a transaction */
    uint64_t owner;                /* incarnation of the lane that is emptied before */
    uint64_t until;                /* its last record that was published before */
    uint64_t claimant;             /* of a claim: the lane that shall own the name */
};

struct drain {
    struct drain_config config;
    struct held held;
    struct waiting waiting;
    int64_t now_ns; /* of the present filling */
    int64_t swept_ns;
    uint32_t sweep_next; /* where the next sweep begins, so that no lane is always last */
    uint32_t ring_next;  /* where the next round begins, so that no uid is always first */
    uint8_t *buffer;     /* of record_bytes_max */
};

/* ES_FULL: it is held for the next batch. */
enum es_status drain_add(struct drain *drain, struct batch *batch, const struct incoming *incoming);

/* Takes the lane's next record, if there is one. ES_EMPTY: there is none, or the
 * lane is not believed any more. */
enum es_status drain_take_record(struct drain *drain, struct batch *batch, struct lane *lane);

/* The submission in drain->waiting: finds the name's owner, and how far it has published by now. */
enum es_status drain_begin_waiting(struct drain *drain);

/* Empties the owner's lane so far, and then does what was submitted. ES_FULL: the batch has no
 * room for all of it; the next one goes on. */
enum es_status drain_go_on_waiting(struct drain *drain, struct batch *batch);

#endif
