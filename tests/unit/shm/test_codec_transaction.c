/*
 * Transactions come from any process that may map a ring. Each broken rule is
 * found and named, with the operation it is in, before anything is handed on.
 */
#include "shm/codec/transaction.h"

#include "tests/support/codec_samples.h"
#include "tests/support/notation.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define S "'prod:main:L0:orders:M1'"
#define GOOD "[1 " S " ~ ~ [[0 't' b0 ~]]]" /* a good operation */
#define LONG_NAME                                                      \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static uint8_t bytes[16384];

struct broken {
    const char *transaction;
    enum es_reason reason;
    uint32_t operation;
};

static void expect_each(const struct broken *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t size = notation_write(cases[i].transaction, bytes, sizeof bytes);
        uint32_t operation = 42;
        enum es_reason reason = es_transaction_check(bytes, size, &operation);

        if (reason != cases[i].reason || operation != cases[i].operation) {
            fail_msg("%s: %s (%d) in operation %u", cases[i].transaction,
                     es_reason_text((uint32_t)reason), (int)reason, operation);
        }
    }
}

#define EXPECT_EACH(cases) expect_each(cases, sizeof(cases) / sizeof((cases)[0]))

static void a_broken_frame_is_refused(void **state)
{
    static const struct broken cases[] = {
        {"[1 0 [" GOOD "]]", ES_REASON_NONE, 0},
        {"[1 18446744073709551615 [" GOOD " " GOOD "]]", ES_REASON_NONE, 0},
        {"[2 0 [" GOOD "]]", ES_REASON_VERSION, 0},
        {"[2]", ES_REASON_VERSION, 0},
        {"[1 0]", ES_REASON_MALFORMED, 0},
        {"[1 0 [" GOOD "] 1]", ES_REASON_MALFORMED, 0},
        {"[1 -1 [" GOOD "]]", ES_REASON_MALFORMED, 0},
        {"[1 'a' [" GOOD "]]", ES_REASON_MALFORMED, 0},
        {"[1 0 " GOOD "]", ES_REASON_MALFORMED, 0},
        {"[1 0 7]", ES_REASON_MALFORMED, 0},
        {"[1 0 []]", ES_REASON_OPERATION_COUNT, 0},
        {"'text'", ES_REASON_MALFORMED, 0},
        {"[1 0 [" GOOD " [9 1]]]", ES_REASON_OPERATION_KIND, 1},
        {"[1 0 [" GOOD " [0]]]", ES_REASON_OPERATION_KIND, 1},
        {"[1 0 [" GOOD " []]]", ES_REASON_MALFORMED, 1},
        {"[1 0 [" GOOD " ['append']]]", ES_REASON_MALFORMED, 1},
    };

    (void)state;
    EXPECT_EACH(cases);
}

