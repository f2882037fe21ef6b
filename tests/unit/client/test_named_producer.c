/*
 * Named producers and a broker that keeps its memory: which number a transaction
 * gets, what a refusal does to the order, and who owns a name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "shm/codec/reason.h"
#include "tests/support/named_calls.h"

static void numbers_begin_at_one_and_go_on_where_the_store_is(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;

    assert_int_equal(es_producer_last_number(producer), 0);
    for (uint64_t number = 1; number <= 3; number++) {
        assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
        assert_int_equal(outcome.number, number);
        assert_int_equal(es_producer_last_number(producer), number);
    }
    es_producer_close(producer);
    producer = open_named(f);
    assert_int_equal(es_producer_last_number(producer), 3);
    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 4);
    es_producer_close(producer);
}

static void every_way_to_send_has_a_number(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_transaction *transaction = NULL;
    struct es_outcome outcome;
    void *payload = NULL;

    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(es_key_put(producer, ES_KEYS, "prices", "apple", ES_REVISION_ANY, "1", 1,
                                FIXTURE_PATIENCE_NS, &outcome),
                     ES_OK);
    assert_int_equal(outcome.number, 2);
    assert_int_equal(es_transaction_begin(producer, &transaction), ES_OK);
    assert_int_equal(
        es_transaction_put(transaction, ES_KEYS, "prices", "pear", ES_REVISION_ANY, "2", 1), ES_OK);
    assert_int_equal(es_transaction_commit(transaction, FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 3);
    assert_int_equal(es_producer_reserve(producer, CALLS_STREAM, NULL, 1, "noted", 1, &payload),
                     ES_OK);
    *(char *)payload = 'x';
    assert_int_equal(es_producer_publish(producer, NULL), ES_OK);
    assert_int_equal(poll_one(producer).number, 4);
    assert_stored(f, 4);
    es_producer_close(producer);
}

/* One after the other: each answer is known before the next is sent. */
static void a_refusal_uses_no_number_up(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    int countdown = 2;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, &outcome), ES_CONFLICT);
    assert_int_equal(outcome.number, 2);
    assert_int_equal(es_producer_last_number(producer), 1);
    assert_int_equal(append(producer, "c", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 2);
    assert_stored(f, 2);
    es_producer_close(producer);
}

static void what_was_sent_behind_a_refusal_is_refused_until_all_is_taken(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    int countdown = 2;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    submit_held(f, producer, 4);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(poll_one(producer).status, ES_OK);
    assert_int_equal(poll_one(producer).status, ES_CONFLICT);
    assert_int_equal(submit(producer, "late"), ES_OK); /* two outcomes are still to be taken */
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(submit(producer, "new"), ES_OK);
    assert_int_equal(submit(producer, "new"), ES_OK);
    assert_int_equal(poll_one(producer).number, 2);
    assert_int_equal(poll_one(producer).number, 3);
    assert_stored(f, 3);
    es_producer_close(producer);
}

static void with_options_ordered_the_caller_begins_the_new_order(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_with(f, (struct es_producer_options){.ordered = true});
    struct es_outcome outcome;
    int countdown = 2;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, NULL), ES_CONFLICT);
    assert_int_equal(append(producer, "c", FIXTURE_PATIENCE_NS, NULL), ES_PREVIOUS_FAILED);
    assert_int_equal(append(producer, "c", FIXTURE_PATIENCE_NS, NULL), ES_PREVIOUS_FAILED);
    assert_int_equal(es_producer_resume_order(producer), ES_OK);
    assert_int_equal(append(producer, "c", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 2);
    assert_stored(f, 2);
    es_producer_close(producer);
}

/* A new order that was begun before the refusal was known has its number: it must not
 * be stored under that of the refused one, nor with a number left out. */
