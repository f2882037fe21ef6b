/*
 * The contract of store.h, kept alike by every kind of store: memory, RocksDB, an
 * overlay over an empty store, and one over a RocksDB that is read-only and holds
 * something already.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/store.h"
#include "tests/support/store_fixture.h"

static void what_is_put_is_got_and_what_is_not_is_not_found(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "K:a:1", "one");
    fixture_put(f, STORE_KV, "K:a:2", "");
    fixture_apply(f);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "K:a:1"), "one");
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "K:a:2"), "");
    assert_null(fixture_get(f, NULL, STORE_KV, "K:a:3"));
    assert_null(fixture_get(f, NULL, STORE_KV, "K:a:"));
}

static void families_do_not_see_each_other(void **state)
{
    struct store_fixture *f = *state;

    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        fixture_put(f, (enum store_family)i, "the same key......",
                    store_family_name((enum store_family)i));
    }
    fixture_apply(f);
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        assert_string_equal(fixture_get(f, NULL, (enum store_family)i, "the same key......"),
                            store_family_name((enum store_family)i));
    }
}

static void a_later_operation_of_a_batch_wins(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "k", "first");
    fixture_put(f, STORE_KV, "k", "second");
    fixture_put(f, STORE_KV, "gone", "here");
    fixture_delete(f, STORE_KV, "gone");
    fixture_delete(f, STORE_KV, "back");
    fixture_put(f, STORE_KV, "back", "again");
    fixture_apply(f);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "k"), "second");
    assert_null(fixture_get(f, NULL, STORE_KV, "gone"));
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "back"), "again");
}

/* In order it is smaller, and does what it did before. */
static void a_batch_in_order_changes_the_same(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "b", "first");
    fixture_put_event(f, "S:b:E:", 1, "b1");
    fixture_put_event(f, "S:a:E:", 1, "a1");
    fixture_put(f, STORE_READ_MODELS, "b", "another family's");
    fixture_put_event(f, "S:b:E:", 2, "b2");
    fixture_put(f, STORE_KV, "a", "gone soon");
    fixture_put(f, STORE_KV, "b", "second");
    fixture_delete(f, STORE_KV, "a");
    fixture_delete(f, STORE_KV, "c");
    fixture_put_event(f, "S:a:E:", 2, "a2");
    fixture_put(f, STORE_KV, "c", "back");
    assert_int_equal(store_batch_order(f->batch, 7), ES_OK);
    assert_int_equal(store_batch_count(f->batch), 8);
    assert_int_equal(store_batch_order(f->batch, 8), ES_OK);
    assert_int_equal(store_batch_count(f->batch), 8);
    fixture_apply(f);
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "b=second c=back ");
    assert_string_equal(fixture_get(f, NULL, STORE_READ_MODELS, "b"), "another family's");
    assert_string_equal(fixture_get_event(f, "S:a:E:", 1), "a1");
    assert_string_equal(fixture_get_event(f, "S:a:E:", 2), "a2");
    assert_string_equal(fixture_get_event(f, "S:b:E:", 1), "b1");
    assert_string_equal(fixture_get_event(f, "S:b:E:", 2), "b2");
}

/* Order does not make one of two, or hide that a sequence comes too late. */
static void a_batch_in_order_is_refused_where_it_was(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "first");
    fixture_put_event(f, "S:b:E:", 1, "b");
    fixture_put_event(f, "S:a:E:", 1, "second");
    assert_int_equal(store_batch_order(f->batch, 7), ES_OK);
    assert_int_equal(store_batch_count(f->batch), 3);
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    fixture_put_event(f, "S:a:E:", 2, "second");
    fixture_put_event(f, "S:a:E:", 1, "first");
    assert_int_equal(store_batch_order(f->batch, 7), ES_OK);
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    assert_null(fixture_get_event(f, "S:b:E:", 1));
}

static void a_cleared_batch_is_empty_and_can_be_used_again(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "not written", "x");
    assert_int_equal(store_batch_count(f->batch), 1);
    store_batch_clear(f->batch);
    assert_int_equal(store_batch_count(f->batch), 0);
    fixture_put(f, STORE_KV, "written", "y");
    fixture_apply(f);
    assert_null(fixture_get(f, NULL, STORE_KV, "not written"));
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "written"), "y");
}

