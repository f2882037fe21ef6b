/*
 * The producer against a broker in the test's hand: outcomes in order, bounds on
 * what is in flight, deadlines, and what becomes of records when the broker's
 * memory goes away under them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <string.h>

#include "shm/codec/transaction.h"
#include "tests/support/client_fixture.h"

#define STREAM "test:main:L0:orders:M1"

static struct es_producer *open_producer(struct client_fixture *f, uint32_t in_flight_max)
{
    const struct es_producer_options options = {.in_flight_max = in_flight_max};
    struct es_producer *producer = NULL;

    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_OK);
    return producer;
}

static enum es_status submit(struct es_producer *producer, const char *payload, uint64_t *ticket)
{
    const struct es_event_input event = {
        .type = "noted", .payload = payload, .payload_bytes = strlen(payload)};

    return es_producer_submit(producer, STREAM, NULL, &event, 1, ticket);
}

static enum es_status append(struct es_producer *producer, uint64_t timeout_ns,
                             struct es_outcome *outcome)
{
    const struct es_event_input event = {.type = "noted", .payload = "x", .payload_bytes = 1};

    return es_producer_append(producer, STREAM, NULL, &event, 1, timeout_ns, outcome);
}

static void outcomes_come_in_the_order_of_submission(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    uint64_t polled = 0;
    uint64_t submitted = 0;

    while (polled < 1000) {
        struct es_outcome outcomes[3];
        size_t count = 0;

        while (submitted < 1000 && submit(producer, "payload", NULL) == ES_OK) {
            submitted++;
        }
        assert_int_equal(es_producer_poll(producer, outcomes, 3, FIXTURE_PATIENCE_NS, &count),
                         ES_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(outcomes[i].status, ES_OK);
            assert_int_equal(outcomes[i].ticket, ++polled);
            assert_int_equal(outcomes[i].receipt.position, polled);
        }
    }
    assert_int_equal(es_producer_in_flight(producer), 0);
    es_producer_close(producer);
}

static void in_flight_is_bounded_and_full_sends_nothing(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 3);
    struct es_outcome outcomes[8];
    uint64_t ticket = 0;
    size_t count = 0;

    fake_broker_hold_lanes(f->broker, true);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(submit(producer, "x", &ticket), ES_OK);
        assert_int_equal(ticket, i);
    }
    assert_int_equal(submit(producer, "x", &ticket), ES_FULL);
    assert_int_equal(append(producer, 0, NULL), ES_FULL);
    assert_int_equal(es_producer_in_flight(producer), 3);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(es_producer_flush(producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(es_producer_in_flight(producer), 3); /* done, but not polled */
    assert_int_equal(submit(producer, "x", &ticket), ES_FULL);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, 0, &count), ES_OK);
    assert_int_equal(count, 3);
    assert_int_equal(submit(producer, "x", &ticket), ES_OK);
    assert_int_equal(ticket, 4);
    assert_int_equal(es_producer_flush(producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(fake_broker_record_count(f->broker), 4);
    es_producer_close(producer);
}

static void a_full_lane_is_full_until_outcomes_are_taken(void **state)
{
    static char payload[4000];
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    enum es_status status = ES_OK;
    uint32_t sent = 0;

    memset(payload, 'p', sizeof payload - 1);
    fake_broker_hold_lanes(f->broker, true);
    while (status == ES_OK) {
        status = submit(producer, payload, NULL);
        sent += status == ES_OK ? 1 : 0;
    }
    assert_int_equal(status, ES_FULL);
    assert_true(sent >= 1);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(es_producer_flush(producer, FIXTURE_PATIENCE_NS), ES_OK);
    /* The answers are there: their room is, too, though nobody has polled. */
    assert_int_equal(submit(producer, payload, NULL), ES_OK);
    assert_int_equal(es_producer_in_flight(producer), sent + 1);
    es_producer_close(producer);
}

static void poll_waits_for_the_first_outcome_only(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    struct es_outcome outcomes[8];
    size_t count = 99;

    assert_int_equal(es_producer_poll(producer, outcomes, 8, ES_FOREVER, &count), ES_EMPTY);
    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(submit(producer, "x", NULL), ES_OK);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, 0, &count), ES_TIMEOUT);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, 1000000, &count), ES_TIMEOUT);
    assert_int_equal(es_producer_flush(producer, 0), ES_TIMEOUT);
    assert_int_equal(count, 99);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, ES_FOREVER, &count), ES_OK);
    assert_int_equal(count, 1);
    es_producer_close(producer);
}