static void a_new_order_begun_too_early_is_refused_for_its_gap(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_with(f, (struct es_producer_options){.ordered = true});
    int countdown = 1;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(submit(producer, "refused"), ES_OK);
    assert_int_equal(es_producer_resume_order(producer), ES_OK);
    assert_int_equal(submit(producer, "early"), ES_OK);
    assert_int_equal(submit(producer, "behind"), ES_OK);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(poll_one(producer).status, ES_CONFLICT);
    assert_int_equal(poll_one(producer).refusal.reason, ES_REASON_PRODUCER_GAP);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(es_producer_resume_order(producer), ES_OK);
    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_stored(f, 1);
    es_producer_close(producer);
}

/* The refusal is known, the ones behind it are on their way, and the new order begins. */
static void a_new_order_goes_on_while_old_refusals_come_in(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_with(f, (struct es_producer_options){.ordered = true});
    int countdown = 1;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(submit(producer, "refused"), ES_OK);
    assert_int_equal(submit(producer, "behind"), ES_OK);
    fake_broker_answer_some(f->broker, 1);
    assert_int_equal(poll_one(producer).status, ES_CONFLICT);
    assert_int_equal(submit(producer, "late"), ES_OK);
    assert_int_equal(es_producer_resume_order(producer), ES_OK);
    assert_int_equal(submit(producer, "first of the new order"), ES_OK);
    fake_broker_answer_some(f->broker, 2);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(poll_one(producer).status, ES_PREVIOUS_FAILED);
    assert_int_equal(submit(producer, "second of the new order"), ES_OK);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(poll_one(producer).number, 1);
    assert_int_equal(poll_one(producer).number, 2);
    assert_stored(f, 2);
    es_producer_close(producer);
}

static void a_repeated_number_gets_its_first_receipt_and_other_content_is_refused(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome first;
    struct es_outcome again;

    assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, &first), ES_OK);
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(es_producer_set_number(producer, 1), ES_OK);
    assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, &again), ES_OK);
    assert_int_equal(again.number, 1);
    assert_memory_equal(&again.receipt, &first.receipt, sizeof first.receipt);
    assert_int_equal(es_producer_set_number(producer, 1), ES_OK);
    assert_int_equal(append(producer, "c", FIXTURE_PATIENCE_NS, &again), ES_REJECTED);
    assert_int_equal(again.refusal.reason, ES_REASON_PRODUCER_CONTENT);
    assert_int_equal(append(producer, "c", FIXTURE_PATIENCE_NS, &again), ES_OK);
    assert_int_equal(again.number, 3);
    assert_stored(f, 3);
    es_producer_close(producer);
}

static void numbers_are_left_out_only_where_gaps_are_allowed(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;

    assert_int_equal(es_producer_set_number(producer, 10), ES_OK);
    assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, &outcome), ES_REJECTED);
    assert_int_equal(outcome.refusal.reason, ES_REASON_PRODUCER_GAP);
    es_producer_close(producer);
    producer = open_with(f, (struct es_producer_options){.allow_gaps = true});
    assert_int_equal(es_producer_set_number(producer, 10), ES_OK);
    assert_int_equal(append(producer, "a", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 11);
    assert_int_equal(es_producer_last_number(producer), 11);
    es_producer_close(producer);
}

static void a_name_with_a_living_owner_is_busy_and_one_without_is_not(void **state)
{
    struct client_fixture *f = *state;
    const struct es_producer_options options = {.name = CALLS_NAME};
    struct es_producer *first = open_named(f);
    struct es_producer *second = NULL;

    assert_int_equal(es_producer_open(f->connection, &options, &second), ES_E_BUSY);
    assert_null(second);
    assert_non_null(strstr(es_connection_error(f->connection), "living owner"));
    es_producer_close(first);
    assert_int_equal(es_producer_open(f->connection, &options, &second), ES_OK);
    es_producer_close(second);
}

