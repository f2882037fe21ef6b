/*
 * Small stored values and plain byte fields: what breaks a rule is refused, a
 * newer version is told from damage, trailing elements of a newer program pass.
 */
#include "shm/codec/cursor.h"
#include "shm/codec/hash.h"
#include "shm/codec/head_record.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/last_record.h"
#include "shm/codec/log_body.h"
#include "shm/codec/receipt.h"
#include "shm/codec/snapshot_value.h"
#include "shm/codec/store_value.h"

#include "tests/support/codec_samples.h"
#include "tests/support/notation.h"
#include "tests/support/recode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define S "'prod:main:L0:orders:M1'"

static uint8_t bytes[16384];

static void values_that_break_a_rule_are_refused(void **state)
{
    static const struct {
        const char *kind; /* a name in tests/golden/value.golden */
        const char *value;
        int status;
    } cases[] = {
        {"head", "[1 2 b32 7 1 b0 2 0 ~ 'new']", ES_OK},
        {"head", "[1 0 b32 7 1 b0 2 0 ~]", ES_E_CORRUPT},
        {"head", "[1 2 b31 7 1 b0 2 0 ~]", ES_E_CORRUPT},
        {"head", "[1 2 b32 9223372036854775808 1 b0 2 0 ~]", ES_E_CORRUPT},
        {"head", "[1 2 b32 7 0 b0 2 0 ~]", ES_E_CORRUPT},
        {"head", "[1 2 b32 7 1 b1 2 0 ~]", ES_E_CORRUPT},
        {"head", "[1 2 b32 7 1 b0 0 0 ~]", ES_E_CORRUPT},
        {"head", "[1 2 b32 7 1 b0 2 0]", ES_E_CORRUPT},
        {"head", "[1 2 b32 7 1 b0 2 0 ['parent' 3]]", ES_E_VERSION},
        {"head", "[2 2 b32]", ES_E_VERSION},
        {"pos", "0", ES_E_CORRUPT},
        {"pos", "[1]", ES_E_CORRUPT},
        {"kv", "[1 0 b32 b1]", ES_E_CORRUPT},
        {"kv", "[1 1 b32 'x']", ES_E_CORRUPT},
        {"kv", "[2 1 b32 b1]", ES_E_VERSION},
        {"kv", "[1 1 b32 b1 'new' [1 2]]", ES_OK},
        {"snapshot", "[1 7 0 b32 '' 0 5 b32 b1]", ES_E_CORRUPT},
        {"snapshot", "[1 9223372036854775808 1 b32 '' 0 5 b32 b1]", ES_E_CORRUPT},
        {"snapshot", "[1 7 1 b32 'a:b' 0 5 b32 b1]", ES_E_CORRUPT},
        {"snapshot", "[1 7 1 b32 'p' 0 5 b32 b1 'new']", ES_OK},
        {"producer", "[1 2 3]", ES_E_CORRUPT},
        {"producer", "[1 2 3 4294967296]", ES_E_CORRUPT},
        {"producer", "[9 2 3 4]", ES_E_VERSION},
        {"consumer", "[1 2 3 '\xFF' 4]", ES_E_CORRUPT},
        {"consumer", "[1 2 3 '' 4 5]", ES_OK},
        {"category", "[1]", ES_E_CORRUPT},
        {"category", "[1 -1]", ES_E_CORRUPT},
        {"store", "[0 b16]", ES_E_CORRUPT},
        {"store", "[7 b16]", ES_OK}, /* a newer format: for the start to refuse in words */
        {"store", "[1 b15]", ES_E_CORRUPT},
        {"epochs", "[]", ES_E_CORRUPT},
        {"epochs", "[[1]]", ES_E_CORRUPT},
        {"epochs", "[[1 0]]", ES_E_CORRUPT},
        {"epochs", "[[1 1 'new']]", ES_OK},
        {"last", "[1 2 3 [[1]] []]", ES_E_CORRUPT},
        {"last", "[1 2 3 [] [[1 2]]]", ES_E_CORRUPT},
        {"last", "[1 2 3 [[1 2 3]] [[1 2 3 4]] 5]", ES_OK},
        {"last", "[2]", ES_E_VERSION},
        {"receipt", "[1 b16 2 " S " 1 1 b32 1 b32]", ES_OK},
        {"receipt", "[1 b16 2 'x' 1 1 b32 1 b32]", ES_E_CORRUPT},
        {"receipt", "[1 b16 2 " S " 0 1 b32 1 b32]", ES_E_CORRUPT},
        {"receipt", "[1 b16 2 " S " 1 0 b32 1 b32]", ES_E_CORRUPT},
        {"receipt", "[1 b16 2 " S " 1 1 b32 0 b32]", ES_E_CORRUPT},
        {"receipt", "[1 b16 2 " S " 1 1 b32 1]", ES_E_CORRUPT},
    };
    uint8_t again[1024];
    uint32_t again_size = 0;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t size = notation_write(cases[i].value, bytes, sizeof bytes);
        const struct recoder *recoder = recoder_find("value", cases[i].kind);
        int status = recoder->recode(bytes, size, again, sizeof again, &again_size);

        if (status != cases[i].status) {
            fail_msg("%s %s: %s", cases[i].kind, cases[i].value,
                     es_status_text((enum es_status)status));
        }
    }
}

