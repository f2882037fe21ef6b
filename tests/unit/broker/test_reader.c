/*
 * The reader against stores that the broker's own sequencer and apply have
 * built. A plain list of what was appended is the truth; every way of reading
 * must give exactly that, whatever the size of commits, runs and pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/reader.h"
#include "shm/codec/envelope.h"
#include "tests/support/reader_fixture.h"

static void an_empty_store_has_nothing_and_its_genesis_hash(void **state)
{
    struct reader_fixture *f = *state;
    struct reader_test_page *page = malloc(sizeof *page);
    struct reader_page got = {0};
    struct es_head_value head;

    assert_non_null(page);
    reader_page_begin(f, page, 10);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    assert_int_equal(reader_head(f->reader)->position, 0);
    assert_int_equal(reader_head(f->reader)->commit_number, 0);
    assert_memory_equal(reader_head(f->reader)->store_hash, f->builder.store_hash, ES_HASH_SIZE);
    assert_int_equal(reader_all(f->reader, 1, 10, es_text_of(""), reader_take, page, &got), ES_OK);
    assert_true(got.end);
    assert_int_equal(got.next, 1);
    assert_int_equal(reader_stream_head(f->reader, es_text_of(reader_stream_names[0]), &head),
                     ES_NOT_FOUND);
    reader_end(f->reader);
    free(page);
}

static void the_head_is_that_of_the_last_commit_also_of_keys_only(void **state)
{
    struct reader_fixture *f = *state;

    reader_append(f, 0, 3, 10);
    store_builder_commit(&f->builder);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(reader_begin(f->reader), ES_OK);
        assert_int_equal(reader_head(f->reader)->position, 3);
        assert_int_equal(reader_head(f->reader)->commit_number, 1 + i);
        assert_memory_equal(reader_head(f->reader)->store_hash, f->builder.store_hash,
                            ES_HASH_SIZE);
        reader_end(f->reader);
        store_builder_put(&f->builder, ES_KV_TRUTH, "n", "k", "v");
        store_builder_commit(&f->builder);
    }
}

static void reading_all_gives_every_event_in_order_whatever_the_page(void **state)
{
    static const uint32_t pages[] = {1, 2, 3, 7, 64, 1000, 1024, 1025, 65536};
    struct reader_fixture *f = *state;

    reader_fill(f, 60, 300);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        reader_assert_all(f, "", 0, pages[i]);
    }
}

static void reading_all_begins_at_any_position(void **state)
{
    struct reader_fixture *f = *state;

    reader_fill(f, 10, 300);
    for (uint64_t from = 1; from <= f->last_position + 1; from++) {
        reader_assert_all(f, "", from, 50);
    }
}

static void a_page_stays_within_its_bytes_but_has_at_least_one_event(void **state)
{
    struct reader_fixture *f = *state;
    struct reader_test_page *page = malloc(sizeof *page);
    struct reader_page got = {0};

    assert_non_null(page);
    for (uint32_t i = 0; i < 20; i++) {
        reader_append(f, i % 3, 1, i == 7 ? 2 << 20 : 100000);
        store_builder_commit(&f->builder);
    }
    reader_assert_all(f, "", 1, PAGE_ITEMS_MAX);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    reader_page_begin(f, page, 100);
    assert_int_equal(reader_all(f->reader, 1, 100, es_text_of(""), reader_take, page, &got), ES_OK);
    assert_int_equal(page->count, 2);
    reader_page_begin(f, page, 100);
    assert_int_equal(reader_all(f->reader, 8, 100, es_text_of(""), reader_take, page, &got), ES_OK);
    assert_int_equal(page->count, 1);
    assert_int_equal(got.next, 9);
    reader_page_begin(f, page, 100);
    assert_int_equal(reader_stream(f->reader, es_text_of(reader_stream_names[1]), 0, 100, true,
                                   reader_take, page, &got),
                     ES_OK);
    assert_true(page->count >= 1);
    assert_true(page->count <= 2);
    reader_end(f->reader);
    free(page);
}

/* "order" must not get what is of "orders", nor L1 what is of L10. */
static void a_category_filter_takes_the_whole_category_and_no_other(void **state)
{
    static const char *const filters[] = {
        "prod:main:L0:order",
        "prod:main:L0:orders",
        "prod:main:L1:orders",
        "prod:main:L10:orders",
        "prod:main:L0:o",
        "prod:main:L0:ord*",
        "prod:main:*",
        "prod:main*",
        "p*",
        "*",
        "nobody:main:L0:x",
        "prod:main:L0:orders:*",
    };
    struct reader_fixture *f = *state;

    reader_fill(f, 40, 300);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        reader_assert_all(f, filters[i], 1, 17);
        reader_assert_all(f, filters[i], 1, PAGE_ITEMS_MAX);
    }
}