static size_t allocated_bytes(void)
{
    struct mallinfo2 now = mallinfo2();

    return now.uordblks + now.hblkhd;
}

static void a_batch_used_again_takes_no_more_memory(void **state)
{
    struct store_fixture *f = *state;
    static const uint8_t value[1024 * 1024];
    size_t before = 0;

    for (int i = 0; i < 100; i++) {
        assert_int_equal(store_batch_put(f->batch, STORE_KV, (struct store_slice){"k", 1},
                                         (struct store_slice){value, sizeof value}),
                         ES_OK);
        before = i == 0 ? allocated_bytes() : before;
        store_batch_clear(f->batch);
    }
    assert_true(allocated_bytes() < before + 10 * sizeof value);
}

static void a_batch_refuses_impossible_keys_and_stays_as_it_was(void **state)
{
    struct store_fixture *f = *state;
    static const uint8_t long_key[STORE_KEY_BYTES_MAX + 1] = {1};
    struct store_slice value = {"v", 1};

    assert_int_equal(store_batch_put(f->batch, STORE_KV, (struct store_slice){NULL, 0}, value),
                     ES_E_TOO_LARGE);
    assert_int_equal(
        store_batch_put(f->batch, STORE_KV, (struct store_slice){long_key, sizeof long_key}, value),
        ES_E_TOO_LARGE);
    assert_int_equal(
        store_batch_delete(f->batch, STORE_EVENTS, (struct store_slice){"12345678", 8}),
        ES_E_INVALID);
    assert_int_equal(store_batch_put(f->batch, STORE_KV, (struct store_slice){"k", 1},
                                     (struct store_slice){long_key, STORE_VALUE_BYTES_MAX + 1}),
                     ES_E_TOO_LARGE);
    assert_int_equal(store_batch_count(f->batch), 0);
    assert_int_equal(store_batch_put(f->batch, STORE_KV,
                                     (struct store_slice){long_key, STORE_KEY_BYTES_MAX}, value),
                     ES_OK);
    fixture_apply(f);
}

static void a_large_value_comes_back_whole(void **state)
{
    struct store_fixture *f = *state;
    size_t size = 3 * 1024 * 1024;
    uint8_t *bytes = malloc(size);
    struct store_buffer buffer = {0};
    struct store_slice key = {"large", 5};

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 7 + (i >> 12));
    }
    assert_int_equal(
        store_batch_put(f->batch, STORE_SNAPSHOTS, key, (struct store_slice){bytes, size}), ES_OK);
    fixture_apply(f);
    assert_int_equal(store_get(f->store, NULL, STORE_SNAPSHOTS, key, &buffer), ES_OK);
    assert_int_equal(buffer.size, size);
    assert_memory_equal(buffer.bytes, bytes, size);
    store_buffer_deinit(&buffer);
    free(bytes);
}

/* ---- Snapshots ------------------------------------------------------------- */

static void a_snapshot_does_not_see_what_comes_later(void **state)
{
    struct store_fixture *f = *state;
    struct store_snapshot *snapshot = NULL;

    fixture_put(f, STORE_KV, "k", "old");
    fixture_put(f, STORE_KV, "gone", "still here");
    fixture_apply(f);
    assert_int_equal(store_snapshot_new(f->store, &snapshot), ES_OK);
    fixture_put(f, STORE_KV, "k", "new");
    fixture_delete(f, STORE_KV, "gone");
    fixture_put(f, STORE_KV, "later", "x");
    fixture_apply(f);
    assert_string_equal(fixture_get(f, snapshot, STORE_KV, "k"), "old");
    assert_string_equal(fixture_get(f, snapshot, STORE_KV, "gone"), "still here");
    assert_null(fixture_get(f, snapshot, STORE_KV, "later"));
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "k"), "new");
    assert_string_equal(fixture_list(f, snapshot, STORE_KV, "", ""), "gone=still here k=old ");
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "k=new later=x ");
    store_snapshot_free(f->store, snapshot);
    store_snapshot_free(f->store, NULL);
}