/* An append that waits takes its own outcome, and leaves those before it. */
static void append_among_submissions_leaves_their_outcomes(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    struct es_outcome outcomes[8];
    struct es_outcome own;
    size_t count = 0;

    assert_int_equal(submit(producer, "x", NULL), ES_OK);
    assert_int_equal(submit(producer, "x", NULL), ES_OK);
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, &own), ES_OK);
    assert_int_equal(own.ticket, 3);
    assert_int_equal(own.receipt.position, 3);
    assert_int_equal(es_producer_in_flight(producer), 2);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, 0, &count), ES_OK);
    assert_int_equal(count, 2);
    assert_int_equal(outcomes[1].ticket, 2);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, 0, &count), ES_EMPTY);
    es_producer_close(producer);
}

static void an_append_past_its_deadline_is_unknown_and_its_outcome_dropped(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    struct es_outcome outcome;

    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(append(producer, 2000000, &outcome), ES_E_UNKNOWN);
    assert_int_equal(outcome.status, ES_E_UNKNOWN);
    assert_non_null(strstr(es_connection_error(f->connection), "may have been stored"));
    assert_int_equal(es_producer_in_flight(producer), 0);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.ticket, 2);
    assert_int_equal(outcome.receipt.position, 2); /* the first was stored after all */
    es_producer_close(producer);
}

static void refuse_with_conflict(void *context, const void *transaction, uint32_t size,
                                 struct es_lane_result *result)
{
    (void)context;
    (void)transaction;
    (void)size;
    result->status = ES_CONFLICT;
    result->reason = ES_REASON_SEQUENCE_DIFFERS;
    result->stream_sequence = 41;
    memset(result->hash, 0xab, sizeof result->hash);
}

static void a_conflict_tells_what_is_really_there(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    struct es_outcome outcome;

    fake_broker_set_judge(f->broker, refuse_with_conflict, NULL);
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, &outcome), ES_CONFLICT);
    assert_int_equal(outcome.refusal.actual_sequence, 41);
    assert_int_equal(outcome.refusal.actual_hash[31], 0xab);
    assert_string_equal(es_refusal_text(&outcome.refusal),
                        es_reason_text(ES_REASON_SEQUENCE_DIFFERS));
    assert_int_equal(outcome.receipt.position, 0);
    es_producer_close(producer);
}

static void answer_nonsense(void *context, const void *transaction, uint32_t size,
                            struct es_lane_result *result)
{
    (void)transaction;
    (void)size;
    result->status = *(const int32_t *)context;
}

/* Results lie in memory that others of this user may write. */
static void a_status_no_broker_gives_is_unknown(void **state)
{
    static const int32_t forged[] = {-17, 15, INT32_MIN, INT32_MAX};
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);

    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        fake_broker_set_judge(f->broker, answer_nonsense, (void *)(uintptr_t)&forged[i]);
        assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, NULL), ES_E_UNKNOWN);
    }
    es_producer_close(producer);
}

static void when_the_memory_is_gone_flights_are_unknown_and_the_next_attaches_anew(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    struct es_outcome outcomes[8];
    size_t count = 0;

    assert_int_equal(submit(producer, "answered", NULL), ES_OK);
    assert_int_equal(es_producer_flush(producer, FIXTURE_PATIENCE_NS), ES_OK);
    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(submit(producer, "lost", NULL), ES_OK);
    assert_int_equal(submit(producer, "lost", NULL), ES_OK);
    fake_broker_renew_memory(f->broker);
    fake_broker_hold_lanes(f->broker, false);

    /* Even when all is known: apart from each other, first what was answered. */
    assert_int_equal(es_producer_flush(producer, ES_FOREVER), ES_OK);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, ES_FOREVER, &count), ES_OK);
    assert_int_equal(count, 1);
    assert_int_equal(outcomes[0].status, ES_OK);
    assert_int_equal(es_producer_poll(producer, outcomes, 8, ES_FOREVER, &count), ES_E_UNKNOWN);
    assert_int_equal(count, 2);
    assert_int_equal(outcomes[0].status, ES_E_UNKNOWN);
    assert_int_equal(outcomes[0].ticket, 2);
    assert_int_equal(outcomes[1].ticket, 3);

    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, &outcomes[0]), ES_OK);
    assert_int_equal(outcomes[0].ticket, 4);
    assert_int_equal(fake_broker_attach_count(f->broker), 2);
    es_producer_close(producer);
}

static void an_append_whose_memory_goes_away_is_unknown(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);

    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(submit(producer, "x", NULL), ES_OK);
    fake_broker_renew_memory(f->broker);
    assert_int_equal(append(producer, ES_FOREVER, NULL), ES_E_UNKNOWN);
    assert_non_null(strstr(es_connection_error(f->connection), "shared memory is gone"));
    es_producer_close(producer);
}

