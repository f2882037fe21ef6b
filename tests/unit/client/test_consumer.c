/*
 * Consumers against a broker that loses, repeats, damages and restarts: history and
 * publication joined, each event once and in order, and a history that is not the
 * one we followed is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/client_fixture.h"
#include "tests/support/prng.h"

#define ORDERS "test:main:L0:orders"
#define PARCELS "test:main:L0:parcels"
#define ORDER_1 ORDERS ":M1"
#define ORDER_2 ORDERS ":M2"
#define PARCEL_1 PARCELS ":M1"

static struct es_consumer *open_consumer(struct client_fixture *f, const char *filter,
                                         uint64_t from)
{
    const struct es_consumer_options options = {.filter = filter, .from_position = from};
    struct es_consumer *consumer = NULL;

    assert_int_equal(es_consumer_open(f->connection, &options, &consumer), ES_OK);
    return consumer;
}

static void store_many(struct client_fixture *f, uint32_t count)
{
    static const char *const streams[] = {ORDER_1, PARCEL_1, ORDER_2};

    for (uint32_t i = 0; i < count; i++) {
        (void)fake_broker_store(f->broker, streams[i % 3], "payload");
    }
}

static void expect(struct es_consumer *consumer, uint64_t position)
{
    struct es_event event;

    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_OK);
    assert_int_equal(event.position, position);
}

static void expect_nothing(struct es_consumer *consumer)
{
    struct es_event event;

    assert_int_equal(es_consumer_next(consumer, 0, &event), ES_TIMEOUT);
}

static struct es_consumer_state state_of(const struct es_consumer *consumer)
{
    struct es_consumer_state state;

    es_consumer_state(consumer, &state);
    return state;
}

/* Until the consumer has worked off what was sent; heartbeats carry no event. */
static void await_head(struct es_consumer *consumer, uint64_t head)
{
    while (state_of(consumer).head_position < head || state_of(consumer).position < head) {
        struct es_event event;

        assert_int_equal(es_consumer_next(consumer, 1000000, &event), ES_TIMEOUT);
    }
}

/* The library has no thread of its own: it connects again when it is called. */
static void await_reconnected(struct client_fixture *f, struct es_consumer *consumer)
{
    while (fake_broker_subscriber_count(f->broker) == 0) {
        struct es_event event;

        assert_int_equal(es_consumer_next(consumer, 1000000, &event), ES_TIMEOUT);
    }
}

static void history_and_publication_join_without_a_gap_or_a_repeat(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer;

    store_many(f, 35);
    consumer = open_consumer(f, NULL, 0);
    fake_broker_await_subscriber(f->broker);
    /* Published while history is still to be read: known twice, delivered once. */
    fake_broker_publish(f->broker, ORDERS, 30, 35);
    for (uint64_t position = 1; position <= 35; position++) {
        expect(consumer, position);
    }
    store_many(f, 3);
    fake_broker_publish(f->broker, ORDERS, 36, 38);
    fake_broker_publish(f->broker, PARCELS, 36, 38);
    for (uint64_t position = 36; position <= 38; position++) {
        expect(consumer, position);
    }
    expect_nothing(consumer);
    assert_int_equal(state_of(consumer).position, 38);
    assert_int_equal(state_of(consumer).read_events, 35);
    assert_int_equal(state_of(consumer).live_events, 3);
    assert_int_equal(state_of(consumer).repairs, 0);
    assert_int_equal(state_of(consumer).epoch, FAKE_EPOCH);
    es_consumer_close(consumer);
}

static void live_gives_only_what_is_committed_from_now_on(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer;

    store_many(f, 5);
    consumer = open_consumer(f, ORDERS, ES_LIVE);
    fake_broker_await_subscriber(f->broker);
    expect_nothing(consumer);
    store_many(f, 1);
    fake_broker_publish(f->broker, ORDERS, 6, 6);
    expect(consumer, 6);
    assert_int_equal(state_of(consumer).read_events, 0);
    es_consumer_close(consumer);
}