static void an_iterator_does_not_see_what_comes_later(void **state)
{
    struct store_fixture *f = *state;
    struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;

    fixture_put(f, STORE_KV, "a", "1");
    fixture_put(f, STORE_KV, "c", "3");
    fixture_apply(f);
    assert_int_equal(store_iterator_new(f->store, NULL, STORE_KV, &all, &iterator), ES_OK);
    store_iterator_seek_first(iterator);
    fixture_put(f, STORE_KV, "b", "2");
    fixture_delete(f, STORE_KV, "c");
    fixture_apply(f);
    store_iterator_next(iterator);
    assert_true(store_iterator_valid(iterator));
    assert_memory_equal(store_iterator_key(iterator).bytes, "c", 1);
    store_iterator_next(iterator);
    assert_false(store_iterator_valid(iterator));
    assert_int_equal(store_iterator_status(iterator), ES_OK);
    store_iterator_free(iterator);
    store_iterator_free(NULL);
}

/* ---- Iterators --------------------------------------------------------------- */

static void a_range_holds_its_first_key_and_not_its_end(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "a", "1");
    fixture_put(f, STORE_KV, "b", "2");
    fixture_put(f, STORE_KV, "bb", "3");
    fixture_put(f, STORE_KV, "c", "4");
    fixture_apply(f);
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "b", "c"), "b=2 bb=3 ");
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", "b"), "a=1 ");
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "bb", ""), "bb=3 c=4 ");
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "x", ""), "");
}

static void seeks_stay_within_the_range(void **state)
{
    struct store_fixture *f = *state;
    struct store_range range = {{"b", 1}, {"d", 1}};
    struct store_iterator *iterator = NULL;

    fixture_put(f, STORE_KV, "a", "1");
    fixture_put(f, STORE_KV, "b", "2");
    fixture_put(f, STORE_KV, "c", "3");
    fixture_put(f, STORE_KV, "d", "4");
    fixture_apply(f);
    assert_int_equal(store_iterator_new(f->store, NULL, STORE_KV, &range, &iterator), ES_OK);
    assert_false(store_iterator_valid(iterator));
    store_iterator_seek(iterator, (struct store_slice){"a", 1});
    assert_string_equal(fixture_at(iterator), "b=2");
    store_iterator_seek(iterator, (struct store_slice){"d", 1});
    assert_string_equal(fixture_at(iterator), "");
    store_iterator_seek_for_prev(iterator, (struct store_slice){"zzz", 3});
    assert_string_equal(fixture_at(iterator), "c=3");
    store_iterator_seek_for_prev(iterator, (struct store_slice){"bz", 2});
    assert_string_equal(fixture_at(iterator), "b=2");
    store_iterator_seek_for_prev(iterator, (struct store_slice){"az", 2});
    assert_string_equal(fixture_at(iterator), "");
    store_iterator_seek_last(iterator);
    assert_string_equal(fixture_at(iterator), "c=3");
    store_iterator_prev(iterator);
    assert_string_equal(fixture_at(iterator), "b=2");
    store_iterator_next(iterator);
    assert_string_equal(fixture_at(iterator), "c=3");
    store_iterator_next(iterator);
    assert_string_equal(fixture_at(iterator), "");
    store_iterator_free(iterator);
}

static void the_end_of_a_prefix_is_above_all_that_begins_with_it(void **state)
{
    uint8_t end[8];

    (void)state;
    assert_int_equal(store_prefix_end((struct store_slice){"ab", 2}, end), 2);
    assert_memory_equal(end, "ac", 2);
    assert_int_equal(store_prefix_end((struct store_slice){"a\xff\xff", 3}, end), 1);
    assert_memory_equal(end, "b", 1);
    assert_int_equal(store_prefix_end((struct store_slice){"\xff\xff", 2}, end), 0);
    assert_int_equal(store_prefix_end((struct store_slice){NULL, 0}, end), 0);
}

/* ---- Many at once, and flushes -------------------------------------------------- */

