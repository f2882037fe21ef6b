#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shm/codec/chain.h"
#include "tests/support/prng.h"
#include "tests/support/sequencer_fixture.h"

#define ORDERS "prod:main:L0:orders:M1"
#define STOCK "prod:main:L0:stock:M7"

static void positions_and_sequences_have_no_gaps(void **state)
{
    struct sequencer_fixture *f = *state;

    for (uint64_t i = 1; i <= 200; i++) {
        const struct es_lane_result *result = append_one(f, i % 2 == 1 ? ORDERS : STOCK, TX_ANY);

        assert_int_equal(result->status, ES_OK);
        assert_int_equal(result->position, i);
        assert_int_equal(result->stream_sequence, (i + 1) / 2);
        if (i % 7 == 0) {
            fixture_commit(f);
        }
    }
}

/* A conflict is an answer to that append: what stands before and behind it in the
 * batch is stored, and no number is lost or used twice. */
static void a_conflict_harms_no_neighbour(void **state)
{
    struct sequencer_fixture *f = *state;
    struct es_head_value head;

    assert_int_equal(append_one(f, ORDERS, TX_NONE)->status, ES_OK);
    assert_int_equal(append_one(f, ORDERS, TX_NONE)->status, ES_CONFLICT);
    assert_int_equal(append_one(f, ORDERS, 7)->status, ES_CONFLICT);
    assert_int_equal(append_one(f, ORDERS, 1)->status, ES_OK);
    fixture_commit(f);

    assert_true(stored_head(f, ORDERS, &head));
    assert_int_equal(head.last_sequence, 2);
    assert_int_equal(head.last_position, 2);
    assert_int_equal(stored_count(f, STORE_EVENTS), 2);
}

static void an_expected_sequence_is_judged_by_this_very_batch(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;

    append_one(f, ORDERS, TX_NONE);
    result = append_one(f, ORDERS, TX_NONE);

    assert_int_equal(result->status, ES_CONFLICT);
    assert_int_equal(result->reason, ES_REASON_STREAM_EXISTS);
    assert_int_equal(result->stream_sequence, 1);
    assert_int_equal(append_one(f, ORDERS, TX_EXISTS)->status, ES_OK);
    assert_int_equal(append_one(f, STOCK, TX_EXISTS)->status, ES_CONFLICT);
    assert_int_equal(append_one(f, STOCK, 1)->reason, ES_REASON_STREAM_MISSING);
}

static void an_expected_hash_is_judged_by_this_very_batch(void **state)
{
    struct sequencer_fixture *f = *state;
    uint8_t first[ES_HASH_SIZE];
    const struct es_lane_result *result = NULL;

    memcpy(first, append_one(f, ORDERS, TX_ANY)->hash, sizeof first);
    tx_begin(f, 1);
    tx_append_hash(f, ORDERS, first, ES_HASH_SIZE, 1, NULL);
    assert_int_equal(tx_submit(f)->status, ES_OK);
    tx_begin(f, 1);
    tx_append_hash(f, ORDERS, first, ES_HASH_SIZE, 1, NULL);
    result = tx_submit(f);

    assert_int_equal(result->status, ES_CONFLICT);
    assert_int_equal(result->reason, ES_REASON_HASH_DIFFERS);
    assert_int_equal(result->stream_sequence, 2);
    assert_memory_not_equal(result->hash, first, sizeof first);
}

static void an_empty_expected_hash_means_that_the_stream_must_not_exist(void **state)
{
    struct sequencer_fixture *f = *state;

    tx_begin(f, 1);
    tx_append_hash(f, ORDERS, (const uint8_t *)"", 0, 1, NULL);
    assert_int_equal(tx_submit(f)->status, ES_OK);
    tx_begin(f, 1);
    tx_append_hash(f, ORDERS, (const uint8_t *)"", 0, 1, NULL);
    assert_int_equal(tx_submit(f)->reason, ES_REASON_STREAM_EXISTS);
}

/* An event that comes out with another hash than promised takes its whole
 * transaction back, also the events of it that were right. */
static void an_event_with_another_hash_leaves_nothing(void **state)
{
    struct sequencer_fixture *f = *state;
    const uint8_t wrong[ES_HASH_SIZE] = {1, 2, 3};
    struct es_head_value head;

    append_one(f, ORDERS, TX_ANY);
    tx_begin(f, 2);
    tx_append(f, ORDERS, TX_ANY, 3);
    tx_append_hash(f, STOCK, NULL, 0, 1, wrong);
    assert_int_equal(tx_submit(f)->reason, ES_REASON_EVENT_HASH_DIFFERS);
    assert_int_equal(append_one(f, ORDERS, 1)->position, 2);
    fixture_commit(f);

    assert_true(stored_head(f, ORDERS, &head));
    assert_int_equal(head.last_sequence, 2);
    assert_false(stored_head(f, STOCK, &head));
}

