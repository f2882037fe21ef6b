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
#include "tests/support/prng.h"
#include "tests/support/store_builder.h"

enum {
    STREAMS = 12,
    EVENTS_MAX = 8192
};

static const char *const stream_names[STREAMS] = {
    "prod:main:L0:order:M1",   "prod:main:L0:order:M2",  "prod:main:L0:orders:M1",
    "prod:main:L0:orders:M10", "prod:main:L0:orders:M2", "prod:main:L1:orders:M1",
    "prod:main:L10:orders:M1", "prod:dev:L0:orders:M1",  "test:main:L0:orders:M1",
    "prod:main:L0:o:M1",       "prod:main:L0:orders:MM", "prod:mainly:L0:orders:M1",
};

struct truth {
    uint32_t stream;
    uint64_t sequence;
    uint64_t time_us;
};

struct fixture {
    struct store_builder builder;
    struct reader *reader;
    struct prng prng;
    struct truth events[EVENTS_MAX + 1]; /* by position */
    uint64_t positions[STREAMS][EVENTS_MAX];
    uint64_t last_sequence[STREAMS];
    uint64_t last_position;
};

static void append(struct fixture *f, uint32_t stream, uint32_t count, uint32_t payload_bytes)
{
    store_builder_append(&f->builder, stream_names[stream], count, payload_bytes);
    for (uint32_t i = 0; i < count; i++) {
        f->last_position++;
        f->last_sequence[stream]++;
        assert_true(f->last_position <= EVENTS_MAX);
        f->events[f->last_position] = (struct truth){
            .stream = stream,
            .sequence = f->last_sequence[stream],
            .time_us = f->builder.time_us,
        };
        f->positions[stream][f->last_sequence[stream]] = f->last_position;
    }
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    prng_begin(&f->prng, "test_reader");
    store_builder_open(&f->builder, NULL);
    assert_int_equal(reader_new(f->builder.store, &f->reader), ES_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    reader_free(f->reader);
    store_builder_close(&f->builder);
    free(f);
    return 0;
}

/* Commits of 1..60 events in runs of 1..5, and keys in between. */
static void fill(struct fixture *f, uint32_t commit_count, uint32_t payload_max)
{
    for (uint32_t i = 0; i < commit_count; i++) {
        uint64_t transactions = 1 + prng_below(&f->prng, 20);

        for (uint64_t j = 0; j < transactions; j++) {
            append(f, (uint32_t)prng_below(&f->prng, STREAMS - 1),
                   1 + (uint32_t)prng_below(&f->prng, 3),
                   (uint32_t)prng_below(&f->prng, payload_max));
        }
        if (prng_one_in(&f->prng, 4)) {
            store_builder_put(&f->builder, ES_KV_TRUTH, "n", "k", "v");
        }
        store_builder_commit(&f->builder);
        while (prng_one_in(&f->prng, 4)) { /* commits of keys only, sometimes several */
            store_builder_put(&f->builder, ES_KV_TRUTH, "n", "k", "v");
            store_builder_commit(&f->builder);
        }
    }
}

/* A page of a reply: takes up to 'events_max' events or 'bytes_max'. */
struct page {
    struct fixture *f;
    uint32_t events_max;
    size_t bytes_max;
    uint32_t count;
    size_t bytes;
    uint64_t positions[PAGE_ITEMS_MAX];
};

static bool take(void *context, const struct reader_event *event)
{
    struct page *page = context;
    struct fixture *f = page->f;
    struct es_event_view view;
    uint64_t position = event->position;
    const struct truth *truth = NULL;

    if (page->count == page->events_max ||
        (page->count > 0 && page->bytes + event->envelope.size > page->bytes_max)) {
        return false;
    }
    if (position == 0) { /* a scan: found by stream and sequence */
        for (uint32_t i = 0; i < STREAMS; i++) {
            if (es_text_equal(event->stream, es_text_of(stream_names[i]))) {
                position = f->positions[i][event->sequence];
            }
        }
    }
    assert_true(position >= 1 && position <= f->last_position);
    truth = &f->events[position];
    assert_true(es_text_equal(event->stream, es_text_of(stream_names[truth->stream])));
    assert_int_equal(event->sequence, truth->sequence);
    if (event->position != 0) {
        assert_int_equal(event->time_us, truth->time_us);
    }
    assert_int_equal(es_envelope_decode(event->envelope.data, event->envelope.size, &view), ES_OK);
    if (view.event.payload.size > 0) {
        assert_int_equal(view.event.payload.data[0], (position - 1) & 0xff);
    }
    page->positions[page->count++] = position;
    page->bytes += event->envelope.size;
    return true;
}

static void page_begin(struct fixture *f, struct page *page, uint32_t events_max)
{
    page->f = f;
    page->events_max = events_max;
    page->bytes_max = PAGE_BYTES_MAX;
    page->count = 0;
    page->bytes = 0;
}

/* Reads everything that matches in pages, and compares with the truth. */
static void assert_all_is_read(struct fixture *f, const char *filter, uint64_t from,
                               uint32_t page_events)
{
    struct page *page = malloc(sizeof *page);
    struct reader_page got = {.next = from};
    uint64_t expected = from == 0 ? 1 : from;
    size_t filter_bytes = strlen(filter);
    bool prefix = filter_bytes == 0 || filter[filter_bytes - 1] == '*';

    assert_non_null(page);
    while (!got.end) {
        assert_int_equal(reader_begin(f->reader), ES_OK);
        page_begin(f, page, page_events);
        assert_int_equal(
            reader_all(f->reader, got.next, page_events, es_text_of(filter), take, page, &got),
            ES_OK);
        reader_end(f->reader);
        for (uint32_t i = 0; i < page->count; expected++) {
            const char *stream = stream_names[f->events[expected].stream];
            size_t category_bytes = (size_t)(strrchr(stream, ':') - stream);
            bool matches = prefix ? strncmp(stream, filter, filter_bytes - (filter_bytes > 0)) == 0
                                  : category_bytes == filter_bytes &&
                                        strncmp(stream, filter, filter_bytes) == 0;

            assert_true(expected <= f->last_position);
            if (matches) {
                assert_int_equal(page->positions[i], expected);
                i++;
            }
        }
        assert_true(got.next >= expected);
        assert_true(page->count > 0 || got.end);
    }
    assert_int_equal(got.next, f->last_position + 1);
    for (; expected <= f->last_position; expected++) { /* nothing that matches was left out */
        const char *stream = stream_names[f->events[expected].stream];

        assert_true(!prefix && strncmp(stream, filter, filter_bytes) != 0 ? true
                    : prefix ? strncmp(stream, filter, filter_bytes - (filter_bytes > 0)) != 0
                             : stream[filter_bytes] != ':' ||
                                   strchr(stream + filter_bytes + 1, ':') != NULL);
    }
    free(page);
}

static void an_empty_store_has_nothing_and_its_genesis_hash(void **state)
{
    struct fixture *f = *state;
    struct page *page = malloc(sizeof *page);
    struct reader_page got = {0};
    struct es_head_value head;

    assert_non_null(page);
    page_begin(f, page, 10);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    assert_int_equal(reader_head(f->reader)->position, 0);
    assert_int_equal(reader_head(f->reader)->commit_number, 0);
    assert_memory_equal(reader_head(f->reader)->store_hash, f->builder.store_hash, ES_HASH_SIZE);
    assert_int_equal(reader_all(f->reader, 1, 10, es_text_of(""), take, page, &got), ES_OK);
    assert_true(got.end);
    assert_int_equal(got.next, 1);
    assert_int_equal(reader_stream_head(f->reader, es_text_of(stream_names[0]), &head),
                     ES_NOT_FOUND);
    reader_end(f->reader);
    free(page);
}

static void the_head_is_that_of_the_last_commit_also_of_keys_only(void **state)
{
    struct fixture *f = *state;

    append(f, 0, 3, 10);
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
    struct fixture *f = *state;

    fill(f, 60, 300);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        assert_all_is_read(f, "", 0, pages[i]);
    }
}