static void a_broken_append_is_refused_with_its_rule(void **state)
{
    static const struct broken cases[] = {
        {"[1 0 [[1 " S " ~ ~ [[0 't' b0 ~]] 1]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ ~]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 b5 ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 'prod:main' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_STREAM_FORM, 0},
        {"[1 0 [[1 'p:m:L01:d:M1' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_STREAM_LEVEL, 0},
        {"[1 0 [[1 'p:m:L0:d:M' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_NAME_EMPTY, 0},
        {"[1 0 [[1 '$p:m:L0:d:M1' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_NAME_RESERVED, 0},
        {"[1 0 [[1 'p:\xFF:L0:d:M1' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_NAME_NOT_UTF8, 0},
        {"[1 0 [[1 'p:\x01:L0:d:M1' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_NAME_CONTROL, 0},
        {"[1 0 [[1 'p:m:L0:" LONG_NAME ":M1' ~ ~ [[0 't' b0 ~]]]]]", ES_REASON_NAME_TOO_LONG, 0},
        {"[1 0 [[1 " S " -1 ~ [[0 't' b0 ~]]]]]", ES_REASON_NONE, 0},
        {"[1 0 [[1 " S " -2 ~ [[0 't' b0 ~]]]]]", ES_REASON_EXPECTED_SEQUENCE, 0},
        {"[1 0 [[1 " S " 18446744073709551615 ~ [[0 't' b0 ~]]]]]", ES_REASON_NONE, 0},
        {"[1 0 [[1 " S " 'x' ~ [[0 't' b0 ~]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ b0 [[0 't' b0 ~]]]]]", ES_REASON_NONE, 0},
        {"[1 0 [[1 " S " ~ b32 [[0 't' b0 ~]]]]]", ES_REASON_NONE, 0},
        {"[1 0 [[1 " S " ~ b31 [[0 't' b0 ~]]]]]", ES_REASON_EXPECTED_HASH, 0},
        {"[1 0 [[1 " S " ~ b33 [[0 't' b0 ~]]]]]", ES_REASON_EXPECTED_HASH, 0},
        {"[1 0 [[1 " S " ~ 'x' [[0 't' b0 ~]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [" GOOD " [1 " S " ~ ~ []]]]", ES_REASON_EVENT_COUNT, 1},
        {"[1 0 [[1 " S " ~ ~ 5]]]", ES_REASON_MALFORMED, 0},
    };

    (void)state;
    EXPECT_EACH(cases);
}

static void a_broken_event_is_refused_with_its_rule(void **state)
{
    static const struct broken cases[] = {
        {"[1 0 [[1 " S " ~ ~ [[9223372036854775807 't' b300 b32]]]]]", ES_REASON_NONE, 0},
        {"[1 0 [[1 " S " ~ ~ [[9223372036854775808 't' b0 ~]]]]]", ES_REASON_TICK, 0},
        {"[1 0 [[1 " S " ~ ~ [[-1 't' b0 ~]]]]]", ES_REASON_TICK, 0},
        {"[1 0 [[1 " S " ~ ~ [['x' 't' b0 ~]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 '' b0 ~]]]]]", ES_REASON_TYPE_SIZE, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 '" LONG_NAME "' b0 ~]]]]]", ES_REASON_TYPE_SIZE, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 'a\tb' b0 ~]]]]]", ES_REASON_TYPE_NOT_PRINTABLE, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 '\xC3' b0 ~]]]]]", ES_REASON_TYPE_NOT_PRINTABLE, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 't' 'text' ~]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 't' b0 b31]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 't' b0]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 't' b0 ~ ~]]]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[1 " S " ~ ~ [[0 't' b0 ~] 7]]]]", ES_REASON_MALFORMED, 0},
        /* the second event of the second operation */
        {"[1 0 [" GOOD " [1 " S " ~ ~ [[0 't' b0 ~] [0 '' b0 ~]]]]]", ES_REASON_TYPE_SIZE, 1},
        /* the last event of the last operation but one */
        {"[1 0 [[1 " S " ~ ~ [[0 '' b0 ~]]] " GOOD "]]", ES_REASON_TYPE_SIZE, 0},
    };

    (void)state;
    EXPECT_EACH(cases);
}

static void a_broken_key_operation_is_refused_with_its_rule(void **state)
{
    static const struct broken cases[] = {
        {"[1 0 [[2 0 'ns' 'key' ~ b5] [3 1 'ns' 'key' ~]]]", ES_REASON_NONE, 0},
        {"[1 0 [[2 1 'ns' 'a:b' 0 b0] [3 0 'ns' 'key' 9]]]", ES_REASON_NONE, 0},
        {"[1 0 [[2 2 'ns' 'key' ~ b5]]]", ES_REASON_FAMILY, 0},
        {"[1 0 [[3 2 'ns' 'key' ~]]]", ES_REASON_FAMILY, 0},
        {"[1 0 [[2 -1 'ns' 'key' ~ b5]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[2 0 '' 'key' ~ b5]]]", ES_REASON_NAME_EMPTY, 0},
        {"[1 0 [[2 0 'n:s' 'key' ~ b5]]]", ES_REASON_NAME_COLON, 0},
        {"[1 0 [[2 0 '$ns' 'key' ~ b5]]]", ES_REASON_NAME_RESERVED, 0},
        {"[1 0 [[2 0 'ns' '' ~ b5]]]", ES_REASON_KEY_SIZE, 0},
        {"[1 0 [[2 0 'ns' 'a\nb' ~ b5]]]", ES_REASON_KEY_TEXT, 0},
        {"[1 0 [[2 0 'ns' 'key' -1 b5]]]", ES_REASON_REVISION, 0},
        {"[1 0 [[3 0 'ns' 'key' -1]]]", ES_REASON_REVISION, 0},
        {"[1 0 [[3 0 'ns' 'key' 0]]]", ES_REASON_REVISION, 0},
        {"[1 0 [[2 0 'ns' 'key' ~]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[3 0 'ns' 'key' ~ b5]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[2 0 'ns' 'key' ~ 'text']]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[2 0 'ns' b3 ~ b5]]]", ES_REASON_MALFORMED, 0},
    };

    (void)state;
    EXPECT_EACH(cases);
}