/* The last of several operations fails: neither heads, nor positions, nor the
 * revision counter may remember the ones before it. */
static void a_failing_last_operation_leaves_nothing_of_the_others(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;
    uint64_t revision = 0;
    struct es_head_value head;

    append_one(f, ORDERS, TX_ANY);
    tx_begin(f, 4);
    tx_append(f, ORDERS, 1, 2);
    tx_append(f, STOCK, TX_NONE, 1);
    tx_put(f, "rate", TX_ANY, "5");
    tx_append(f, ORDERS, 1, 1);
    result = tx_submit(f);
    assert_int_equal(result->status, ES_CONFLICT);
    assert_int_equal(result->operation_index, 3);
    assert_int_equal(result->stream_sequence, 1); /* as it is stored, not as it would have been */

    assert_int_equal(append_one(f, STOCK, TX_NONE)->position, 2);
    tx_begin(f, 1);
    tx_put(f, "rate", TX_NONE, "6");
    assert_int_equal(tx_submit(f)->revision, 1);
    fixture_commit(f);
    assert_true(stored_head(f, ORDERS, &head));
    assert_int_equal(head.last_sequence, 1);
    assert_true(stored_key(f, "rate", &revision));
    assert_int_equal(revision, 1);
    assert_int_equal(stored_count(f, STORE_EVENTS), 2);
}

static void a_revision_is_expected_and_never_used_again(void **state)
{
    struct sequencer_fixture *f = *state;
    uint64_t revision = 0;
    const struct es_lane_result *result = NULL;

    tx_begin(f, 1);
    tx_put(f, "rate", TX_NONE, "5");
    assert_int_equal(tx_submit(f)->revision, 1);
    tx_begin(f, 1);
    tx_put(f, "rate", 1, "6");
    assert_int_equal(tx_submit(f)->revision, 2);
    tx_begin(f, 1);
    tx_put(f, "rate", 1, "7");
    result = tx_submit(f);
    assert_int_equal(result->status, ES_CONFLICT);
    assert_int_equal(result->revision, 2);
    fixture_commit(f);

    tx_begin(f, 1);
    tx_delete(f, "rate", TX_ANY);
    assert_int_equal(tx_submit(f)->revision, 3);
    tx_begin(f, 1);
    tx_delete(f, "rate", TX_ANY);
    assert_int_equal(tx_submit(f)->status, ES_NOT_FOUND);
    tx_begin(f, 1);
    tx_put(f, "rate", TX_NONE, "8");
    assert_int_equal(tx_submit(f)->revision, 4);
    fixture_commit(f);
    assert_true(stored_key(f, "rate", &revision));
    assert_int_equal(revision, 4);
}

/* Commits without events have the same last position: the commit number in the
 * key keeps them apart. */
static void commits_of_keys_only_keep_their_records(void **state)
{
    struct sequencer_fixture *f = *state;

    append_one(f, ORDERS, TX_ANY);
    fixture_commit(f);
    for (int i = 0; i < 5; i++) {
        tx_begin(f, 1);
        tx_put(f, "rate", TX_ANY, "5");
        tx_submit(f);
        fixture_commit(f);
    }

    assert_int_equal(f->end.commit_number, 6);
    assert_int_equal(f->end.position, 1);
    assert_int_equal(stored_count(f, STORE_COMMITS), 6);
}

static void a_batch_of_refusals_has_no_commit(void **state)
{
    struct sequencer_fixture *f = *state;

    assert_int_equal(append_one(f, ORDERS, 9)->status, ES_CONFLICT);
    fixture_commit(f);

    assert_int_equal(f->end.batch_number, 1);
    assert_int_equal(f->end.commit_number, 0);
    assert_int_equal(stored_count(f, STORE_COMMITS), 0);
}

static void an_ordered_lane_is_refused_until_it_resumes(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;

    tx_begin(f, 1);
    tx_append(f, ORDERS, 5, 1);
    assert_int_equal(tx_add(f, ES_RECORD_ORDERED, &result), ES_OK);
    assert_int_equal(result->status, ES_CONFLICT);
    for (int i = 0; i < 3; i++) {
        tx_begin(f, 1);
        tx_append(f, ORDERS, TX_ANY, 1);
        assert_int_equal(tx_add(f, ES_RECORD_ORDERED, &result), ES_OK);
        assert_int_equal(result->status, ES_PREVIOUS_FAILED);
    }
    tx_begin(f, 1);
    tx_append(f, ORDERS, TX_ANY, 1);
    assert_int_equal(tx_add(f, ES_RECORD_ORDERED | ES_RECORD_RESUME, &result), ES_OK);
    assert_int_equal(result->status, ES_OK);
    assert_int_equal(result->stream_sequence, 1);
}

