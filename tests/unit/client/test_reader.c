/*
 * Readers against a broker that may lie: every event in order, page by page, and
 * whatever is altered, missing, doubled or misplaced is refused with its position.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/client_fixture.h"

#define STREAM_A "test:main:L0:orders:M1"
#define STREAM_B "test:main:L0:orders:M2"
#define STREAM_C "test:main:L0:parcels:M1"

static void store_many(struct client_fixture *f, uint32_t count)
{
    static const char *const streams[] = {STREAM_A, STREAM_B, STREAM_C};

    for (uint32_t i = 0; i < count; i++) {
        char payload[32];

        (void)snprintf(payload, sizeof payload, "payload %u", i + 1);
        (void)fake_broker_store(f->broker, streams[i % 3], payload);
    }
}

static struct es_reader *open_all(struct client_fixture *f, const char *filter, uint64_t from)
{
    struct es_reader *reader = NULL;

    assert_int_equal(es_reader_open_all(f->connection, filter, from, &reader), ES_OK);
    return reader;
}

static struct es_reader *open_stream(struct client_fixture *f, const char *stream, uint64_t from,
                                     bool is_backwards)
{
    struct es_reader *reader = NULL;

    assert_int_equal(es_reader_open_stream(f->connection, stream, from, is_backwards, &reader),
                     ES_OK);
    return reader;
}

static void reading_all_gives_every_event_once_over_many_pages(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *reader = open_all(f, NULL, 0);
    struct es_event event;

    store_many(f, 95);
    for (uint64_t position = 1; position <= 95; position++) {
        char payload[32];

        assert_int_equal(es_reader_next(reader, &event), ES_OK);
        assert_int_equal(event.position, position);
        assert_int_equal(event.sequence, (position + 2) / 3);
        assert_string_equal(event.type, "noted");
        assert_int_equal(event.tick, 1);
        assert_int_equal(event.time_us, 1000000 + position);
        assert_true((event.previous_hash == NULL) == (event.sequence == 1));
        (void)snprintf(payload, sizeof payload, "payload %u", (unsigned)position);
        assert_int_equal(event.payload_bytes, strlen(payload));
        assert_memory_equal(event.payload, payload, strlen(payload));
    }
    assert_int_equal(es_reader_next(reader, &event), ES_EMPTY);
    assert_int_equal(es_reader_consistent_position(reader), 95);
    store_many(f, 3); /* a later call looks again */
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    assert_int_equal(event.position, 96);
    es_reader_close(reader);
}

static void a_filter_gives_its_categories_only(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *reader = open_all(f, "test:main:L0:parcels", 4);
    struct es_event event;

    store_many(f, 60);
    for (uint64_t position = 6; position <= 60; position += 3) {
        assert_int_equal(es_reader_next(reader, &event), ES_OK);
        assert_int_equal(event.position, position);
        assert_string_equal(event.stream, STREAM_C);
    }
    assert_int_equal(es_reader_next(reader, &event), ES_EMPTY);
    es_reader_close(reader);
    reader = open_all(f, "test:main:*", 1);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    es_reader_close(reader);
    assert_int_equal(es_reader_open_all(f->connection, "test:main", 1, &reader), ES_E_INVALID);
    assert_non_null(strstr(es_connection_error(f->connection), "end it with *"));
    assert_int_equal(es_reader_open_all(f->connection, "a:b:L0:c:M1*", 1, &reader), ES_E_INVALID);
}