static void bodies_of_log_records_that_break_a_rule_are_refused(void **state)
{
    static const struct {
        const char *body;
        int status;
    } cases[] = {
        {"[~ [] [] [1]]", ES_OK},
        {"[[1] [b5 b0] [] [1]]", ES_OK},
        {"[~ [] [] [1] 5]", ES_E_CORRUPT},
        {"[~ [] []]", ES_E_CORRUPT},
        {"[7 [] [] [1]]", ES_E_CORRUPT},
        {"[~ ['x'] [] [1]]", ES_E_CORRUPT},
        {"[~ [] [] ~]", ES_E_CORRUPT},
        {"[~ [] [[9 1]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[1 0 'ns' 'k' 1 b32 b0]] [1]]", ES_OK},
        {"[~ [] [[1 2 'ns' 'k' 1 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[1 0 'n:s' 'k' 1 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[1 0 'ns' '' 1 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[1 0 'ns' 'k' 0 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[1 0 'ns' 'k' 1 b31 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[2 0 'ns' 'k' 1 b32]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[3 'x' 1 1 b32 '' 0 0 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[3 " S " 1 0 b32 '' 0 0 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[3 " S " 1 1 b32 '$' 0 0 b32 b0]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[4 " S " 1 0 '']] [1]]", ES_OK},
        {"[~ [] [[5 '' 1 2 'o' 3]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[5 'c' 1 2 '\xFF' 3]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[6 'a:b']] [1]]", ES_E_CORRUPT},
        {"[~ [] [[7 '$p' 1 2]] [1]]", ES_E_CORRUPT},
        {"[~ [] [[8 1 0]] [1]]", ES_E_CORRUPT},
    };
    uint8_t again[1024];
    uint32_t again_size = 0;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t size = notation_write(cases[i].body, bytes, sizeof bytes);
        int status = recode_log_body(bytes, size, again, sizeof again, &again_size);

        if (status != cases[i].status) {
            fail_msg("%s: %s", cases[i].body, es_status_text((enum es_status)status));
        }
    }
}