static void a_full_batch_leaves_the_transaction_for_the_next(void **state)
{
    struct sequencer_fixture *f = sequencer_fixture_new(100, 32 * 1024);
    const struct es_lane_result *result = NULL;
    enum es_status status = ES_OK;
    uint64_t appended = 0;

    (void)state;
    while (status == ES_OK) {
        tx_begin(f, 2);
        tx_append(f, ORDERS, TX_ANY, 3);
        tx_append(f, STOCK, TX_ANY, 3);
        status = tx_add(f, 0, &result);
        appended += status == ES_OK ? 6 : 0;
    }
    assert_int_equal(status, ES_FULL);
    assert_true(appended >= 12);
    fixture_commit(f);
    assert_int_equal(f->end.position, appended);

    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(result->position, appended + 6);
    tx_begin(f, 1);
    tx_append(f, ORDERS, TX_ANY, 1000);
    fixture_commit(f);
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(result->reason, ES_REASON_BATCH_LIMIT);
    sequencer_fixture_free(f);
}

static void below_the_reserve_everything_is_refused_for_space(void **state)
{
    struct sequencer_fixture *f = *state;

    sequencer_set_no_space(f->sequencer, true);
    assert_int_equal(append_one(f, ORDERS, TX_ANY)->status, ES_NO_SPACE);
    sequencer_set_no_space(f->sequencer, false);
    assert_int_equal(append_one(f, ORDERS, TX_NONE)->status, ES_OK);
}

/* Every beginning of a sound transaction, and every single byte of it changed:
 * it is stored whole or refused with a reason, and the next one does not notice. */
static void malformed_transactions_are_refused_and_leave_nothing(void **state)
{
    struct sequencer_fixture *f = *state;
    uint8_t sound[512];
    uint32_t size = 0;
    uint64_t stored = 0;
    uint64_t refused = 0;

    tx_begin(f, 2);
    tx_append(f, ORDERS, TX_ANY, 1);
    tx_put(f, "rate", TX_ANY, "5");
    assert_int_equal(es_pack_finish(&f->pack, &size), ES_OK);
    memcpy(sound, f->bytes, size);
    for (uint32_t i = 0; i < size * 2; i++) {
        uint64_t before = f->batch->event_count;
        const struct es_lane_result *result = NULL;

        memcpy(f->bytes, sound, size);
        f->pack.at = f->bytes + (i < size ? i : size);
        f->bytes[i % size] ^= i < size ? 0 : 0x81;
        assert_int_equal(tx_add(f, 0, &result), ES_OK);
        if (result->status == ES_OK) {
            assert_int_equal(f->batch->event_count, before + 1);
            stored++;
        } else {
            assert_int_not_equal(result->reason, ES_REASON_NONE);
            assert_int_equal(f->batch->event_count, before);
            refused++;
        }
        fixture_commit(f);
    }
    assert_true(refused > size);
    assert_int_equal(stored_count(f, STORE_EVENTS), stored);
}

/* Sequence, position and hash of an answer make a receipt: all of them are of one event. */
static void a_snapshot_behind_an_append_leaves_the_answer_of_its_event(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;
    struct es_head_value head;

    append_one(f, STOCK, TX_ANY);
    fixture_commit(f);
    tx_begin(f, 2);
    tx_append(f, ORDERS, TX_ANY, 3);
    tx_snapshot(f, STOCK, 1, 1, "state");
    result = tx_submit(f);

    assert_int_equal(result->status, ES_OK);
    assert_int_equal(result->stream_sequence, 3);
    assert_int_equal(result->position, 4);
    fixture_commit(f);
    assert_true(stored_head(f, ORDERS, &head));
    assert_memory_equal(result->hash, head.last_hash, ES_HASH_SIZE);
}

static void a_snapshot_binds_to_an_event_that_is_there(void **state)
{
    struct sequencer_fixture *f = *state;
    const struct es_lane_result *result = NULL;

    append_one(f, ORDERS, TX_ANY);
    fixture_commit(f);
    append_one(f, ORDERS, TX_ANY);
    append_one(f, ORDERS, TX_ANY);
    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        tx_begin(f, 1);
        tx_snapshot(f, ORDERS, sequence, sequence, "state");
        assert_int_equal(tx_submit(f)->status, ES_OK);
    }
    tx_begin(f, 1);
    tx_snapshot(f, ORDERS, 4, 4, "state");
    assert_int_equal(tx_submit(f)->status, ES_NOT_FOUND);
    tx_begin(f, 1);
    tx_snapshot(f, STOCK, 1, 1, "state");
    assert_int_equal(tx_submit(f)->status, ES_NOT_FOUND);

    tx_begin(f, 1);
    tx_snapshot_delete(f, ORDERS);
    assert_int_equal(tx_add(f, 0, &result), ES_FULL); /* it must see what is before it */
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_SNAPSHOTS), 3);
    assert_int_equal(tx_add(f, 0, &result), ES_OK);
    assert_int_equal(result->revision, 3);
    fixture_commit(f);
    assert_int_equal(stored_count(f, STORE_SNAPSHOTS), 0);
}

