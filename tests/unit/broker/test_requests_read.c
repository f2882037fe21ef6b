/* Questions about events, heads and streams: right answers, in pages, within the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "broker/limits.h"
#include "shm/codec/envelope.h"
#include "tests/support/request_fixture.h"

/* ---- hello, heads ---- */

static void hello_tells_the_store_and_the_limits(void **state)
{
    struct request_fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_HELLO, .as.hello.client_name = es_text_of("test")};
    struct es_hello hello;

    store_builder_append(&f->builder, ORDERS, 3, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(f->reply.position, 3);
    es_hello_read(&f->reply.rest, &hello);
    assert_reply_is_read(f);
    assert_memory_equal(hello.store_id, f->builder.store_id, ES_STORE_ID_SIZE);
    assert_memory_equal(hello.store_hash, f->builder.store_hash, ES_HASH_SIZE);
    assert_int_equal(hello.epoch, 77);
    assert_int_equal(hello.start_number, 5);
    assert_int_equal(hello.page_bytes_max, PAGE_BYTES_MAX);
    assert_int_equal(hello.transaction_bytes_max, 1 << 20);
}

static void heads_are_those_of_the_last_commit(void **state)
{
    struct request_fixture *f = *state;
    struct es_request head = {.verb = ES_VERB_HEAD, .as.stream = es_text_of(ORDERS)};
    struct es_request store_head = {.verb = ES_VERB_STORE_HEAD};
    struct es_stream_item item;
    struct es_store_head_item store;

    assert_int_equal(ask(f, &head), ES_NOT_FOUND);
    assert_message_has(f, ORDERS);
    store_builder_append(&f->builder, ORDER, 1, 10);
    store_builder_append(&f->builder, ORDERS, 3, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &head), ES_OK);
    es_head_item_read(&f->reply.rest, &item);
    assert_reply_is_read(f);
    assert_true(es_text_equal(item.stream, es_text_of(ORDERS)));
    assert_int_equal(item.sequence, 3);
    assert_int_equal(item.position, 4);
    assert_int_equal(item.first_sequence, 1);
    assert_int_equal(ask(f, &store_head), ES_OK);
    es_store_head_read(&f->reply.rest, &store);
    assert_reply_is_read(f);
    assert_int_equal(store.commit_number, 1);
    assert_memory_equal(store.store_hash, f->builder.store_hash, ES_HASH_SIZE);
}

static void streams_are_listed_in_pages_whatever_their_length(void **state)
{
    struct request_fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_STREAMS, .as.streams = {.count = 7}};
    char streams[3][64] = {"", "", ""};
    char after[64] = "";
    uint32_t found = 0;
    bool end = false;

    for (uint32_t i = 0; i < 40; i++) { /* M1 is the beginning of M10, ':' follows '!' */
        snprintf(streams[0], sizeof streams[0], "prod:main:L0:orders:M%u%s", i,
                 i % 3 == 0 ? "!" : "");
        for (uint32_t j = 0; j < 1 + i % 4 * 70; j++) {
            store_builder_append(&f->builder, streams[0], 1, 1);
        }
        store_builder_commit(&f->builder);
    }
    store_builder_append(&f->builder, ORDER, 1, 1);
    store_builder_commit(&f->builder);
    request.as.streams.prefix = es_text_of("prod:main:L0:orders:");
    while (!end) {
        uint32_t count = 0;

        request.as.streams.after = es_text_of(after);
        assert_int_equal(ask(f, &request), ES_OK);
        count = es_unpack_array(&f->reply.rest);
        assert_true(count <= 7);
        for (uint32_t i = 0; i < count; i++) {
            struct es_stream_item item;

            es_stream_item_read(&f->reply.rest, &item);
            assert_true(es_unpack_ok(&f->reply.rest));
            snprintf(after, sizeof after, "%.*s", (int)item.stream.size, item.stream.data);
            found++;
        }
        end = es_unpack_bool(&f->reply.rest);
        assert_reply_is_read(f);
        assert_true(end || count == 7);
    }
    assert_int_equal(found, 40);
}

/* ---- reading ---- */

/* Counts the events of a page, which begin at 'position' if that is not 0. */
static uint32_t read_events(struct request_fixture *f, uint64_t position, bool *ret_end,
                            uint64_t *ret_next)
{
    uint32_t count = es_unpack_array(&f->reply.rest);

    for (uint32_t i = 0; i < count; i++) {
        struct es_published_event event;
        struct es_event_view view;

        es_event_item_read(&f->reply.rest, &event);
        assert_true(es_unpack_ok(&f->reply.rest));
        assert_int_equal(es_envelope_decode(event.envelope.data, event.envelope.size, &view),
                         ES_OK);
        if (position != 0) {
            assert_int_equal(event.position, position + i);
        }
    }
    *ret_end = es_unpack_bool(&f->reply.rest);
    *ret_next = es_unpack_uint(&f->reply.rest);
    assert_reply_is_read(f);
    return count;
}