static void a_filter_matches_whole_parts_or_a_stated_prefix(void **state)
{
    static const struct {
        const char *filter;
        const char *stream;
        bool matches;
    } cases[] = {
        {"", "a:b:L0:c:M1", true},
        {"*", "a:b:L0:c:M1", true},
        {"a:b:L0:c", "a:b:L0:c:M1", true},
        {"a:b:L0:c", "a:b:L0:cd:M1", false},
        {"a:b:L0:c:", "a:b:L0:c:M1", true},
        {"a:b:L0:c:", "a:b:L0:cd:M1", false},
        {"a:b:L0:c*", "a:b:L0:cd:M1", true},
        {"a:b:L0:cd", "a:b:L0:c:M1", false},
        {"a:", "a:b:L0:c:M1", true},
        {"b:", "a:b:L0:c:M1", false},
        {"a:b:L0:c:M1", "a:b:L0:c:M1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(
            reader_filter_matches(es_text_of(cases[i].filter), es_text_of(cases[i].stream)),
            cases[i].matches);
    }
}

static void a_stream_is_read_in_pages_forwards_and_backwards(void **state)
{
    static const uint32_t pages[] = {1, 3, 64, 65, 1024, 65536};
    struct reader_fixture *f = *state;
    struct reader_test_page *page = malloc(sizeof *page);

    assert_non_null(page);
    reader_fill(f, 100, 100);
    for (uint32_t i = 0; i < (READER_STREAMS - 1) * sizeof pages / sizeof pages[0]; i++) {
        uint32_t stream = i % (READER_STREAMS - 1);
        uint64_t last = f->last_sequence[stream];
        struct reader_page got = {0};
        uint64_t sequence = 1;

        assert_int_equal(reader_begin(f->reader), ES_OK);
        for (bool backwards = false;; backwards = true) {
            got = (struct reader_page){0};
            sequence = backwards ? last : 1;
            while (!got.end) {
                reader_page_begin(f, page, pages[i / (READER_STREAMS - 1)]);
                assert_int_equal(reader_stream(f->reader, es_text_of(reader_stream_names[stream]),
                                               got.next, page->events_max, backwards, reader_take,
                                               page, &got),
                                 ES_OK);
                assert_true(page->count > 0);
                for (uint32_t k = 0; k < page->count; k++) {
                    assert_int_equal(page->positions[k], f->positions[stream][sequence]);
                    sequence += backwards ? UINT64_MAX : 1;
                }
            }
            assert_int_equal(got.next, backwards ? 0 : last + 1);
            assert_int_equal(sequence, got.next);
            if (backwards) {
                break;
            }
        }
        reader_end(f->reader);
    }
    free(page);
}

