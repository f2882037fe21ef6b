#include "tests/support/reader_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shm/codec/envelope.h"

const char *const reader_stream_names[READER_STREAMS] = {
    "prod:main:L0:order:M1",   "prod:main:L0:order:M2",  "prod:main:L0:orders:M1",
    "prod:main:L0:orders:M10", "prod:main:L0:orders:M2", "prod:main:L1:orders:M1",
    "prod:main:L10:orders:M1", "prod:dev:L0:orders:M1",  "test:main:L0:orders:M1",
    "prod:main:L0:o:M1",       "prod:main:L0:orders:MM", "prod:mainly:L0:orders:M1",
};

void reader_append(struct reader_fixture *f, uint32_t stream, uint32_t count,
                   uint32_t payload_bytes)
{
    store_builder_append(&f->builder, reader_stream_names[stream], count, payload_bytes);
    for (uint32_t i = 0; i < count; i++) {
        f->last_position++;
        f->last_sequence[stream]++;
        assert_true(f->last_position <= READER_EVENTS_MAX);
        f->events[f->last_position] = (struct reader_truth){
            .stream = stream,
            .sequence = f->last_sequence[stream],
            .time_us = f->builder.time_us,
        };
        f->positions[stream][f->last_sequence[stream]] = f->last_position;
    }
}

int reader_set_up(void **state)
{
    struct reader_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    prng_begin(&f->prng, "test_reader");
    store_builder_open(&f->builder, NULL);
    assert_int_equal(reader_new(f->builder.store, &f->reader), ES_OK);
    *state = f;
    return 0;
}

int reader_tear_down(void **state)
{
    struct reader_fixture *f = *state;

    reader_free(f->reader);
    store_builder_close(&f->builder);
    free(f);
    return 0;
}

void reader_fill(struct reader_fixture *f, uint32_t commit_count, uint32_t payload_max)
{
    for (uint32_t i = 0; i < commit_count; i++) {
        uint64_t transactions = 1 + prng_below(&f->prng, 20);

        for (uint64_t j = 0; j < transactions; j++) {
            reader_append(f, (uint32_t)prng_below(&f->prng, READER_STREAMS - 1),
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

bool reader_take(void *context, const struct reader_event *event)
{
    struct reader_test_page *page = context;
    struct reader_fixture *f = page->f;
    struct es_event_view view;
    uint64_t position = event->position;
    const struct reader_truth *truth = NULL;

    if (page->count == page->events_max ||
        (page->count > 0 && page->bytes + event->envelope.size > page->bytes_max)) {
        return false;
    }
    if (position == 0) { /* a scan: found by stream and sequence */
        for (uint32_t i = 0; i < READER_STREAMS; i++) {
            if (es_text_equal(event->stream, es_text_of(reader_stream_names[i]))) {
                position = f->positions[i][event->sequence];
            }
        }
    }
    assert_true(position >= 1 && position <= f->last_position);
    truth = &f->events[position];
    assert_true(es_text_equal(event->stream, es_text_of(reader_stream_names[truth->stream])));
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

void reader_page_begin(struct reader_fixture *f, struct reader_test_page *page, uint32_t events_max)
{
    page->f = f;
    page->events_max = events_max;
    page->bytes_max = PAGE_BYTES_MAX;
    page->count = 0;
    page->bytes = 0;
}

void reader_assert_all(struct reader_fixture *f, const char *filter, uint64_t from,
                       uint32_t page_events)
{
    struct reader_test_page *page = malloc(sizeof *page);
    struct reader_page got = {.next = from};
    uint64_t expected = from == 0 ? 1 : from;
    size_t filter_bytes = strlen(filter);
    bool prefix = filter_bytes == 0 || filter[filter_bytes - 1] == '*';

    assert_non_null(page);
    while (!got.end) {
        assert_int_equal(reader_begin(f->reader), ES_OK);
        reader_page_begin(f, page, page_events);
        assert_int_equal(reader_all(f->reader, got.next, page_events, es_text_of(filter),
                                    reader_take, page, &got),
                         ES_OK);
        reader_end(f->reader);
        for (uint32_t i = 0; i < page->count; expected++) {
            const char *stream = reader_stream_names[f->events[expected].stream];
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
        const char *stream = reader_stream_names[f->events[expected].stream];

        assert_true(!prefix && strncmp(stream, filter, filter_bytes) != 0 ? true
                    : prefix ? strncmp(stream, filter, filter_bytes - (filter_bytes > 0)) != 0
                             : stream[filter_bytes] != ':' ||
                                   strchr(stream + filter_bytes + 1, ':') != NULL);
    }
    free(page);
}
