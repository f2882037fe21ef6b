#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/limits.h"
#include "broker/logger.h"
#include "shm/codec/envelope.h"
#include "shm/codec/hash.h"
#include "shm/codec/stream_key.h"
#include "shm/fault.h"
#include "tests/support/commit_parts.h"
#include "tests/support/commit_steps.h"
#include "tests/support/prng.h"

#define ORDERS "prod:main:L0:orders:M1"
#define STOCK "prod:main:L0:stock:M7"
#define LATER_NS (INT64_C(1) << 40)

/* ---- helpers ------------------------------------------------------------- */

static int setup(void **state)
{
    static struct commit_parts parts;

    commit_watch_reset(COMMIT_NO_STEP);
    commit_parts_make(&parts, 64);
    *state = &parts;
    return 0;
}

static int teardown(void **state)
{
    commit_watch_reset(COMMIT_NO_STEP);
    commit_parts_remove(*state);
    return 0;
}

/* The number in the payload of an event; 0: there is no such event. */
static uint64_t number_of(struct commit_parts *parts, const char *stream, uint64_t sequence)
{
    struct store_buffer value = {0};
    struct es_event_view view;
    struct es_key key;
    uint64_t number = 0;
    enum es_status status = ES_OK;

    es_key_event(es_text_of(stream), sequence, &key);
    status = store_get(parts->startup.store, NULL, STORE_EVENTS,
                       (struct store_slice){key.bytes, key.size}, &value);
    assert_true(status == ES_OK || status == ES_NOT_FOUND);
    if (status == ES_OK) {
        assert_int_equal(es_envelope_decode(value.bytes, value.size, &view), ES_OK);
        assert_int_equal(view.event.payload.size, sizeof number);
        memcpy(&number, view.event.payload.data, sizeof number);
    }
    store_buffer_deinit(&value);
    return number;
}

/* ---- tests --------------------------------------------------------------- */

static void steps_happen_in_the_one_order(void **state)
{
    static const enum commit_step wanted[] = {COMMIT_APPEND, COMMIT_SYNC,    COMMIT_APPLY,
                                              COMMIT_CURSOR, COMMIT_ADVANCE, COMMIT_HEAD,
                                              COMMIT_FREE,   COMMIT_ACK,     COMMIT_WAKE};
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, true), ES_OK);
    commit_watch_reset(COMMIT_NO_STEP);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);

    assert_int_equal(commit_watch.count, sizeof wanted / sizeof wanted[0]);
    assert_memory_equal(commit_watch.calls, wanted, sizeof wanted);
    assert_int_equal(parts->published_events, 1);
    parts_detach(&producer);
}

static void answers_come_in_order_with_what_was_assigned(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct es_lane_result result;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, 0, 1, true), ES_OK);
    assert_int_equal(parts_publish(&producer, ORDERS, 0, 2, true), ES_OK);
    assert_int_equal(parts_publish(&producer, ORDERS, 1, 3, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);

    result = parts_collect(&producer);
    assert_int_equal(result.status, ES_OK);
    assert_int_equal(result.stream_sequence, 1);
    assert_int_equal(result.commit_number, 1);
    assert_memory_equal(result.store_hash, committer_end(parts->committer)->store_hash,
                        ES_HASH_SIZE);
    result = parts_collect(&producer);
    assert_int_equal(result.status, ES_CONFLICT);
    assert_int_equal(result.commit_number, 0);
    result = parts_collect(&producer);
    assert_int_equal(result.stream_sequence, 2);
    assert_int_equal(result.position, 2);
    assert_int_equal(number_of(parts, ORDERS, 2), 3);
    parts_detach(&producer);
}

/* A batch of refusals alone: its reasons reveal heads, so it is written before it
 * is told; but it needs no sync. */
static void refusals_are_told_after_they_are_written(void **state)
{
    static const enum commit_step wanted[] = {COMMIT_APPEND,  COMMIT_APPLY, COMMIT_CURSOR,
                                              COMMIT_ADVANCE, COMMIT_HEAD,  COMMIT_FREE,
                                              COMMIT_ACK,     COMMIT_WAKE};
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, 5, 1, true), ES_OK);
    commit_watch_reset(COMMIT_NO_STEP);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);

    assert_int_equal(commit_watch.count, sizeof wanted / sizeof wanted[0]);
    assert_memory_equal(commit_watch.calls, wanted, sizeof wanted);
    assert_int_equal(parts_collect(&producer).status, ES_CONFLICT);
    parts_detach(&producer);
}

/* The broker is killed before each of its steps in turn. The next one must have
 * every accepted record exactly once, and every record exactly one answer; a
 * refusal must not turn into a stored event. */
