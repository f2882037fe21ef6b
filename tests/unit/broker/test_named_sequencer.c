/*
 * Named producers as the sequencer judges them: which number is taken, which is
 * answered again and how, who may write under a name, and what none of it may
 * leave behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/first_result.h"
#include "broker/limits.h"
#include "broker/producer_rules.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "tests/support/sequencer_fixture.h"

#define ORDERS "prod:main:L0:orders:M1"
#define STOCK "prod:main:L0:stock:M7"
#define LANE UINT64_C(0x300000105)
#define OTHER_LANE UINT64_C(0x300000206)

/* From here on transactions come from this lane, under this name. */
static void come_as(struct sequencer_fixture *f, const char *producer, uint64_t incarnation)
{
    f->producer = producer;
    f->incarnation = incarnation;
}

static uint64_t claim(struct sequencer_fixture *f, const char *producer, uint64_t incarnation)
{
    static struct submission nobody;
    uint64_t last_number = UINT64_MAX;

    assert_int_equal(producer_rules_claim(f->heads, f->batch, es_text_of(producer), incarnation,
                                          f->uid, &nobody, &last_number),
                     ES_OK);
    come_as(f, producer, incarnation);
    return last_number;
}

/* One event of 'stream' under this number; applies the batch where it must. */
static struct es_lane_result send(struct sequencer_fixture *f, uint64_t number, const char *stream,
                                  uint32_t flags)
{
    const struct es_lane_result *result = NULL;

    f->number = number;
    tx_begin(f, 1);
    tx_append(f, stream, TX_ANY, 1);
    if (tx_add(f, flags, &result) == ES_FULL) {
        fixture_commit(f);
        assert_int_equal(tx_add(f, flags, &result), ES_OK);
    }
    return *result;
}

static void assert_reason(struct es_lane_result result, enum es_status status,
                          enum es_reason reason)
{
    assert_int_equal(result.status, status);
    assert_int_equal(result.reason, reason);
}

/* The whole answer but for the record's own number. */
static void assert_same_answer(struct es_lane_result again, struct es_lane_result first)
{
    again.sequence = 0;
    first.sequence = 0;
    again.order = 0;
    first.order = 0;
    assert_memory_equal(&again, &first, sizeof first);
}

/* What the last answer becomes when its batch is durable. */
static struct es_lane_result commit_and_get(struct sequencer_fixture *f)
{
    uint32_t last = f->batch->answer_count - 1;

    fixture_commit(f);
    return f->batch->answers[last].result; /* the batch is emptied, not overwritten */
}

static void a_number_is_stored_once_and_answered_as_the_first_time(void **state)
{
    struct sequencer_fixture *f = *state;
    struct es_lane_result first;

    assert_int_equal(claim(f, "importer", LANE), 0);
    send(f, 1, STOCK, 0);
    send(f, 2, ORDERS, 0);
    f->number = 3;
    tx_begin(f, 4);
    tx_append(f, STOCK, TX_ANY, 2);
    tx_put(f, "a", TX_ANY, "1");
    tx_append(f, ORDERS, TX_ANY, 3);
    tx_put(f, "b", TX_ANY, "2");
    assert_int_equal(tx_submit(f)->status, ES_OK);
    first = commit_and_get(f);
    assert_int_equal(first.position, 7);
    assert_int_equal(first.stream_sequence, 4);
    assert_int_equal(first.tick, 3);
    assert_int_equal(first.revision, 2);
    assert_int_equal(first.commit_number, 1);
    assert_int_equal(first.epoch, 7);

    for (int i = 0; i < 3; i++) {
        const struct es_lane_result *again = NULL;

        assert_int_equal(tx_add(f, 0, &again), ES_OK); /* the same bytes */
        assert_same_answer(*again, first);
        send(f, 4 + (uint64_t)i, ORDERS, 0); /* what comes later changes nothing */
        f->number = 3;
        tx_begin(f, 4);
        tx_append(f, STOCK, TX_ANY, 2);
        tx_put(f, "a", TX_ANY, "1");
        tx_append(f, ORDERS, TX_ANY, 3);
        tx_put(f, "b", TX_ANY, "2");
        fixture_commit(f);
    }
    assert_int_equal(stored_count(f, STORE_EVENTS), 10);
}

static void a_repeat_of_what_is_not_applied_waits_for_it(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;
    struct es_lane_result first;

    claim(f, "importer", LANE);
    f->number = 1;
    tx_begin(f, 1);
    tx_append(f, ORDERS, TX_ANY, 1);
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(tx_add(f, 0, &result), ES_FULL);
    assert_int_equal(f->batch->event_count, 1);
    first = commit_and_get(f);
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_same_answer(*result, first);
    assert_int_equal(f->batch->event_count, 0);
}

