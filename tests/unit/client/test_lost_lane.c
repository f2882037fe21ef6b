/*
 * Named producers whose lane goes away under them: whatever of their transactions was
 * stored by then, each is stored once, in order, and answered with its receipt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shm/codec/reason.h"
#include "shm/layout.h"
#include "tests/support/named_calls.h"
#include "tests/support/prng.h"

static void whatever_was_stored_of_four_each_is_stored_once_and_answered(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    uint64_t number = 0;

    for (uint32_t stored = 0; stored <= 4; stored++) {
        submit_held(f, producer, 4);
        lose_lane(f, stored);
        for (int i = 0; i < 4; i++) {
            struct es_outcome outcome = poll_one(producer);

            assert_int_equal(outcome.status, ES_OK);
            assert_int_equal(outcome.number, ++number);
            assert_int_equal(outcome.receipt.position, number); /* the first receipt */
        }
        assert_stored(f, 4 * (stored + 1));
    }
    es_producer_close(producer);
}

static void an_append_whose_memory_goes_away_is_stored_all_the_same(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;

    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(append(producer, "a", CALLS_SHORT_NS, NULL), ES_E_UNKNOWN);
    fake_broker_renew_memory(f->broker);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 2);
    assert_stored(f, 2);
    es_producer_close(producer);
}

/* The program has lost patience, the lane is lost, and the program says it again. */
static void an_unknown_one_said_again_under_its_number_is_stored_once(void **state)
{
    struct client_fixture *f = *state;

    for (uint32_t stored = 0; stored <= 1; stored++) {
        struct es_producer *producer = open_named(f);
        struct es_outcome outcome;

        fake_broker_hold_lanes(f->broker, true);
        assert_int_equal(append(producer, "a", CALLS_SHORT_NS, &outcome), ES_E_UNKNOWN);
        assert_int_equal(outcome.number, stored + 1);
        lose_lane(f, stored);
        assert_int_equal(es_producer_set_number(producer, outcome.number), ES_OK);
        assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
        assert_int_equal(outcome.receipt.position, stored + 1);
        assert_stored(f, stored + 1);
        es_producer_close(producer);
    }
}

/* A new lane knows nothing of a refusal in the old one. */
static void what_was_sent_behind_a_refusal_is_not_sent_again(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_with(f, (struct es_producer_options){.ordered = true});
    int countdown = 1;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    submit_held(f, producer, 3);
    fake_broker_answer_some(f->broker, 1);
    assert_int_equal(poll_one(producer).status, ES_CONFLICT);
    assert_int_equal(es_producer_resume_order(producer), ES_OK);
    assert_int_equal(submit(producer, "new"), ES_OK);
    assert_int_equal(submit(producer, "new"), ES_OK);
    lose_lane(f, 0);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(poll_one(producer).number, 1);
    assert_int_equal(poll_one(producer).number, 2);
    assert_stored(f, 2);
    es_producer_close(producer);
}

/* A refusal that nobody was told is none: the new lane judges anew. */
static void a_refusal_that_was_not_told_is_judged_again(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    int countdown = 2;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    submit_held(f, producer, 4);
    lose_lane(f, 4); /* the second is refused, and what is behind it */
    poll_numbers(producer, 4);
    assert_stored(f, 4);
    es_producer_close(producer);
}

static void forge_once(void *context, const void *transaction, uint32_t size,
                       struct es_lane_result *result)
{
    int *countdown = context;

    (void)transaction;
    (void)size;
    if (--*countdown == 0) {
        result->status = 99;
    }
}

static void a_result_no_broker_gives_costs_the_lane_and_no_transaction(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    int countdown = 2;

    fake_broker_set_judge(f->broker, forge_once, &countdown);
    for (uint64_t number = 1; number <= 3; number++) {
        struct es_outcome outcome;

        assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
        assert_int_equal(outcome.number, number);
    }
    assert_int_equal(fake_broker_attach_count(f->broker), 2);
    assert_stored(f, 3);
    es_producer_close(producer);
}

static void find_damage_once(void *context, const void *transaction, uint32_t size,
                             struct es_lane_result *result)
{
    int *countdown = context;

    (void)transaction;
    (void)size;
    if (--*countdown == 0) {
        *result = (struct es_lane_result){
            .sequence = result->sequence, .status = ES_E_CORRUPT, .reason = ES_REASON_DAMAGE};
    }
}

