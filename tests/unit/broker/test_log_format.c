/*
 * The bytes of the commit log's headers: those of the golden files, which another
 * program has built from the documentation, and the refusal of everything else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/log_format.h"
#include "shm/crc32c.h"
#include "tests/support/golden.h"

static const uint64_t secret = 0x1112131415161718U;

static struct log_segment_header a_header(void)
{
    struct log_segment_header header = {
        .identity = {.epoch = 0x0102030405060708U, .secret = secret},
        .geometry = {.segment_count = 3, .segment_bytes = 32U << 20},
        .segment_number = 1,
        .first_batch = 1,
        .revision = 1,
    };

    for (size_t i = 0; i < LOG_STORE_ID_BYTES; i++) {
        header.identity.store_id[i] = (uint8_t)(0x10 + i);
    }
    memset(header.previous_store_hash, 0xc3, LOG_HASH_BYTES);
    memset(header.flushed.store_hash, 0xd4, LOG_HASH_BYTES);
    return header;
}

static void assert_slot_is_golden(const struct log_segment_header *header, const char *name)
{
    uint8_t golden[GOLDEN_SIZE_MAX];
    uint8_t slot[LOG_HEADER_SLOT_BYTES];
    struct log_segment_header found;

    log_segment_header_encode(header, slot);
    assert_int_equal(golden_read("segment", name, golden), LOG_HEADER_SLOT_BYTES);
    assert_memory_equal(slot, golden, LOG_HEADER_SLOT_BYTES);
    assert_int_equal(log_segment_header_decode(golden, &found), ES_OK);
    log_segment_header_encode(&found, slot);
    assert_memory_equal(slot, golden, LOG_HEADER_SLOT_BYTES);
}

static void segment_headers_are_those_of_the_golden_file(void **state)
{
    struct log_segment_header header = a_header();

    (void)state;
    assert_slot_is_golden(&header, "slot_of_the_first");
    header.segment_number = 4097;
    header.first_batch = 1234567890123;
    header.flushed.batch_number = 1234567880000;
    header.revision = 98765;
    assert_slot_is_golden(&header, "slot_of_a_later_one");
}

static void assert_record_is_golden(const struct log_record_header *header, const char *name)
{
    uint8_t golden[GOLDEN_SIZE_MAX];
    uint8_t bytes[LOG_RECORD_HEADER_BYTES];
    struct log_record_header found;

    log_record_header_encode(header, bytes);
    assert_int_equal(golden_read("record", name, golden), LOG_RECORD_HEADER_BYTES);
    assert_memory_equal(bytes, golden, LOG_RECORD_HEADER_BYTES);
    assert_true(log_record_header_decode(golden, secret, &found));
    log_record_header_encode(&found, bytes);
    assert_memory_equal(bytes, golden, LOG_RECORD_HEADER_BYTES);
    assert_false(log_record_header_decode(golden, secret + 1, &found));
}

static void record_headers_are_those_of_the_golden_file(void **state)
{
    struct log_record_header empty = {
        .secret = secret, .segment_number = 1, .batch_number = 1, .durable_batch = 0};
    struct log_record_header digits = {.body_bytes = 9,
                                       .secret = secret,
                                       .segment_number = 4097,
                                       .batch_number = 1234567890123,
                                       .durable_batch = 1234567890122,
                                       .body_crc32c = es_crc32c(0, "123456789", 9)};

    (void)state;
    assert_record_is_golden(&empty, "header_without_body");
    assert_record_is_golden(&digits, "header_of_123456789");
}

static void a_segment_header_with_one_bit_changed_is_refused(void **state)
{
    struct log_segment_header header = a_header();
    struct log_segment_header found = {.revision = 4711};
    uint8_t slot[LOG_HEADER_SLOT_BYTES];

    (void)state;
    log_segment_header_encode(&header, slot);
    for (size_t bit = 0; bit < 8 * sizeof slot; bit++) {
        slot[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(log_segment_header_decode(slot, &found), ES_E_CORRUPT);
        assert_int_equal(found.revision, 4711); /* outputs stay untouched */
        slot[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

static void seal(uint8_t slot[LOG_HEADER_SLOT_BYTES])
{
    uint32_t crc32c = es_crc32c(0, slot, LOG_HEADER_SLOT_BYTES - 4);

    for (int i = 0; i < 4; i++) {
        slot[LOG_HEADER_SLOT_BYTES - 4 + i] = (uint8_t)(crc32c >> 8 * i);
    }
}

static void a_sound_header_with_impossible_fields_is_refused(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
        enum es_status expected;
    } cases[] = {{0, 'X', ES_E_CORRUPT}, {8, 0, ES_E_CORRUPT},   {8, 2, ES_E_VERSION},
                 {12, 2, ES_E_CORRUPT},  {12, 17, ES_E_CORRUPT}, {48, 1, ES_E_CORRUPT},
                 {55, 1, ES_E_CORRUPT},  {56, 0, ES_E_CORRUPT},  {64, 0, ES_E_CORRUPT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct log_segment_header header = a_header();
        struct log_segment_header found;
        uint8_t slot[LOG_HEADER_SLOT_BYTES];

        log_segment_header_encode(&header, slot);
        slot[cases[i].offset] = cases[i].value;
        seal(slot);
        assert_int_equal(log_segment_header_decode(slot, &found), cases[i].expected);
    }
}

static void of_a_page_the_slot_with_the_higher_revision_counts(void **state)
{
    uint8_t page[LOG_HEADER_PAGE_BYTES] = {0};
    struct log_segment_header header = a_header();
    struct log_segment_header found;

    (void)state;
    assert_int_equal(log_header_page_decode(page, &found), ES_EMPTY);
    for (uint64_t revision = 1; revision <= 5; revision++) {
        header.revision = revision;
        log_segment_header_encode(&header, page + log_header_slot_offset(revision));
        assert_int_equal(log_header_page_decode(page, &found), ES_OK);
        assert_int_equal(found.revision, revision);
    }
    page[log_header_slot_offset(5) + 20] ^= 1;
    assert_int_equal(log_header_page_decode(page, &found), ES_OK);
    assert_int_equal(found.revision, 4);
    page[log_header_slot_offset(4) + 20] ^= 1;
    assert_int_equal(log_header_page_decode(page, &found), ES_E_CORRUPT);
    memset(page + log_header_slot_offset(5), 0, LOG_HEADER_SLOT_BYTES);
    assert_int_equal(log_header_page_decode(page, &found), ES_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segment_headers_are_those_of_the_golden_file),
        cmocka_unit_test(record_headers_are_those_of_the_golden_file),
        cmocka_unit_test(a_segment_header_with_one_bit_changed_is_refused),
        cmocka_unit_test(a_sound_header_with_impossible_fields_is_refused),
        cmocka_unit_test(of_a_page_the_slot_with_the_higher_revision_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
