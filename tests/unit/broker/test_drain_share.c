/* How much of one user goes into a batch while others publish too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/limits.h"
#include "shm/codec/hash.h"
#include "tests/support/commit_parts.h"

enum {
    RECORDS = 70, /* what the small log of the parts has room for in one batch */
    NOW_NS = 1000000000,
    OTHER_UID = 4242
};

static int setup(void **state)
{
    static struct commit_parts parts;

    commit_parts_make(&parts, 4096);
    *state = &parts;
    return 0;
}

static int teardown(void **state)
{
    commit_parts_remove(*state);
    return 0;
}

static void publish_all(struct parts_producer *producer)
{
    for (uint64_t i = 0; i < RECORDS; i++) {
        assert_int_equal(parts_publish(producer, "a:b:L0:c:M1", PARTS_ANY, i, true), ES_OK);
    }
}

static void collect_all(struct parts_producer *producer)
{
    struct es_lane_result result;

    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(es_lane_collect(&producer->writer, &result), ES_OK);
    }
}

static struct lane_ring *ring_of_another_user(struct commit_parts *parts)
{
    struct lanes_attachment attachment;

    assert_int_equal(lanes_attach(parts->lanes,
                                  &(struct lanes_applicant){OTHER_UID, getpid(), 1, "other", false},
                                  &attachment),
                     ES_OK);
    close(attachment.control_fd);
    close(attachment.ring_fd);
    close(attachment.lane_fd);
    return lanes_ring(parts->lanes, attachment.ring_index);
}

static void alone_a_user_fills_the_batch(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    (void)ring_of_another_user(parts); /* which is silent */
    publish_all(&producer);
    assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    assert_int_equal(parts->batch->answer_count, RECORDS);
    collect_all(&producer);
    parts_detach(&producer);
}

/* A flood of one user's waits in its own line. */
static void beside_another_a_user_gets_its_share_of_each_batch(void **state)
{
    struct commit_parts *parts = *state;
    struct lane_ring *other = ring_of_another_user(parts);
    struct parts_producer producer;
    int64_t now_ns = NOW_NS;

    parts_attach(parts, &producer);
    publish_all(&producer);
    assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
    collect_all(&producer);
    publish_all(&producer);
    for (uint32_t taken = 0; taken < RECORDS; taken += parts->batch->answer_count) {
        other->active_ns = now_ns;
        assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
        assert_in_range(parts->batch->answer_count, 1, SHARE_RECORDS_MAX);
    }
    collect_all(&producer);

    other->active_ns = now_ns - SHARED_FOR_NS; /* it has fallen silent */
    publish_all(&producer);
    assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
    assert_int_equal(parts->batch->answer_count, RECORDS);
    collect_all(&producer);
    parts_detach(&producer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alone_a_user_fills_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(beside_another_a_user_gets_its_share_of_each_batch, setup,
                                        teardown),
    };

    es_hash_warm_up();
    return cmocka_run_group_tests_name("drain: shares", tests, NULL, NULL);
}