/* A number whose first receipt cannot be read: asking again and again mends nothing. */
static void damage_under_a_number_is_told_and_costs_no_lane(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    int countdown = 2;

    fake_broker_set_judge(f->broker, find_damage_once, &countdown);
    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_E_CORRUPT);
    assert_int_equal(outcome.status, ES_E_CORRUPT);
    assert_int_equal(outcome.number, 2);
    assert_non_null(strstr(es_connection_error(f->connection), "damaged"));
    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(fake_broker_attach_count(f->broker), 1);
    assert_stored(f, 2);
    es_producer_close(producer);
}

/* Lanes of the new broker are smaller than what was made for the old one's. */
static void what_does_not_fit_any_more_is_refused_and_what_is_behind_it(void **state)
{
    static char large[12000];
    struct client_fixture *f = *state;
    struct es_producer *producer;
    struct es_outcome outcome;
    size_t count = 0;

    memset(large, 'l', sizeof large - 1);
    fake_broker_set_geometry(f->broker, FAKE_SLOT_COUNT, 4 * ES_ARENA_BYTES_MIN);
    for (uint32_t stored = 0; stored <= 2; stored += 2) {
        fake_broker_set_geometry(f->broker, FAKE_SLOT_COUNT, 4 * ES_ARENA_BYTES_MIN);
        producer = open_named(f);
        fake_broker_hold_lanes(f->broker, true);
        assert_int_equal(submit(producer, "x"), ES_OK);
        assert_int_equal(submit(producer, large), ES_OK);
        assert_int_equal(submit(producer, "y"), ES_OK);
        fake_broker_lose_memory(f->broker, stored);
        fake_broker_set_geometry(f->broker, FAKE_SLOT_COUNT, ES_ARENA_BYTES_MIN);
        fake_broker_hold_lanes(f->broker, false);
        assert_int_equal(poll_one(producer).status, ES_OK);
        if (stored == 0) {
            assert_int_equal(poll_one(producer).refusal.reason, ES_REASON_TRANSACTION_SIZE);
            assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
        } else {
            /* It is stored, but its receipt cannot be had by sending it again. */
            assert_int_equal(es_producer_poll(producer, &outcome, 1, FIXTURE_PATIENCE_NS, &count),
                             ES_E_UNKNOWN);
            assert_int_equal(poll_one(producer).status, ES_OK);
        }
        es_producer_close(producer);
    }
    assert_stored(f, 4);
}

static void numbers_that_are_left_out_are_so_in_the_new_lane(void **state)
{
    struct client_fixture *f = *state;
    const struct es_producer_options options = {.name = CALLS_NAME, .allow_gaps = true};
    struct es_producer *producer = NULL;

    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_OK);
    fake_broker_hold_lanes(f->broker, true);
    for (uint64_t number = 10; number <= 30; number += 10) {
        assert_int_equal(es_producer_set_number(producer, number), ES_OK);
        assert_int_equal(submit(producer, "x"), ES_OK);
    }
    lose_lane(f, 1);
    for (uint64_t number = 10; number <= 30; number += 10) {
        struct es_outcome outcome = poll_one(producer);

        assert_int_equal(outcome.status, ES_OK);
        assert_int_equal(outcome.number, number);
    }
    assert_int_equal(fake_broker_number_count(f->broker, CALLS_NAME), 3);
    es_producer_close(producer);
}

static void where_a_new_lane_holds_less_it_is_sent_again_bit_by_bit(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);

    submit_held(f, producer, 4);
    fake_broker_lose_memory(f->broker, 1);
    fake_broker_set_geometry(f->broker, FAKE_SLOT_COUNT / 4, ES_ARENA_BYTES_MIN);
    assert_int_equal(es_producer_flush(producer, 300 * (FIXTURE_SECOND_NS / 1000)), ES_TIMEOUT);
    assert_int_equal(submit(producer, "x"), ES_FULL); /* what is older goes first */
    fake_broker_hold_lanes(f->broker, false);
    poll_numbers(producer, 4);
    assert_stored(f, 4);
    es_producer_close(producer);
}

