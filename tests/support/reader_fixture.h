/*
 * A reader over a store that the broker's own sequencer and apply build, with a plain
 * list of what was appended as the truth that every way of reading is held against.
 * Failures end the test.
 */
#ifndef TESTS_SUPPORT_READER_FIXTURE_H
#define TESTS_SUPPORT_READER_FIXTURE_H

#include "broker/limits.h"
#include "broker/reader.h"
#include "tests/support/prng.h"
#include "tests/support/store_builder.h"

enum {
    READER_STREAMS = 12,
    READER_EVENTS_MAX = 8192
};

extern const char
    *const reader_stream_names[READER_STREAMS]; /* reader_fill() leaves the last empty */

struct reader_truth {
    uint32_t stream;
    uint64_t sequence;
    uint64_t time_us;
};

struct reader_fixture {
    struct store_builder builder;
    struct reader *reader;
    struct prng prng;
    struct reader_truth events[READER_EVENTS_MAX + 1]; /* by position */
    uint64_t positions[READER_STREAMS][READER_EVENTS_MAX];
    uint64_t last_sequence[READER_STREAMS];
    uint64_t last_position;
};

/* Of cmocka; '*state' is the fixture. */
int reader_set_up(void **state);
int reader_tear_down(void **state);

/* Appends events to a stream, into the commit that is being made. */
void reader_append(struct reader_fixture *f, uint32_t stream, uint32_t count,
                   uint32_t payload_bytes);

/* Commits of 1..60 events in runs of 1..5, and keys in between. */
void reader_fill(struct reader_fixture *f, uint32_t commit_count, uint32_t payload_max);

/* A page of a reply: takes up to 'events_max' events or 'bytes_max'. */
struct reader_test_page {
    struct reader_fixture *f;
    uint32_t events_max;
    size_t bytes_max;
    uint32_t count;
    size_t bytes;
    uint64_t positions[PAGE_ITEMS_MAX];
};

void reader_page_begin(struct reader_fixture *f, struct reader_test_page *page,
                       uint32_t events_max);

/* A reader's visitor: compares with the truth; 'context' is a page. */
bool reader_take(void *context, const struct reader_event *event);

/* Reads everything that matches in pages, and compares with the truth. */
void reader_assert_all(struct reader_fixture *f, const char *filter, uint64_t from,
                       uint32_t page_events);

#endif