static void keys_and_snapshots_alone_are_answered_again_too(void **state)
{
    struct sequencer_fixture *f = *state;
    struct es_lane_result first;
    const struct es_lane_result *again = NULL;

    claim(f, "importer", LANE);
    send(f, 1, ORDERS, 0);
    f->number = 2;
    tx_begin(f, 2);
    tx_put(f, "a", TX_ANY, "1");
    tx_snapshot(f, ORDERS, 1, 1, "state");
    assert_int_equal(tx_submit(f)->status, ES_OK);
    first = commit_and_get(f);
    assert_int_equal(first.position, 0);
    assert_int_equal(first.revision, 1);
    assert_int_equal(tx_add(f, 0, &again), ES_OK);
    assert_same_answer(*again, first);
    assert_int_equal(stored_count(f, STORE_KV), 1);
}

static void other_content_under_a_number_is_refused_as_a_mistake(void **state)
{
    struct sequencer_fixture *f = *state;

    claim(f, "importer", LANE);
    send(f, 1, ORDERS, 0);
    assert_reason(send(f, 1, STOCK, 0), ES_REJECTED, ES_REASON_PRODUCER_CONTENT);
    assert_int_equal(send(f, 2, STOCK, 0).status, ES_OK);
}

static void a_gap_needs_leave_and_what_it_skipped_stays_skipped(void **state)
{
    struct sequencer_fixture *f = *state;

    claim(f, "importer", LANE);
    assert_reason(send(f, 2, ORDERS, 0), ES_REJECTED, ES_REASON_PRODUCER_GAP);
    assert_int_equal(send(f, 1, ORDERS, 0).status, ES_OK);
    assert_reason(send(f, 9, ORDERS, 0), ES_REJECTED, ES_REASON_PRODUCER_GAP);
    assert_int_equal(send(f, 9, ORDERS, ES_RECORD_ALLOW_GAP).status, ES_OK);
    assert_reason(send(f, 5, ORDERS, ES_RECORD_ALLOW_GAP), ES_REJECTED, ES_REASON_PRODUCER_SKIPPED);
    assert_int_equal(send(f, UINT64_MAX, ORDERS, ES_RECORD_ALLOW_GAP).status, ES_OK);
    assert_int_equal(send(f, UINT64_MAX, ORDERS, 0).position, 3);
    assert_int_equal(send(f, 1, ORDERS, 0).position, 1);
}

static void a_named_transaction_needs_a_number_and_an_unnamed_one_must_not_have_it(void **state)
{
    struct sequencer_fixture *f = *state;

    claim(f, "importer", LANE);
    assert_reason(send(f, 0, ORDERS, 0), ES_REJECTED, ES_REASON_PRODUCER_NUMBER);
    f->producer = NULL;
    f->incarnation = 0;
    assert_reason(send(f, 1, ORDERS, 0), ES_REJECTED, ES_REASON_PRODUCER_UNNAMED);
}

/* Conflict, broken rule, row broken, no room: each leaves the number to the next one. */
static void no_refusal_consumes_a_number(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;

    claim(f, "importer", LANE);
    f->number = 1;
    tx_begin(f, 2);
    tx_append(f, STOCK, TX_ANY, 1);
    tx_append(f, ORDERS, 7, 1);
    assert_int_equal(tx_submit(f)->status, ES_CONFLICT);
    assert_int_equal(tx_add(f, ES_RECORD_ORDERED, &result), ES_OK);
    assert_int_equal(send(f, 1, ORDERS, ES_RECORD_ORDERED).status, ES_PREVIOUS_FAILED);
    sequencer_set_no_space(f->sequencer, true);
    assert_int_equal(send(f, 1, ORDERS, ES_RECORD_ORDERED | ES_RECORD_RESUME).status, ES_NO_SPACE);
    sequencer_set_no_space(f->sequencer, false);
    fixture_commit(f);
    assert_int_equal(send(f, 1, ORDERS, ES_RECORD_ORDERED | ES_RECORD_RESUME).status, ES_OK);
    assert_int_equal(send(f, 2, ORDERS, ES_RECORD_ORDERED).status, ES_OK);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_EVENTS), 2);
}

static void a_repeat_is_answered_below_the_disk_reserve(void **state)
{
    struct sequencer_fixture *f = *state;

    claim(f, "importer", LANE);
    send(f, 1, ORDERS, 0);
    fixture_commit(f);
    sequencer_set_no_space(f->sequencer, true);
    assert_int_equal(send(f, 1, ORDERS, 0).position, 1);
    assert_int_equal(send(f, 2, ORDERS, 0).status, ES_NO_SPACE);
    assert_int_equal(claim(f, "importer", OTHER_LANE), 1);
}