/* With everything at its largest, the announced sizes suffice. */
static void a_full_last_and_full_epochs_fit_their_announced_sizes(void **state)
{
    static struct es_last last;
    static struct es_last read;
    struct es_epochs epochs = {.count = ES_EPOCH_COUNT_MAX};
    struct es_epochs epochs_read;
    uint32_t size = 0;

    (void)state;
    memset(&last, 0xFF, sizeof last);
    last.ring_count = ES_LAST_RING_COUNT_MAX;
    last.lane_count = ES_LAST_LANE_COUNT_MAX;
    assert_int_equal(es_last_encode(&last, bytes, ES_LAST_SIZE_MAX, &size), ES_OK);
    assert_int_equal(es_last_decode(bytes, size, &read), ES_OK);
    assert_memory_equal(&read, &last, sizeof last);
    assert_int_equal(es_last_encode(&last, bytes, size - 1, &size), ES_E_TOO_LARGE);
    memset(epochs.entries, 0xFF, sizeof epochs.entries);
    assert_int_equal(es_epochs_encode(&epochs, bytes, ES_STORE_VALUE_SIZE_MAX, &size), ES_OK);
    assert_int_equal(es_epochs_decode(bytes, size, &epochs_read), ES_OK);
    assert_memory_equal(&epochs_read, &epochs, sizeof epochs);
    bytes[2] = ES_EPOCH_COUNT_MAX + 1; /* the header is 0xDC 0x00 0x40 */
    assert_int_equal(es_epochs_decode(bytes, size, &epochs_read), ES_E_CORRUPT);
}

/* [1, 2, 3, rings, lanes] with as many entries as told; the status of reading it. */
static enum es_status decode_last_with(uint32_t ring_count, uint32_t lane_count)
{
    struct es_last last;
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, bytes, sizeof bytes);
    es_pack_array(&pack, 5);
    es_pack_raw(&pack, "\1\2\3", 3);
    es_pack_array(&pack, ring_count);
    for (uint32_t i = 0; i < ring_count; i++) {
        es_pack_raw(&pack, "\x92\1\2", 3);
    }
    es_pack_array(&pack, lane_count);
    for (uint32_t i = 0; i < lane_count; i++) {
        es_pack_raw(&pack, "\x93\1\2\3", 4);
    }
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    return es_last_decode(bytes, size, &last);
}

static void a_last_with_more_rings_or_lanes_than_there_can_be_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_last_with(ES_LAST_RING_COUNT_MAX, ES_LAST_LANE_COUNT_MAX), ES_OK);
    assert_int_equal(decode_last_with(ES_LAST_RING_COUNT_MAX + 1, 0), ES_E_CORRUPT);
    assert_int_equal(decode_last_with(0, ES_LAST_LANE_COUNT_MAX + 1), ES_E_CORRUPT);
}

/* A pack that has overflowed is not repaired by what follows. */
static void a_log_body_that_does_not_fit_says_so(void **state)
{
    struct es_last last = {.batch_number = UINT64_MAX};
    struct es_pack pack;
    uint32_t size = 0;

    (void)state;
    es_pack_init(&pack, bytes, 10);
    es_log_body_begin(&pack, es_bytes_make(NULL, 0), 0);
    es_log_body_operations(&pack, 0);
    es_log_body_last(&pack, &last);
    assert_int_equal(es_pack_finish(&pack, &size), ES_E_TOO_LARGE);
}

static void fields_on_disk_are_little_endian_and_bounded(void **state)
{
    static const uint8_t expected[20] = {0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xFF, 0xEE, 0xDD,
                                         0xCC, 0xBB, 0xAA, 0x99, 0x88, 'x',  'y',  0,    0,    0};
    uint8_t header[20];
    uint8_t text[2];
    struct es_cursor cursor;

    (void)state;
    memset(header, 0xEE, sizeof header);
    es_cursor_init(&cursor, header, sizeof header);
    es_cursor_put_u8(&cursor, 0x11);
    es_cursor_put_u16(&cursor, 0x2233);
    es_cursor_put_u32(&cursor, 0x44556677);
    es_cursor_put_u64(&cursor, 0x8899AABBCCDDEEFF);
    es_cursor_put_bytes(&cursor, "xy", 2);
    es_cursor_put_zeros_to(&cursor, 20);
    assert_true(es_cursor_ok(&cursor));
    assert_int_equal(es_cursor_left(&cursor), 0);
    assert_memory_equal(header, expected, sizeof header);
    es_cursor_init_read(&cursor, header, sizeof header);
    assert_int_equal(es_cursor_get_u8(&cursor), 0x11);
    assert_int_equal(es_cursor_get_u16(&cursor), 0x2233);
    assert_int_equal(es_cursor_get_u32(&cursor), 0x44556677);
    assert_true(es_cursor_get_u64(&cursor) == 0x8899AABBCCDDEEFF);
    es_cursor_get_bytes(&cursor, text, 2);
    assert_memory_equal(text, "xy", 2);
    assert_int_equal(es_cursor_left(&cursor), 3);
    assert_ptr_equal(es_cursor_take(&cursor, 3), header + 17);
    assert_true(es_cursor_ok(&cursor));
}