static void a_kill_before_any_step_loses_and_repeats_nothing(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    uint64_t sequence = 0;

    parts_attach(parts, &producer);
    for (int broken = COMMIT_APPEND; broken < COMMIT_STEPS; broken++) {
        struct es_lane_result result;

        commit_watch_reset((enum commit_step)broken);
        assert_int_equal(parts_publish(&producer, ORDERS, (int64_t)sequence, 100 + sequence, true),
                         ES_OK);
        assert_int_equal(parts_publish(&producer, ORDERS, (int64_t)sequence, 999, true), ES_OK);
        (void)commit_parts_round(parts, 1);
        assert_true(commit_watch.is_broken);
        commit_parts_drop(parts);

        commit_watch_reset(COMMIT_NO_STEP);
        assert_int_equal(commit_parts_open(parts), ES_OK);
        assert_int_equal(commit_parts_round(parts, 1), ES_OK);
        sequence++;
        result = parts_collect(&producer);
        assert_int_equal(result.status, ES_OK);
        assert_int_equal(result.stream_sequence, sequence);
        assert_int_equal(parts_collect(&producer).status, ES_CONFLICT);
        assert_int_equal(es_lane_collect(&producer.writer, &result), ES_EMPTY);
        assert_int_equal(number_of(parts, ORDERS, sequence), 99 + sequence);
        assert_int_equal(number_of(parts, ORDERS, sequence + 1), 0);
    }
    assert_int_equal(committer_end(parts->committer)->position, COMMIT_STEPS);
    parts_detach(&producer);
}

/* A write, sync or apply that fails: the committer goes not one step further, and
 * nobody is told anything. */
static void nobody_is_told_of_a_batch_that_failed(void **state)
{
    static const enum commit_step failing[] = {COMMIT_APPEND, COMMIT_SYNC, COMMIT_APPLY};
    struct commit_parts *parts = *state;

    for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++) {
        struct parts_producer producer;
        struct es_lane_result result;

        commit_watch_reset(COMMIT_NO_STEP);
        parts_attach(parts, &producer);
        assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, true), ES_OK);
        commit_watch_reset(failing[i]);
        commit_watch.goes_on = true;
        assert_int_equal(commit_parts_round(parts, 1), ES_E_IO);
        assert_int_equal(commit_watch.calls[commit_watch.count - 1], failing[i]);
        assert_int_equal(es_lane_collect(&producer.writer, &result), ES_EMPTY);
        assert_int_equal(parts->published_events, 0);
        assert_int_equal(number_of(parts, ORDERS, 1), 0);
        parts_detach(&producer);
        commit_parts_remove(parts);
        commit_watch_reset(COMMIT_NO_STEP);
        commit_parts_make(parts, 64);
    }
}

/* Segments of 64 KiB are used over and over while the broker is killed again and
 * again: every event is there, once, in order. */
static void segments_are_reused_hundreds_of_times(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producers[3];
    uint64_t counts[3] = {0};
    uint64_t begun = 0;
    struct prng prng;

    prng_begin(&prng, "segments reused");
    commit_parts_drop(parts);
    parts->never_syncs = true; /* a killed process loses nothing of the page cache */
    assert_int_equal(commit_parts_open(parts), ES_OK);
    for (int i = 0; i < 3; i++) {
        parts_attach(parts, &producers[i]);
    }
    for (int round = 0; begun < 300; round++) {
        assert_true(round < 100000);
        for (int burst = 0; burst < 24; burst++) {
            uint64_t which = prng_below(&prng, 3);
            char stream[40];
            struct es_lane_result result;

            while (es_lane_collect(&producers[which].writer, &result) == ES_OK) {
                assert_int_equal(result.status, ES_OK);
            }
            snprintf(stream, sizeof stream, "prod:main:L0:lane:M%d", (int)which);
            if (parts_publish(&producers[which], stream, PARTS_ANY, counts[which] + 1,
                              !prng_one_in(&prng, 50)) == ES_OK) {
                counts[which]++;
            }
        }
        assert_int_equal(commit_parts_round(parts, (int64_t)round * LATER_NS), ES_OK);
        if (round % 997 == 996) {
            begun += counter_get(&parts->counters.log_segments_begun);
            memset(&parts->counters, 0, sizeof parts->counters);
            commit_parts_drop(parts);
            assert_int_equal(commit_parts_open(parts), ES_OK);
        }
    }
    for (int tries = 0; tries < 4; tries++) {
        assert_int_equal(commit_parts_round(parts, (INT64_C(1) << 61) + tries * LATER_NS), ES_OK);
    }
    for (int i = 0; i < 3; i++) {
        char stream[40];

        snprintf(stream, sizeof stream, "prod:main:L0:lane:M%d", i);
        for (uint64_t sequence = 1; sequence <= counts[i]; sequence++) {
            assert_int_equal(number_of(parts, stream, sequence), sequence);
        }
        assert_int_equal(number_of(parts, stream, counts[i] + 1), 0);
        parts_detach(&producers[i]);
    }
}