static void a_broken_snapshot_operation_is_refused_with_its_rule(void **state)
{
    static const struct broken cases[] = {
        {"[1 0 [[4 " S " 0 1 '' 0 b0] [5 " S " ~ ~] [5 " S " '' 7] [5 " S " 'p' ~]]]",
         ES_REASON_NONE, 0},
        {"[1 0 [[4 'x' 0 1 '' 0 b0]]]", ES_REASON_STREAM_FORM, 0},
        {"[1 0 [[4 " S " -1 1 '' 0 b0]]]", ES_REASON_TICK, 0},
        {"[1 0 [[4 " S " 9223372036854775808 1 '' 0 b0]]]", ES_REASON_TICK, 0},
        {"[1 0 [[4 " S " 0 0 '' 0 b0]]]", ES_REASON_SEQUENCE, 0},
        {"[1 0 [[4 " S " 0 -1 '' 0 b0]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[4 " S " 0 1 'a:b' 0 b0]]]", ES_REASON_NAME_COLON, 0},
        {"[1 0 [[4 " S " 0 1 ~ 0 b0]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[4 " S " 0 1 '' -1 b0]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[4 " S " 0 1 '' 0 ~]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[5 'x' ~ ~]]]", ES_REASON_STREAM_FORM, 0},
        {"[1 0 [[5 " S " '$p' ~]]]", ES_REASON_NAME_RESERVED, 0},
        {"[1 0 [[5 " S " ~ -1]]]", ES_REASON_TICK, 0},
        {"[1 0 [[5 " S " 7 ~]]]", ES_REASON_MALFORMED, 0},
        {"[1 0 [[5 " S " ~]]]", ES_REASON_MALFORMED, 0},
    };

    (void)state;
    EXPECT_EACH(cases);
}

static void bytes_after_the_end_are_refused(void **state)
{
    uint32_t size = notation_write("[1 0 [" GOOD "]]", bytes, sizeof bytes);
    uint32_t operation = 0;

    (void)state;
    bytes[size] = 0xC0;
    assert_int_equal(es_transaction_check(bytes, size + 1, &operation), ES_REASON_TRAILING_BYTES);
    assert_int_equal(es_transaction_check(bytes, size, &operation), ES_REASON_NONE);
    assert_int_equal(es_transaction_check(bytes, 0, &operation), ES_REASON_MALFORMED);
}

static void more_than_4096_operations_are_refused(void **state)
{
    static uint8_t many[80000];
    struct es_operation operation = {
        .kind = ES_OPERATION_KV_DELETE,
        .as.kv = {.name_space = es_text_of("ns"), .key = es_text_of("k")},
    };
    struct es_pack pack;
    uint32_t size = 0;
    uint32_t index = 0;

    (void)state;
    for (uint32_t count = ES_OPERATION_COUNT_MAX; count <= ES_OPERATION_COUNT_MAX + 1; count++) {
        es_pack_init(&pack, many, sizeof many);
        es_transaction_write_begin(&pack, 0, count);
        for (uint32_t i = 0; i < count; i++) {
            es_transaction_write_operation(&pack, &operation);
        }
        assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
        assert_int_equal(es_transaction_check(many, size, &index), count > ES_OPERATION_COUNT_MAX
                                                                       ? ES_REASON_OPERATION_COUNT
                                                                       : ES_REASON_NONE);
    }
}

static void content_hash_of(const char *text, uint8_t ret_hash[ES_CONTENT_HASH_SIZE])
{
    struct es_transaction_reader reader;
    uint32_t size = notation_write(text, bytes, sizeof bytes);

    assert_int_equal(es_transaction_read(&reader, bytes, size), ES_REASON_NONE);
    es_transaction_content_hash(&reader, ret_hash);
}

