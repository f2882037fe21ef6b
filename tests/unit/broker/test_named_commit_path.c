/*
 * A name on the whole way of an event, and through deaths of the broker at every
 * step of a takeover: what the former owner had published is committed before the
 * new one is told the last number, and after whatever death each number is there
 * once, and one lane alone may write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "shm/codec/store_key.h"
#include "tests/support/commit_steps.h"
#include "tests/support/parts_names.h"

/* ---- a broker and its producers ------------------------------------------ */

static int setup(void **state)
{
    static struct commit_parts parts;

    commit_watch_reset(COMMIT_NO_STEP);
    commit_parts_make(&parts, 1024);
    *state = &parts;
    return 0;
}

static int teardown(void **state)
{
    commit_parts_remove(*state);
    return 0;
}

static void reopen(struct commit_parts *parts)
{
    commit_parts_drop(parts);
    commit_watch_reset(COMMIT_NO_STEP);
    assert_int_equal(commit_parts_open(parts), ES_OK);
}

/* ---- tests --------------------------------------------------------------- */

static void a_second_owner_is_refused_or_takes_over(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer first;
    struct parts_producer second;
    uint64_t last_number = 0;

    assert_int_equal(named_claim(parts, &first, false), 0);
    assert_int_equal(named_send(parts, &first, 1).status, ES_OK);
    assert_int_equal(parts_claim(parts, &second, NAMED_PRODUCER, false, &last_number), ES_E_BUSY);
    assert_int_equal(named_send(parts, &first, 2).status, ES_OK);
    assert_int_equal(named_claim(parts, &second, true), 2);
    assert_int_equal(named_send(parts, &first, 3).status, ES_FENCED);
    assert_int_equal(named_send(parts, &second, 3).status, ES_OK);
    named_assert_stored(parts, 3);
    parts_detach(&first);
    parts_detach(&second);
}

/* Published before the claim, with and without a ticket: committed before it. */
static void what_the_former_owner_published_is_committed_before_the_claim(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer first;
    struct parts_producer second;

    named_claim(parts, &first, false);
    named_publish(&first, 1, true);
    named_publish(&first, 2, true);
    named_publish(&first, 3, false);
    assert_int_equal(named_claim(parts, &second, true), 3);
    named_assert_stored(parts, 3);
    for (uint64_t number = 1; number <= 3; number++) {
        assert_int_equal(parts_collect(&first).position, number);
    }
    named_publish(&first, 4, false);
    named_settle(parts);
    assert_int_equal(parts_collect(&first).status, ES_FENCED);
    named_assert_stored(parts, 3);
    parts_detach(&first);
    parts_detach(&second);
}

/* The same where it takes several batches: the claim is held over, and comes last. */
static void a_claim_waits_over_full_batches(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer first;
    struct parts_producer second;
    struct parts_claim waiting;
    int rounds = 0;

    named_claim(parts, &first, false);
    for (uint64_t number = 1; number <= 5; number++) {
        named_publish(&first, number, number % 2 == 0);
    }
    parts->answers_max = 1;
    parts_claim_begin(parts, &waiting, &second, NAMED_PRODUCER, true);
    while (named_stored(parts).owner_incarnation == first.attachment.incarnation) {
        assert_false(atomic_load(&waiting.is_over));
        assert_true(rounds < 100);
        assert_int_equal(commit_parts_round(parts, 0), ES_OK);
        rounds++;
    }
    assert_int_equal(rounds, 6);
    assert_int_equal(parts_claim_end(&waiting), ES_OK);
    assert_int_equal(waiting.errand.last_number, 5);
    parts->answers_max = 0;
    named_assert_stored(parts, 5);
    parts_detach(&first);
    parts_detach(&second);
}