static void assert_is_fenced(struct client_fixture *f, struct es_producer *producer)
{
    struct es_transaction *transaction = NULL;
    struct es_outcome outcome;
    void *payload = NULL;
    size_t count = 0;

    assert_int_equal(append(producer, "x", ES_FOREVER, NULL), ES_FENCED);
    assert_non_null(strstr(es_connection_error(f->connection), CALLS_NAME));
    assert_int_equal(submit(producer, "x"), ES_FENCED);
    assert_int_equal(es_producer_reserve(producer, CALLS_STREAM, NULL, 1, "noted", 1, &payload),
                     ES_FENCED);
    assert_int_equal(es_transaction_begin(producer, &transaction), ES_OK);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "a", "b", ES_REVISION_ANY, "c", 1),
                     ES_OK);
    assert_int_equal(es_transaction_commit(transaction, ES_FOREVER, NULL), ES_FENCED);
    assert_int_equal(es_producer_poll(producer, &outcome, 1, ES_FOREVER, &count), ES_FENCED);
    assert_int_equal(es_producer_flush(producer, ES_FOREVER), ES_FENCED);
}

/* What the first had sent is stored before the second is told the last number. */
static void who_takes_over_is_told_all_and_fences_the_first_for_good(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *first = open_named(f);
    struct es_producer *second;

    submit_held(f, first, 3);
    second = open_with(f, (struct es_producer_options){.take_over = true});
    assert_int_equal(es_producer_last_number(second), 3);
    assert_int_equal(submit(first, "too late"), ES_OK);
    assert_int_equal(submit(first, "too late"), ES_OK);
    fake_broker_hold_lanes(f->broker, false);
    poll_numbers(first, 3);
    assert_int_equal(poll_one(first).status, ES_FENCED);
    assert_int_equal(es_producer_in_flight(first), 1);
    (void)poll_one(first);
    assert_is_fenced(f, first);
    assert_int_equal(append(second, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_stored(f, 4);
    es_producer_close(first);
    assert_int_equal(append(second, "x", FIXTURE_PATIENCE_NS, NULL), ES_OK);
    es_producer_close(second);
}

static void names_and_numbers_keep_their_rules(void **state)
{
    static const char *const bad[] = {"", "with:colon", "$reserved", "line\nbreak"};
    struct client_fixture *f = *state;
    struct es_producer *producer = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct es_producer_options options = {.name = bad[i]};

        assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_E_INVALID);
        assert_null(producer);
    }
    assert_int_equal(fake_broker_attach_count(f->broker), 0);
    assert_int_equal(es_producer_open(f->connection, NULL, &producer), ES_OK);
    assert_int_equal(es_producer_set_number(producer, 1), ES_E_INVALID);
    assert_int_equal(es_producer_last_number(producer), 0);
    es_producer_close(producer);
    producer = open_named(f);
    assert_int_equal(es_producer_set_number(producer, 0), ES_E_INVALID);
    assert_int_equal(es_producer_set_number(NULL, 1), ES_E_INVALID);
    assert_int_equal(es_producer_last_number(NULL), 0);
    es_producer_close(producer);
}

