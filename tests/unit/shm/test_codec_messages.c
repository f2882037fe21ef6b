/*
 * What a stranger may send over the sockets: requests, published messages,
 * replies and attach messages that break a rule are refused, with the rule.
 */
#include "shm/codec/attach.h"
#include "shm/codec/published.h"
#include "shm/codec/replies.h"

#include "tests/support/codec_samples.h"
#include "tests/support/golden.h"
#include "tests/support/notation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define S "'prod:main:L0:orders:M1'"
#define T64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define T1040 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 T64 "0123456789abcdef"

static uint8_t bytes[8192];

static const struct {
    const char *request;
    enum es_status status;
    enum es_reason reason;
} request_cases[] = {
    {"[1 1 'name']", ES_OK, ES_REASON_NONE},
    {"[1 1 '']", ES_OK, ES_REASON_NONE},
    {"[1 1 'a\x01']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 1 '\xFF']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 1 '" T64 T64 T64 T64 "']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 1 'name' 1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 'name' ~]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 'name' ~ ~]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 'name' b1184 [b16 1 2]]", ES_OK, ES_REASON_NONE},
    {"[1 1 'name' b0]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 1 'name' b1185]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 1 'name' ~ [b15 1 2]]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 'name' ~ [b16 1]]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 'name' ~ [b16 1 2 3]]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 'name' ~ ~ ~]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 20 '/a/b']", ES_OK, ES_REASON_NONE},
    {"[1 20 'a/b']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 20 '/']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 20 '/a\nb']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 1 7]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"'text'", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[2 1 'name']", ES_E_VERSION, ES_REASON_VERSION},
    {"[2]", ES_E_VERSION, ES_REASON_VERSION},
    {"[1 0]", ES_E_INVALID, ES_REASON_REQUEST_UNKNOWN},
    {"[1 21]", ES_E_INVALID, ES_REASON_REQUEST_UNKNOWN},
    {"[1 4294967297 'name']", ES_E_INVALID, ES_REASON_REQUEST_UNKNOWN},
    {"[1 -1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 2 b9 1]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 2 b9 9]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 2 'x' 0]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 2 b9 0 'name']", ES_OK, ES_REASON_NONE},
    {"[1 2 b9 0 '']", ES_E_INVALID, ES_REASON_NAME_EMPTY},
    {"[1 2 b9 0 ~]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 2 b9 0 'name' 1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 3 'x' 0 1 true]", ES_E_INVALID, ES_REASON_STREAM_FORM},
    {"[1 3 " S " 0 0 true]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 3 " S " 0 65537 true]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 3 " S " -1 1 true]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 3 " S " 0 1 1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 4 0 1 '']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 4 0 1 '\xC3']", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 4 0 1 'prod*']", ES_OK, ES_REASON_NONE},
    {"[1 5 b1315 '' 1]", ES_OK, ES_REASON_NONE},
    {"[1 5 b1316 '' 1]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 5 b0 '" T1040 "' 1]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 6 'p:m:L00:d:M1']", ES_E_INVALID, ES_REASON_STREAM_LEVEL},
    {"[1 9 " S " 1 0 '' 0 b0]", ES_E_INVALID, ES_REASON_SEQUENCE},
    {"[1 9 " S " 9223372036854775808 1 '' 0 b0]", ES_E_INVALID, ES_REASON_TICK},
    {"[1 9 " S " 1 1 'a:b' 0 b0]", ES_E_INVALID, ES_REASON_NAME_COLON},
    {"[1 9 " S " 1 1 ~ 0 b0]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 10 " S " ~ ~]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 12 " S " ~ '$p']", ES_E_INVALID, ES_REASON_NAME_RESERVED},
    {"[1 13 2 'ns' 'k']", ES_E_INVALID, ES_REASON_FAMILY},
    {"[1 13 0 '' 'k']", ES_E_INVALID, ES_REASON_NAME_EMPTY},
    {"[1 13 0 'ns' '']", ES_E_INVALID, ES_REASON_KEY_SIZE},
    {"[1 13 0 'ns' 'a\nb']", ES_E_INVALID, ES_REASON_KEY_TEXT},
    {"[1 14 0 'ns' '" T1040 "' 1]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 16 b0 0]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 16 b0 60001]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 16 b1401 1]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
    {"[1 17 b0 -1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 18 'name' 0]", ES_OK, ES_REASON_NONE},
    {"[1 18 'a:b' 0]", ES_E_INVALID, ES_REASON_NAME_COLON},
    {"[1 18 'name' -1]", ES_E_INVALID, ES_REASON_MALFORMED},
    {"[1 19 '' 1]", ES_OK, ES_REASON_NONE},
    {"[1 19 '' 0]", ES_E_INVALID, ES_REASON_REQUEST_ARGUMENT},
};

static void requests_that_break_a_rule_are_refused_with_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof request_cases / sizeof request_cases[0]; i++) {
        uint32_t size = notation_write(request_cases[i].request, bytes, sizeof bytes);
        enum es_reason reason = ES_REASON_NONE;
        struct es_request request;
        enum es_status status = es_request_decode(es_bytes_make(bytes, size), &request, &reason);

        if (status != request_cases[i].status || reason != request_cases[i].reason) {
            fail_msg("%s: %s, %s", request_cases[i].request, es_status_text(status),
                     es_reason_text((uint32_t)reason));
        }
    }
}