static void the_lane_of_a_dead_or_closed_owner_is_emptied_and_free(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer dead;
    struct parts_producer closed;
    struct parts_producer third;

    named_claim(parts, &dead, false);
    named_publish(&dead, 1, false);
    lanes_owner_gone(parts->lanes, dead.attachment.lane_index, dead.attachment.incarnation);
    assert_int_equal(named_claim(parts, &closed, false), 1);
    named_publish(&closed, 2, false);
    es_lane_close(&closed.writer);
    assert_int_equal(named_claim(parts, &third, false), 2);
    named_assert_stored(parts, 2);
    parts_detach(&dead);
    parts_detach(&closed);
    parts_detach(&third);
}

/* The broker dies at each step of each batch of a takeover. Whoever owns the name then
 * goes on; the other is fenced; nothing is lost, nothing is there twice. */
static void die_in_a_takeover(struct commit_parts *parts, enum commit_step broken,
                              int healthy_rounds, uint32_t answers_max)
{
    struct parts_producer first;
    struct parts_producer second;
    struct parts_producer third;
    struct parts_claim waiting;
    enum es_status status = ES_OK;
    bool second_owns = false;
    uint64_t last = 4;

    named_claim(parts, &first, false);
    assert_int_equal(named_send(parts, &first, 1).status, ES_OK);
    named_publish(&first, 2, true);
    named_publish(&first, 3, false);
    named_publish(&first, 4, false);
    parts->answers_max = answers_max;
    parts_claim_begin(parts, &waiting, &second, NAMED_PRODUCER, true);
    for (int i = 0; i < healthy_rounds; i++) {
        assert_int_equal(commit_parts_round(parts, 0), ES_OK);
    }
    commit_watch.broken = broken;
    status = commit_parts_round(parts, 0);
    commit_watch.is_broken = true;
    if (status != ES_OK || !atomic_load(&waiting.is_over)) {
        if (status == ES_OK) {
            parts->batch->answer_count = 0; /* answered, those that it held */
        }
        parts_claim_give_up(&waiting);
        assert_true(status == ES_OK || waiting.status == ES_NOT_SERVING); /* told nothing */
    } else {
        pthread_join(waiting.thread, NULL);
    }
    parts->answers_max = 0;
    reopen(parts);

    second_owns = named_stored(parts).owner_incarnation != first.attachment.incarnation;
    if (second_owns) {
        named_assert_stored(parts, 4); /* all of it before the claim */
    }
    named_publish(&first, 5, true);
    named_settle(parts);
    last += second_owns ? 0 : 1;
    named_assert_stored(parts, last);
    assert_int_equal(named_claim(parts, &third, true), last);
    assert_int_equal(named_send(parts, &third, last + 1).status, ES_OK);
    assert_int_equal(named_send(parts, &third, 3).position, 3);
    named_publish(&first, last + 2, true);
    named_settle(parts);
    named_assert_stored(parts, last + 1);
    if (answers_max == 0) {
        reopen(parts);
        named_assert_stored(parts, last + 1);
    }
    assert_int_equal(named_send(parts, &third, last + 2).status, ES_OK);
    assert_int_equal(named_send(parts, &third, 1).position, 1);
    named_assert_stored(parts, last + 2);
    parts_detach(&first);
    parts_detach(&third);
}

static void a_death_at_any_step_of_a_takeover_neither_loses_nor_repeats(void **state)
{
    /* All in one batch; one by one, in the midst; and the claim in a batch of its own. */
    static const struct {
        int healthy_rounds;
        uint32_t answers_max;
    } ways[] = {{0, 0}, {1, 1}, {3, 1}};
    struct commit_parts *parts = *state;

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        for (enum commit_step broken = COMMIT_APPEND; broken < COMMIT_STEPS; broken++) {
            void *again = parts;

            die_in_a_takeover(parts, broken, ways[i].healthy_rounds, ways[i].answers_max);
            teardown(&again);
            setup(&again);
        }
    }
}

/* Of the lane that a broker had made for a claim nobody has ever heard. */
static void a_named_lane_nobody_heard_of_does_not_keep_the_name_over_a_restart(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer silent;
    struct parts_producer other;

    named_claim(parts, &silent, false);
    atomic_store(&silent.writer.file->attached, 0);
    reopen(parts);
    assert_int_equal(named_claim(parts, &other, false), 0);
    assert_int_equal(named_send(parts, &other, 1).status, ES_OK);
    reopen(parts);
    assert_int_equal(named_send(parts, &other, 2).status, ES_OK);
    named_assert_stored(parts, 2);
    parts_detach(&silent);
    parts_detach(&other);
}

