/*
 * What a start asks of RocksDB: whether what the log holds and RocksDB has already is the
 * same, and to be given the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

static int set_up(void **state)
{
    *state = fixture_kind(FIXTURE_ROCKSDB);
    return fixture_set_up(state);
}

/* Closes the store as a kill would, and opens it again. */
static void expect_reopen(struct store_fixture *f, enum store_mode mode)
{
    char why[STORE_WHY_BYTES] = "";

    store_free(f->store);
    f->store = NULL;
    if (fixture_open_rocksdb(f->directory, mode, why, &f->store) != ES_OK) {
        fail_msg("it does not open: %s", why);
    }
}

static void put_streams(struct store_fixture *f, uint64_t first, uint64_t end)
{
    for (uint64_t sequence = first; sequence < end; sequence++) {
        for (int stream = 0; stream < 20; stream++) {
            char prefix[64];
            char value[64];

            snprintf(prefix, sizeof prefix, "S:%02d:E:", stream);
            snprintf(value, sizeof value, "%d of %d", (int)sequence, stream);
            fixture_put_event(f, prefix, sequence, value);
        }
    }
}

static enum es_status check(struct store_fixture *f)
{
    enum es_status status = store_check_replay(f->store, f->batch);

    store_batch_clear(f->batch);
    return status;
}

/* Of events in three files and beyond them, in the order of keys and in that of time. */
static void a_check_finds_every_event_that_is_another(void **state)
{
    struct store_fixture *f = *state;

    for (uint64_t first = 1; first < 31; first += 10) {
        put_streams(f, first, first + 10);
        fixture_apply(f);
        assert_int_equal(store_flush_all(f->store), ES_OK);
    }
    expect_reopen(f, STORE_READ_ONLY);
    for (int ordered = 0; ordered < 2; ordered++) {
        put_streams(f, 5, 40);
        assert_int_equal(ordered ? store_batch_order(f->batch, 7) : ES_OK, ES_OK);
        assert_int_equal(check(f), ES_OK);
        for (uint64_t sequence = 5; sequence < 31; sequence++) {
            put_streams(f, sequence, sequence + 1);
            fixture_put_event(f, "S:20:E:", 1, "new");
            assert_int_equal(ordered ? store_batch_order(f->batch, 7) : ES_OK, ES_OK);
            assert_int_equal(check(f), ES_OK);
            fixture_put_event(f, "S:07:E:", sequence, "another");
            fixture_put_event(f, "S:20:E:", 1, "new");
            assert_int_equal(ordered ? store_batch_order(f->batch, 7) : ES_OK, ES_OK);
            assert_int_equal(check(f), ES_E_EXISTS);
        }
    }
}

static void what_was_checked_is_applied_and_not_read_again(void **state)
{
    struct store_fixture *f = *state;

    put_streams(f, 1, 11);
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    expect_reopen(f, STORE_READ_WRITE);
    put_streams(f, 5, 20);
    assert_int_equal(fixture_try(f, STORE_APPLY_CHECKED), ES_OK);
    assert_string_equal(fixture_get_event(f, "S:03:E:", 5), "5 of 3");
    assert_string_equal(fixture_get_event(f, "S:03:E:", 19), "19 of 3");
    fixture_put_event(f, "S:03:E:", 19, "never written over");
    assert_int_equal(fixture_try(f, STORE_APPLY_CHECKED), ES_OK);
    assert_string_equal(fixture_get_event(f, "S:03:E:", 19), "19 of 3");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_check_finds_every_event_that_is_another),
        TEST(what_was_checked_is_applied_and_not_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
