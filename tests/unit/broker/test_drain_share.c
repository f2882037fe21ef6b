/* How much of one user goes into a batch while others publish too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/limits.h"
#include "broker/share.h"
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

static struct lane_ring *ring_of_another_user(struct commit_parts *parts, uint32_t *ret_lane_index)
{
    struct lanes_attachment attachment;

    assert_int_equal(lanes_attach(parts->lanes,
                                  &(struct lanes_applicant){OTHER_UID, getpid(), 1, "other", false},
                                  &attachment),
                     ES_OK);
    close(attachment.control_fd);
    close(attachment.ring_fd);
    close(attachment.lane_fd);
    *ret_lane_index = attachment.lane_index;
    return lanes_ring(parts->lanes, attachment.ring_index);
}

static void alone_a_user_fills_the_batch(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    uint32_t lane_index = 0;

    parts_attach(parts, &producer);
    (void)ring_of_another_user(parts, &lane_index); /* which is silent */
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
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    int64_t now_ns = NOW_NS;

    parts_attach(parts, &producer);
    publish_all(&producer);
    assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
    collect_all(&producer);
    publish_all(&producer);
    for (uint32_t taken = 0; taken < RECORDS; taken += parts->batch->answer_count) {
        now_ns += SHARE_REST_NS;
        other->active_ns = now_ns;
        assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
        assert_in_range(parts->batch->answer_count, 1, SHARE_RECORDS_MAX);
    }
    collect_all(&producer);
    now_ns += SHARE_REST_NS;

    other->active_ns = now_ns - SHARED_FOR_NS; /* it has fallen silent */
    publish_all(&producer);
    assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
    assert_int_equal(parts->batch->answer_count, RECORDS);
    collect_all(&producer);
    parts_detach(&producer);
}

static void who_had_a_share_rests_and_does_not_wake_the_commit_thread(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    uint32_t taken = 0;

    parts_attach(parts, &producer);
    publish_all(&producer);
    other->active_ns = NOW_NS;
    assert_int_equal(share_rests_until(parts->lanes, NOW_NS), INT64_MAX);
    assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    assert_in_range(parts->batch->answer_count, 1, SHARE_RECORDS_MAX);
    taken = parts->batch->answer_count;
    assert_int_equal(share_rests_until(parts->lanes, NOW_NS), NOW_NS + SHARE_REST_NS);
    assert_false(drain_has_work(parts->drain, NOW_NS + SHARE_REST_NS - 1));
    assert_int_equal(commit_parts_round(parts, NOW_NS + SHARE_REST_NS - 1), ES_OK);
    assert_int_equal(parts->batch->answer_count, 0);
    assert_int_equal(es_ring_place(&other->reader.ring, lane_index, 1), ES_OK);
    assert_true(drain_has_work(parts->drain, NOW_NS + SHARE_REST_NS - 1)); /* the other's */

    assert_true(drain_has_work(parts->drain, NOW_NS + SHARE_REST_NS));
    assert_int_equal(share_rests_until(parts->lanes, NOW_NS + SHARE_REST_NS), INT64_MAX);
    assert_int_equal(commit_parts_round(parts, NOW_NS + SHARE_REST_NS), ES_OK);
    assert_in_range(parts->batch->answer_count, 1, SHARE_RECORDS_MAX);
    taken += parts->batch->answer_count;
    assert_int_equal(commit_parts_round(parts, NOW_NS + 2 * SHARED_FOR_NS), ES_OK);
    assert_int_equal(taken + parts->batch->answer_count, RECORDS);
    collect_all(&producer);
    parts_detach(&producer);
}

/* It is worth nothing, and costs what a record costs. */
static void a_flood_of_stale_tickets_is_a_share_too(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    uint32_t placed = 0;

    parts_attach(parts, &producer);
    while (es_ring_place(&other->reader.ring, lane_index, UINT64_C(1) << 20) == ES_OK) {
        placed++;
    }
    lanes_ring(parts->lanes, producer.attachment.ring_index)->active_ns = NOW_NS;
    assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    assert_true(placed > SHARE_TICKETS_MAX);
    assert_int_equal(share_rests_until(parts->lanes, NOW_NS), NOW_NS + SHARE_REST_NS);
    parts_detach(&producer);
}