static void a_stream_reads_forwards_and_backwards_to_its_ends(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *forwards = open_stream(f, STREAM_A, 0, false);
    struct es_reader *backwards = open_stream(f, STREAM_A, 0, true);
    struct es_reader *middle = open_stream(f, STREAM_A, 15, true);
    struct es_event event;

    store_many(f, 75);
    for (uint64_t sequence = 1; sequence <= 25; sequence++) {
        assert_int_equal(es_reader_next(forwards, &event), ES_OK);
        assert_int_equal(event.sequence, sequence);
        assert_int_equal(es_reader_next(backwards, &event), ES_OK);
        assert_int_equal(event.sequence, 26 - sequence);
    }
    assert_int_equal(es_reader_next(forwards, &event), ES_EMPTY);
    assert_int_equal(es_reader_next(backwards, &event), ES_EMPTY);
    assert_int_equal(es_reader_next(backwards, &event), ES_EMPTY);
    assert_int_equal(es_reader_next(middle, &event), ES_OK);
    assert_int_equal(event.sequence, 15);
    (void)fake_broker_store(f->broker, STREAM_A, "one more");
    assert_int_equal(es_reader_next(forwards, &event), ES_OK);
    assert_int_equal(event.sequence, 26);
    es_reader_close(forwards);
    es_reader_close(backwards);
    es_reader_close(middle);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *unknown = open_stream(f, "test:main:L0:orders:Mnone", 0, false);
    struct es_reader *beyond = open_stream(f, STREAM_A, 26, false);
    struct es_event event;

    store_many(f, 75);
    assert_int_equal(es_reader_next(unknown, &event), ES_NOT_FOUND);
    assert_int_equal(es_reader_next(beyond, &event), ES_NOT_FOUND);
    es_reader_close(unknown);
    es_reader_close(beyond);
}

/* The bytes of an envelope end with the hash (32 bytes after a header of 2); before it
 * lies the previous hash (again 2 + 32), before that the payload. */
static void one_altered_byte_is_refused_and_the_reader_stays_there(void **state)
{
    static const uint32_t from_end[] = {1, 20, 40, 60, 70, 90};
    struct client_fixture *f = *state;
    struct es_event event;

    store_many(f, 30);
    for (size_t i = 0; i < sizeof from_end / sizeof from_end[0]; i++) {
        struct es_reader *reader = open_all(f, NULL, 1);

        fake_broker_damage(f->broker, 17, from_end[i]);
        for (uint64_t position = 1; position < 17; position++) {
            assert_int_equal(es_reader_next(reader, &event), ES_OK);
        }
        event.position = 0;
        assert_int_equal(es_reader_next(reader, &event), ES_E_CORRUPT);
        assert_int_equal(event.position, 0); /* outputs stay untouched */
        assert_non_null(strstr(es_connection_error(f->connection), "position 17"));
        assert_int_equal(es_reader_next(reader, &event), ES_E_CORRUPT);
        es_reader_close(reader);
        fake_broker_damage(f->broker, 17, from_end[i]); /* whole again */
    }
}

/* With a filter no gap in positions would tell that something was left out. */
static void a_filtered_reader_does_not_go_past_damage_either(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *reader = open_all(f, "test:main:*", 1);
    struct es_event event;

    store_many(f, 6);
    fake_broker_damage(f->broker, 2, 1);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    assert_int_equal(es_reader_next(reader, &event), ES_E_CORRUPT);
    assert_int_equal(es_reader_next(reader, &event), ES_E_CORRUPT);
    es_reader_close(reader);
}

static void a_missing_event_is_refused(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *all = open_all(f, NULL, 1);
    struct es_reader *category = open_all(f, "test:main:L0:parcels", 1);
    struct es_event event;

    store_many(f, 30);
    fake_broker_hide(f->broker, 6);
    for (uint64_t position = 1; position < 6; position++) {
        assert_int_equal(es_reader_next(all, &event), ES_OK);
    }
    assert_int_equal(es_reader_next(all, &event), ES_E_CORRUPT);
    assert_non_null(strstr(es_connection_error(f->connection), "position before it is missing"));
    /* With a filter positions have gaps; the stream's own numbers tell. */
    assert_int_equal(es_reader_next(category, &event), ES_OK);
    assert_int_equal(es_reader_next(category, &event), ES_E_CORRUPT);
    assert_non_null(strstr(es_connection_error(f->connection), "sequence is missing"));
    es_reader_close(all);
    es_reader_close(category);
}

