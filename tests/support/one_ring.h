/*
 * One ring with both its sides in one process, and the few moves that tests of the
 * ring make all the time. All tickets are of lane 7.
 */
#ifndef TESTS_SUPPORT_ONE_RING_H
#define TESTS_SUPPORT_ONE_RING_H

#include <stdint.h>

#include "shm/ring.h"

#define ONE_RING_ID UINT64_C(0x1122334455667788)

struct one_ring {
    struct es_segment segment;
    struct es_ring ring;
    struct es_ring_reader reader;
};

void one_ring_open(struct one_ring *f, uint32_t slot_count);
void one_ring_close(struct one_ring *f);

void one_ring_place(struct one_ring *f, uint64_t sequence);

/* Steps a producer up to the instant after its slot is taken, and leaves it there. */
void one_ring_place_and_die(struct one_ring *f, uint64_t sequence);

/* The broker takes this ticket; or there is none. */
void one_ring_assert_takes(struct one_ring *f, uint64_t sequence);
void one_ring_assert_nothing_to_take(struct one_ring *f);

/* Whole laps of placing, taking and freeing: on a new ring, what follows is lap 'laps'. */
void one_ring_walk(struct one_ring *f, uint32_t laps);

_Atomic uint64_t *one_ring_slot(struct one_ring *f, uint64_t position);

#endif
