#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/logger.h"
#include "shm/codec/hash.h"
#include "shm/fault.h"
#include "tests/support/commit_parts.h"

#define ORDERS "prod:main:L0:orders:M1"

static enum es_status attach_as(struct commit_parts *parts, uint32_t uid,
                                struct lanes_attachment *ret_attachment)
{
    enum es_status status = lanes_attach(
        parts->lanes, &(struct lanes_applicant){uid, getpid(), 1, "test", false}, ret_attachment);

    if (status == ES_OK) {
        close(ret_attachment->control_fd);
        close(ret_attachment->ring_fd);
        close(ret_attachment->lane_fd);
    }
    return status;
}

/* Its owner has no lane any more but still has the ring mapped: it fills it with
 * tickets that stand for nothing and then takes the memory away, all while the
 * batch that has passed over those tickets is being written. */
static void a_ring_may_be_given_up_while_its_batch_is_written(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct es_lane_result result;
    struct scribe_outcome outcome;
    struct log_point previous;
    const char *what = "";
    bool is_full = false;

    assert_int_equal(es_fault_install(), ES_OK);
    parts_attach(parts, &producer);
    assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, 1, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(es_lane_collect(&producer.writer, &result), ES_OK);
    lanes_owner_gone(parts->lanes, producer.attachment.lane_index, producer.attachment.incarnation);
    lanes_tidy(parts->lanes);
    for (uint32_t i = 0; i < parts->geometry.slot_count / 2; i++) {
        assert_int_equal(es_ring_place(&producer.ring, producer.attachment.lane_index, 1), ES_OK);
    }
    committer_begin_batch(parts->committer, parts->batch);
    assert_int_equal(drain_fill(parts->drain, parts->batch, 1, &is_full), ES_OK);
    assert_true(drain_needs_commit(parts->drain, parts->batch));
    assert_int_equal(committer_seal(parts->committer, parts->batch, &previous), ES_OK);
    outcome = scribe_write(parts->scribe, parts->batch, &previous);

    assert_int_equal(ftruncate(producer.attachment.ring_fd, 0), 0);
    (void)drain_has_work(parts->drain, 0); /* reads the ring, and finds it gone */
    lanes_check_faults(parts->lanes);
    assert_null(lanes_ring(parts->lanes, producer.attachment.ring_index));

    assert_int_equal(committer_finish(parts->committer, parts->batch, &outcome, &what), ES_OK);
    parts_detach(&producer);
}

/* Slots are freed when their batch is durable. Those of a batch that is still being
 * written are no reason to write another one behind it. */
static void slots_that_are_about_to_be_freed_ask_for_no_batch(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producers[6];
    struct batch *next = NULL;
    struct scribe_outcome outcome;
    struct log_point previous;
    const char *what = "";
    bool is_full = false;

    assert_int_equal(batch_new(log_body_bytes_max(&parts->log_geometry), &next), ES_OK);
    for (uint32_t i = 0; i < 6; i++) {
        parts_attach(parts, &producers[i]);
        for (uint32_t j = 0; j < parts->geometry.credit_count; j++) {
            assert_int_equal(parts_publish(&producers[i], ORDERS, PARTS_ANY, j, true), ES_OK);
        }
    }
    committer_begin_batch(parts->committer, parts->batch);
    assert_int_equal(drain_fill(parts->drain, parts->batch, 1, &is_full), ES_OK);
    assert_int_equal(committer_seal(parts->committer, parts->batch, &previous), ES_OK);

    committer_begin_batch(parts->committer, next);
    assert_int_equal(drain_fill(parts->drain, next, 1, &is_full), ES_OK);
    assert_false(drain_needs_commit(parts->drain, next));

    outcome = scribe_write(parts->scribe, parts->batch, &previous);
    assert_int_equal(committer_finish(parts->committer, parts->batch, &outcome, &what), ES_OK);
    for (uint32_t i = 0; i < 6; i++) {
        parts_detach(&producers[i]);
    }
    batch_free(next);
}

/* Lanes are taken back now and then; whoever comes in between must not hear that
 * all are taken while some are closed. */
static void a_closed_lane_is_free_for_the_next_at_once(void **state)
{
    struct commit_parts *parts = *state;
    struct lanes_attachment attachment;

    for (uint32_t i = 0; i < 3 * parts->geometry.lane_count; i++) {
        assert_int_equal(attach_as(parts, 1000, &attachment), ES_OK);
        lanes_owner_gone(parts->lanes, attachment.lane_index, attachment.incarnation);
    }
}

/* Each user gets a ring, and there are few: those of users who have gone are
 * given to others. */
static void users_who_have_gone_leave_their_rings_to_others(void **state)
{
    struct commit_parts *parts = *state;
    struct lanes_attachment attachment;

    for (uint32_t uid = 1000; uid < 1000 + 3 * ES_RING_COUNT_MAX; uid++) {
        assert_int_equal(attach_as(parts, uid, &attachment), ES_OK);
        lanes_owner_gone(parts->lanes, attachment.lane_index, attachment.incarnation);
    }
    lanes_tidy(parts->lanes);
    for (uint32_t uid = 1; uid <= ES_RING_COUNT_MAX; uid++) {
        assert_int_equal(attach_as(parts, uid, &attachment), ES_OK);
    }
    assert_int_equal(attach_as(parts, 500, &attachment), ES_E_LIMIT);
}

#define LANES_TEST(name) \
    cmocka_unit_test_setup_teardown(name, commit_parts_setup, commit_parts_teardown)

/* A process of its user spoils the ring, or takes it away while others still have
 * lanes on it: who comes next is not locked out. */
static void a_ring_that_was_spoilt_or_taken_away_keeps_nobody_of_its_user_out(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer first;
    struct parts_producer second;
    uint32_t ring_index = 0;

    assert_int_equal(es_fault_install(), ES_OK);
    parts_attach(parts, &first);
    ring_index = first.attachment.ring_index;
    memset(first.ring.file, 0xee, 64);
    parts_attach(parts, &second);
    assert_int_equal(second.attachment.ring_index, ring_index);
    assert_int_equal(parts_publish(&second, ORDERS, PARTS_ANY, 1, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    parts_detach(&second);

    assert_int_equal(ftruncate(first.attachment.ring_fd, (off_t)first.ring_segment.size / 2), 0);
    parts_attach(parts, &second);
    assert_int_not_equal(second.attachment.ring_index, ring_index);
    assert_int_equal(parts_publish(&second, ORDERS, PARTS_ANY, 1, true), ES_OK);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    lanes_check_faults(parts->lanes);
    assert_non_null(lanes_lane(parts->lanes, first.attachment.lane_index)->reader.evicted_why);
    lanes_tidy(parts->lanes);
    lanes_check_faults(parts->lanes);
    assert_null(lanes_ring(parts->lanes, ring_index));
    parts_detach(&second);
    parts_detach(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANES_TEST(a_ring_may_be_given_up_while_its_batch_is_written),
        LANES_TEST(slots_that_are_about_to_be_freed_ask_for_no_batch),
        LANES_TEST(a_closed_lane_is_free_for_the_next_at_once),
        LANES_TEST(users_who_have_gone_leave_their_rings_to_others),
        cmocka_unit_test_setup_teardown(
            a_ring_that_was_spoilt_or_taken_away_keeps_nobody_of_its_user_out, commit_parts_setup,
            commit_parts_teardown),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: lanes", tests, NULL, NULL);
}