static void reading_all_begins_at_any_position(void **state)
{
    struct fixture *f = *state;

    fill(f, 10, 300);
    for (uint64_t from = 1; from <= f->last_position + 1; from++) {
        assert_all_is_read(f, "", from, 50);
    }
}

static void a_page_stays_within_its_bytes_but_has_at_least_one_event(void **state)
{
    struct fixture *f = *state;
    struct page *page = malloc(sizeof *page);
    struct reader_page got = {0};

    assert_non_null(page);
    for (uint32_t i = 0; i < 20; i++) {
        append(f, i % 3, 1, i == 7 ? 2 << 20 : 100000);
        store_builder_commit(&f->builder);
    }
    assert_all_is_read(f, "", 1, PAGE_ITEMS_MAX);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    page_begin(f, page, 100);
    assert_int_equal(reader_all(f->reader, 1, 100, es_text_of(""), take, page, &got), ES_OK);
    assert_int_equal(page->count, 2);
    page_begin(f, page, 100);
    assert_int_equal(reader_all(f->reader, 8, 100, es_text_of(""), take, page, &got), ES_OK);
    assert_int_equal(page->count, 1);
    assert_int_equal(got.next, 9);
    page_begin(f, page, 100);
    assert_int_equal(
        reader_stream(f->reader, es_text_of(stream_names[1]), 0, 100, true, take, page, &got),
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
    struct fixture *f = *state;

    fill(f, 40, 300);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        assert_all_is_read(f, filters[i], 1, 17);
        assert_all_is_read(f, filters[i], 1, PAGE_ITEMS_MAX);
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
    struct fixture *f = *state;
    struct page *page = malloc(sizeof *page);

    assert_non_null(page);
    fill(f, 100, 100);
    for (uint32_t i = 0; i < (STREAMS - 1) * sizeof pages / sizeof pages[0]; i++) {
        uint32_t stream = i % (STREAMS - 1);
        uint64_t last = f->last_sequence[stream];
        struct reader_page got = {0};
        uint64_t sequence = 1;

        assert_int_equal(reader_begin(f->reader), ES_OK);
        for (bool backwards = false;; backwards = true) {
            got = (struct reader_page){0};
            sequence = backwards ? last : 1;
            while (!got.end) {
                page_begin(f, page, pages[i / (STREAMS - 1)]);
                assert_int_equal(reader_stream(f->reader, es_text_of(stream_names[stream]),
                                               got.next, page->events_max, backwards, take, page,
                                               &got),
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
    struct fixture *f = *state;
    struct reader_page got = {0};
    struct page *page = malloc(sizeof *page);

    assert_non_null(page);
    append(f, 0, 5, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    page_begin(f, page, 10);
    assert_int_equal(
        reader_stream(f->reader, es_text_of(stream_names[0]), 6, 10, false, take, page, &got),
        ES_OK);
    assert_true(got.end);
    assert_int_equal(got.next, 6);
    assert_int_equal(page->count, 0);
    assert_int_equal(
        reader_stream(f->reader, es_text_of(stream_names[0]), 99, 2, true, take, page, &got),
        ES_OK);
    assert_int_equal(page->count, 2);
    assert_int_equal(got.next, 3);
    assert_int_equal(
        reader_stream(f->reader, es_text_of(stream_names[1]), 0, 10, false, take, page, &got),
        ES_NOT_FOUND);
    reader_end(f->reader);
    free(page);
}

static void every_event_is_located_and_read_alone(void **state)
{
    struct fixture *f = *state;
    uint64_t position = 0;
    uint64_t time_us = 0;
    struct reader_event event;

    fill(f, 60, 50);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    for (uint32_t i = 0; i < STREAMS - 1; i++) {
        struct es_text stream = es_text_of(stream_names[i]);

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
    struct fixture *f = *state;
    struct page *page = malloc(sizeof *page);

    assert_non_null(page);
    fill(f, 40, 200);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        struct es_key last_key = {.size = 0};
        struct es_key after;
        uint64_t expected = 0;
        uint64_t found = 0;
        bool end = false;

        for (uint32_t stream = 0; stream < STREAMS; stream++) {
            char closed[64]; /* a prefix that ends in ':' may name one stream */

            snprintf(closed, sizeof closed, "%s:", stream_names[stream]);
            if (strncmp(closed, prefixes[i], strlen(prefixes[i])) == 0) {
                expected += f->last_sequence[stream];
            }
        }
        while (!end) {
            after = last_key;
            page_begin(f, page, 37);
            assert_int_equal(reader_scan(f->reader, es_bytes_make(after.bytes, after.size),
                                         es_text_of(prefixes[i]), 37, take, page, &last_key, &end),
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
    struct fixture *f = *state;
    struct page *page = malloc(sizeof *page);
    struct reader_page got = {0};

    assert_non_null(page);
    fill(f, 5, 100);
    assert_int_equal(reader_begin(f->reader), ES_OK);
    uint64_t before = f->last_position;
    fill(f, 5, 100);
    page_begin(f, page, PAGE_ITEMS_MAX);
    assert_int_equal(reader_all(f->reader, 1, PAGE_ITEMS_MAX, es_text_of(""), take, page, &got),
                     ES_OK);
    assert_int_equal(page->count, before);
    assert_int_equal(got.next, before + 1);
    assert_true(got.end);
    reader_end(f->reader);
    assert_all_is_read(f, "", 1, 100);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
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