/* Each look finds a ticket and no record: not for long, beside somebody else. */
static void who_is_looked_at_in_vain_rests(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    struct lane_ring *own = NULL;
    struct es_lane_result result;

    parts_attach(parts, &producer);
    own = lanes_ring(parts->lanes, producer.attachment.ring_index);
    for (uint32_t i = 0; i < 3 * SHARE_VAIN_TURNS_MAX; i++) { /* alone it may */
        assert_int_equal(es_ring_place(&other->reader.ring, lane_index, UINT64_C(1) << 20), ES_OK);
        assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
        assert_int_equal(other->rests_until_ns, 0);
    }
    other->vain_turns = 0;
    for (uint32_t i = 1; i <= SHARE_VAIN_TURNS_MAX; i++) {
        assert_int_equal(other->rests_until_ns, 0);
        own->active_ns = NOW_NS;
        assert_int_equal(es_ring_place(&other->reader.ring, lane_index, UINT64_C(1) << 20), ES_OK);
        assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    }
    assert_int_equal(other->rests_until_ns, NOW_NS + SHARE_REST_NS);
    assert_int_equal(own->rests_until_ns, 0);

    other->active_ns = NOW_NS + SHARE_REST_NS;
    for (uint32_t i = 0; i < 3 * SHARE_VAIN_TURNS_MAX; i++) { /* a record in between is a reason */
        if (i % (SHARE_VAIN_TURNS_MAX - 1) == 0) {
            assert_int_equal(parts_publish(&producer, "a:b:L0:c:M1", PARTS_ANY, i, true), ES_OK);
        }
        assert_int_equal(es_ring_place(&own->reader.ring, lane_index, UINT64_C(1) << 20), ES_OK);
        assert_int_equal(commit_parts_round(parts, NOW_NS + SHARE_REST_NS), ES_OK);
        assert_int_equal(own->rests_until_ns, 0);
        while (es_lane_collect(&producer.writer, &result) == ES_OK) {
        }
    }
    parts_detach(&producer);
}

/* Beside somebody else, until it rests or has had every chance to. */
static void assert_rests_after(void **state, void (*call)(struct es_ring_file *ring))
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    struct lane_ring *own = NULL;

    parts_attach(parts, &producer);
    own = lanes_ring(parts->lanes, producer.attachment.ring_index);
    for (uint32_t i = 0; i < 4 * SHARE_VAIN_TURNS_MAX && other->rests_until_ns == 0; i++) {
        own->active_ns = NOW_NS;
        call(other->reader.ring.file);
        assert_true(drain_has_work(parts->drain, NOW_NS));
        assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    }
    parts_detach(&producer);
    assert_int_equal(other->rests_until_ns, NOW_NS + SHARE_REST_NS);
}

static void lie_about_the_tail(struct es_ring_file *ring)
{
    atomic_store(&ring->tail, UINT64_C(1) << 40);
}

static void erase_a_ticket(struct es_ring_file *ring)
{
    atomic_fetch_add(&ring->tail, 1);
}

/* No ticket is there, but each look says that one is. */
static void who_lies_about_the_tail_rests_too(void **state)
{
    assert_rests_after(state, lie_about_the_tail);
}

static void who_erases_its_tickets_rests_too(void **state)
{
    assert_rests_after(state, erase_a_ticket);
}

/* Anybody may ask how far a name's producer has come: its records are taken then, before
 * their tickets are. */
static void who_is_asked_about_does_not_rest(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    struct lane_ring *own = NULL;
    struct es_lane_result result;
    uint64_t last_number = 0;
    uint32_t answered = 0;

    assert_int_equal(parts_claim(parts, &producer, "payments", false, &last_number), ES_OK);
    own = lanes_ring(parts->lanes, producer.attachment.ring_index);
    for (uint32_t i = 0; i < 2 * SHARE_VAIN_TURNS_MAX && own->rests_until_ns == 0; i++) {
        struct parts_claim question;

        other->active_ns = own->active_ns = NOW_NS;
        assert_int_equal(parts_publish(&producer, "a:b:L0:c:M1", PARTS_ANY, i + 1, true), ES_OK);
        parts_claim_begin(parts, &question, NULL, "payments", false);
        while (!atomic_load(&question.is_over)) {
            assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
        }
        assert_int_equal(parts_claim_end(&question), ES_OK);
        while (es_lane_collect(&producer.writer, &result) == ES_OK) {
            assert_int_equal(result.status, ES_OK);
            answered++;
        }
    }
    parts_detach(&producer);
    assert_int_equal(own->rests_until_ns, 0);
    assert_true(answered >= 2 * SHARE_VAIN_TURNS_MAX - 1);
}

