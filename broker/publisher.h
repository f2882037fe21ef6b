/*
 * Publication: durable commits become messages of up to MESSAGE_BYTES_MAX, one
 * category each, and heartbeats. What a message looks like is shm/codec/published.h,
 * when a heartbeat is due is heartbeat.h, who takes them is transport.h.
 *
 * It never makes the commit thread wait: its queue is bounded by
 * PUBLISHER_QUEUE_BYTES_MAX and drops the oldest commit, whose categories the
 * next heartbeat names all the same. A subscriber that misses something reads it.
 *
 * Threads. publisher_commit(): the commit thread. One thread of its own sends.
 */
#ifndef BROKER_PUBLISHER_H
#define BROKER_PUBLISHER_H

#include <stdint.h>

#include "broker/counters.h"
#include "broker/publication.h"
#include "broker/transport.h"

struct publisher;

struct publisher_config {
    struct transport *transport; /* outlives the publisher */
    struct counters *counters;
    const uint8_t *store_id; /* 16 bytes, copied */
    uint64_t epoch;
    uint64_t start_number;
    uint64_t head_position; /* of the store at this start */
    uint8_t store_hash[32];
};

/* Starts its thread, and has the transport tell it who connects. */
ES_MUST_USE enum es_status publisher_new(const struct publisher_config *config,
                                         struct publisher **ret_publisher);

/*
 * Takes over a commit that is durable and applied; copies what it keeps.
 * Without subscribers it only remembers the categories that changed. Out of
 * memory it drops the events and lets the next heartbeat tell.
 */
void publisher_commit(struct publisher *publisher, const struct publication *publication);

/* Sends what is queued and a last heartbeat, then ends the thread. Also twice. */
void publisher_stop(struct publisher *publisher);

/* Stops first where needed. NULL is fine. */
void publisher_free(struct publisher *publisher);

#endif
