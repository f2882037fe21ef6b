/*
 * What the files of the hostile client share. hostile.c attaches as the protocol says
 * and chooses the attack; attack_memory.c writes where it can, attack_sockets.c
 * talks to the sockets as nobody should.
 */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/control.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"
#include "shm/segment.h"
#include "tests/support/prng.h"

/* A lane of its own, mapped as the library would, and all descriptors kept. */
struct hostile {
    const char *run_dir;
    struct prng prng;
    int64_t until_ns;
    int socket;
    struct es_segment control_segment;
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_control control;
    struct es_control_identity identity;
    struct es_ring ring;
    struct es_lane_writer writer;
    uint32_t lane_index;
    uint64_t incarnation;
    uint32_t ring_index;
    uint64_t number; /* of the last event that it has published */
    uint64_t rounds;
    uint64_t cut_off;       /* lanes that the broker took away */
    uint64_t not_cut_off;   /* ... that it had to take away, and did not within the bound */
    int64_t cut_off_ns_max; /* the longest that one lived after the offence */
};

bool hostile_is_over(const struct hostile *h);

/* A stream socket or, for control.sock, a packet socket; -1: refused. */
int hostile_connect(const struct hostile *h, const char *name, int type);

/* False: it got no lane (all are taken, or the time is over). */
bool hostile_attach(struct hostile *h);
void hostile_detach(struct hostile *h);

/* Publishes a sound event of its own, with or without ticket; false: the lane is full. */
bool hostile_publish(struct hostile *h, uint32_t payload_bytes, bool with_ticket);

/* Collects answers. */
void hostile_collect(struct hostile *h);

/* Waits until the broker has taken the lane away; counts how long it took. */
void hostile_await_cut_off(struct hostile *h);

/* Each does it again and again until the time is over. */
typedef void (*attack_fn)(struct hostile *h);
struct attack {
    const char *name;
    attack_fn run;
};
extern const struct attack memory_attacks[]; /* ended by a NULL name */
extern const struct attack socket_attacks[];

#endif