/* Replies that are MessagePack and yet no page, or none at all. */
static void a_reply_that_is_no_page_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        uint32_t size;
        enum es_status expected;
    } replies[] = {
        {"", 0, ES_E_PROTOCOL},
        {"\xc0", 1, ES_E_PROTOCOL},
        {"\x96\x02\x00\x00\x90\xc3\x01", 7, ES_E_VERSION},
        {"\x96\x01\x00\x00\x90\xc3", 6, ES_E_PROTOCOL},     /* the end is missing */
        {"\x96\x01\x00\x00\x90\xc2\x01", 7, ES_E_PROTOCOL}, /* leads nowhere */
        {"\x96\x01\x00\x00\xdd\xff\xff\xff\xff\xc3\x01", 11, ES_E_PROTOCOL},
        {"\x96\x01\x63\x00\x90\xc3\x01", 7, ES_E_PROTOCOL}, /* no such status */
        {"\x96\x01\xd0\x80\x00\x90\xc3\x01", 8, ES_E_PROTOCOL},
        {"\x92\x01\x00", 3, ES_E_PROTOCOL},
        {"\x96\x01\x00\x00\x91\x94\x01\x01\x01\x01\xc3\x02", 12, ES_E_PROTOCOL}, /* no bin */
        {"\x96\x01\x00\x00\x91\x94\x01\x01\x01\xc4\x01\x9a\xc3\x02", 14, ES_E_CORRUPT},
    };
    struct client_fixture *f = *state;

    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct es_reader *reader = open_all(f, NULL, 1);
        struct es_event event;

        fake_broker_answer_bytes(f->broker, replies[i].bytes, replies[i].size);
        assert_int_equal(es_reader_next(reader, &event), replies[i].expected);
        es_reader_close(reader);
    }
}

static void a_broken_connection_is_asked_again_and_nothing_is_doubled(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *reader = open_all(f, NULL, 1);
    struct es_event event;

    store_many(f, 60);
    for (uint64_t position = 1; position <= 60; position++) {
        if (position % 20 == 5) {
            fake_broker_break_requests(f->broker, 2);
        }
        assert_int_equal(es_reader_next(reader, &event), ES_OK);
        assert_int_equal(event.position, position);
    }
    assert_int_equal(es_reader_next(reader, &event), ES_EMPTY);
    es_reader_close(reader);
}

static void a_broker_that_is_gone_is_unreachable_and_the_reader_goes_on_when_it_is_back(
    void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *reader = open_all(f, NULL, 1);
    struct es_event event;
    enum es_status status = ES_OK;
    uint64_t position = 0;

    fake_broker_set_page(f->broker, 5);
    store_many(f, 30);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    fake_broker_stop(f->broker);
    for (position = 1; status == ES_OK; position++) {
        status = es_reader_next(reader, &event);
    }
    assert_int_equal(status, ES_E_UNREACHABLE);
    f->broker = fake_broker_start(f->run_dir, 2);
    store_many(f, 30);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    assert_int_equal(event.position, position);
    es_reader_close(reader);
}

static void *interrupt_soon(void *context)
{
    struct client_fixture *f = context;

    while (fake_broker_request_count(f->broker) == 0) {
        /* until the question has been asked */
    }
    es_connection_interrupt(f->connection);
    return NULL;
}

static void interrupt_ends_a_reading_and_resume_goes_on_with_it(void **state)
{
    struct client_fixture *f = *state;
    struct es_reader *reader = open_all(f, NULL, 1);
    struct es_event event;
    pthread_t thread;

    store_many(f, 3);
    fake_broker_hold_requests(f->broker, true);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, f), 0);
    assert_int_equal(es_reader_next(reader, &event), ES_INTERRUPTED);
    pthread_join(thread, NULL);
    assert_int_equal(es_reader_next(reader, &event), ES_INTERRUPTED);
    es_connection_resume(f->connection);
    fake_broker_hold_requests(f->broker, false);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    assert_int_equal(event.position, 1);
    es_reader_close(reader);
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(reading_all_gives_every_event_once_over_many_pages),
        FIXED(a_filter_gives_its_categories_only),
        FIXED(a_stream_reads_forwards_and_backwards_to_its_ends),
        FIXED(what_is_not_there_is_not_found),
        FIXED(one_altered_byte_is_refused_and_the_reader_stays_there),
        FIXED(a_filtered_reader_does_not_go_past_damage_either),
        FIXED(a_missing_event_is_refused),
        FIXED(a_reply_that_is_no_page_is_refused),
        FIXED(a_broken_connection_is_asked_again_and_nothing_is_doubled),
        FIXED(a_broker_that_is_gone_is_unreachable_and_the_reader_goes_on_when_it_is_back),
        FIXED(interrupt_ends_a_reading_and_resume_goes_on_with_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