static void asking_tells_owner_last_number_and_receipt(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    struct es_producer_info info = {0};

    assert_int_equal(append(producer, "x", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(es_producer_ask(f->connection, CALLS_NAME, 1, &info), ES_OK);
    assert_string_equal(info.name, CALLS_NAME);
    assert_int_equal(info.last_number, 1);
    assert_int_equal(info.owner_uid, getuid());
    assert_int_equal(info.owner_pid, getpid());
    assert_true(info.owner_is_alive);
    assert_true(info.is_found);
    assert_string_equal(info.stream, CALLS_STREAM);
    assert_memory_equal(&info.receipt, &outcome.receipt, sizeof info.receipt);
    es_producer_close(producer);
    assert_int_equal(es_producer_ask(f->connection, CALLS_NAME, 2, &info), ES_OK);
    assert_false(info.owner_is_alive);
    assert_false(info.is_found);
    assert_int_equal(es_producer_ask(f->connection, "nobody", 0, &info), ES_NOT_FOUND);
    assert_non_null(strstr(es_connection_error(f->connection), "no producer"));
    assert_int_equal(es_producer_ask(f->connection, NULL, 0, &info), ES_E_INVALID);
}

struct listing {
    uint32_t seen;
    uint32_t wanted;
};

static bool note_name(void *context, const struct es_producer_info *info)
{
    static const char *const names[] = {"a", "b", "c"};
    struct listing *listing = context;

    assert_string_equal(info->name, names[listing->seen]);
    return ++listing->seen < listing->wanted;
}

static void all_names_are_listed_page_after_page(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct client_fixture *f = *state;

    for (uint32_t wanted = 3; wanted > 0; wanted--) {
        struct listing listing = {.wanted = wanted};

        for (size_t i = 0; i < 3 && wanted == 3; i++) {
            const struct es_producer_options options = {.name = names[i]};
            struct es_producer *producer = NULL;

            assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_OK);
            es_producer_close(producer);
        }
        assert_int_equal(es_producers(f->connection, note_name, &listing), ES_OK);
        assert_int_equal(listing.seen, wanted);
    }
    assert_int_equal(es_producers(f->connection, NULL, NULL), ES_E_INVALID);
}

/* What an earlier call left unknown is learned before anything else is sent. */
static void an_unknown_outcome_is_resolved_before_the_next_is_sent(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;

    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(append(producer, "a", CALLS_SHORT_NS, &outcome), ES_E_UNKNOWN);
    assert_int_equal(outcome.number, 1);
    assert_non_null(strstr(es_connection_error(f->connection), "the next call"));
    assert_int_equal(append(producer, "b", CALLS_SHORT_NS, NULL), ES_TIMEOUT);
    assert_int_equal(append(producer, "b", 0, NULL), ES_TIMEOUT);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(es_producer_flush(producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(es_producer_last_number(producer), 1); /* it was stored */
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 2);
    assert_stored(f, 2);
    assert_int_equal(fake_broker_record_count(f->broker), 2);
    es_producer_close(producer);
}

static void the_number_of_an_unknown_one_that_was_refused_is_given_again(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = open_named(f);
    struct es_outcome outcome;
    int countdown = 1;

    fake_broker_set_judge(f->broker, refuse_when_told, &countdown);
    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(append(producer, "a", CALLS_SHORT_NS, &outcome), ES_E_UNKNOWN);
    fake_broker_hold_lanes(f->broker, false);
    assert_int_equal(append(producer, "b", FIXTURE_PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.number, 1);
    assert_stored(f, 1);
    es_producer_close(producer);
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(numbers_begin_at_one_and_go_on_where_the_store_is),
        FIXED(every_way_to_send_has_a_number),
        FIXED(a_refusal_uses_no_number_up),
        FIXED(what_was_sent_behind_a_refusal_is_refused_until_all_is_taken),
        FIXED(with_options_ordered_the_caller_begins_the_new_order),
        FIXED(a_new_order_begun_too_early_is_refused_for_its_gap),
        FIXED(a_new_order_goes_on_while_old_refusals_come_in),
        FIXED(a_repeated_number_gets_its_first_receipt_and_other_content_is_refused),
        FIXED(numbers_are_left_out_only_where_gaps_are_allowed),
        FIXED(a_name_with_a_living_owner_is_busy_and_one_without_is_not),
        FIXED(who_takes_over_is_told_all_and_fences_the_first_for_good),
        FIXED(names_and_numbers_keep_their_rules),
        FIXED(asking_tells_owner_last_number_and_receipt),
        FIXED(all_names_are_listed_page_after_page),
        FIXED(an_unknown_outcome_is_resolved_before_the_next_is_sent),
        FIXED(the_number_of_an_unknown_one_that_was_refused_is_given_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