/* It was about to hear of its lane, and does so when the new broker has looked: what it writes
 * there must not go beside what others do under the name. */
static void a_named_lane_that_is_heard_of_too_late_is_not_read(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer late;

    named_claim(parts, &late, false);
    atomic_store(&late.writer.file->attached, 0);
    reopen(parts);
    atomic_store(&late.writer.file->attached, 1);
    named_publish(&late, 1, true);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    named_assert_stored(parts, 0);
    parts_detach(&late);
    assert_int_equal(named_claim(parts, &late, false), 0);
    assert_int_equal(named_send(parts, &late, 1).status, ES_OK);
    named_assert_stored(parts, 1);
    parts_detach(&late);
}

/* With the machine its lanes are gone: nobody keeps the name, and what was stored counts. */
static void after_the_machine_was_gone_the_name_is_free_and_its_numbers_are_kept(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer before;
    struct parts_producer after;

    named_claim(parts, &before, false);
    assert_int_equal(named_send(parts, &before, 1).status, ES_OK);
    named_publish(&before, 2, true);
    commit_parts_drop(parts);
    assert_int_equal(unlinkat(parts->segments_fd, "control", 0), 0);
    reopen(parts);
    assert_int_equal(named_claim(parts, &after, false), 1);
    assert_int_equal(named_send(parts, &after, 1).position, 1);
    assert_int_equal(named_send(parts, &after, 2).position, 2);
    named_assert_stored(parts, 2);
    parts_detach(&before);
    parts_detach(&after);
}

/* A recovered owner is as alive as it was: it still keeps the name. */
static void a_recovered_owner_keeps_the_name(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer owner;
    struct parts_producer other;
    uint64_t last_number = 0;

    named_claim(parts, &owner, false);
    assert_int_equal(named_send(parts, &owner, 1).status, ES_OK);
    named_publish(&owner, 2, false);
    reopen(parts);
    assert_int_equal(parts_claim(parts, &other, NAMED_PRODUCER, false, &last_number), ES_E_BUSY);
    assert_int_equal(named_claim(parts, &other, true), 2);
    assert_int_equal(named_send(parts, &other, 3).status, ES_OK);
    named_assert_stored(parts, 3);
    parts_detach(&owner);
    parts_detach(&other);
}

/* Also one that has not written anything yet: nobody is made owner behind its back. */
static void a_recovered_owner_that_never_wrote_keeps_the_name_too(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer owner;
    struct parts_producer other;
    uint64_t last_number = 0;

    named_claim(parts, &owner, false);
    reopen(parts);
    named_settle(parts);
    lanes_tidy(parts->lanes);
    assert_int_equal(parts_claim(parts, &other, NAMED_PRODUCER, false, &last_number), ES_E_BUSY);
    assert_int_equal(named_send(parts, &owner, 1).status, ES_OK);
    named_assert_stored(parts, 1);
    parts_detach(&owner);
}

/* A question is answered when everything published before it is durable. */
static void a_question_comes_after_all_that_was_published(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer owner;
    struct parts_claim asking;

    named_claim(parts, &owner, false);
    named_publish(&owner, 1, false);
    named_publish(&owner, 2, false);
    parts->answers_max = 1;
    parts_claim_begin(parts, &asking, NULL, NAMED_PRODUCER, false);
    assert_int_equal(parts_claim_end(&asking), ES_OK);
    named_assert_stored(parts, 2);
    assert_int_equal(asking.errand.owner_incarnation, owner.attachment.incarnation);
    assert_int_equal(asking.errand.owner_pid, getpid());
    assert_true(asking.errand.owner_lives);
    parts_detach(&owner);
}

