/*
 * Named producers on their way to a new lane: brokers that do not answer, names that
 * others have by now, programs that will not wait or are interrupted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "tests/support/named_calls.h"

static void a_broker_that_does_not_serve_is_waited_for_until_the_deadline(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    size_t count = 0;

    submit_held(f, producer, 1);
    lose_lane(f, 1);
    fake_broker_refuse_attach(f->broker, ES_NOT_SERVING);
    assert_int_equal(
        es_producer_poll(producer, &outcome, 1, 150 * (FIXTURE_SECOND_NS / 1000), &count),
        ES_TIMEOUT);
    assert_int_equal(es_producer_flush(producer, 50 * (FIXTURE_SECOND_NS / 1000)), ES_TIMEOUT);
    assert_int_equal(append(producer, "y", CALLS_SHORT_NS, NULL),
                     ES_E_UNREACHABLE); /* nothing sent */
    fake_broker_refuse_attach(f->broker, ES_OK);
    assert_int_equal(append(producer, "y", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 2);
    assert_int_equal(poll_one(producer).number, 1);
    assert_stored(f, 2);
    es_producer_close(producer);
}

static void what_waiting_does_not_mend_is_told_at_once(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    size_t count = 0;

    submit_held(f, producer, 1);
    lose_lane(f, 1);
    fake_broker_refuse_attach(f->broker, ES_E_PERMISSION);
    assert_int_equal(es_producer_poll(producer, &outcome, 1, ES_FOREVER, &count), ES_E_PERMISSION);
    assert_int_equal(submit(producer, "y"), ES_E_PERMISSION);
    fake_broker_refuse_attach(f->broker, ES_OK);
    assert_int_equal(poll_one(producer).number, 1);
    es_producer_close(producer);
}

/* An event loop never waits; asking and hearing are two calls then. */
static void polls_that_do_not_wait_get_a_new_lane_too(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    enum es_status status = ES_TIMEOUT;
    size_t count = 0;

    submit_held(f, producer, 1);
    lose_lane(f, 1);
    fake_broker_hold_attach(f->broker, true);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(es_producer_poll(producer, &outcome, 1, 0, &count), ES_TIMEOUT);
    }
    assert_int_equal(fake_broker_attach_count(f->broker), 1);
    fake_broker_hold_attach(f->broker, false);
    while (status == ES_TIMEOUT) {
        status = es_producer_poll(producer, &outcome, 1, 0, &count);
    }
    assert_int_equal(status, ES_OK);
    assert_int_equal(outcome.number, 1);
    assert_int_equal(fake_broker_attach_count(f->broker), 2);
    es_producer_close(producer);
}

/* Asked for a lane, and closed before or after the answer: the name is free. */
static void who_stops_asking_keeps_no_lane(void **state)
{
    struct client_fixture *f = *state;

    for (int is_answered = 0; is_answered <= 1; is_answered++) {
        struct es_producer *producer = open_named(f);
        const uint64_t lanes_before = fake_broker_attach_count(f->broker);
        struct es_outcome outcome;
        size_t count = 0;

        submit_held(f, producer, 1);
        lose_lane(f, 1);
        fake_broker_hold_attach(f->broker, true);
        assert_int_equal(es_producer_poll(producer, &outcome, 1, 0, &count), ES_TIMEOUT);
        fake_broker_hold_attach(f->broker, is_answered == 0);
        if (is_answered == 0) {
            es_producer_close(producer);
            fake_broker_hold_attach(f->broker, false);
        }
        while (fake_broker_attach_count(f->broker) == lanes_before) {
            sched_yield();
        }
        if (is_answered == 1) {
            es_producer_close(producer);
        }
    }
    es_producer_close(open_named(f));
}

/* Brokers that die between giving a lane and saying so: the next one takes this living
 * process for the owner of a lane that it does not have. */
static void a_lane_that_was_never_heard_of_is_taken_back(void **state)
{
    struct client_fixture *f = *state;
    const struct es_producer_options options = {.name = CALLS_NAME};
    struct es_producer *producer = NULL;

    fake_broker_lose_answers(f->broker, 1);
    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_E_UNREACHABLE);
    producer = open_named(f);
    submit_held(f, producer, 1);
    fake_broker_lose_answers(f->broker, 2);
    lose_lane(f, 0);
    assert_int_equal(poll_one(producer).status, ES_OK);
    assert_stored(f, 1);
    es_producer_close(producer);
}

/* The same, but the one that owns the name is another process. */
static void a_name_that_another_has_is_not_taken_back(void **state)
{
    struct client_fixture *f = *state;
    const struct es_producer_options options = {.name = CALLS_NAME};
    struct es_producer *producer = NULL;

    fake_broker_lose_answers(f->broker, 1);
    fake_broker_set_owner_pid(f->broker, 1);
    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_E_UNREACHABLE);
    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_E_BUSY);
    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_E_BUSY);
    assert_null(producer);
}