static void a_lost_message_is_read_from_the_store(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer = open_consumer(f, ORDERS, 1);

    fake_broker_await_subscriber(f->broker);
    fake_broker_heartbeat(f->broker);
    (void)fake_broker_store(f->broker, ORDER_1, "published");
    fake_broker_publish(f->broker, ORDERS, 1, 1);
    expect(consumer, 1);
    (void)fake_broker_store(f->broker, ORDER_1, "lost");
    (void)fake_broker_store(f->broker, PARCEL_1, "not wanted");
    (void)fake_broker_store(f->broker, ORDER_1, "published");
    fake_broker_publish(f->broker, ORDERS, 4, 4);
    expect(consumer, 2);
    expect(consumer, 4);
    expect_nothing(consumer);
    assert_int_equal(state_of(consumer).repairs, 1);
    /* And the very last one, of which only a heartbeat can tell. */
    (void)fake_broker_store(f->broker, ORDER_1, "lost");
    fake_broker_heartbeat(f->broker);
    expect(consumer, 5);
    assert_int_equal(state_of(consumer).repairs, 2);
    es_consumer_close(consumer);
}

static void several_categories_come_in_position_order(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer = open_consumer(f, "test:main:*", 1);

    fake_broker_await_subscriber(f->broker);
    fake_broker_heartbeat(f->broker);
    (void)fake_broker_store(f->broker, "other:main:L0:orders:M1", "not wanted");
    store_many(f, 6);
    fake_broker_publish(f->broker, PARCELS, 2, 7);
    fake_broker_publish(f->broker, ORDERS, 2, 7);
    fake_broker_heartbeat(f->broker);
    for (uint64_t position = 2; position <= 7; position++) {
        expect(consumer, position);
    }
    assert_int_equal(state_of(consumer).repairs, 0);
    assert_int_equal(state_of(consumer).live_events, 6);
    es_consumer_close(consumer);
}

static void a_missed_heartbeat_is_made_good(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer = open_consumer(f, "test:main:*", 1);

    fake_broker_await_subscriber(f->broker);
    fake_broker_heartbeat(f->broker);
    store_many(f, 3);
    fake_broker_lose_heartbeat(f->broker); /* and all the messages with it */
    store_many(f, 1);
    fake_broker_publish(f->broker, ORDERS, 4, 4);
    fake_broker_heartbeat(f->broker);
    for (uint64_t position = 1; position <= 4; position++) {
        expect(consumer, position);
    }
    assert_int_equal(state_of(consumer).repairs, 1);
    es_consumer_close(consumer);
}

static void a_damaged_message_is_read_from_the_store_instead(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer = open_consumer(f, ORDERS, 1);
    struct es_event event;

    fake_broker_await_subscriber(f->broker);
    (void)fake_broker_store(f->broker, ORDER_1, "sound in the store");
    fake_broker_publish_damaged(f->broker, ORDERS, 1, 1);
    expect(consumer, 1);
    assert_int_equal(state_of(consumer).repairs, 1);
    assert_int_equal(state_of(consumer).read_events, 1);
    /* Damaged in the store too: told, and told again, never delivered. */
    (void)fake_broker_store(f->broker, ORDER_1, "rotten");
    fake_broker_damage(f->broker, 2, 1);
    fake_broker_publish(f->broker, ORDERS, 2, 2);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_E_CORRUPT);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_E_CORRUPT);
    assert_non_null(strstr(es_connection_error(f->connection), "position 2"));
    assert_int_equal(state_of(consumer).position, 1);
    fake_broker_damage(f->broker, 2, 1); /* mended */
    expect(consumer, 2);
    es_consumer_close(consumer);
}