static void a_cursor_past_its_end_gives_zeros_and_says_so(void **state)
{
    uint8_t header[4] = {1, 2, 3, 4};
    uint8_t out[2] = {9, 9};
    struct es_cursor cursor;

    (void)state;
    es_cursor_init_read(&cursor, header, sizeof header);
    assert_int_equal(es_cursor_get_u8(&cursor), 1);
    assert_int_equal(es_cursor_get_u32(&cursor), 0); /* three are left */
    assert_false(es_cursor_ok(&cursor));
    assert_int_equal(es_cursor_left(&cursor), 0);
    assert_int_equal(es_cursor_get_u8(&cursor), 0); /* would be there, but the error stays */
    es_cursor_get_bytes(&cursor, out, 2);
    assert_int_equal(out[0] | out[1], 0);
    assert_null(es_cursor_take(&cursor, 0));
    es_cursor_init(&cursor, header, 2);
    es_cursor_put_u32(&cursor, 0);
    es_cursor_put_bytes(&cursor, "xy", 2);
    es_cursor_put_zeros_to(&cursor, 2);
    assert_false(es_cursor_ok(&cursor));
    assert_memory_equal(header, "\1\2\3\4", 4);
}

static void hashes_are_blake2b_however_they_are_fed(void **state)
{
    /* b2sum -l 256, b2sum -l 128 of "abc" */
    static const char *const abc =
        "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
    static const char *const abc_16 = "cf4ab791c62b8d2b2109c90275287816";
    struct es_hash_state hashing;
    uint8_t hash[ES_HASH_SIZE];
    uint8_t expected[ES_HASH_SIZE];
    char hex[ES_HASH_HEX_SIZE];

    (void)state;
    es_hash_warm_up();
    es_hash("abc", 3, hash);
    es_hex_encode(hash, sizeof hash, hex);
    assert_memory_equal(hex, abc, sizeof hex);
    es_hash_begin(&hashing);
    es_hash_update(&hashing, "a", 1);
    es_hash_update(&hashing, "", 0);
    es_hash_update(&hashing, "bc", 2);
    es_hash_end(&hashing, expected);
    assert_memory_equal(hash, expected, sizeof hash);
    es_hash_16("abc", 3, hash);
    es_hex_encode(hash, ES_CONTENT_HASH_SIZE, hex);
    assert_memory_equal(hex, abc_16, 32);
    for (size_t cut = 0; cut <= 1000; cut++) { /* every cut of more than seven blocks */
        es_hash_begin(&hashing);
        es_hash_update(&hashing, bytes, cut);
        es_hash_update(&hashing, bytes + cut, 1000 - cut);
        es_hash_end(&hashing, hash);
        es_hash(bytes, 1000, expected);
        assert_memory_equal(hash, expected, sizeof hash);
    }
}

static void hexadecimal_reads_back_and_nothing_else_does(void **state)
{
    uint8_t out[2] = {9, 9};

    (void)state;
    assert_true(es_hex_decode(es_text_of("0aFf"), out, 2));
    assert_int_equal(out[0], 0x0A);
    assert_int_equal(out[1], 0xFF);
    assert_false(es_hex_decode(es_text_of("0aF"), out, 2));
    assert_false(es_hex_decode(es_text_of("0aFff"), out, 2));
    assert_false(es_hex_decode(es_text_of("00g0"), out, 2));
    assert_false(es_hex_decode(es_text_of("00:0"), out, 2));
    assert_false(es_hex_decode(es_text_of("00 0"), out, 2));
    assert_int_equal(out[0], 0x0A);
}

