/* A producer and a broker that fall asleep and ring at nearly the same instant,
 * half a million times: at least one must see the other. With anything weaker than seq_cst in
 * the pair [D1] a broker sleeps on beside a ticket about three times in a million, on
 * x86-64 too: its announcement waits in the store buffer while it looks at the slot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "shm/doorbell.h"
#include "shm/futex.h"
#include "tests/support/prng.h"
#include "tests/support/shared_memory.h"

#define ROUND_COUNT UINT64_C(500000)
#define SLOT_COUNT 8u
#define RING_ID 1
#define SPINS_PER_YIELD 500u
#define LOST_NS (10 * INT64_C(1000000000)) /* a sleep that long beside a ticket was lost */

struct race {
    struct es_segment segment;
    struct es_ring ring;
    struct es_ring_reader reader;
    struct es_doorbell doorbell;
    struct prng broker_prng;
    struct prng producer_prng;
    uint64_t sleep_count;
    uint64_t lost_count;
    _Atomic bool is_over;
};

/* A moment of 0 to 'steps_max' steps, so that the two meet at every offset. */
static void idle(struct prng *prng, uint64_t steps_max)
{
    for (volatile uint64_t i = prng_below(prng, steps_max + 1); i > 0; i--) {
    }
}

static void sleep_unless_there_is_a_ticket(struct race *race)
{
    const struct es_ring *rings[] = {&race->ring};

    es_doorbell_arm(&race->doorbell, rings, 1);
    if (es_ring_has_ticket(&race->reader)) {
        es_doorbell_disarm(&race->doorbell);
        return;
    }
    race->sleep_count++;
    if (es_doorbell_sleep(&race->doorbell, es_deadline_after_ns(LOST_NS)) == ES_TIMEOUT) {
        race->lost_count += es_ring_has_ticket(&race->reader);
    }
}

static void *take_all(void *context)
{
    struct race *race = context;
    struct es_ticket ticket;

    while (race->reader.cursor < ROUND_COUNT && race->lost_count == 0) {
        if (es_ring_take(&race->reader, &ticket) == ES_OK) {
            es_ring_free(&race->reader, race->reader.cursor);
            idle(&race->broker_prng, 60);
        } else {
            sleep_unless_there_is_a_ticket(race);
        }
    }
    atomic_store(&race->is_over, true);
    return NULL;
}

/* Until the broker has taken ticket 'number' and freed its slot: one at a time, so
 * that it falls asleep each time. */
static void wait_until_freed(const struct race *race, uint64_t number)
{
    const _Atomic uint64_t *slot = &race->ring.file->slots[number % SLOT_COUNT];

    for (uint32_t spin = 1; atomic_load(slot) != es_slot_empty(number / SLOT_COUNT + 1); spin++) {
        if (atomic_load(&race->is_over)) {
            return; /* it took the last one, or gave up */
        }
        if (spin % SPINS_PER_YIELD == 0) {
            (void)sched_yield();
        }
        es_cpu_relax();
    }
}

static void no_bell_is_lost_in_half_a_million_meetings(void **state)
{
    static struct race race;
    pthread_t broker;

    (void)state;
    prng_begin(&race.producer_prng, "meetings");
    prng_seed(&race.broker_prng, prng_next(&race.producer_prng));
    race.segment = shared_memory(es_ring_bytes(SLOT_COUNT));
    es_ring_format(&race.segment, RING_ID, SLOT_COUNT);
    assert_int_equal(es_ring_attach(&race.ring, &race.segment, RING_ID, SLOT_COUNT), ES_OK);
    assert_int_equal(es_ring_reader_attach(&race.reader, &race.segment, RING_ID, SLOT_COUNT, 0),
                     ES_OK);
    assert_int_equal(pthread_create(&broker, NULL, take_all, &race), 0);
    for (uint64_t i = 0; i < ROUND_COUNT && !atomic_load(&race.is_over); i++) {
        assert_int_equal(es_ring_place(&race.ring, 0, i), ES_OK);
        es_doorbell_ring(&race.ring);
        wait_until_freed(&race, i);
        idle(&race.producer_prng, 120);
    }
    assert_int_equal(pthread_join(broker, NULL), 0);
    printf("%llu sleeps, %llu lost\n", (unsigned long long)race.sleep_count,
           (unsigned long long)race.lost_count);
    assert_int_equal(race.lost_count, 0);
    es_segment_unmap(&race.segment);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_bell_is_lost_in_half_a_million_meetings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