static void whatever_is_lost_or_repeated_each_event_comes_once_and_in_order(void **state)
{
    static const char *const filters[] = {NULL, ORDERS, "test:main:*"};
    struct client_fixture *f = *state;
    struct prng prng;

    prng_begin(&prng, "consumer");
    for (uint32_t round = 0; round < 3; round++) {
        struct es_consumer *consumer = open_consumer(f, filters[round], ES_LIVE);
        uint64_t first = state_of(consumer).position + 1;
        uint64_t stored = first - 1;

        fake_broker_await_subscriber(f->broker);
        for (uint32_t commit = 0; commit < 150; commit++) {
            store_many(f, 3);
            if (!prng_one_in(&prng, 5)) {
                fake_broker_publish(f->broker, ORDERS, stored + 1, stored + 3);
            }
            if (!prng_one_in(&prng, 5)) {
                fake_broker_publish(f->broker, PARCELS, stored + 1, stored + 3);
            }
            if (prng_one_in(&prng, 10)) {
                fake_broker_publish(f->broker, PARCELS, stored + 1, stored + 3);
            }
            stored += 3;
            if (prng_one_in(&prng, 10)) {
                fake_broker_lose_heartbeat(f->broker);
            } else if (prng_one_in(&prng, 2)) {
                fake_broker_heartbeat(f->broker);
            }
        }
        fake_broker_heartbeat(f->broker);
        for (uint64_t position = first; position <= stored; position++) {
            if (round != 1 || (position - first) % 3 != 1) {
                expect(consumer, position);
            }
        }
        expect_nothing(consumer);
        es_consumer_close(consumer);
    }
}

static void after_a_restart_the_consumer_goes_on(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer;

    store_many(f, 3);
    consumer = open_consumer(f, NULL, 1);
    for (uint64_t position = 1; position <= 3; position++) {
        expect(consumer, position);
    }
    expect_nothing(consumer);
    client_fixture_restart(f, 2);
    store_many(f, 3); /* the same three again */
    await_reconnected(f, consumer);
    store_many(f, 1);
    fake_broker_heartbeat(f->broker);
    expect(consumer, 4);
    (void)fake_broker_store(f->broker, ORDER_1, "live again");
    fake_broker_publish(f->broker, ORDERS, 5, 5);
    fake_broker_heartbeat(f->broker);
    expect(consumer, 5);
    es_consumer_close(consumer);
}

static void an_older_or_other_history_is_regressed(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer;
    struct es_event event;

    store_many(f, 5);
    consumer = open_consumer(f, NULL, 1);
    for (uint64_t position = 1; position <= 5; position++) {
        expect(consumer, position);
    }
    expect_nothing(consumer);
    client_fixture_restart(f, 2);
    store_many(f, 4); /* one less than was seen */
    await_reconnected(f, consumer);
    fake_broker_heartbeat(f->broker);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_REGRESSED);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_REGRESSED);
    store_many(f, 4);
    fake_broker_set_epoch(f->broker, FAKE_EPOCH + 1);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_REGRESSED);
    es_consumer_close(consumer);
}

static void a_position_beyond_the_store_or_of_another_epoch_is_refused_at_opening(void **state)
{
    struct client_fixture *f = *state;
    const struct es_consumer_options beyond = {.from_position = 7};
    const struct es_consumer_options other = {.from_position = 1, .epoch = 5};
    const struct es_consumer_options fitting = {.from_position = 6, .epoch = FAKE_EPOCH};
    const struct es_consumer_options filter = {.filter = "orders"};
    struct es_consumer *consumer = NULL;

    store_many(f, 5);
    assert_int_equal(es_consumer_open(f->connection, &beyond, &consumer), ES_REGRESSED);
    assert_int_equal(es_consumer_open(f->connection, &other, &consumer), ES_DIVERGED);
    assert_int_equal(es_consumer_open(f->connection, &filter, &consumer), ES_E_INVALID);
    assert_null(consumer);
    assert_int_equal(es_consumer_open(f->connection, &fitting, &consumer), ES_OK);
    expect_nothing(consumer);
    es_consumer_close(consumer);
}