/* The new lane has no room for the next large one, but had it for a small one. */
static void what_is_new_does_not_overtake_what_is_sent_again(void **state)
{
    static char large[7900];
    struct client_fixture *f = *state;
    struct es_producer *producer;

    memset(large, 'l', sizeof large - 1);
    fake_broker_set_geometry(f->broker, 4 * FAKE_SLOT_COUNT, 2 * ES_ARENA_BYTES_MIN);
    producer = open_named(f);
    fake_broker_hold_lanes(f->broker, true);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(submit(producer, large), ES_OK);
    }
    fake_broker_lose_memory(f->broker, 0);
    fake_broker_set_geometry(f->broker, 4 * FAKE_SLOT_COUNT, ES_ARENA_BYTES_MIN);
    assert_int_equal(es_producer_flush(producer, 300 * (FIXTURE_SECOND_NS / 1000)), ES_TIMEOUT);
    assert_int_equal(submit(producer, "small"), ES_FULL);
    fake_broker_hold_lanes(f->broker, false);
    poll_numbers(producer, 12);
    assert_stored(f, 12);
    es_producer_close(producer);
}

static uint8_t stored_payloads[4096];
static uint32_t stored_payload_count;

/* The last byte but one of a transaction with one event is its payload's last. */
static void note_payload(void *context, const void *transaction, uint32_t size,
                         struct es_lane_result *result)
{
    struct prng *prng = context;

    if (prng_below(prng, 20) == 0) {
        result->status = ES_CONFLICT;
        result->reason = ES_REASON_SEQUENCE_DIFFERS;
        return;
    }
    stored_payloads[stored_payload_count++] = ((const uint8_t *)transaction)[size - 2];
}

/* Sends, loses and refuses at random; what was told as stored is what is stored. */
static void at_random_all_that_is_told_is_true(void **state)
{
    struct client_fixture *f = *state;
    struct prng prng;
    struct prng judge;
    struct es_producer *producer = open_named(f);
    char payload[2] = "A";
    uint8_t told[4096];
    uint8_t sent[4096];
    uint32_t told_count = 0;
    uint32_t sent_count = 0;
    uint32_t taken_count = 0;

    prng_begin(&prng, "lost lanes");
    prng_seed(&judge, prng_next(&prng));
    stored_payload_count = 0;
    fake_broker_set_judge(f->broker, note_payload, &judge);
    while (sent_count < 400 || es_producer_in_flight(producer) > 0) {
        fake_broker_hold_lanes(f->broker, prng_below(&prng, 2) == 0);
        for (uint64_t i = prng_below(&prng, 40); i > 0 && sent_count < 400; i--) {
            payload[0] = (char)(1 + prng_below(&prng, 120));
            if (submit(producer, payload) != ES_OK) {
                break;
            }
            sent[sent_count++] = (uint8_t)payload[0];
        }
        if (prng_below(&prng, 3) == 0) {
            fake_broker_answer_some(f->broker, (uint32_t)prng_below(&prng, 10));
        }
        if (prng_below(&prng, 3) == 0) {
            fake_broker_lose_memory(f->broker, (uint32_t)prng_below(&prng, 40));
        }
        if (prng_below(&prng, 2) == 0) {
            fake_broker_hold_lanes(f->broker, false);
            for (size_t i = es_producer_in_flight(producer); i > 0; i--) {
                struct es_outcome outcome = poll_one(producer);

                assert_int_equal(outcome.ticket, taken_count + 1);
                if (outcome.status == ES_OK) {
                    told[told_count++] = sent[taken_count];
                }
                taken_count++;
            }
        }
    }
    fake_broker_hold_lanes(f->broker, true); /* whoever notes has let go of the lock before */
    assert_int_equal(told_count, stored_payload_count);
    assert_memory_equal(told, stored_payloads, told_count);
    assert_stored(f, told_count);
    assert_true(told_count > 100);
    es_producer_close(producer);
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(whatever_was_stored_of_four_each_is_stored_once_and_answered),
        FIXED(an_append_whose_memory_goes_away_is_stored_all_the_same),
        FIXED(an_unknown_one_said_again_under_its_number_is_stored_once),
        FIXED(what_was_sent_behind_a_refusal_is_not_sent_again),
        FIXED(a_refusal_that_was_not_told_is_judged_again),
        FIXED(a_result_no_broker_gives_costs_the_lane_and_no_transaction),
        FIXED(damage_under_a_number_is_told_and_costs_no_lane),
        FIXED(what_does_not_fit_any_more_is_refused_and_what_is_behind_it),
        FIXED(numbers_that_are_left_out_are_so_in_the_new_lane),
        FIXED(where_a_new_lane_holds_less_it_is_sent_again_bit_by_bit),
        FIXED(what_is_new_does_not_overtake_what_is_sent_again),
        FIXED(at_random_all_that_is_told_is_true),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
