/*
 * What only an overlay promises: the store below shows through where nothing lies
 * over it, is never written, and its events are as immutable as one's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

static void put_below(struct store_fixture *f)
{
    assert_int_equal(store_apply(f->base, f->batch, STORE_APPLY_LIVE), ES_OK);
    store_batch_clear(f->batch);
}

static int set_up(void **state)
{
    struct store_fixture *f = NULL;

    *state = fixture_kind(FIXTURE_OVERLAY);
    fixture_set_up(state);
    f = *state;
    fixture_put(f, STORE_KV, "a", "below");
    fixture_put(f, STORE_KV, "c", "below");
    fixture_put(f, STORE_KV, "e", "below");
    for (uint64_t sequence = 10; sequence <= 50; sequence += sequence == 30 ? 20 : 10) {
        fixture_put_event(f, "S:x:E:", sequence, "below"); /* 10, 20, 30, a hole, 50 */
    }
    fixture_put_event(f, "S:x:E:\x7f", 1, "a stream whose name begins alike");
    put_below(f);
    return 0;
}

static void what_lies_below_shows_through_and_what_lies_over_it_wins(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "b", "over");
    fixture_put(f, STORE_KV, "c", "over");
    fixture_delete(f, STORE_KV, "e");
    fixture_delete(f, STORE_KV, "nothing there");
    fixture_apply(f);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "a"), "below");
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "c"), "over");
    assert_null(fixture_get(f, NULL, STORE_KV, "e"));
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "a=below b=over c=over ");
    fixture_put(f, STORE_KV, "e", "again");
    fixture_delete(f, STORE_KV, "a");
    fixture_apply(f);
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "b=over c=over e=again ");
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "c", "d"), "c=over ");
}

static void the_store_below_is_never_written(void **state)
{
    struct store_fixture *f = *state;
    struct store *overlay = f->store;

    fixture_put(f, STORE_KV, "a", "over");
    fixture_delete(f, STORE_KV, "c");
    fixture_put_event(f, "S:x:E:", 60, "over");
    fixture_apply(f);
    f->store = f->base;
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "a=below c=below e=below ");
    assert_null(fixture_get_event(f, "S:x:E:", 60));
    f->store = overlay;
    assert_string_equal(fixture_get_event(f, "S:x:E:", 60), "over");
}

static void events_below_are_immutable_too(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:x:E:", 35, "fills a hole");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_E_EXISTS);
    fixture_put_event(f, "S:x:E:", 35, "fills a hole");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:x:E:", 50, "twice");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:x:E:", 50, "below"); /* not even the same, but in a replay */
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:x:E:", 50, "below");
    fixture_put_event(f, "S:x:E:", 51, "next");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_OK);
    assert_string_equal(fixture_get_event(f, "S:x:E:", 51), "next");
    fixture_put_event(f, "S:x:E:", 20, "other");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_E_EXISTS);
    assert_string_not_equal(store_why(f->store), "");
}

static void nothing_of_it_can_be_made_durable(void **state)
{
    struct store_fixture *f = *state;

    assert_int_equal(store_flush_begin(f->store), ES_E_PERMISSION);
    assert_int_equal(store_flush_wait(f->store), ES_E_PERMISSION);
    assert_int_equal(store_flush_all(f->store), ES_E_PERMISSION);
    assert_int_equal(store_checkpoint(f->store, "/nowhere"), ES_E_PERMISSION);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_lies_below_shows_through_and_what_lies_over_it_wins),
        TEST(the_store_below_is_never_written),
        TEST(events_below_are_immutable_too),
        TEST(nothing_of_it_can_be_made_durable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
