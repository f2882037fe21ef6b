/*
 * live.h with messages made by hand: what is delivered when, and that whatever is
 * dropped, repeated or reordered on its way is noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/live_fixture.h"

static void one_category_is_delivered_as_it_comes(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, live_categories[0]);
    push_heartbeat(&f);
    live_store(&f, 0);
    live_store(&f, 1);
    live_store(&f, 0);
    push_events(&f, 0, 1, 3);
    expect_event(&f, 1);
    expect_event(&f, 3);
    expect_nothing(&f);
    assert_false(f.live.is_in_doubt);
    es_live_deinit(&f.live);
}

static void several_categories_are_delivered_in_position_order(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, "t:m:*");
    push_heartbeat(&f);
    live_store(&f, 2); /* not wanted */
    live_store(&f, 1);
    live_store(&f, 0);
    live_store(&f, 1);
    push_events(&f, 1, 2, 4);
    expect_nothing(&f); /* position 1 could be wanted and on its way */
    push_events(&f, 0, 3, 3);
    expect_nothing(&f);
    push_heartbeat(&f);
    expect_event(&f, 2);
    expect_event(&f, 3);
    expect_event(&f, 4);
    expect_nothing(&f);
    assert_int_equal(f.live.repairs, 0);
    es_live_deinit(&f.live);
}

static void the_very_next_position_needs_no_heartbeat(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, NULL);
    live_store(&f, 0);
    live_store(&f, 1);
    push_events(&f, 1, 2, 2);
    expect_nothing(&f);
    push_events(&f, 0, 1, 1);
    expect_event(&f, 1);
    expect_event(&f, 2);
    es_live_deinit(&f.live);
}

static void a_lost_message_is_seen_by_the_next_of_its_category(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, live_categories[0]);
    live_store(&f, 0);
    live_store(&f, 0);
    live_store(&f, 0);
    push_events(&f, 0, 1, 1);
    expect_event(&f, 1);
    push_events(&f, 0, 3, 3); /* 2 was lost */
    expect_nothing(&f);
    assert_true(f.live.is_in_doubt);
    assert_int_equal(f.live.repairs, 1);
    es_live_resume(&f.live, 1); /* not far enough: 2 is known to exist */
    assert_true(f.live.is_in_doubt);
    es_live_accept(&f.live, 2);
    es_live_resume(&f.live, 2);
    assert_false(f.live.is_in_doubt);
    expect_event(&f, 3);
    es_live_deinit(&f.live);
}

static void a_lost_last_message_is_seen_by_the_heartbeat(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, live_categories[0]);
    push_heartbeat(&f);
    live_store(&f, 0);
    push_heartbeat(&f);
    assert_true(f.live.is_in_doubt);
    assert_int_equal(f.live.doubt_position, 1);
    assert_int_equal(f.live.repairs, 1);
    es_live_deinit(&f.live);
}

static void what_is_lost_of_an_unwanted_category_is_no_matter(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, live_categories[0]);
    push_heartbeat(&f);
    live_store(&f, 1);
    push_heartbeat(&f);
    assert_false(f.live.is_in_doubt);
    expect_nothing(&f);
    assert_int_equal(f.live.position, 1); /* known to hold nothing wanted */
    es_live_deinit(&f.live);
}

static void a_missed_heartbeat_is_doubt(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, "t:m:*");
    push_heartbeat(&f);
    live_store(&f, 2);
    (void)heartbeat_message(&f.history, true); /* lost, and with it what it told */
    live_store(&f, 2);
    push_heartbeat(&f);
    assert_true(f.live.is_in_doubt);
    assert_int_equal(f.live.doubt_position, 2);
    es_live_resume(&f.live, 2);
    assert_false(f.live.is_in_doubt);
    es_live_deinit(&f.live);
}

