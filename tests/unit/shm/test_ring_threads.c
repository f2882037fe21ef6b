/* Three producers and a broker as threads, over a ring of 8 slots and the smallest
 * arenas, with restarts of the broker in between. Run under the thread sanitizer this
 * is the proof that the labelled pairs order everything that is not atomic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

#include "tests/support/little_broker.h"

#define PRODUCER_COUNT 3u
#define SLOT_COUNT 8u
#define CREDIT_COUNT 2u /* slots >= lanes x credits */

struct part {
    struct little_producer producer;
    pthread_t thread;
    uint32_t record_count;
};

static void *produce(void *context)
{
    struct part *part = context;

    for (uint32_t i = 0; i < part->record_count; i++) {
        little_producer_publish(&part->producer);
        if (prng_one_in(&part->producer.prng, 8)) {
            little_producer_finish(&part->producer);
        }
    }
    little_producer_finish(&part->producer);
    return NULL;
}

/* Restarts once in 'restart_one_in' rounds; 0: never. */
static void run(uint32_t record_count, uint64_t restart_one_in, struct prng *prng)
{
    static struct little_broker broker;
    static struct part parts[PRODUCER_COUNT];
    _Atomic uint64_t acked_position = 0;

    little_broker_open(&broker, PRODUCER_COUNT, SLOT_COUNT, CREDIT_COUNT);
    for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
        parts[i].record_count = record_count;
        little_producer_open(&parts[i].producer, &broker, i, &acked_position, prng_next(prng));
        assert_int_equal(pthread_create(&parts[i].thread, NULL, produce, &parts[i]), 0);
    }
    while (broker.durable_position < (uint64_t)PRODUCER_COUNT * record_count) {
        bool restart = restart_one_in != 0 && prng_one_in(prng, restart_one_in);

        if (!little_broker_round(&broker, 1 + (uint32_t)prng_below(prng, 6), restart, prng)) {
            little_broker_sleep(&broker);
        }
    }
    for (uint32_t i = 0; i < PRODUCER_COUNT; i++) {
        assert_int_equal(pthread_join(parts[i].thread, NULL), 0);
        assert_int_equal(parts[i].producer.writer.collected, record_count);
        assert_int_equal(broker.lanes[i].reader.consumed, record_count);
    }
    printf("%llu records, %llu restarts, %llu stale tickets\n",
           (unsigned long long)broker.taken_count, (unsigned long long)broker.restart_count,
           (unsigned long long)broker.stale_count);
    assert_int_equal(broker.lost_bell_count, 0);
    assert_int_equal(broker.ring.voided_count, 0);
    assert_int_equal(atomic_load(&acked_position), PRODUCER_COUNT * record_count);
    little_broker_close(&broker);
}

static void producers_and_broker_agree_on_one_order(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "one_order");
    run(20000, 0, &prng);
}

static void a_broker_that_restarts_loses_and_repeats_nothing(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "restarts");
    run(20000, 20, &prng);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(producers_and_broker_agree_on_one_order),
        cmocka_unit_test(a_broker_that_restarts_loses_and_repeats_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