static void a_request_followed_by_anything_is_refused(void **state)
{
    uint32_t size = notation_write("[1 7]", bytes, sizeof bytes);
    enum es_reason reason = ES_REASON_NONE;
    struct es_request request;

    (void)state;
    bytes[size] = 0xC0;
    assert_int_equal(es_request_decode(es_bytes_make(bytes, size + 1), &request, &reason),
                     ES_E_INVALID);
    assert_int_equal(reason, ES_REASON_TRAILING_BYTES);
    assert_int_equal(es_request_decode(es_bytes_make(NULL, 0), &request, &reason), ES_E_INVALID);
    assert_int_equal(reason, ES_REASON_MALFORMED);
}

/* Reads all of a published body; the status that ends it. */
static enum es_status read_published(const char *text)
{
    struct es_published_reader reader;
    struct es_published_event event;
    uint32_t size = notation_write(text, bytes, sizeof bytes);
    enum es_status status = es_published_read(&reader, es_bytes_make(bytes, size));

    while (status == ES_OK) {
        status = es_published_next(&reader, &event);
    }
    return status;
}

static void published_events_out_of_order_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_published("[1 9 0 1 3 [[1 1 5 b1] [3 2 5 b1]]]"), ES_EMPTY);
    assert_int_equal(read_published("[1 9 7 8 8 [[8 1 5 b1 'new']] 'new' 7]"), ES_EMPTY);
    assert_int_equal(read_published("[1 9 0 1 3 [[3 1 5 b1] [1 2 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 3 [[1 1 5 b1] [1 2 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 4 [[1 1 5 b1] [3 2 5 b1] [2 3 5 b1] [4 4 5 b1]]]"),
                     ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 4 [[1 1 5 b1] [3 2 5 b1] [3 3 5 b1] [4 4 5 b1]]]"),
                     ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 3 [[1 1 5 b1] [2 2 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 2 3 [[1 1 5 b1] [3 2 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 1 1 1 [[1 1 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 3 1 [[3 1 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 0 0 [[0 1 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 1 []]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 1 [[1 0 5 b1]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 1 [[1 1 5 'x']]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 1 [[1 1 5]]]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[1 9 0 1 1]"), ES_E_PROTOCOL);
    assert_int_equal(read_published("[2 9 0 1 1]"), ES_E_VERSION);
    assert_int_equal(read_published("'text'"), ES_E_PROTOCOL);
}

static enum es_status read_heartbeat(const char *text, struct es_heartbeat *ret_heartbeat)
{
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX];
    uint32_t size = notation_write(text, bytes, sizeof bytes);

    return es_heartbeat_read(es_bytes_make(bytes, size), ret_heartbeat, changed);
}

static void heartbeats_that_break_a_rule_are_refused(void **state)
{
    struct es_heartbeat heartbeat = {.number = 42};

    (void)state;
    assert_int_equal(read_heartbeat("[1 b15 1 2 3 4 b32 ~]", &heartbeat), ES_E_PROTOCOL);
    assert_int_equal(read_heartbeat("[1 b16 1 2 3 4 b31 ~]", &heartbeat), ES_E_PROTOCOL);
    assert_int_equal(read_heartbeat("[1 b16 1 2 3 4 b32]", &heartbeat), ES_E_PROTOCOL);
    assert_int_equal(read_heartbeat("[1 b16 1 2 3 4 b32 7]", &heartbeat), ES_E_PROTOCOL);
    assert_int_equal(read_heartbeat("[1 b16 1 2 3 4 b32 [['a:b' 1]]]", &heartbeat), ES_E_PROTOCOL);
    assert_int_equal(read_heartbeat("[1 b16 1 2 3 4 b32 [['a:b:L0:c' 0]]]", &heartbeat),
                     ES_E_PROTOCOL);
    assert_int_equal(read_heartbeat("[2 b16]", &heartbeat), ES_E_VERSION);
    assert_int_equal(heartbeat.number, 42);
    assert_int_equal(read_heartbeat("[1 b16 1 2 3 4 b32 [['a:b:L0:c' 1 7]] 'new']", &heartbeat),
                     ES_OK);
    assert_int_equal(heartbeat.number, 3);
    assert_int_equal(heartbeat.changed_count, 1);
}

static void more_changed_categories_than_64_are_refused(void **state)
{
    static uint8_t large[ES_HEARTBEAT_SIZE_MAX];
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX + 1];
    struct es_heartbeat heartbeat = {.changed_known = true};
    struct es_text topic;
    struct es_bytes body;
    struct es_pack pack;
    uint32_t size = 0;

    (void)state;
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        changed[i] = (struct es_category_position){es_text_of("a:b:L0:c"), i + 1};
    }
    for (heartbeat.changed_count = 64; heartbeat.changed_count <= 65; heartbeat.changed_count++) {
        es_pack_init(&pack, large, sizeof large);
        es_heartbeat_write(&pack, &heartbeat, changed);
        assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
        assert_int_equal(es_published_split(es_bytes_make(large, size), &topic, &body), ES_OK);
        struct es_heartbeat read;
        assert_int_equal(es_heartbeat_read(body, &read, changed),
                         heartbeat.changed_count == 64 ? ES_OK : ES_E_PROTOCOL);
    }
}

static void a_message_without_a_zero_byte_has_no_topic(void **state)
{
    struct es_text topic;
    struct es_bytes body;

    (void)state;
    assert_int_equal(es_published_split(es_bytes_make("H:", 2), &topic, &body), ES_E_PROTOCOL);
    assert_int_equal(es_published_split(es_bytes_make(NULL, 0), &topic, &body), ES_E_PROTOCOL);
    assert_int_equal(es_published_split(es_bytes_make("H:\0", 3), &topic, &body), ES_OK);
    assert_int_equal(topic.size, 2);
    assert_int_equal(body.size, 0);
}

static enum es_status read_reply(const char *text)
{
    struct es_reply reply;
    uint32_t size = notation_write(text, bytes, sizeof bytes);

    return es_reply_read(es_bytes_make(bytes, size), &reply);
}

static void replies_that_break_a_rule_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_reply("[1 0 3]"), ES_OK);
    assert_int_equal(read_reply("[1 -16 3 'text' 'new']"), ES_OK);
    assert_int_equal(read_reply("[1 0]"), ES_E_PROTOCOL);
    assert_int_equal(read_reply("[1 2147483648 3]"), ES_E_PROTOCOL);
    assert_int_equal(read_reply("[1 -2147483649 3]"), ES_E_PROTOCOL);
    assert_int_equal(read_reply("[1 'ok' 3]"), ES_E_PROTOCOL);
    assert_int_equal(read_reply("[1 0 -3]"), ES_E_PROTOCOL);
    assert_int_equal(read_reply("[2 0 3]"), ES_E_VERSION);
    assert_int_equal(read_reply("~"), ES_E_PROTOCOL);
}

static bool result_reads(const char *text)
{
    struct es_wire_result result;
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, notation_write(text, bytes, sizeof bytes));
    es_result_read(&unpack, &result);
    return es_unpack_done(&unpack);
}

static void results_that_break_a_rule_are_refused(void **state)
{
    (void)state;
    assert_true(result_reads("[7 24 0 0 0 b0 0 b32 0 0 0 'new']"));
    assert_false(result_reads("[2147483648 24 0 0 0 b0 0 b32 0 0 0]"));
    assert_false(result_reads("[7 4294967296 0 0 0 b0 0 b32 0 0 0]"));
    assert_false(result_reads("[7 24 0 0 0 b1 0 b32 0 0 0]"));
    assert_false(result_reads("[7 24 0 0 0 b0 0 b32 0 0]"));
}

/* Whatever is left of a reply after a change, no reader goes past its end. */
static void read_every_way(const uint8_t *changed, size_t size)
{
    uint8_t *copy = malloc(size);
    struct es_published_event event;
    struct es_store_head_item store_head;
    struct es_snapshot_item snapshot;
    struct es_wire_result result;
    struct es_stream_item stream;
    struct es_finding finding;
    struct es_scan_item scan;
    struct es_kv_item pair;
    struct es_hello hello;
    struct es_reply reply;

    assert_non_null(copy);
    memcpy(copy, changed, size);
    if (es_reply_read(es_bytes_make(copy, (uint32_t)size), &reply) == ES_OK) {
        (void)es_reply_message(&reply);
        struct es_unpack whole = reply.rest;
        es_hello_read(&whole, &hello);
        whole = reply.rest;
        es_store_head_read(&whole, &store_head);
        for (int inside = 0; inside < 2; inside++) {
            struct es_unpack at[] = {reply.rest, reply.rest, reply.rest, reply.rest, reply.rest,
                                     reply.rest, reply.rest, reply.rest, reply.rest};

            es_result_read(&at[0], &result);
            es_event_item_read(&at[1], &event);
            es_head_item_read(&at[2], &stream);
            es_stream_item_read(&at[3], &stream);
            es_snapshot_item_read(&at[4], &snapshot);
            es_kv_item_read(&at[5], &pair);
            es_kv_export_item_read(&at[6], &pair);
            es_scan_item_read(&at[7], &scan);
            es_finding_read(&at[8], &finding);
            (void)es_unpack_array(&reply.rest);
        }
    }
    free(copy);
}

static void visit_reply(void *context, const char *file, const char *name, const uint8_t *reply,
                        size_t size)
{
    uint8_t changed[GOLDEN_SIZE_MAX];
    size_t *tried = context;

    (void)file;
    (void)name;
    memcpy(changed, reply, size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        read_every_way(changed, size);
        changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t cut = 1; cut < size; cut++) {
        read_every_way(reply, cut);
    }
    *tried += 8 * size;
}

static void changed_replies_are_read_within_their_bounds(void **state)
{
    size_t tried = 0;

    (void)state;
    golden_each("reply", visit_reply, &tried);
    assert_true(tried > 10000);
}

static void a_page_ends_before_it_is_too_large(void **state)
{
    static uint8_t buffer[8192];
    uint8_t payload[1000] = {0};
    struct es_scan_item item = {1, es_bytes_make(payload, sizeof payload)};
    struct es_bytes reply;
    struct es_reply read;
    struct es_page page;

    (void)state;
    es_page_begin(&page, buffer, sizeof buffer, 6000);
    while (es_page_has_room(&page, sizeof payload + ES_SCAN_ITEM_OVERHEAD)) {
        es_scan_item_write(&page.pack, &item);
        es_page_count(&page);
    }
    assert_int_equal(page.item_count, 3);
    es_page_end_items(&page);
    es_pack_bool(&page.pack, false);
    assert_int_equal(es_page_finish(&page, UINT64_MAX, 1, &reply), ES_OK);
    assert_true(reply.size <= 6000);
    assert_int_equal(es_reply_read(reply, &read), ES_OK);
    assert_true(read.position == UINT64_MAX);
    assert_int_equal(es_unpack_array(&read.rest), 3);
}

/* Progress: a page that has nothing yet takes an item larger than itself. */
static void an_empty_page_takes_one_item_of_any_size_that_the_buffer_holds(void **state)
{
    static uint8_t buffer[8192];
    struct es_page page;
    struct es_bytes reply;

    (void)state;
    es_page_begin(&page, buffer, sizeof buffer, 100);
    assert_true(es_page_has_room(&page, 5000));
    es_pack_nil(&page.pack);
    es_page_count(&page);
    assert_false(es_page_has_room(&page, 1));
    es_page_begin(&page, buffer, sizeof buffer, 100);
    assert_false(es_page_has_room(&page, sizeof buffer));
    es_pack_bin(&page.pack, buffer, sizeof buffer - 10);
    es_page_end_items(&page);
    assert_int_equal(es_page_finish(&page, 1, 0, &reply), ES_E_TOO_LARGE);
}

static void a_long_message_is_cut_between_characters(void **state)
{
    static char message[ES_REPLY_MESSAGE_MAX + 2];
    struct es_reply reply;
    struct es_pack pack;
    uint32_t size = 0;

    (void)state;
    memset(message, 'x', sizeof message - 1);
    message[ES_REPLY_MESSAGE_MAX - 1] = (char)0xC3; /* an e with an accent, in two bytes */
    message[ES_REPLY_MESSAGE_MAX] = (char)0xA9;
    es_pack_init(&pack, bytes, sizeof bytes);
    es_reply_refuse(&pack, ES_E_IO, 7, message);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    assert_int_equal(es_reply_read(es_bytes_make(bytes, size), &reply), ES_OK);
    assert_int_equal(reply.status, ES_E_IO);
    assert_int_equal(es_reply_message(&reply).size, ES_REPLY_MESSAGE_MAX - 1);
    reply.rest_count = 0;
    assert_int_equal(es_reply_message(&reply).size, 0);
}

static void attach_messages_that_break_a_rule_are_refused(void **state)
{
    static const struct {
        const char *message;
        enum es_status as_request;
        enum es_status as_reply;
    } cases[] = {
        {"[1 'attach' 7 'name']", ES_OK, ES_E_PROTOCOL},
        {"[1 'attach' 7 'name' 1]", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 7 'name' 'p' true]", ES_OK, ES_E_PROTOCOL},
        {"[1 'attach' 7 'name' 'p']", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 7 'name' '' true]", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 7 'name' 'p' 1]", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 7 'name' 'p' true 1]", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attack' 7 'name']", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 4294967296 'name']", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 7 'a\x01']", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 'attach' 7 '" T64 T64 T64 T64 "']", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[2 'attach']", ES_E_VERSION, ES_E_VERSION},
        {"[1 -15 'no' 0 0 0 0]", ES_E_PROTOCOL, ES_OK},
        {"[1 0 '' 0 0 0 0 'new']", ES_E_PROTOCOL, ES_OK},
        {"[1 2147483648 '' 0 0 0 0]", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 0 '' 4294967296 0 0 0]", ES_E_PROTOCOL, ES_E_PROTOCOL},
        {"[1 0 '' 0 0 0]", ES_E_PROTOCOL, ES_E_PROTOCOL},
    };
    struct es_attach_request request;
    struct es_attach_reply reply;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t size = notation_write(cases[i].message, bytes, sizeof bytes);

        assert_int_equal(es_attach_request_decode(bytes, size, &request), cases[i].as_request);
        assert_int_equal(es_attach_reply_decode(bytes, size, &reply), cases[i].as_reply);
    }
    request.client_name = es_text_of(T64 T64 T64 T64);
    uint32_t size = 0;
    assert_int_equal(es_attach_request_encode(&request, bytes, sizeof bytes, &size),
                     ES_E_TOO_LARGE);
    reply.message = es_text_of(T1040);
    assert_int_equal(es_attach_reply_encode(&reply, bytes, sizeof bytes, &size), ES_E_TOO_LARGE);
}