static void a_stopped_broker_is_told_before_the_ring_is_entered(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);

    fake_broker_set_stopped(f->broker, true);
    assert_int_equal(append(producer, ES_FOREVER, NULL), ES_NOT_SERVING);
    assert_int_equal(submit(producer, "x", NULL), ES_NOT_SERVING);
    fake_broker_set_stopped(f->broker, false);
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(fake_broker_record_count(f->broker), 1);

    /* Stopped, and its successor has memory of its own. */
    fake_broker_set_stopped(f->broker, true);
    fake_broker_renew_memory(f->broker);
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(fake_broker_attach_count(f->broker), 2);
    es_producer_close(producer);
}

static void *interrupt_when_sent(void *context)
{
    struct client_fixture *f = context;

    es_connection_interrupt(f->connection);
    return NULL;
}

static void interrupt_ends_the_waits_of_a_producer(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_producer(f, 0);
    struct es_outcome outcome;
    pthread_t thread;
    size_t count = 0;

    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(submit(producer, "x", NULL), ES_OK);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_when_sent, f), 0);
    assert_int_equal(es_producer_poll(producer, &outcome, 1, ES_FOREVER, &count), ES_INTERRUPTED);
    pthread_join(thread, NULL);
    assert_int_equal(es_producer_flush(producer, ES_FOREVER), ES_INTERRUPTED);
    assert_int_equal(append(producer, ES_FOREVER, NULL), ES_INTERRUPTED); /* nothing is sent */
    es_connection_resume(f->connection);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(es_producer_poll(producer, &outcome, 1, ES_FOREVER, &count), ES_OK);
    assert_int_equal(fake_broker_record_count(f->broker), 1);
    es_producer_close(producer);
}

static uint32_t entry_count(const char *path)
{
    DIR *directory = opendir(path);
    uint32_t count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* Threads by the kernel's count. Descriptors: an eventfd for the connection, then a
 * socket and three files for the lane; a socket of nng would be one more. */
static void a_program_that_only_appends_starts_no_thread_and_opens_no_nng_socket(void **state)
{
    struct client_fixture *f = *state;
    uint32_t tasks_before = entry_count("/proc/self/task");
    uint32_t fds_before = entry_count("/proc/self/fd");
    struct es_producer *producer = open_producer(f, 0);
    /* Of the fake broker, in this process too: its end of the socket, and the lane. */
    const uint32_t fds_expected = fds_before + 4 + 2;

    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(append(producer, FIXTURE_PATIENCE_NS, NULL), ES_OK);
    }
    assert_int_equal(entry_count("/proc/self/task"), tasks_before);
    assert_int_equal(entry_count("/proc/self/fd"), fds_expected);
    es_producer_close(producer);
}

static void opening_says_what_the_broker_says(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = NULL;

    fake_broker_refuse_attach(f->broker, ES_E_LIMIT);
    assert_int_equal(es_producer_open(f->connection, NULL, &producer), ES_E_LIMIT);
    assert_string_equal(es_connection_error(f->connection), "the fake broker refuses");
    assert_null(producer);
    fake_broker_refuse_attach(f->broker, ES_OK);
    fake_broker_stop(f->broker);
    f->broker = NULL;
    assert_int_equal(es_producer_open(f->connection, NULL, &producer), ES_E_UNREACHABLE);
    assert_non_null(strstr(es_connection_error(f->connection), "esbroker --data"));
    assert_non_null(strstr(es_connection_error(f->connection), f->run_dir));
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        /* First: nng closes the sockets of an earlier test's broker whenever it likes. */
        FIXED(a_program_that_only_appends_starts_no_thread_and_opens_no_nng_socket),
        FIXED(outcomes_come_in_the_order_of_submission),
        FIXED(in_flight_is_bounded_and_full_sends_nothing),
        FIXED(a_full_lane_is_full_until_outcomes_are_taken),
        FIXED(poll_waits_for_the_first_outcome_only),
        FIXED(append_among_submissions_leaves_their_outcomes),
        FIXED(an_append_past_its_deadline_is_unknown_and_its_outcome_dropped),
        FIXED(a_conflict_tells_what_is_really_there),
        FIXED(a_status_no_broker_gives_is_unknown),
        FIXED(when_the_memory_is_gone_flights_are_unknown_and_the_next_attaches_anew),
        FIXED(an_append_whose_memory_goes_away_is_unknown),
        FIXED(a_stopped_broker_is_told_before_the_ring_is_entered),
        FIXED(interrupt_ends_the_waits_of_a_producer),
        FIXED(opening_says_what_the_broker_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