struct many_context {
    size_t next_index;
    size_t found;
    enum es_status answer;
};

static enum es_status many_visit(void *context, size_t index, const struct store_slice *value)
{
    struct many_context *many = context;

    assert_int_equal(index, many->next_index);
    many->next_index++;
    if (index % 3 == 0) {
        assert_null(value);
    } else {
        char expected[32];

        snprintf(expected, sizeof expected, "value %zu", index);
        assert_non_null(value);
        assert_int_equal(value->size, strlen(expected));
        assert_memory_equal(value->bytes, expected, value->size);
        many->found++;
    }
    return index == 200 ? many->answer : ES_OK;
}

static void many_values_are_got_at_once_in_the_order_of_their_keys(void **state)
{
    struct store_fixture *f = *state;
    struct store_slice keys[STORE_GET_MANY_MAX];
    char names[STORE_GET_MANY_MAX][32];
    struct many_context many = {.answer = ES_OK};

    for (size_t i = 0; i < STORE_GET_MANY_MAX; i++) {
        char value[32];

        snprintf(names[i], sizeof names[i], "key %zu", (i * 7919) % 10007);
        snprintf(value, sizeof value, "value %zu", i);
        keys[i] = (struct store_slice){names[i], strlen(names[i])};
        if (i % 3 != 0) {
            fixture_put(f, STORE_COMMITS, names[i], value);
        }
    }
    fixture_apply(f);
    assert_int_equal(
        store_get_many(f->store, NULL, STORE_COMMITS, keys, STORE_GET_MANY_MAX, many_visit, &many),
        ES_OK);
    assert_int_equal(many.next_index, STORE_GET_MANY_MAX);
    assert_int_equal(many.found, STORE_GET_MANY_MAX - 86);
    many = (struct many_context){.answer = ES_E_CORRUPT};
    assert_int_equal(
        store_get_many(f->store, NULL, STORE_COMMITS, keys, STORE_GET_MANY_MAX, many_visit, &many),
        ES_E_CORRUPT);
    assert_int_equal(many.next_index, 201); /* the visitor's answer ends it */
}

static void memory_is_told_and_grows_with_what_is_kept(void **state)
{
    struct store_fixture *f = *state;
    uint64_t before = store_memory_bytes(f->store);
    char key[32];
    char value[2000];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "key %d", i);
        fixture_put(f, STORE_KV, key, value);
    }
    fixture_apply(f);
    assert_true(store_memory_bytes(f->store) >= before + 500 * sizeof value);
}

static void without_a_failure_there_is_nothing_to_tell(void **state)
{
    struct store_fixture *f = *state;

    assert_string_equal(store_why(f->store), "");
    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put_event(f, "S:a:E:", 1, "one");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    assert_string_not_equal(store_why(f->store), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_got_and_what_is_not_is_not_found),
        cmocka_unit_test(families_do_not_see_each_other),
        cmocka_unit_test(a_later_operation_of_a_batch_wins),
        cmocka_unit_test(a_batch_in_order_changes_the_same),
        cmocka_unit_test(a_batch_in_order_is_refused_where_it_was),
        cmocka_unit_test(a_cleared_batch_is_empty_and_can_be_used_again),
        cmocka_unit_test(a_batch_used_again_takes_no_more_memory),
        cmocka_unit_test(a_batch_refuses_impossible_keys_and_stays_as_it_was),
        cmocka_unit_test(a_large_value_comes_back_whole),
        cmocka_unit_test(a_snapshot_does_not_see_what_comes_later),
        cmocka_unit_test(an_iterator_does_not_see_what_comes_later),
        cmocka_unit_test(a_range_holds_its_first_key_and_not_its_end),
        cmocka_unit_test(seeks_stay_within_the_range),
        cmocka_unit_test(the_end_of_a_prefix_is_above_all_that_begins_with_it),
        cmocka_unit_test(many_values_are_got_at_once_in_the_order_of_their_keys),
        cmocka_unit_test(memory_is_told_and_grows_with_what_is_kept),
        cmocka_unit_test(without_a_failure_there_is_nothing_to_tell),
    };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