static void every_reason_has_words_of_its_own(void **state)
{
    size_t known = 0;

    (void)state;
    const char *unknown = es_reason_text(UINT32_MAX);
    for (uint32_t a = 0; a < 200; a++) {
        const char *text = es_reason_text(a);

        assert_non_null(text);
        known += strcmp(text, unknown) != 0;
        for (uint32_t b = 0; b < a && strcmp(text, unknown) != 0; b++) {
            assert_string_not_equal(text, es_reason_text(b));
        }
    }
    assert_int_equal(known, 53);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_that_break_a_rule_are_refused_with_it),
        cmocka_unit_test(a_request_followed_by_anything_is_refused),
        cmocka_unit_test(published_events_out_of_order_are_refused),
        cmocka_unit_test(heartbeats_that_break_a_rule_are_refused),
        cmocka_unit_test(more_changed_categories_than_64_are_refused),
        cmocka_unit_test(a_message_without_a_zero_byte_has_no_topic),
        cmocka_unit_test(replies_that_break_a_rule_are_refused),
        cmocka_unit_test(results_that_break_a_rule_are_refused),
        cmocka_unit_test(changed_replies_are_read_within_their_bounds),
        cmocka_unit_test(a_page_ends_before_it_is_too_large),
        cmocka_unit_test(an_empty_page_takes_one_item_of_any_size_that_the_buffer_holds),
        cmocka_unit_test(a_long_message_is_cut_between_characters),
        cmocka_unit_test(attach_messages_that_break_a_rule_are_refused),
        cmocka_unit_test(every_reason_has_words_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
