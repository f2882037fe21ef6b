/*
 * How the broker sleeps when all rings are empty, and how it is woken: by a
 * producer that placed a ticket, through the bell of its ring, or by a thread
 * of the broker itself, through a private word. Which work there is to do is
 * known to ring.h and to the broker's inbox, not here.
 *
 * A system call is made only where somebody sleeps: each side sets its word and
 * then looks at the other's, both seq_cst, so at least one of them sees the
 * other (Dekker):
 *   [D1] producer: CAS slot, then load 'sleeping'
 *        broker:   store 'sleeping', then load slot (es_ring_has_ticket)
 *   [D2] thread:   its work, then add to 'word', then load 'is_sleeping'
 *        broker:   store 'is_sleeping', load 'word', then look for work
 *   [R1] 'word'    add, seq_cst                  load, seq_cst: the work is seen
 *   [R2] 'bell'    add, release                  load, acquire: so is the ticket
 * 'sleeping' is the number of the sleep, never 0 while armed. A producer that sees
 * one rings first and clears it last, and only that same number: so a burst rings
 * about once, a producer that dies in between takes no wake with it, and one that
 * was stopped in between does not clear a later sleep's. A hostile producer can
 * keep the bell ringing, which costs the broker a look at that ring, or clear
 * 'sleeping', which costs its own uid up to the broker's deadline: callers give
 * one (10 ms while lanes are open).
 */
#ifndef ES_SHM_DOORBELL_H
#define ES_SHM_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/layout.h"
#include "shm/ring.h"

/* The broker's side. Zero it before use; 'word' and 'is_sleeping' are shared
 * with its other threads, the rest belongs to the thread that sleeps. */
struct es_doorbell {
    _Atomic uint32_t word;
    _Atomic uint32_t is_sleeping;
    uint32_t sleep_number; /* goes into 'sleeping' of each ring */
    uint32_t ring_count;   /* armed */
    uint32_t word_seen;
    uint32_t woken_index; /* of the ring by which the last sleep was ended, if one is known */
    struct es_ring_file *rings[ES_RING_COUNT_MAX];
    uint32_t bells_seen[ES_RING_COUNT_MAX];
};

/*
 * Announces that the broker is about to sleep on these rings (at most
 * ES_RING_COUNT_MAX). Then look at every source of work once more, and call
 * es_doorbell_sleep(), or es_doorbell_disarm() if there was something.
 */
void es_doorbell_arm(struct es_doorbell *doorbell, const struct es_ring *const *rings,
                     uint32_t ring_count);

/*
 * Sleeps until a bell rings, or 'deadline_ns' (CLOCK_MONOTONIC); disarms.
 * ES_OK: look for work. ES_TIMEOUT: the deadline has passed.
 */
ES_MUST_USE enum es_status es_doorbell_sleep(struct es_doorbell *doorbell, int64_t deadline_ns);

/*
 * Whether the ring at 'index' of those armed last has called since: its bell has rung, or who
 * slept on it was woken, which a hostile producer can do without a ring.
 */
bool es_doorbell_was_called(const struct es_doorbell *doorbell, uint32_t index);

/* Takes the announcement back. */
void es_doorbell_disarm(struct es_doorbell *doorbell);

/* From any thread of the broker, after its work can be seen: wakes the sleeper. */
void es_doorbell_wake(struct es_doorbell *doorbell);

/* From a producer, after es_ring_place(): wakes the broker if it sleeps. */
void es_doorbell_ring(struct es_ring *ring);

#endif
