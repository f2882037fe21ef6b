/*
 * The shortest broker that keeps the order of a commit, and the producer to go with
 * it, for tests of ring, lanes and doorbell together: with threads, with processes
 * that are killed, with restarts in between. It stores nothing: it checks that each
 * record is whole and is its lane's next, gives it the next position, and answers.
 * It relies on tickets alone for lanes that live, so a lost ticket is a hang and a
 * lost wake a timeout that is counted.
 *
 * A broken promise prints what it was and aborts, for it may show in any thread or
 * child. Threads: little_broker_*: one; little_producer_*: one per producer.
 */
#ifndef TESTS_SUPPORT_LITTLE_BROKER_H
#define TESTS_SUPPORT_LITTLE_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/doorbell.h"
#include "shm/lane_reader.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"
#include "tests/support/prng.h"

#define LITTLE_LANE_COUNT_MAX 8u
#define LITTLE_ARENA_BYTES ES_ARENA_BYTES_TINY
#define LITTLE_RING_ID UINT64_C(77)

struct little_lane {
    struct es_segment segment;
    struct es_lane_reader reader;
    uint64_t incarnation;
    uint64_t durable_sequence; /* what a restart goes on from */
    uint32_t durable_offset;
};

struct little_broker {
    struct es_segment ring_segment;
    struct es_ring_reader ring;
    struct es_doorbell doorbell;
    struct little_lane lanes[LITTLE_LANE_COUNT_MAX];
    uint32_t lane_count;
    uint32_t slot_count;
    uint32_t credit_count;
    uint64_t incarnation_last;
    uint64_t position; /* of the last record taken */
    uint64_t durable_position;
    uint64_t durable_cursor;
    uint64_t taken_count; /* records, repeats after a restart included */
    uint64_t stale_count; /* tickets whose record was taken already */
    uint64_t restart_count;
    uint64_t lost_bell_count; /* sleeps that ended by their deadline with a ticket there */
};

/* Ends the test program unless 'is_true'. */
void little_require(bool is_true, const char *what);

void little_broker_open(struct little_broker *broker, uint32_t lane_count, uint32_t slot_count,
                        uint32_t credit_count);
void little_broker_close(struct little_broker *broker);

/* A new, empty lane under this number, with a new incarnation; the old one is unmapped. */
void little_broker_renew_lane(struct little_broker *broker, uint32_t lane_index);

/*
 * Takes up to 'ticket_count' tickets with their records, and commits them. With
 * 'restart', dies at a random point of that commit and attaches again. False: there
 * was no ticket.
 */
bool little_broker_round(struct little_broker *broker, uint32_t ticket_count, bool restart,
                         struct prng *prng);

/* Takes and answers what a dead producer published without a ticket. */
void little_broker_drain_dead(struct little_broker *broker, uint32_t lane_index);

/* Sleeps until a producer rings; a minute without is reported as a hang. */
void little_broker_sleep(struct little_broker *broker);

/* Deletes every thought and attaches to the same memory at what was durable. */
void little_broker_restart(struct little_broker *broker);

struct little_producer {
    struct es_ring ring;
    struct es_lane_writer writer;
    uint32_t lane_index;
    uint64_t position_last; /* of the last answer */
    uint64_t floors[ES_CREDIT_COUNT_MAX];
    _Atomic uint64_t *acked_position; /* highest that any producer has seen answered */
    struct prng prng;
};

/* Attaches to the lane with this number; 'acked_position' is shared by all producers. */
void little_producer_open(struct little_producer *producer, const struct little_broker *broker,
                          uint32_t lane_index, _Atomic uint64_t *acked_position, uint64_t seed);

/* Publishes one record, after waiting for room if there is none. */
void little_producer_publish(struct little_producer *producer);

/* Waits for everything published, and collects it. */
void little_producer_finish(struct little_producer *producer);

#endif