/* A producer that died between publishing and placing its ticket. */
static void a_record_without_ticket_is_swept(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct es_lane_result result;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, false), ES_OK);
    assert_int_equal(commit_parts_round(parts, LATER_NS), ES_OK);
    assert_int_equal(es_lane_collect(&producer.writer, &result), ES_EMPTY);
    assert_int_equal(commit_parts_round(parts, LATER_NS + SWEEP_INTERVAL_NS), ES_OK);
    assert_int_equal(parts_collect(&producer).status, ES_OK);
    parts_detach(&producer);
}

/* A lost ticket is made up for by the next one of that lane, in the lane's order. */
static void a_later_ticket_brings_the_records_before_it(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, false), ES_OK);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 2, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(number_of(parts, ORDERS, 1), 1);
    assert_int_equal(number_of(parts, ORDERS, 2), 2);
    parts_detach(&producer);
}

static void a_lane_that_breaks_a_rule_is_cut_off_alone(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer good;
    struct parts_producer bad;
    struct es_lane_result result;

    parts_attach(parts, &good);
    parts_attach(parts, &bad);
    assert_int_equal(parts_publish(&bad, STOCK, PARTS_ANY, 1, true), ES_OK);
    memset(bad.writer.arena + 8, 0xFF, 8); /* another incarnation */
    assert_int_equal(parts_publish(&good, ORDERS, PARTS_ANY, 1, true), ES_OK);
    for (int i = 0; i < 3; i++) { /* it goes on, and is cut off and told of once */
        assert_int_equal(parts_publish(&bad, STOCK, PARTS_ANY, 1, true), ES_OK);
        assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    }
    lanes_tidy(parts->lanes);

    assert_int_equal(parts_collect(&good).status, ES_OK);
    assert_int_equal(es_lane_collect(&bad.writer, &result), ES_EMPTY);
    assert_int_equal(counter_get(&parts->counters.lanes_evicted), 1);
    assert_null(lanes_lane(parts->lanes, bad.attachment.lane_index));
    assert_int_equal(number_of(parts, STOCK, 1), 0);
    parts_detach(&good);
    parts_detach(&bad);
}

static void memory_that_is_taken_away_costs_only_its_lane(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer good;
    struct parts_producer bad;

    assert_int_equal(es_fault_install(), ES_OK);
    parts_attach(parts, &good);
    parts_attach(parts, &bad);
    assert_int_equal(parts_publish(&bad, STOCK, PARTS_ANY, 1, true), ES_OK);
    assert_int_equal(ftruncate(bad.lane_segment.fd, 0), 0);
    assert_int_equal(parts_publish(&good, ORDERS, PARTS_ANY, 1, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    lanes_check_faults(parts->lanes);
    lanes_tidy(parts->lanes);

    assert_int_equal(parts_collect(&good).status, ES_OK);
    assert_null(lanes_lane(parts->lanes, bad.attachment.lane_index));
    parts_detach(&good);
    parts_detach(&bad);
}

/* What a lane has published is committed after its owner's death; then, and not
 * before, its number is free again. */
static void a_lane_is_taken_back_when_it_is_answered(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct parts_producer next;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, true), ES_OK);
    lanes_owner_gone(parts->lanes, producer.attachment.lane_index, producer.attachment.incarnation);
    lanes_tidy(parts->lanes);
    assert_non_null(lanes_lane(parts->lanes, producer.attachment.lane_index));
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    lanes_tidy(parts->lanes);
    assert_null(lanes_lane(parts->lanes, producer.attachment.lane_index));
    assert_int_equal(number_of(parts, ORDERS, 1), 1);

    parts_attach(parts, &next);
    assert_int_equal(next.attachment.lane_index, producer.attachment.lane_index);
    assert_true(next.attachment.incarnation > producer.attachment.incarnation);
    parts_detach(&producer);
    parts_detach(&next);
}

#define PATH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PATH_TEST(steps_happen_in_the_one_order),
        PATH_TEST(answers_come_in_order_with_what_was_assigned),
        PATH_TEST(refusals_are_told_after_they_are_written),
        PATH_TEST(a_kill_before_any_step_loses_and_repeats_nothing),
        PATH_TEST(nobody_is_told_of_a_batch_that_failed),
        PATH_TEST(segments_are_reused_hundreds_of_times),
        PATH_TEST(a_record_without_ticket_is_swept),
        PATH_TEST(a_later_ticket_brings_the_records_before_it),
        PATH_TEST(a_lane_that_breaks_a_rule_is_cut_off_alone),
        PATH_TEST(memory_that_is_taken_away_costs_only_its_lane),
        PATH_TEST(a_lane_is_taken_back_when_it_is_answered),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("commit path", tests, NULL, NULL);
}
