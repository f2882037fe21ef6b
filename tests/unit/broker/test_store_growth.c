/*
 * What the applying thread remembers of event streams: it may forget between
 * batches, never within one, and what it says of a stream is right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/store_growth.h"

enum {
    MORE_THAN_FIT = GROWTH_PREFIXES_MAX + 500
};

static struct store_slice prefix_of(uint32_t number, char text[32])
{
    return (struct store_slice){text, (size_t)snprintf(text, 32, "S:stream:%u:E:", number)};
}

static void an_unknown_stream_is_learnt_and_then_only_grows(void **state)
{
    struct store_growth *growth = NULL;
    char text[32];
    struct store_slice prefix = prefix_of(1, text);

    (void)state;
    assert_int_equal(store_growth_new(1, &growth), ES_OK);
    store_growth_begin(growth);
    assert_int_equal(store_growth_raise(growth, prefix, 5), ES_EMPTY);
    assert_int_equal(store_growth_learn(growth, prefix, 5), ES_OK);
    assert_int_equal(store_growth_raise(growth, prefix, 5), ES_E_EXISTS);
    assert_int_equal(store_growth_raise(growth, prefix, 6), ES_OK);
    assert_int_equal(store_growth_raise(growth, prefix, 6), ES_E_EXISTS);
    assert_int_equal(store_growth_raise(growth, prefix, 9), ES_OK);
    store_growth_clear(growth);
    assert_int_equal(store_growth_raise(growth, prefix, 10), ES_EMPTY);
    store_growth_free(growth);
    store_growth_free(NULL);
}

static void a_batch_of_more_streams_than_fit_is_remembered_whole(void **state)
{
    struct store_growth *growth = NULL;
    uint32_t known = 0;
    char text[32];

    (void)state;
    assert_int_equal(store_growth_new(2, &growth), ES_OK);
    store_growth_begin(growth);
    for (uint32_t i = 0; i < MORE_THAN_FIT; i++) {
        struct store_slice prefix = prefix_of(i, text);

        assert_int_equal(store_growth_learn(growth, prefix, i), ES_OK);
    }
    for (uint32_t i = 0; i < MORE_THAN_FIT; i++) {
        struct store_slice prefix = prefix_of(i, text);

        assert_int_equal(store_growth_raise(growth, prefix, i), ES_E_EXISTS);
        assert_int_equal(store_growth_raise(growth, prefix, i + 1), ES_OK);
    }
    store_growth_begin(growth); /* now those without a place are forgotten, and only they */
    for (uint32_t i = 0; i < MORE_THAN_FIT; i++) {
        enum es_status status = store_growth_raise(growth, prefix_of(i, text), i + 1);

        assert_true(status == ES_E_EXISTS || status == ES_EMPTY);
        known += status == ES_E_EXISTS ? 1 : 0;
    }
    assert_true(known > GROWTH_PREFIXES_MAX / 2);
    assert_true(known <= GROWTH_PREFIXES_MAX);
    store_growth_free(growth);
}

static void what_was_used_last_stays(void **state)
{
    struct store_growth *growth = NULL;
    char text[32];
    char other[32];
    struct store_slice prefix = prefix_of(0, text);

    (void)state;
    assert_int_equal(store_growth_new(3, &growth), ES_OK);
    store_growth_begin(growth);
    assert_int_equal(store_growth_learn(growth, prefix, 0), ES_OK);
    for (uint32_t i = 1; i < 4 * (uint32_t)GROWTH_PREFIXES_MAX; i++) {
        store_growth_begin(growth);
        assert_int_equal(store_growth_learn(growth, prefix_of(i, other), i), ES_OK);
        assert_int_equal(store_growth_raise(growth, prefix, i), ES_OK);
    }
    store_growth_free(growth);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_stream_is_learnt_and_then_only_grows),
        cmocka_unit_test(a_batch_of_more_streams_than_fit_is_remembered_whole),
        cmocka_unit_test(what_was_used_last_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