static void encoders_say_when_there_is_no_room(void **state)
{
    struct es_head_value head = {.last_sequence = 1, .first_sequence = 1, .last_position = 1};
    struct es_kv_value pair = {1, sample_fill(1), es_bytes_make("", 0)};
    struct es_snapshot_value snapshot = {.event_hash = sample_fill(1),
                                         .state_hash = sample_fill(2)};
    struct es_producer_value producer = {1, 2, 3};
    struct es_consumer_value consumer = {.owner = es_text_of("")};
    struct es_store_identity identity = {.format_version = 1};
    struct es_epochs epochs = {.count = 1};
    struct es_receipt_fields receipt = {.stream = es_text_of(SAMPLE_ORDERS)};
    uint32_t size = 42;

    (void)state;
    assert_int_equal(es_head_encode(&head, bytes, 8, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_pos_encode(65536, bytes, 4, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_kv_value_encode(&pair, bytes, 8, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_snapshot_value_encode(&snapshot, bytes, 8, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_producer_value_encode(&producer, bytes, 3, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_consumer_value_encode(&consumer, bytes, 3, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_category_value_encode(1, bytes, 2, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_revision_value_encode(1, bytes, 2, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_store_identity_encode(&identity, bytes, 8, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_epochs_encode(&epochs, bytes, 2, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_receipt_encode(&receipt, bytes, 8, &size), ES_E_TOO_LARGE);
    assert_int_equal(size, 42);
}

static void of_several_batches_the_last_word_on_a_lane_counts(void **state)
{
    struct es_last ahead = {.batch_number = 1, .ring_count = 1, .rings = {{7, 10}}};
    struct es_last later = {.batch_number = 2,
                            .ring_count = 2,
                            .rings = {{8, 5}, {7, 11}},
                            .lane_count = 1,
                            .lanes = {{3, 4, 64}}};

    (void)state;
    es_last_note(&ahead, &later);
    later.lanes[0].last_sequence = 6;
    es_last_note(&ahead, &later);
    assert_int_equal(ahead.batch_number, 1);
    assert_int_equal(ahead.ring_count, 2);
    assert_int_equal(ahead.rings[0].cursor, 11);
    assert_int_equal(ahead.rings[1].ring_id, 8);
    assert_int_equal(ahead.lane_count, 1);
    assert_int_equal(ahead.lanes[0].last_sequence, 6);
    for (uint64_t i = 0; i < 2 * ES_LAST_LANE_COUNT_MAX; i++) { /* more than there can be */
        later.lanes[0].incarnation = 100 + i;
        es_last_note(&ahead, &later);
    }
    assert_int_equal(ahead.lane_count, ES_LAST_LANE_COUNT_MAX);
    assert_int_equal(ahead.lanes[0].incarnation, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_several_batches_the_last_word_on_a_lane_counts),
        cmocka_unit_test(values_that_break_a_rule_are_refused),
        cmocka_unit_test(bodies_of_log_records_that_break_a_rule_are_refused),
        cmocka_unit_test(a_full_last_and_full_epochs_fit_their_announced_sizes),
        cmocka_unit_test(a_last_with_more_rings_or_lanes_than_there_can_be_is_refused),
        cmocka_unit_test(a_log_body_that_does_not_fit_says_so),
        cmocka_unit_test(fields_on_disk_are_little_endian_and_bounded),
        cmocka_unit_test(a_cursor_past_its_end_gives_zeros_and_says_so),
        cmocka_unit_test(hashes_are_blake2b_however_they_are_fed),
        cmocka_unit_test(hexadecimal_reads_back_and_nothing_else_does),
        cmocka_unit_test(encoders_say_when_there_is_no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