/* A claim is written, and who attaches again and again would fill the reserve with them. */
static void below_the_reserve_no_name_is_claimed_and_repeats_are_answered(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer owner;
    struct parts_producer other;
    uint64_t last_number = 0;

    named_claim(parts, &owner, false);
    assert_int_equal(named_send(parts, &owner, 1).status, ES_OK);
    sequencer_set_no_space(parts->sequencer, true);
    assert_int_equal(parts_claim(parts, &other, NAMED_PRODUCER, true, &last_number), ES_NO_SPACE);
    assert_int_equal(named_send(parts, &owner, 1).status, ES_OK);
    assert_int_equal(named_send(parts, &owner, 2).status, ES_NO_SPACE);
    sequencer_set_no_space(parts->sequencer, false);
    assert_int_equal(named_claim(parts, &other, true), 1);
    named_assert_stored(parts, 1);
    parts_detach(&owner);
    parts_detach(&other);
}

/* What is damaged is told to who wants it, and stops nobody else. */
static void a_damaged_name_is_an_answer_to_claims_and_questions(void **state)
{
    struct commit_parts *parts = *state;
    struct store_batch *writes = NULL;
    struct parts_producer owner;
    struct parts_claim asking;
    uint64_t last_number = 0;
    struct es_key key;

    es_key_producer(es_text_of("damaged"), &key);
    assert_int_equal(store_batch_new(&writes), ES_OK);
    assert_int_equal(store_batch_put(writes, STORE_PRODUCERS,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){(const uint8_t *)"x", 1}),
                     ES_OK);
    assert_int_equal(store_apply(parts->startup.store, writes, STORE_APPLY_LIVE), ES_OK);
    store_batch_free(writes);
    assert_int_equal(parts_claim(parts, &owner, "damaged", true, &last_number), ES_E_CORRUPT);
    parts_claim_begin(parts, &asking, NULL, "damaged", false);
    assert_int_equal(parts_claim_end(&asking), ES_E_CORRUPT);
    named_claim(parts, &owner, false);
    assert_int_equal(named_send(parts, &owner, 1).status, ES_OK);
    parts_detach(&owner);
}

/* Who stops the broker leaves nobody waiting for a claim that is not made. */
static void a_claim_that_the_end_overtakes_is_not_serving(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer first;
    struct parts_producer second;
    struct parts_claim waiting;

    named_claim(parts, &first, false);
    named_publish(&first, 1, true);
    named_publish(&first, 2, true);
    parts->answers_max = 1;
    parts_claim_begin(parts, &waiting, &second, NAMED_PRODUCER, true);
    assert_int_equal(commit_parts_round(parts, 0), ES_OK);
    parts->batch->answer_count = 0;
    parts_claim_give_up(&waiting);
    assert_int_equal(waiting.status, ES_NOT_SERVING);
    parts->answers_max = 0;
    reopen(parts);
    assert_int_equal(named_send(parts, &first, 3).position, 1); /* of the first, collected now */
    named_assert_stored(parts, 3);
    assert_int_equal(named_stored(parts).owner_incarnation, first.attachment.incarnation);
    parts_detach(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_second_owner_is_refused_or_takes_over),
        TEST(what_the_former_owner_published_is_committed_before_the_claim),
        TEST(a_claim_waits_over_full_batches),
        TEST(the_lane_of_a_dead_or_closed_owner_is_emptied_and_free),
        TEST(a_death_at_any_step_of_a_takeover_neither_loses_nor_repeats),
        TEST(a_named_lane_nobody_heard_of_does_not_keep_the_name_over_a_restart),
        TEST(a_named_lane_that_is_heard_of_too_late_is_not_read),
        TEST(after_the_machine_was_gone_the_name_is_free_and_its_numbers_are_kept),
        TEST(a_recovered_owner_keeps_the_name),
        TEST(a_recovered_owner_that_never_wrote_keeps_the_name_too),
        TEST(a_question_comes_after_all_that_was_published),
        TEST(below_the_reserve_no_name_is_claimed_and_repeats_are_answered),
        TEST(a_damaged_name_is_an_answer_to_claims_and_questions),
        TEST(a_claim_that_the_end_overtakes_is_not_serving),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
