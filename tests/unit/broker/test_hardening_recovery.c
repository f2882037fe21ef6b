#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/logger.h"
#include "shm/codec/hash.h"
#include "tests/support/commit_parts.h"

#define ORDERS "prod:main:L0:orders:M1"

/* ---- where a broker dies ------------------------------------------------- */

static bool dies_before_log;
static bool dies_before_apply;
static bool dies_before_anchor;
static uint64_t anchor_batch; /* the highest that the anchor was ever told */

enum es_status __real_log_append(struct log *log, const struct log_batch *batch, bool *begun);
enum es_status __wrap_log_append(struct log *log, const struct log_batch *batch, bool *begun);
enum es_status __wrap_log_append(struct log *log, const struct log_batch *batch, bool *begun)
{
    return dies_before_log ? ES_E_IO : __real_log_append(log, batch, begun);
}

enum es_status __real_store_apply(struct store *store, const struct store_batch *batch,
                                  enum store_apply_mode mode);
enum es_status __wrap_store_apply(struct store *store, const struct store_batch *batch,
                                  enum store_apply_mode mode);
enum es_status __wrap_store_apply(struct store *store, const struct store_batch *batch,
                                  enum store_apply_mode mode)
{
    return dies_before_apply ? ES_E_IO : __real_store_apply(store, batch, mode);
}

enum es_status __real_anchor_write(struct anchor *anchor, const struct anchor_state *state);
enum es_status __wrap_anchor_write(struct anchor *anchor, const struct anchor_state *state);
enum es_status __wrap_anchor_write(struct anchor *anchor, const struct anchor_state *state)
{
    if (dies_before_anchor) {
        return ES_E_IO;
    }
    if (state->batch_number > anchor_batch) {
        anchor_batch = state->batch_number;
    }
    return __real_anchor_write(anchor, state);
}

static int setup(void **state)
{
    static struct commit_parts parts;

    dies_before_log = false;
    dies_before_apply = false;
    dies_before_anchor = false;
    anchor_batch = 0;
    commit_parts_make(&parts, 64);
    *state = &parts;
    return 0;
}

static int teardown(void **state)
{
    commit_parts_remove(*state);
    return 0;
}

/* ---- tests --------------------------------------------------------------- */

/* Once the new segment is begun, the log forgets what the page had not seen: a
 * start that is cut short behind that must have told the page before. */
static void a_start_cut_short_after_the_replay_repeats_nothing(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct es_lane_result result;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, true), ES_OK);
    dies_before_apply = true;
    assert_int_equal(commit_parts_round(parts, 1), ES_E_IO);
    commit_parts_drop(parts);
    dies_before_apply = false;

    dies_before_anchor = true;
    assert_int_equal(commit_parts_open(parts), ES_E_IO);
    commit_parts_drop(parts);
    dies_before_anchor = false;

    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(committer_end(parts->committer)->position, 1);
    assert_int_equal(es_lane_collect(&producer.writer, &result), ES_OK);
    assert_int_equal(result.position, 1);
    parts_detach(&producer);
}

/* A batch of refusals alone is not synced. If the anchor named it, a power cut
 * right afterwards would look like a loss, and the store would refuse to open. */
static void the_anchor_never_names_a_batch_that_is_not_synced(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(parts_publish(&producer, ORDERS, 7, 2, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(committer_end(parts->committer)->batch_number, 2);
    assert_int_equal(log_durable_batch(parts->startup.log), 1);
    assert_int_equal(witness_stop_clean(parts->witness), ES_OK);
    assert_int_equal(anchor_batch, 1);
    parts_detach(&producer);
}

static void assert_next(struct parts_producer *producer, enum es_status wanted)
{
    assert_int_equal(parts_collect(producer).status, wanted);
}

/* An ordered producer was refused something; what it had sent behind that must
 * not be taken by the next broker because that one does not know. */
static void a_broken_order_stays_broken_over_a_kill(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    producer.flags = ES_RECORD_ORDERED;
    assert_int_equal(parts_publish(&producer, ORDERS, 7, 1, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 2, true), ES_OK);
    commit_parts_drop(parts);
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_next(&producer, ES_CONFLICT);
    assert_next(&producer, ES_PREVIOUS_FAILED);

    /* The same, where answers that never counted lie in the place of the last one. */
    for (uint32_t i = 0; i < parts->geometry.credit_count; i++) {
        assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 3, true), ES_OK);
    }
    dies_before_log = true;
    assert_int_equal(commit_parts_round(parts, 1), ES_E_IO);
    commit_parts_drop(parts);
    dies_before_log = false;
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    for (uint32_t i = 0; i < parts->geometry.credit_count; i++) {
        assert_next(&producer, ES_PREVIOUS_FAILED);
    }

    producer.flags = ES_RECORD_ORDERED | ES_RECORD_RESUME;
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 4, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_next(&producer, ES_OK);
    producer.flags = ES_RECORD_ORDERED;
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 5, true), ES_OK);
    commit_parts_drop(parts);
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_next(&producer, ES_OK);
    parts_detach(&producer);
}

#define RECOVERY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECOVERY_TEST(a_start_cut_short_after_the_replay_repeats_nothing),
        RECOVERY_TEST(a_broken_order_stays_broken_over_a_kill),
        RECOVERY_TEST(the_anchor_never_names_a_batch_that_is_not_synced),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: recovery", tests, NULL, NULL);
}