static void a_heartbeat_that_tells_too_little_is_doubt(void **state)
{
    struct live_fixture f;
    struct es_message message;

    (void)state;
    live_open(&f, NULL);
    push_heartbeat(&f);
    live_store(&f, 0);
    message = heartbeat_message(&f.history, false);
    es_live_push(&f.live, &message);
    assert_true(f.live.is_in_doubt);
    es_live_deinit(&f.live);
}

static void another_start_or_epoch_is_suspicious(void **state)
{
    struct live_fixture f;

    (void)state;
    live_open(&f, NULL);
    push_heartbeat(&f);
    f.history.start_number = 2;
    f.history.heartbeat_number = 0;
    push_heartbeat(&f);
    assert_true(f.live.is_suspicious);
    assert_true(f.live.is_in_doubt);
    es_live_deinit(&f.live);

    live_open(&f, NULL);
    f.history.epoch = LIVE_EPOCH + 1;
    live_store(&f, 0);
    push_events(&f, 0, 1, 1);
    assert_true(f.live.is_suspicious);
    expect_nothing(&f);
    es_live_deinit(&f.live);
}

static void a_repeated_or_older_heartbeat_changes_nothing(void **state)
{
    struct live_fixture f;
    struct es_message first;
    struct es_message again;

    (void)state;
    live_open(&f, live_categories[0]);
    first = heartbeat_message(&f.history, true);
    again = first;
    es_live_push(&f.live, &first);
    live_store(&f, 1);
    push_heartbeat(&f);
    es_live_push(&f.live, &again);
    assert_false(f.live.is_in_doubt);
    assert_int_equal(f.live.heartbeat_number, 2);
    es_live_deinit(&f.live);
}

static void bytes_that_cannot_be_read_are_doubt(void **state)
{
    static const char *const forged[] = {"", "S:", "H:", "S:t:m:L0:alpha:"};
    struct live_fixture f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        struct es_message message = {.data = (const uint8_t *)forged[i],
                                     .size = strlen(forged[i]) + (i > 0 ? 1 : 0)};

        live_open(&f, NULL);
        es_live_push(&f.live, &message);
        assert_true(f.live.is_in_doubt);
        expect_nothing(&f);
        es_live_deinit(&f.live);
    }
}

static void too_much_that_waits_is_dropped_and_read_instead(void **state)
{
    struct live_fixture f;
    uint64_t last = 1;

    (void)state;
    live_open(&f, "t:m:*");
    live_store(&f, 2);
    for (uint32_t i = 0; i < LIVE_EVENTS_MAX - 1; i++) {
        live_store(&f, 0);
    }
    f.live.bytes = ES_LIVE_BYTES_MAX - 1000; /* as if that much were waiting */
    while (!f.live.is_in_doubt) {
        last++;
        push_events(&f, 0, last, last);
    }
    assert_true(last > 2);
    assert_int_equal(f.live.count, 0);
    assert_int_equal(f.live.bytes, 0);
    assert_int_equal(f.live.doubt_position, last);
    es_live_deinit(&f.live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_category_is_delivered_as_it_comes),
        cmocka_unit_test(several_categories_are_delivered_in_position_order),
        cmocka_unit_test(the_very_next_position_needs_no_heartbeat),
        cmocka_unit_test(a_lost_message_is_seen_by_the_next_of_its_category),
        cmocka_unit_test(a_lost_last_message_is_seen_by_the_heartbeat),
        cmocka_unit_test(what_is_lost_of_an_unwanted_category_is_no_matter),
        cmocka_unit_test(a_missed_heartbeat_is_doubt),
        cmocka_unit_test(a_heartbeat_that_tells_too_little_is_doubt),
        cmocka_unit_test(another_start_or_epoch_is_suspicious),
        cmocka_unit_test(a_repeated_or_older_heartbeat_changes_nothing),
        cmocka_unit_test(bytes_that_cannot_be_read_are_doubt),
        cmocka_unit_test(too_much_that_waits_is_dropped_and_read_instead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
