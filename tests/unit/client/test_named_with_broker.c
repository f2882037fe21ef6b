/*
 * Named producers and the broker together: what was sent is stored once, though the
 * broker is killed, with its shared memory or without, stopped for a while, or asked by
 * another owner in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <eventspine.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "shm/codec/reason.h"
#include "tests/support/real_client.h"

#define PATIENCE_NS REAL_CLIENT_PATIENCE_NS
#define SHORT_NS 50000000
#define STREAM "test:main:L0:orders:M1"
#define NAME "billing"

static struct es_producer *open_named(struct real_client *f, bool take_over)
{
    const struct es_producer_options options = {.name = NAME, .take_over = take_over};
    struct es_producer *producer = NULL;

    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_OK);
    return producer;
}

static int open_all(void **state)
{
    return real_client_open(state, NAME);
}

static struct es_event_input event_of(const uint64_t *number)
{
    return (struct es_event_input){
        .tick = *number, .type = "noted", .payload = number, .payload_bytes = sizeof *number};
}

static enum es_status append(struct es_producer *producer, uint64_t number, uint64_t timeout_ns,
                             struct es_outcome *outcome)
{
    const struct es_event_input event = event_of(&number);

    return es_producer_append(producer, STREAM, NULL, &event, 1, timeout_ns, outcome);
}

/* The stream holds the payloads 1 .. 'count', each once and in this order. */
static void assert_stream(struct real_client *f, uint64_t count)
{
    struct es_reader *reader = NULL;
    struct es_event event;

    assert_int_equal(es_reader_open_stream(f->connection, STREAM, 1, false, &reader), ES_OK);
    for (uint64_t number = 1; number <= count; number++) {
        assert_int_equal(es_reader_next(reader, &event), ES_OK);
        assert_int_equal(event.payload_bytes, sizeof number);
        assert_memory_equal(event.payload, &number, sizeof number);
    }
    assert_int_equal(es_reader_next(reader, &event), ES_EMPTY);
    es_reader_close(reader);
}

/* What a machine that loses its shared memory leaves: the sockets' names at most. */
static void remove_memory(const char *run_dir)
{
    DIR *directory = opendir(run_dir);
    const struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "ring-", 5) == 0 || strncmp(entry->d_name, "lane-", 5) == 0 ||
            strcmp(entry->d_name, "control") == 0) {
            assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
        }
    }
    closedir(directory);
}

static void a_killed_broker_costs_no_transaction_and_repeats_none(void **state)
{
    struct real_client *f = *state;
    uint64_t sent = 0;
    uint64_t told = 0;

    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 200; i++) {
            uint64_t number = sent + 1;
            const struct es_event_input event = event_of(&number);

            assert_int_equal(es_producer_submit(f->producer, STREAM, NULL, &event, 1, NULL), ES_OK);
            sent++;
        }
        real_broker_end(&f->broker, SIGKILL);
        if (round % 2 == 1) {
            remove_memory(f->broker.run_dir);
        }
        real_broker_start(&f->broker);
        while (told < sent) {
            struct es_outcome outcomes[64];
            size_t count = 0;

            assert_int_equal(es_producer_poll(f->producer, outcomes, 64, PATIENCE_NS, &count),
                             ES_OK);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(outcomes[i].status, ES_OK);
                assert_int_equal(outcomes[i].number, ++told);
                assert_int_equal(outcomes[i].receipt.sequence, told);
            }
        }
    }
    assert_stream(f, sent);
}

static void an_unknown_one_said_again_gets_the_first_receipt(void **state)
{
    struct real_client *f = *state;
    struct es_outcome outcome;
    struct es_producer_info info;

    assert_int_equal(append(f->producer, 1, PATIENCE_NS, NULL), ES_OK);
    real_broker_pause(&f->broker);
    assert_int_equal(append(f->producer, 2, SHORT_NS, &outcome), ES_E_UNKNOWN);
    assert_int_equal(append(f->producer, 3, SHORT_NS, NULL), ES_TIMEOUT);
    assert_int_equal(kill(f->broker.pid, SIGCONT), 0);
    assert_int_equal(es_producer_set_number(f->producer, outcome.number), ES_OK);
    assert_int_equal(append(f->producer, 2, PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.receipt.sequence, 2);
    assert_int_equal(es_producer_ask(f->connection, NAME, 2, &info), ES_OK);
    assert_true(info.is_found);
    assert_string_equal(info.stream, STREAM);
    assert_int_equal(info.owner_pid, getpid());
    assert_memory_equal(&info.receipt, &outcome.receipt, sizeof info.receipt);
    assert_int_equal(es_producer_set_number(f->producer, 2), ES_OK);
    assert_int_equal(append(f->producer, 9, PATIENCE_NS, &outcome), ES_REJECTED);
    assert_int_equal(outcome.refusal.reason, ES_REASON_PRODUCER_CONTENT);
    assert_int_equal(append(f->producer, 3, PATIENCE_NS, NULL), ES_OK);
    assert_stream(f, 3);
}

/* The first has lost its lane, and with it knows nothing of the second. */
static void who_has_lost_its_lane_and_its_name_is_fenced(void **state)
{
    struct real_client *f = *state;
    struct es_producer *second = NULL;
    struct es_producer *third = NULL;

    assert_int_equal(append(f->producer, 1, PATIENCE_NS, NULL), ES_OK);
    second = open_named(f, true);
    assert_int_equal(es_producer_last_number(second), 1);
    assert_int_equal(append(f->producer, 9, PATIENCE_NS, NULL), ES_FENCED);
    assert_int_equal(append(f->producer, 9, PATIENCE_NS, NULL), ES_FENCED);
    assert_int_equal(append(second, 2, PATIENCE_NS, NULL), ES_OK);
    real_broker_end(&f->broker, SIGKILL);
    remove_memory(f->broker.run_dir);
    real_broker_start(&f->broker);
    third = open_named(f, false); /* the second's lane is gone, so nobody is in the way */
    assert_int_equal(es_producer_last_number(third), 2);
    assert_int_equal(append(third, 3, PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(append(second, 9, PATIENCE_NS, NULL), ES_E_UNKNOWN);
    assert_int_equal(append(second, 9, PATIENCE_NS, NULL), ES_FENCED);
    assert_stream(f, 3);
    es_producer_close(second);
    es_producer_close(third);
}

int main(void)
{
#define FIXED(test) cmocka_unit_test_setup_teardown(test, open_all, real_client_close)
    const struct CMUnitTest tests[] = {
        FIXED(a_killed_broker_costs_no_transaction_and_repeats_none),
        FIXED(an_unknown_one_said_again_gets_the_first_receipt),
        FIXED(who_has_lost_its_lane_and_its_name_is_fenced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