static void the_content_hash_is_of_the_operations_and_not_of_the_number(void **state)
{
    uint8_t first[ES_CONTENT_HASH_SIZE];
    uint8_t other[ES_CONTENT_HASH_SIZE];

    (void)state;
    content_hash_of("[1 7 [" GOOD "]]", first);
    content_hash_of("[1 70000 [" GOOD "]]", other);
    assert_memory_equal(first, other, sizeof first);
    content_hash_of("[1 7 [" GOOD " " GOOD "]]", other);
    assert_memory_not_equal(first, other, sizeof first);
    content_hash_of("[1 7 [[1 " S " ~ ~ [[1 't' b0 ~]]]]]", other);
    assert_memory_not_equal(first, other, sizeof first);
}

/* Reserve-in-place: the payload is filled in where it lies. */
static void a_payload_written_in_place_is_the_same_transaction(void **state)
{
    struct es_operation operation = {
        .kind = ES_OPERATION_APPEND,
        .as.append = {.stream = es_text_of(SAMPLE_STOCK), .event_count = 1},
    };
    struct es_append_event event = {
        .tick = 5, .type = es_text_of("Filled"), .payload = sample_wide_payload()};
    uint8_t whole[1024];
    uint32_t whole_size = 0;
    uint32_t size = 0;
    struct es_pack pack;

    (void)state;
    es_pack_init(&pack, whole, sizeof whole);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    assert_int_equal(es_pack_finish(&pack, &whole_size), ES_OK);
    es_pack_init(&pack, bytes, sizeof bytes);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event_begin(&pack, 5, event.type, event.payload.size);
    uint8_t *payload = pack.at;
    pack.at += event.payload.size;
    es_transaction_write_event_end(&pack, NULL);
    memcpy(payload, event.payload.data, event.payload.size);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    assert_int_equal(size, whole_size);
    assert_memory_equal(bytes, whole, size);
    assert_true(size <= ES_TRANSACTION_HEADER_MAX + ES_APPEND_OVERHEAD_MAX + ES_EVENT_OVERHEAD_MAX +
                            event.payload.size);
}

/* The reader hands out the same things, whether the events were read or passed over. */
static void passing_over_events_finds_the_same_operations(void **state)
{
    uint32_t size = sample_transaction(bytes, sizeof bytes);
    struct es_transaction_reader reading;
    struct es_transaction_reader passing;
    struct es_operation read;
    struct es_operation passed;
    struct es_append_event event;
    bool found = true;
    bool found_event = true;

    (void)state;
    assert_int_equal(es_transaction_read(&reading, bytes, size), ES_REASON_NONE);
    assert_int_equal(es_transaction_read(&passing, bytes, size), ES_REASON_NONE);
    while (found) {
        assert_int_equal(es_transaction_read_operation(&reading, &read, &found), ES_REASON_NONE);
        assert_int_equal(es_transaction_read_operation(&passing, &passed, &found), ES_REASON_NONE);
        if (!found) {
            break;
        }
        assert_int_equal(read.kind, passed.kind);
        assert_ptr_equal(reading.unpack.at, passing.unpack.at);
        for (found_event = true; found_event;) {
            assert_int_equal(es_transaction_read_event(&reading, &event, &found_event),
                             ES_REASON_NONE);
        }
    }
    assert_true(es_unpack_done(&reading.unpack));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_frame_is_refused),
        cmocka_unit_test(a_broken_append_is_refused_with_its_rule),
        cmocka_unit_test(a_broken_event_is_refused_with_its_rule),
        cmocka_unit_test(a_broken_key_operation_is_refused_with_its_rule),
        cmocka_unit_test(a_broken_snapshot_operation_is_refused_with_its_rule),
        cmocka_unit_test(bytes_after_the_end_are_refused),
        cmocka_unit_test(more_than_4096_operations_are_refused),
        cmocka_unit_test(the_content_hash_is_of_the_operations_and_not_of_the_number),
        cmocka_unit_test(a_payload_written_in_place_is_the_same_transaction),
        cmocka_unit_test(passing_over_events_finds_the_same_operations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