static void reading_all_comes_in_pages_within_the_limit(void **state)
{
    struct request_fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_READ_ALL, .as.read_all = {.count = 65536}};
    uint64_t next = 1;
    uint32_t pages = 0;
    bool end = false;

    for (uint32_t i = 0; i < 3000; i++) {
        store_builder_append(&f->builder, i % 2 == 0 ? ORDER : ORDERS, 1, 300);
    }
    store_builder_commit(&f->builder);
    while (!end) {
        request.as.read_all.from_position = next;
        assert_int_equal(ask(f, &request), ES_OK);
        assert_int_equal(f->reply.position, 3000);
        assert_true(f->reply_size <= PAGE_BYTES_MAX);
        assert_true(read_events(f, next, &end, &next) > 0);
        pages++;
    }
    assert_int_equal(next, 3001);
    assert_true(pages >= 5);
    assert_true(pages <= 8); /* and the pages are well filled */
    request.as.read_all =
        (struct es_request_read_all){.count = 65536, .category = es_text_of("prod:main:L0:order")};
    assert_int_equal(ask(f, &request), ES_OK);
    (void)read_events(f, 0, &end, &next);
    request.as.read_all.from_position = 3001;
    request.as.read_all.category = es_text_make("", 0);
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(read_events(f, 0, &end, &next), 0);
    assert_true(end);
}

static void one_event_larger_than_a_page_is_a_page(void **state)
{
    struct request_fixture *f = *state;
    struct es_request all = {.verb = ES_VERB_READ_ALL, .as.read_all = {.count = 10}};
    struct es_request stream = {.verb = ES_VERB_READ_STREAM,
                                .as.read_stream = {.stream = es_text_of(ORDERS), .count = 10}};
    struct es_request scan = {.verb = ES_VERB_SCAN, .as.scan = {.count = 10}};
    uint64_t next = 0;
    bool end = false;

    store_builder_append(&f->builder, ORDERS, 1, 2 * PAGE_BYTES_MAX);
    store_builder_append(&f->builder, ORDERS, 1, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &all), ES_OK);
    assert_int_equal(read_events(f, 1, &end, &next), 1);
    assert_int_equal(next, 2);
    assert_int_equal(ask(f, &stream), ES_OK);
    assert_true(read_events(f, 1, &end, &next) == 1);
    assert_int_equal(ask(f, &scan), ES_OK);
    assert_int_equal(es_unpack_array(&f->reply.rest), 1);
}

static void a_stream_is_read_both_ways_and_refused_where_it_is_not(void **state)
{
    struct request_fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_READ_STREAM,
                                 .as.read_stream = {.stream = es_text_of(ORDERS), .count = 4}};
    uint64_t next = 0;
    bool end = false;

    assert_int_equal(ask(f, &request), ES_NOT_FOUND);
    assert_message_has(f, "no stream");
    store_builder_append(&f->builder, ORDERS, 6, 10);
    store_builder_commit(&f->builder);
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(read_events(f, 1, &end, &next), 4);
    assert_false(end);
    assert_int_equal(next, 5);
    request.as.read_stream.backwards = true;
    assert_int_equal(ask(f, &request), ES_OK);
    assert_int_equal(read_events(f, 0, &end, &next), 4);
    assert_int_equal(next, 2);
}

static void a_scan_goes_on_after_its_last_key(void **state)
{
    struct request_fixture *f = *state;
    struct es_request request = {.verb = ES_VERB_SCAN, .as.scan = {.count = 3}};
    uint8_t after[ES_KEY_SIZE_MAX];
    uint32_t found = 0;
    bool end = false;

    store_builder_append(&f->builder, ORDERS, 6, 10);
    store_builder_append(&f->builder, ORDER, 5, 10);
    store_builder_commit(&f->builder);
    request.as.scan.after_key = es_bytes_make(NULL, 0);
    while (!end) {
        struct es_bytes last;
        uint32_t count = 0;

        assert_int_equal(ask(f, &request), ES_OK);
        count = es_unpack_array(&f->reply.rest);
        for (uint32_t i = 0; i < count; i++) {
            struct es_scan_item item;

            es_scan_item_read(&f->reply.rest, &item);
        }
        found += count;
        end = es_unpack_bool(&f->reply.rest);
        last = es_unpack_bin(&f->reply.rest, ES_KEY_SIZE_MAX);
        assert_reply_is_read(f);
        memcpy(after, last.data, last.size);
        request.as.scan.after_key = es_bytes_make(after, last.size);
    }
    assert_int_equal(found, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) \
    cmocka_unit_test_setup_teardown(name, request_fixture_set_up, request_fixture_tear_down)
        TEST(hello_tells_the_store_and_the_limits),
        TEST(heads_are_those_of_the_last_commit),
        TEST(streams_are_listed_in_pages_whatever_their_length),
        TEST(reading_all_comes_in_pages_within_the_limit),
        TEST(one_event_larger_than_a_page_is_a_page),
        TEST(a_stream_is_read_both_ways_and_refused_where_it_is_not),
        TEST(a_scan_goes_on_after_its_last_key),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