static void a_former_owner_is_fenced_from_the_claim_on(void **state)
{
    struct sequencer_fixture *f = *state;

    assert_int_equal(claim(f, "importer", LANE), 0);
    send(f, 1, ORDERS, 0);
    assert_int_equal(claim(f, "importer", OTHER_LANE), 1);
    assert_int_equal(send(f, 2, ORDERS, 0).status, ES_OK);
    come_as(f, "importer", LANE);
    assert_reason(send(f, 3, ORDERS, ES_RECORD_ORDERED), ES_FENCED, ES_REASON_PRODUCER_FENCED);
    assert_reason(send(f, 1, ORDERS, ES_RECORD_ORDERED), ES_FENCED, ES_REASON_PRODUCER_FENCED);
    come_as(f, "never-claimed", LANE);
    assert_reason(send(f, 1, ORDERS, 0), ES_FENCED, ES_REASON_PRODUCER_FENCED);
}

/* The owner is in the store, not only in memory: another sequencer over it knows. */
static void owner_and_last_number_outlive_the_sequencer(void **state)
{
    struct sequencer_fixture *f = *state;

    claim(f, "importer", LANE);
    claim(f, "importer", OTHER_LANE);
    send(f, 1, ORDERS, 0);
    send(f, 2, ORDERS, 0);
    fixture_commit(f);
    heads_free(f->heads);
    sequencer_free(f->sequencer);
    assert_int_equal(heads_new(f->store, &f->counters, 10, &f->heads), ES_OK);
    heads_set_applied(f->heads, f->end.batch_number);
    assert_int_equal(sequencer_new(f->store, f->heads, &f->sequencer), ES_OK);
    assert_int_equal(send(f, 2, ORDERS, 0).position, 2);
    assert_int_equal(send(f, 3, ORDERS, 0).position, 3);
    come_as(f, "importer", LANE);
    assert_int_equal(send(f, 4, ORDERS, 0).status, ES_FENCED);
}

static void a_name_belongs_to_the_user_who_used_it_first(void **state)
{
    struct sequencer_fixture *f = *state;

    come_as(f, "importer", 0);
    f->uid = 1001;
    assert_int_equal(send(f, 1, ORDERS, 0).status, ES_OK);
    f->uid = 1002;
    assert_int_equal(send(f, 2, ORDERS, 0).status, ES_E_PERMISSION);
    f->uid = 0;
    assert_int_equal(send(f, 2, ORDERS, 0).status, ES_OK);
    f->uid = geteuid();
    assert_int_equal(send(f, 3, ORDERS, 0).status, ES_OK);
    fixture_commit(f);
    f->uid = 1001;
    assert_int_equal(send(f, 4, ORDERS, 0).status, ES_OK); /* still theirs */
}

static void a_request_is_refused_while_a_lane_in_use_owns_the_name(void **state)
{
    struct sequencer_fixture *f = *state;

    claim(f, "importer", LANE);
    come_as(f, "importer", 0);
    f->owner_lives = true;
    assert_int_equal(send(f, 1, ORDERS, 0).status, ES_E_BUSY);
    f->owner_lives = false;
    assert_int_equal(send(f, 1, ORDERS, 0).status, ES_OK);
}

/* More names than the cache holds, and more numbers than a commit: each finds its own. */
static void a_thousand_names_in_a_bounded_cache_keep_their_numbers(void **state)
{
    struct sequencer_fixture *f = *state;
    char names[1000][16];
    struct first_result first;

    for (uint64_t number = 1; number <= 3; number++) {
        for (uint64_t i = 0; i < 1000; i++) {
            (void)snprintf(names[i], sizeof names[i], "name-%u", (unsigned)i);
            come_as(f, names[i], 0);
            assert_int_equal(send(f, number, i % 2 == 0 ? ORDERS : STOCK, 0).status, ES_OK);
            if (i % 97 == 0) {
                fixture_commit(f);
            }
        }
    }
    fixture_commit(f);
    assert_true(PRODUCERS_CACHED_MAX < 1000);
    for (uint64_t i = 0; i < 1000; i++) {
        for (uint64_t number = 1; number <= 3; number++) {
            assert_int_equal(
                first_result_find(f->store, NULL, es_text_of(names[i]), number, &first), ES_OK);
            assert_int_equal(first.result.position, (number - 1) * 1000 + i + 1);
        }
        assert_int_equal(first_result_find(f->store, NULL, es_text_of(names[i]), 4, &first),
                         ES_NOT_FOUND);
    }
    assert_int_equal(stored_count(f, STORE_EVENTS), 3000);
}

