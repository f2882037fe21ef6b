/* Producers, each stopped between any two accesses to shared memory, stepped in
 * random order in one thread, killed and replaced at random, beside a broker that
 * takes, frees, dies and attaches again. Against the simplest model there is: a
 * list of the tickets in the order in which their slots were won. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "shm/ring.h"
#include "tests/support/prng.h"
#include "tests/support/shared_memory.h"

#define RING_ID 9
#define PRODUCER_COUNT 4u
#define HISTORY_COUNT 256u /* more than a lap of the largest ring here */

struct world {
    struct es_segment segment;
    struct es_ring ring;
    struct es_ring_reader reader;
    struct es_placement producers[PRODUCER_COUNT];
    uint64_t sequence_next;
    uint64_t placed_count;           /* slots won: also the next position */
    uint64_t durable;                /* cursor that a restart would find */
    uint64_t history[HISTORY_COUNT]; /* sequence of position p, modulo */
    struct prng prng;
};

static void producer_begin(struct world *w, struct es_placement *producer)
{
    w->sequence_next++;
    *producer = (struct es_placement){.lane_index = (uint32_t)(producer - w->producers),
                                      .sequence = w->sequence_next};
}

static void producer_step(struct world *w, struct es_placement *producer)
{
    bool was_placed = producer->is_placed;
    enum es_status status = es_ring_step(&w->ring, producer);

    if (producer->is_placed && !was_placed) {
        /* slots are won strictly one after the other, and never ahead of freeing */
        assert_int_equal(producer->position, w->placed_count);
        assert_true(w->placed_count < w->reader.freed + w->ring.slot_count);
        w->history[w->placed_count % HISTORY_COUNT] = producer->sequence;
        w->placed_count++;
    }
    if (status == ES_OK) {
        producer_begin(w, producer);
    } else {
        assert_int_equal(status, ES_EMPTY);
    }
}

static void broker_take(struct world *w)
{
    struct es_ticket ticket;

    if (w->reader.cursor == w->placed_count ||
        w->reader.cursor - w->reader.freed == w->ring.slot_count) {
        assert_int_equal(es_ring_take(&w->reader, &ticket), ES_EMPTY);
        return;
    }
    assert_true(es_ring_has_ticket(&w->reader));
    assert_int_equal(es_ring_take(&w->reader, &ticket), ES_OK);
    assert_int_equal(ticket.sequence_low,
                     w->history[ticket.position % HISTORY_COUNT] & ES_SLOT_SEQUENCE_MASK);
    assert_int_equal(ticket.position + 1, w->reader.cursor);
}

/* Commits what is taken, and frees all of it, some of it, or none before it dies. */
static void broker_commit(struct world *w)
{
    w->durable = w->reader.cursor;
    if (w->durable > w->reader.freed) {
        es_ring_free(&w->reader,
                     w->reader.freed + prng_below(&w->prng, w->durable - w->reader.freed + 1));
    }
    if (prng_one_in(&w->prng, 2)) {
        es_ring_free(&w->reader, w->durable);
    }
}

static void broker_restart(struct world *w)
{
    assert_int_equal(
        es_ring_reader_attach(&w->reader, &w->segment, RING_ID, w->ring.slot_count, w->durable),
        ES_OK);
    assert_int_equal(w->reader.voided_count, 0);
}

/* Whoever is alone must get through if there is room, however the others stopped. */
static void assert_lone_producer_progresses(struct world *w)
{
    uint64_t placed = w->placed_count;
    bool has_room = w->placed_count < w->reader.freed + w->ring.slot_count;

    w->sequence_next++;
    if (has_room) {
        w->history[placed % HISTORY_COUNT] = w->sequence_next;
        w->placed_count++;
    }
    assert_int_equal(es_ring_place(&w->ring, 0, w->sequence_next), has_room ? ES_OK : ES_FULL);
}

static void world_step(struct world *w)
{
    struct es_placement *producer = &w->producers[prng_below(&w->prng, PRODUCER_COUNT)];

    switch (prng_below(&w->prng, 64)) {
    case 0: producer_begin(w, producer); break; /* killed where it stood, and replaced */
    case 1: broker_restart(w); break;
    case 2: assert_lone_producer_progresses(w); break;
    case 3:
    case 4:
    case 5:
    case 6: broker_commit(w); break;
    default:
        if (prng_one_in(&w->prng, 4)) {
            broker_take(w);
        } else {
            producer_step(w, producer);
        }
    }
    /* the broker never leaves a freed slot at or beyond the tail */
    assert_true(atomic_load(&w->ring.file->tail) >= w->reader.freed);
    assert_true(atomic_load(&w->ring.file->tail) <= w->placed_count);
}

static void any_interleaving_gives_the_tickets_in_the_order_they_were_won(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "any_interleaving");
    for (uint32_t slot_count = 2; slot_count <= 64; slot_count *= 2) {
        struct world w = {.prng = {prng_next(&prng)}};

        w.segment = shared_memory(es_ring_bytes(slot_count));
        es_ring_format(&w.segment, RING_ID, slot_count);
        assert_int_equal(es_ring_attach(&w.ring, &w.segment, RING_ID, slot_count), ES_OK);
        assert_int_equal(es_ring_reader_attach(&w.reader, &w.segment, RING_ID, slot_count, 0),
                         ES_OK);
        for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
            producer_begin(&w, &w.producers[i]);
        }
        for (uint32_t i = 0; i < (slot_count <= 4 ? 6000000u : 1000000u); i++) {
            world_step(&w);
        }
        printf("%u slots: %llu tickets, %llu laps\n", slot_count,
               (unsigned long long)w.placed_count, (unsigned long long)w.placed_count / slot_count);
        assert_int_equal(w.reader.voided_count, 0);
        es_segment_unmap(&w.segment);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_interleaving_gives_the_tickets_in_the_order_they_were_won),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