/* The same, but the one that owns the name is this process, by a handle that lives. */
static void a_name_that_another_handle_has_is_not_taken_back(void **state)
{
    struct client_fixture *f = *state;
    const struct es_connection_options where = {.run_dir = es_connection_run_dir(f->connection)};
    const struct es_producer_options options = {.name = CALLS_NAME};
    const struct es_producer_options over = {.name = CALLS_NAME, .take_over = true};
    struct es_connection *second = NULL;
    struct es_producer *owner = NULL;
    struct es_producer *producer = NULL;

    assert_int_equal(es_connection_open(&where, &second), ES_OK);
    fake_broker_lose_answers(f->broker, 1);
    assert_int_equal(es_producer_open(second, &options, &producer), ES_E_UNREACHABLE);
    assert_int_equal(es_producer_open(f->connection, &over, &owner), ES_OK);
    assert_int_equal(es_producer_open(second, &options, &producer), ES_E_BUSY);
    assert_null(producer);
    assert_int_equal(append(owner, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK); /* not fenced */
    es_producer_close(owner);
    assert_int_equal(es_producer_open(second, &options, &producer), ES_OK);
    es_producer_close(producer);
    es_connection_close(second);
}

static void *interrupt_soon(void *context)
{
    es_connection_interrupt(context);
    return NULL;
}

static void interrupt_ends_the_wait_for_a_new_lane(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    pthread_t thread;
    size_t count = 0;

    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(append(producer, "x", CALLS_SHORT_NS, &outcome), ES_E_UNKNOWN);
    assert_int_equal(submit(producer, "y"), ES_OK);
    lose_lane(f, 1);
    fake_broker_hold_attach(f->broker, true);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, f->connection), 0);
    assert_int_equal(es_producer_poll(producer, &outcome, 1, ES_FOREVER, &count), ES_INTERRUPTED);
    assert_int_equal(append(producer, "z", ES_FOREVER, NULL), ES_INTERRUPTED);
    pthread_join(thread, NULL);
    es_connection_resume(f->connection);
    fake_broker_hold_attach(f->broker, false);
    assert_int_equal(append(producer, "z", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 3);
    assert_int_equal(poll_one(producer).number, 2);
    assert_stored(f, 3);
    es_producer_close(producer);
}

/* The lane is lost with three in flight, and somebody else has the name. */
static void a_name_that_is_taken_meanwhile_ends_the_producer(void **state)
{
    struct client_fixture *f = *state;

    for (int stays = 0; stays <= 1; stays++) {
        const struct es_producer_options options = {.name = CALLS_NAME};
        struct es_producer *first = open_named(f);
        struct es_producer *second = NULL;
        struct es_outcome outcomes[8];
        size_t count = 0;

        submit_held(f, first, 3);
        lose_lane(f, 3);
        assert_int_equal(es_producer_open(f->connection, &options, &second), ES_OK);
        if (stays == 0) {
            assert_int_equal(append(second, "other", FIXTURE_PATIENCE_NS, NULL), ES_OK);
            es_producer_close(second);
        }
        assert_int_equal(es_producer_poll(first, outcomes, 8, FIXTURE_PATIENCE_NS, &count),
                         ES_E_UNKNOWN);
        assert_int_equal(count, 3);
        assert_int_equal(outcomes[2].status, ES_E_UNKNOWN);
        assert_non_null(strstr(es_connection_error(f->connection), "taken over"));
        assert_int_equal(append(first, "x", ES_FOREVER, NULL), ES_FENCED);
        assert_int_equal(es_producer_poll(first, outcomes, 8, ES_FOREVER, &count), ES_FENCED);
        es_producer_close(first);
        if (stays == 1) {
            assert_int_equal(append(second, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK);
            es_producer_close(second);
        }
    }
}

static void a_store_that_has_lost_what_it_confirmed_ends_the_producer(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    }
    fake_broker_forget_numbers(f->broker, CALLS_NAME, 2);
    fake_broker_hold_lanes(f->broker, true);
    fake_broker_renew_memory(f->broker);
    assert_int_equal(submit(producer, "x"), ES_OK); /* into the memory that is gone */
    assert_int_equal(es_producer_flush(producer, FIXTURE_PATIENCE_NS), ES_REGRESSED);
    assert_int_equal(append(producer, "x", ES_FOREVER, NULL), ES_REGRESSED);
    assert_non_null(strstr(es_connection_error(f->connection), "lost transactions"));
    assert_stored(f, 2);
    es_producer_close(producer);
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(a_broker_that_does_not_serve_is_waited_for_until_the_deadline),
        FIXED(what_waiting_does_not_mend_is_told_at_once),
        FIXED(polls_that_do_not_wait_get_a_new_lane_too),
        FIXED(who_stops_asking_keeps_no_lane),
        FIXED(a_lane_that_was_never_heard_of_is_taken_back),
        FIXED(a_name_that_another_has_is_not_taken_back),
        FIXED(a_name_that_another_handle_has_is_not_taken_back),
        FIXED(interrupt_ends_the_wait_for_a_new_lane),
        FIXED(a_name_that_is_taken_meanwhile_ends_the_producer),
        FIXED(a_store_that_has_lost_what_it_confirmed_ends_the_producer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