/* Who was silent and has a ticket now is reckoned with before anybody has come to it. */
static void a_first_ticket_gets_its_share_at_once(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct parts_producer producer;
    struct lane_ring *other = NULL;

    parts_attach(parts, &producer);
    other = ring_of_another_user(parts, &lane_index);
    publish_all(&producer);
    assert_int_equal(es_ring_place(&other->reader.ring, lane_index, 1), ES_OK);
    assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    assert_in_range(parts->batch->answer_count, 1, SHARE_RECORDS_MAX);
    assert_false(es_ring_has_ticket(&other->reader));
    assert_int_equal(commit_parts_round(parts, NOW_NS + 2 * SHARED_FOR_NS), ES_OK);
    collect_all(&producer);
    parts_detach(&producer);
}

/* Large records fill a batch long before so many of them are in it. */
static void a_share_is_one_of_bytes_too(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t bytes_max = parts->batch->bytes_max;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;

    parts_attach(parts, &producer);
    publish_all(&producer);
    parts->batch->bytes_max = bytes_max / 8; /* as if each record were so much larger */
    other->active_ns = NOW_NS;
    assert_int_equal(commit_parts_round(parts, NOW_NS), ES_OK);
    assert_in_range(parts->batch->bytes, parts->batch->bytes_max / SHARES_OF_BYTES,
                    parts->batch->bytes_max / 2);
    parts->batch->bytes_max = bytes_max;
    assert_int_equal(commit_parts_round(parts, NOW_NS + SHARED_FOR_NS), ES_OK);
    collect_all(&producer);
    parts_detach(&producer);
}

/* What has no ticket is found by the sweep, and is no way around the rest. */
static void a_sweep_takes_no_more_than_a_share(void **state)
{
    struct commit_parts *parts = *state;
    uint32_t lane_index = 0;
    struct lane_ring *other = ring_of_another_user(parts, &lane_index);
    struct parts_producer producer;
    int64_t now_ns = NOW_NS;
    uint32_t taken = 0;
    int rounds = 0;

    parts_attach(parts, &producer);
    for (uint64_t i = 0; i < RECORDS; i++) {
        assert_int_equal(parts_publish(&producer, "a:b:L0:c:M1", PARTS_ANY, i, false), ES_OK);
    }
    other->active_ns = NOW_NS;
    lanes_ring(parts->lanes, producer.attachment.ring_index)->active_ns = NOW_NS;
    while (taken < RECORDS) {
        assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
        assert_true(parts->batch->answer_count <= SHARE_RECORDS_MAX);
        taken += parts->batch->answer_count;
        now_ns += SWEEP_INTERVAL_NS;
        rounds++;
        assert_true(rounds <= 2 + 2 * (int)SHARES_OF_BYTES); /* each sweep takes something */
    }
    collect_all(&producer);
    parts_detach(&producer);
}

/* One whose ticket is lost, beside another of its user who fills every batch. */
static void full_batches_do_not_put_off_the_sweep(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer flood;
    struct parts_producer lost;
    struct es_lane_result result;
    int64_t now_ns = NOW_NS;
    int rounds = 0;

    parts_attach(parts, &flood);
    parts_attach(parts, &lost);
    assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
    assert_int_equal(parts_publish(&lost, "a:b:L0:c:M2", PARTS_ANY, 1, false), ES_OK);
    parts->answers_max = 8;
    while (es_lane_collect(&lost.writer, &result) != ES_OK) {
        while (es_lane_collect(&flood.writer, &result) == ES_OK) {
        }
        for (uint64_t i = 0; i < 16; i++) { /* what does not fit waits; it is never empty */
            (void)!parts_publish(&flood, "a:b:L0:c:M1", PARTS_ANY, i, true);
        }
        now_ns += SWEEP_INTERVAL_NS;
        assert_int_equal(commit_parts_round(parts, now_ns), ES_OK);
        assert_int_equal(parts->batch->answer_count, 8);
        rounds++;
        assert_true(rounds * (int64_t)SWEEP_INTERVAL_NS <= 3 * (int64_t)SWEEP_LATE_NS);
    }
    parts_detach(&flood);
    parts_detach(&lost);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alone_a_user_fills_the_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(beside_another_a_user_gets_its_share_of_each_batch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_had_a_share_rests_and_does_not_wake_the_commit_thread,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_of_stale_tickets_is_a_share_too, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_looked_at_in_vain_rests, setup, teardown),
        cmocka_unit_test_setup_teardown(who_lies_about_the_tail_rests_too, setup, teardown),
        cmocka_unit_test_setup_teardown(who_erases_its_tickets_rests_too, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_asked_about_does_not_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_first_ticket_gets_its_share_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_share_is_one_of_bytes_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sweep_takes_no_more_than_a_share, setup, teardown),
        cmocka_unit_test_setup_teardown(full_batches_do_not_put_off_the_sweep, setup, teardown),
    };

    es_hash_warm_up();
    return cmocka_run_group_tests_name("drain: shares", tests, NULL, NULL);
}