static void a_stream_read_past_its_end_is_an_empty_page_at_the_end(void **state)
{
    struct reader_fixture *f = *state;
    struct reader_page got = {0};
    struct reader_test_page *page = malloc(sizeof *page);

    assert_non_null(page);
    reader_append(f, 0, 5, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    reader_page_begin(f, page, 10);
    assert_int_equal(reader_stream(f->reader, es_text_of(reader_stream_names[0]), 6, 10, false,
                                   reader_take, page, &got),
                     ES_OK);
    assert_true(got.end);
    assert_int_equal(got.next, 6);
    assert_int_equal(page->count, 0);
    assert_int_equal(reader_stream(f->reader, es_text_of(reader_stream_names[0]), 99, 2, true,
                                   reader_take, page, &got),
                     ES_OK);
    assert_int_equal(page->count, 2);
    assert_int_equal(got.next, 3);
    assert_int_equal(reader_stream(f->reader, es_text_of(reader_stream_names[1]), 0, 10, false,
                                   reader_take, page, &got),
                     ES_NOT_FOUND);
    reader_end(f->reader);
    free(page);
}

static void every_event_is_located_and_read_alone(void **state)
{
    struct reader_fixture *f = *state;
    uint64_t position = 0;
    uint64_t time_us = 0;
    struct reader_event event;

    reader_fill(f, 60, 50);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    for (uint32_t i = 0; i < READER_STREAMS - 1; i++) {
        struct es_text stream = es_text_of(reader_stream_names[i]);

        for (uint64_t sequence = 1; sequence <= f->last_sequence[i]; sequence++) {
            assert_int_equal(reader_locate(f->reader, stream, sequence, &position, &time_us),
                             ES_OK);
            assert_int_equal(position, f->positions[i][sequence]);
            assert_int_equal(time_us, f->events[position].time_us);
            assert_int_equal(reader_event(f->reader, stream, sequence, true, &event), ES_OK);
            assert_int_equal(event.position, position);
        }
        assert_int_equal(reader_event(f->reader, stream, f->last_sequence[i] + 1, false, &event),
                         ES_NOT_FOUND);
        assert_int_equal(reader_event(f->reader, stream, 0, false, &event), ES_NOT_FOUND);
    }
    reader_end(f->reader);
}

static void a_scan_gives_every_event_of_a_prefix_once_in_key_order(void **state)
{
    static const char *const prefixes[] = {
        "", "prod:main:L0:orders:", "prod:main:L0:order", "prod:main:L0:orders:M1:", "zzz", "p"};
    struct reader_fixture *f = *state;
    struct reader_test_page *page = malloc(sizeof *page);

    assert_non_null(page);
    reader_fill(f, 40, 200);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        struct es_key last_key = {.size = 0};
        struct es_key after;
        uint64_t expected = 0;
        uint64_t found = 0;
        bool end = false;

        for (uint32_t stream = 0; stream < READER_STREAMS; stream++) {
            char closed[64]; /* a prefix that ends in ':' may name one stream */

            snprintf(closed, sizeof closed, "%s:", reader_stream_names[stream]);
            if (strncmp(closed, prefixes[i], strlen(prefixes[i])) == 0) {
                expected += f->last_sequence[stream];
            }
        }
        while (!end) {
            after = last_key;
            reader_page_begin(f, page, 37);
            assert_int_equal(reader_scan(f->reader, es_bytes_make(after.bytes, after.size),
                                         es_text_of(prefixes[i]), 37, reader_take, page, &last_key,
                                         &end),
                             ES_OK);
            found += page->count;
            assert_true(end || page->count > 0);
        }
        assert_int_equal(found, expected);
    }
    reader_end(f->reader);
    free(page);
}

static void a_snapshot_does_not_see_what_is_committed_later(void **state)
{
    struct reader_fixture *f = *state;
    struct reader_test_page *page = malloc(sizeof *page);
    struct reader_page got = {0};

    assert_non_null(page);
    reader_fill(f, 5, 100);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    uint64_t before = f->last_position;
    reader_fill(f, 5, 100);
    reader_page_begin(f, page, PAGE_ITEMS_MAX);
    assert_int_equal(
        reader_all(f->reader, 1, PAGE_ITEMS_MAX, es_text_of(""), reader_take, page, &got), ES_OK);
    assert_int_equal(page->count, before);
    assert_int_equal(got.next, before + 1);
    assert_true(got.end);
    reader_end(f->reader);
    reader_assert_all(f, "", 1, 100);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, reader_set_up, reader_tear_down)
        TEST(an_empty_store_has_nothing_and_its_genesis_hash),
        TEST(the_head_is_that_of_the_last_commit_also_of_keys_only),
        TEST(reading_all_gives_every_event_in_order_whatever_the_page),
        TEST(reading_all_begins_at_any_position),
        TEST(a_page_stays_within_its_bytes_but_has_at_least_one_event),
        TEST(a_category_filter_takes_the_whole_category_and_no_other),
        TEST(a_filter_matches_whole_parts_or_a_stated_prefix),
        TEST(a_stream_is_read_in_pages_forwards_and_backwards),
        TEST(a_stream_read_past_its_end_is_an_empty_page_at_the_end),
        TEST(every_event_is_located_and_read_alone),
        TEST(a_scan_gives_every_event_of_a_prefix_once_in_key_order),
        TEST(a_snapshot_does_not_see_what_is_committed_later),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