/* As a program with an event loop of its own does it: never waiting inside. */
static void the_descriptor_tells_when_there_is_something(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer;
    struct es_event event;
    struct pollfd fd = {.events = POLLIN};
    uint64_t position = 0;

    store_many(f, 45);
    consumer = open_consumer(f, NULL, 1);
    fd.fd = es_consumer_fd(consumer);
    fake_broker_await_subscriber(f->broker);
    while (position < 51) {
        enum es_status status = es_consumer_next(consumer, 0, &event);

        if (status == ES_OK) {
            assert_int_equal(event.position, ++position);
            if (position == 45) {
                store_many(f, 6);
                fake_broker_publish(f->broker, ORDERS, 46, 51);
                fake_broker_publish(f->broker, PARCELS, 46, 51);
            }
            continue;
        }
        assert_int_equal(status, ES_TIMEOUT);
        assert_int_equal(poll(&fd, 1, 30000), 1);
    }
    /* When all is taken it is quiet. */
    await_head(consumer, 51);
    expect_nothing(consumer);
    assert_int_equal(poll(&fd, 1, 0), 0);
    es_consumer_close(consumer);
}

static void *interrupt(void *context)
{
    es_connection_interrupt(context);
    return NULL;
}

static void interrupt_ends_the_wait_and_the_calls_after_it(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer;
    struct es_event event;
    pthread_t thread;

    store_many(f, 1);
    consumer = open_consumer(f, NULL, 1);
    expect(consumer, 1);
    assert_int_equal(pthread_create(&thread, NULL, interrupt, f->connection), 0);
    assert_int_equal(es_consumer_next(consumer, ES_FOREVER, &event), ES_INTERRUPTED);
    pthread_join(thread, NULL);
    assert_int_equal(es_consumer_next(consumer, ES_FOREVER, &event), ES_INTERRUPTED);
    es_connection_resume(f->connection);
    assert_int_equal(es_consumer_next(consumer, 1000000, &event), ES_TIMEOUT);
    es_consumer_close(consumer);

    /* A consumer that need not wait is ended too, or it might never be. */
    store_many(f, 3);
    consumer = open_consumer(f, NULL, 1);
    expect(consumer, 1);
    es_connection_interrupt(f->connection);
    assert_int_equal(es_consumer_next(consumer, ES_FOREVER, &event), ES_INTERRUPTED);
    assert_int_equal(es_consumer_next(consumer, 0, &event), ES_OK); /* this one never waits */
    es_connection_resume(f->connection);
    expect(consumer, 3);
    es_consumer_close(consumer);
}

static void a_broker_that_is_gone_is_unreachable(void **state)
{
    struct client_fixture *f = *state;
    struct es_consumer *consumer = NULL;
    struct es_event event;

    store_many(f, 25);
    consumer = open_consumer(f, NULL, 1);
    expect(consumer, 1);
    fake_broker_stop(f->broker);
    f->broker = NULL;
    for (uint64_t position = 2; position <= 10; position++) {
        expect(consumer, position); /* of the page in hand */
    }
    for (;;) { /* perhaps one more page was on its way */
        enum es_status status = es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event);

        if (status != ES_OK) {
            assert_int_equal(status, ES_E_UNREACHABLE);
            break;
        }
    }
    assert_non_null(strstr(es_connection_error(f->connection), "no broker is running"));
    assert_int_equal(es_consumer_next(consumer, 0, &event), ES_TIMEOUT); /* not yet again */
    es_consumer_close(consumer);
    assert_int_equal(es_consumer_open(f->connection, NULL, &consumer), ES_E_UNREACHABLE);
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(history_and_publication_join_without_a_gap_or_a_repeat),
        FIXED(live_gives_only_what_is_committed_from_now_on),
        FIXED(a_lost_message_is_read_from_the_store),
        FIXED(several_categories_come_in_position_order),
        FIXED(a_missed_heartbeat_is_made_good),
        FIXED(a_damaged_message_is_read_from_the_store_instead),
        FIXED(whatever_is_lost_or_repeated_each_event_comes_once_and_in_order),
        FIXED(after_a_restart_the_consumer_goes_on),
        FIXED(an_older_or_other_history_is_regressed),
        FIXED(a_position_beyond_the_store_or_of_another_epoch_is_refused_at_opening),
        FIXED(the_descriptor_tells_when_there_is_something),
        FIXED(interrupt_ends_the_wait_and_the_calls_after_it),
        FIXED(a_broker_that_is_gone_is_unreachable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
