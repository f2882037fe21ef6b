/* Events are immutable, in every kind of store, and sequences of a stream only grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

static void an_event_is_never_written_twice(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "first");
    fixture_apply(f);
    fixture_put_event(f, "S:a:E:", 1, "other");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:a:E:", 1, "first"); /* not even with the same bytes */
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 1), "first");
}

static void an_event_is_not_written_twice_by_one_batch(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "first");
    fixture_put_event(f, "S:b:E:", 1, "first");
    fixture_put_event(f, "S:a:E:", 1, "second");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    assert_null(fixture_get_event(f, "S:a:E:", 1));
    assert_null(fixture_get_event(f, "S:b:E:", 1));
}

static void within_a_stream_sequences_only_grow(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 5, "five");
    fixture_put_event(f, "S:a:E:", 7, "seven");
    fixture_apply(f);
    fixture_put_event(f, "S:a:E:", 6, "six");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:a:E:", 8, "eight");
    fixture_apply(f);
    fixture_put_event(f, "S:b:E:", 1, "another stream");
    fixture_apply(f);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 8), "eight");
}

static void a_refused_batch_changes_nothing_and_later_ones_are_not_harmed(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_apply(f);
    fixture_put(f, STORE_KV, "k", "lost");
    fixture_put_event(f, "S:c:E:", 1, "lost");
    fixture_put_event(f, "S:a:E:", 2, "lost");
    fixture_put_event(f, "S:a:E:", 1, "twice");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    assert_null(fixture_get(f, NULL, STORE_KV, "k"));
    fixture_put_event(f, "S:c:E:", 1, "kept");
    fixture_put_event(f, "S:a:E:", 2, "kept");
    fixture_apply(f);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 2), "kept");
    assert_string_equal(fixture_get_event(f, "S:c:E:", 1), "kept");
}

static void a_replay_may_repeat_an_event_but_not_change_it(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put_event(f, "S:a:E:", 2, "two");
    fixture_apply(f);
    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put_event(f, "S:a:E:", 2, "two");
    fixture_put_event(f, "S:a:E:", 3, "three");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_OK);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 3), "three");
    fixture_put_event(f, "S:a:E:", 2, "zwei");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_E_EXISTS);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 2), "two");
}

static void a_replay_does_not_fill_a_hole(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put_event(f, "S:a:E:", 3, "three");
    fixture_apply(f);
    fixture_put_event(f, "S:a:E:", 2, "two");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_E_EXISTS);
}

/* More streams in a batch than the growth cache has places, and every one once more. */
static void many_streams_are_told_apart(void **state)
{
    enum {
        STREAMS = 3000
    };
    struct store_fixture *f = *state;
    char prefix[32];

    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        for (int i = 0; i < STREAMS; i++) {
            snprintf(prefix, sizeof prefix, "S:%d:E:", i);
            fixture_put_event(f, prefix, sequence, prefix);
        }
        fixture_apply(f);
    }
    for (int i = 0; i < STREAMS; i += 17) {
        snprintf(prefix, sizeof prefix, "S:%d:E:", i);
        fixture_put_event(f, prefix, 3, "twice");
        assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
        assert_string_equal(fixture_get_event(f, prefix, 3), prefix);
    }
}

/* A prefix may begin like another one, and its keys then lie between that one's. */
static void streams_whose_names_begin_alike_are_told_apart(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a", 1, "a");
    fixture_put_event(f, "S:a\x7f", 1, "longer");
    fixture_put_event(f, "S:a\x7f\x7f", 1, "longer still");
    fixture_apply(f);
    fixture_put_event(f, "S:a", 1, "twice");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:a\x7f", 1, "twice");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:a", 2, "grows");
    fixture_apply(f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_never_written_twice),
        cmocka_unit_test(an_event_is_not_written_twice_by_one_batch),
        cmocka_unit_test(within_a_stream_sequences_only_grow),
        cmocka_unit_test(a_refused_batch_changes_nothing_and_later_ones_are_not_harmed),
        cmocka_unit_test(a_replay_may_repeat_an_event_but_not_change_it),
        cmocka_unit_test(a_replay_does_not_fill_a_hole),
        cmocka_unit_test(many_streams_are_told_apart),
        cmocka_unit_test(streams_whose_names_begin_alike_are_told_apart),
    };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