/* The longest names, until no more fit: the batch closes all the same, with the entry
 * of each producer, for their room was kept. */
static void the_longest_names_fill_a_batch_and_no_more(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;
    char name[256];
    uint64_t count = 0;

    f->number = 1;
    while (true) {
        (void)snprintf(name, sizeof name, "%0255u", (unsigned)count);
        come_as(f, name, 0);
        tx_begin(f, 1);
        tx_put(f, "k", TX_ANY, "");
        if (tx_add(f, 0, &result) == ES_FULL) {
            break;
        }
        assert_int_equal(result->status, ES_OK);
        count++;
    }
    assert_true(count > 1000);
    assert_true(f->batch->bytes > f->batch->bytes_max - 1000);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_PRODUCERS), 2 * count);
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(result->status, ES_OK);
}

/* A name that begins like another must not be answered with the other's numbers. */
static void names_that_begin_alike_do_not_meet(void **state)
{
    struct sequencer_fixture *f = *state;
    struct first_result first;

    come_as(f, "ab", 0);
    send(f, 1, ORDERS, 0);
    come_as(f, "a", 0);
    send(f, 1, ORDERS, 0);
    come_as(f, "a!", 0);
    send(f, 1, STOCK, 0);
    fixture_commit(f);
    assert_int_equal(first_result_find(f->store, NULL, es_text_of("a"), 1, &first), ES_OK);
    assert_int_equal(first.result.position, 2);
    assert_int_equal(first_result_find(f->store, NULL, es_text_of("a"), 2, &first), ES_NOT_FOUND);
    assert_int_equal(first_result_find(f->store, NULL, es_text_of("ab"), 1, &first), ES_OK);
    assert_int_equal(first.result.position, 1);
}

/* A claim that finds the batch full changes nothing, and may be made again. */
static void a_claim_without_room_is_made_in_the_next_batch(void **state)
{
    struct sequencer_fixture *f = *state;
    static struct submission nobody;
    uint64_t last_number = 0;

    append_one(f, ORDERS, TX_ANY);
    f->batch->answer_count_max = 1;
    assert_int_equal(producer_rules_claim(f->heads, f->batch, es_text_of("importer"), LANE, f->uid,
                                          &nobody, &last_number),
                     ES_FULL);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_PRODUCERS), 0);
    claim(f, "importer", LANE);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_PRODUCERS), 1);
}

/* Damage on the way to a number is told, and stops neither the producer nor the broker. */
static void a_damaged_commit_is_an_answer(void **state)
{
    struct sequencer_fixture *f = *state;
    struct es_key key;

    claim(f, "importer", LANE);
    send(f, 1, ORDERS, 0);
    fixture_commit(f);
    es_key_commit(1, 1, &key);
    store_batch_clear(f->writes);
    assert_int_equal(store_batch_put(f->writes, STORE_COMMITS,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){(const uint8_t *)"x", 1}),
                     ES_OK);
    assert_int_equal(store_apply(f->store, f->writes, STORE_APPLY_LIVE), ES_OK);
    assert_reason(send(f, 1, ORDERS, 0), ES_E_CORRUPT, ES_REASON_DAMAGE);
    assert_int_equal(send(f, 2, ORDERS, 0).status, ES_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) \
    cmocka_unit_test_setup_teardown(name, sequencer_fixture_setup, sequencer_fixture_teardown)
        TEST(a_number_is_stored_once_and_answered_as_the_first_time),
        TEST(a_repeat_of_what_is_not_applied_waits_for_it),
        TEST(keys_and_snapshots_alone_are_answered_again_too),
        TEST(other_content_under_a_number_is_refused_as_a_mistake),
        TEST(a_gap_needs_leave_and_what_it_skipped_stays_skipped),
        TEST(a_named_transaction_needs_a_number_and_an_unnamed_one_must_not_have_it),
        TEST(no_refusal_consumes_a_number),
        TEST(a_repeat_is_answered_below_the_disk_reserve),
        TEST(a_former_owner_is_fenced_from_the_claim_on),
        TEST(owner_and_last_number_outlive_the_sequencer),
        TEST(a_name_belongs_to_the_user_who_used_it_first),
        TEST(a_request_is_refused_while_a_lane_in_use_owns_the_name),
        TEST(a_thousand_names_in_a_bounded_cache_keep_their_numbers),
        TEST(the_longest_names_fill_a_batch_and_no_more),
        TEST(names_that_begin_alike_do_not_meet),
        TEST(a_claim_without_room_is_made_in_the_next_batch),
        TEST(a_damaged_commit_is_an_answer),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