/* A cache of four heads against a plain array: which heads are in memory must
 * make no difference, whatever is refused in between. */
static void a_small_cache_knows_as_much_as_a_large_one(void **state)
{
    struct sequencer_fixture *f = sequencer_fixture_new(4, 1 << 20);
    struct prng prng;
    uint64_t sequences[64] = {0};
    uint64_t position = 0;

    (void)state;
    prng_begin(&prng, "small cache");
    for (int round = 0; round < 20000; round++) {
        uint32_t index = (uint32_t)prng_below(&prng, 64);
        int64_t expected = prng_below(&prng, 4) == 0 ? (int64_t)prng_below(&prng, 40) : TX_ANY;
        bool holds = expected == TX_ANY || (uint64_t)expected == sequences[index];
        const struct es_lane_result *result = NULL;
        char stream[64];

        snprintf(stream, sizeof stream, "prod:main:L0:orders%u:M%u", index % 7, index);
        result = append_one(f, stream, expected);
        assert_int_equal(result->status, holds ? ES_OK : ES_CONFLICT);
        sequences[index] += holds;
        position += holds;
        assert_int_equal(result->stream_sequence, sequences[index]);
        if (holds) {
            assert_int_equal(result->position, position);
        }
        if (prng_below(&prng, 16) == 0) {
            fixture_commit(f);
        }
    }
    sequencer_fixture_free(f);
}

/* What the sequencer chains is what a reader verifies. */
static void the_events_of_a_stream_are_a_chain(void **state)
{
    struct sequencer_fixture *f = *state;
    struct store_buffer value = {0};
    struct es_event_view view;
    uint8_t previous[ES_HASH_SIZE];
    uint32_t previous_bytes = 0;

    for (int i = 0; i < 10; i++) {
        append_one(f, ORDERS, TX_ANY);
        append_one(f, STOCK, TX_ANY);
    }
    fixture_commit(f);
    for (uint64_t sequence = 1; sequence <= 10; sequence++) {
        assert_true(stored_event(f, ORDERS, sequence, &value));
        assert_int_equal(es_envelope_decode(value.bytes, value.size, &view), ES_OK);
        assert_int_equal(es_chain_verify_hash(&view), ES_OK);
        assert_int_equal(
            es_chain_verify_link(&view, sequence, es_bytes_make(previous, previous_bytes)), ES_OK);
        memcpy(previous, view.hash, sizeof previous);
        previous_bytes = sizeof previous;
    }
    store_buffer_deinit(&value);
}

#define SEQUENCER_TEST(name) \
    cmocka_unit_test_setup_teardown(name, sequencer_fixture_setup, sequencer_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEQUENCER_TEST(positions_and_sequences_have_no_gaps),
        SEQUENCER_TEST(a_conflict_harms_no_neighbour),
        SEQUENCER_TEST(an_expected_sequence_is_judged_by_this_very_batch),
        SEQUENCER_TEST(an_expected_hash_is_judged_by_this_very_batch),
        SEQUENCER_TEST(an_empty_expected_hash_means_that_the_stream_must_not_exist),
        SEQUENCER_TEST(an_event_with_another_hash_leaves_nothing),
        SEQUENCER_TEST(a_failing_last_operation_leaves_nothing_of_the_others),
        SEQUENCER_TEST(a_revision_is_expected_and_never_used_again),
        SEQUENCER_TEST(commits_of_keys_only_keep_their_records),
        SEQUENCER_TEST(a_batch_of_refusals_has_no_commit),
        SEQUENCER_TEST(an_ordered_lane_is_refused_until_it_resumes),
        cmocka_unit_test(a_full_batch_leaves_the_transaction_for_the_next),
        SEQUENCER_TEST(below_the_reserve_everything_is_refused_for_space),
        SEQUENCER_TEST(malformed_transactions_are_refused_and_leave_nothing),
        SEQUENCER_TEST(a_snapshot_behind_an_append_leaves_the_answer_of_its_event),
        SEQUENCER_TEST(a_snapshot_binds_to_an_event_that_is_there),
        cmocka_unit_test(a_small_cache_knows_as_much_as_a_large_one),
        SEQUENCER_TEST(the_events_of_a_stream_are_a_chain),
    };

    return cmocka_run_group_tests_name("sequencer", tests, NULL, NULL);
}
