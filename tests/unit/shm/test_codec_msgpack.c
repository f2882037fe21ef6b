/*
 * The writer writes the one canonical form, and the strict reader reads that and
 * nothing else: at every boundary of every width, and whatever a stranger sends.
 */
#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"

#include "tests/support/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint8_t buffer[70000];
static uint32_t size;

static struct es_pack pack;

static void begin(void)
{
    es_pack_init(&pack, buffer, sizeof buffer);
}

static void finish(void)
{
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
}

static struct es_unpack reader(const void *bytes, size_t bytes_size)
{
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, bytes_size);
    return unpack;
}

static void non_negative_integers_take_the_shortest_unsigned_form(void **state)
{
    static const struct {
        uint64_t value;
        uint8_t first;
        uint32_t size;
    } cases[] = {
        {0, 0x00, 1},          {127, 0x7F, 1},       {128, 0xCC, 2},        {255, 0xCC, 2},
        {256, 0xCD, 3},        {65535, 0xCD, 3},     {65536, 0xCE, 5},      {UINT32_MAX, 0xCE, 5},
        {1ULL << 32, 0xCF, 9}, {INT64_MAX, 0xCF, 9}, {1ULL << 63, 0xCF, 9}, {UINT64_MAX, 0xCF, 9},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        es_pack_uint(&pack, cases[i].value);
        finish();
        assert_int_equal(buffer[0], cases[i].first);
        assert_int_equal(size, cases[i].size);
        struct es_unpack unpack = reader(buffer, size);
        assert_true(es_unpack_uint(&unpack) == cases[i].value);
        assert_true(es_unpack_done(&unpack));
        if (cases[i].value <= INT64_MAX) {
            uint8_t same[9];

            memcpy(same, buffer, size);
            begin();
            es_pack_int(&pack, (int64_t)cases[i].value); /* the sign of the type is no matter */
            assert_int_equal(es_pack_size(&pack), cases[i].size);
            assert_memory_equal(buffer, same, cases[i].size);
            unpack = reader(buffer, cases[i].size);
            assert_true(es_unpack_int(&unpack) == (int64_t)cases[i].value);
        }
    }
}

static void negative_integers_take_the_shortest_signed_form(void **state)
{
    static const struct {
        int64_t value;
        uint8_t first;
        uint32_t size;
    } cases[] = {
        {-1, 0xFF, 1},
        {-32, 0xE0, 1},
        {-33, 0xD0, 2},
        {INT8_MIN, 0xD0, 2},
        {INT8_MIN - 1, 0xD1, 3},
        {INT16_MIN, 0xD1, 3},
        {INT16_MIN - 1, 0xD2, 5},
        {INT32_MIN, 0xD2, 5},
        {(int64_t)INT32_MIN - 1, 0xD3, 9},
        {INT64_MIN, 0xD3, 9},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        es_pack_int(&pack, cases[i].value);
        finish();
        assert_int_equal(buffer[0], cases[i].first);
        assert_int_equal(size, cases[i].size);
        struct es_unpack unpack = reader(buffer, size);
        assert_int_equal(es_unpack_peek(&unpack), ES_MSGPACK_INT);
        assert_true(es_unpack_int(&unpack) == cases[i].value);
        assert_true(es_unpack_done(&unpack));
        unpack = reader(buffer, size);
        (void)es_unpack_uint(&unpack);
        assert_false(es_unpack_ok(&unpack));
    }
}

/* Each of them is valid MessagePack, and msgpack-c itself would take it. */
static void longer_forms_than_needed_are_refused(void **state)
{
    static const struct {
        uint8_t bytes[12];
        uint32_t size;
    } cases[] = {
        {{0xCC, 0x7F}, 2},
        {{0xCD, 0x00, 0xFF}, 3},
        {{0xCE, 0x00, 0x00, 0xFF, 0xFF}, 5},
        {{0xCF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF}, 9},
        {{0xD0, 0xE0}, 2},       /* -32 */
        {{0xD1, 0xFF, 0x80}, 3}, /* -128 */
        {{0xD2, 0xFF, 0xFF, 0x80, 0x00}, 5},
        {{0xD3, 0xFF, 0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00, 0x00}, 9},
        {{0xD9, 0x01, 'a'}, 3},
        {{0xDA, 0x00, 0x01, 'a'}, 4},
        {{0xDB, 0x00, 0x00, 0x00, 0x01, 'a'}, 6},
        {{0xC5, 0x00, 0x01, 'a'}, 4},
        {{0xC6, 0x00, 0x00, 0x00, 0x01, 'a'}, 6},
        {{0xDC, 0x00, 0x01, 0x00}, 4},
        {{0xDD, 0x00, 0x00, 0x00, 0x01, 0x00}, 6},
        {{0xDE, 0x00, 0x01, 0x00, 0x00}, 5},
        {{0xDF, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00}, 7},
        {{0xC7, 0x01, 0x05, 0x00}, 4}, /* ext of one byte: there is a fixext */
        {{0xC7, 0x10, 0x05}, 3},
        {{0xC8, 0x00, 0x03, 0x05, 0x00, 0x00, 0x00}, 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(es_msgpack_is_canonical_payload(cases[i].bytes, cases[i].size));
    }
}

static void a_signed_form_that_holds_a_non_negative_value_is_refused(void **state)
{
    static const uint8_t forms[][9] = {
        {0xD0, 0x00},
        {0xD0, 0x7F},
        {0xD1, 0x00, 0x80},
        {0xD1, 0x7F, 0xFF},
        {0xD2, 0x00, 0x01, 0x00, 0x00},
        {0xD2, 0x7F, 0xFF, 0xFF, 0xFF},
        {0xD3, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00},
        {0xD3, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t form_size = 1 + ((size_t)1 << (forms[i][0] - 0xD0));
        struct es_unpack unpack = reader(forms[i], form_size);

        assert_int_equal(es_unpack_int(&unpack), 0);
        assert_false(es_unpack_ok(&unpack));
        unpack = reader(forms[i], form_size);
        (void)es_unpack_skip(&unpack);
        assert_false(es_unpack_ok(&unpack));
    }
}

/* Strings, binaries, arrays and maps: sizes on both sides of each width. */
static void headers_of_every_size_read_back(void **state)
{
    static const uint32_t sizes[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536};
    static const char text[65536];

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        begin();
        es_pack_str(&pack, es_text_make(text, sizes[i]));
        finish();
        assert_int_equal(size - sizes[i], sizes[i] < 32      ? 1
                                          : sizes[i] < 256   ? 2
                                          : sizes[i] < 65536 ? 3
                                                             : 5);
        struct es_unpack unpack = reader(buffer, size);
        assert_int_equal(es_unpack_str(&unpack, sizes[i]).size, sizes[i]);
        assert_true(es_unpack_done(&unpack));
        begin();
        es_pack_bin(&pack, text, sizes[i]);
        finish();
        assert_int_equal(size - sizes[i], sizes[i] < 256 ? 2 : sizes[i] < 65536 ? 3 : 5);
        unpack = reader(buffer, size);
        assert_int_equal(es_unpack_bin(&unpack, sizes[i]).size, sizes[i]);
        assert_true(es_unpack_done(&unpack));
        unpack = reader(buffer, size - (sizes[i] > 0)); /* a byte short */
        (void)es_unpack_bin(&unpack, UINT32_MAX);
        assert_int_equal(es_unpack_ok(&unpack), sizes[i] == 0);
        begin();
        es_pack_array(&pack, sizes[i]);
        size_t header = es_pack_size(&pack);
        assert_int_equal(header, sizes[i] < 16 ? 1 : sizes[i] < 65536 ? 3 : 5);
        unpack = reader(buffer, header + sizes[i]);
        assert_int_equal(es_unpack_array(&unpack), sizes[i]);
        unpack = reader(buffer, header + sizes[i] - (sizes[i] > 0));
        (void)es_unpack_array(&unpack); /* more elements than bytes */
        assert_int_equal(es_unpack_ok(&unpack), sizes[i] == 0);
    }
    begin();
    es_pack_map(&pack, 17);
    struct es_unpack unpack = reader(buffer, es_pack_size(&pack) + 34);
    assert_int_equal(es_unpack_map(&unpack), 17);
    unpack = reader(buffer, es_pack_size(&pack) + 33);
    (void)es_unpack_map(&unpack);
    assert_false(es_unpack_ok(&unpack));
}

static void small_values_read_back(void **state)
{
    static const uint8_t single[] = {0xCA, 0x3F, 0xC0, 0x00, 0x00}; /* 1.5 */

    (void)state;
    begin();
    es_pack_nil(&pack);
    es_pack_bool(&pack, true);
    es_pack_bool(&pack, false);
    es_pack_double(&pack, -0.1);
    finish();
    struct es_unpack unpack = reader(buffer, size);
    assert_int_equal(es_unpack_peek(&unpack), ES_MSGPACK_NIL);
    assert_true(es_unpack_try_nil(&unpack));
    assert_false(es_unpack_try_nil(&unpack));
    assert_true(es_unpack_bool(&unpack));
    assert_false(es_unpack_bool(&unpack));
    assert_true(es_unpack_double(&unpack) == -0.1);
    assert_true(es_unpack_done(&unpack));
    assert_int_equal(es_unpack_peek(&unpack), ES_MSGPACK_NONE);
    unpack = reader(single, sizeof single);
    assert_true(es_unpack_double(&unpack) == 1.5);
    unpack = reader(single, sizeof single);
    es_unpack_nil(&unpack);
    assert_false(es_unpack_ok(&unpack));
}

/* After the first error nothing is consumed and everything reads as nothing. */
static void the_first_error_stays(void **state)
{
    static const uint8_t bytes[] = {0xC1, 0x05, 0xA1, 'a', 0xC4, 0x01, 'b', 0x91, 0x00};
    struct es_unpack unpack = reader(bytes, sizeof bytes);
    uint8_t hash[ES_HASH_SIZE];

    (void)state;
    assert_int_equal(es_unpack_uint(&unpack), 0);
    const uint8_t *at = unpack.at;
    unpack.at++; /* even where good bytes follow */
    at++;
    assert_int_equal(es_unpack_uint(&unpack), 0);
    assert_int_equal(es_unpack_int(&unpack), 0);
    assert_int_equal(es_unpack_uint_in(&unpack, 1, 9), 0);
    assert_int_equal(es_unpack_str(&unpack, 9).size, 0);
    assert_int_equal(es_unpack_utf8(&unpack, 9).size, 0);
    assert_int_equal(es_unpack_bin(&unpack, 9).size, 0);
    assert_int_equal(es_unpack_hash_or_empty(&unpack).size, 0);
    assert_null(es_unpack_bin_of(&unpack, 1));
    es_unpack_bin_copy(&unpack, hash, sizeof hash);
    assert_int_equal(hash[0] | hash[31], 0);
    assert_int_equal(es_unpack_array(&unpack), 0);
    assert_int_equal(es_unpack_map(&unpack), 0);
    assert_false(es_unpack_bool(&unpack));
    assert_true(es_unpack_double(&unpack) == 0.0);
    assert_int_equal(es_unpack_skip(&unpack).size, 0);
    es_unpack_skip_count(&unpack, UINT32_MAX);
    assert_ptr_equal(unpack.at, at);
    assert_false(es_unpack_done(&unpack));
}

static void bounds_on_values_are_kept(void **state)
{
    static const uint8_t seven[] = {0x07};
    static const uint8_t text[] = {0xA3, 'a', 'b', 'c'};
    static const uint8_t bad_text[] = {0xA2, 0xC3, 0x28};
    static const uint8_t bin[] = {0xC4, 0x03, 1, 2, 3};
    static const uint8_t array[] = {0x93, 1, 2, 3};
    struct es_unpack unpack = reader(seven, sizeof seven);

    (void)state;
    assert_int_equal(es_unpack_uint_in(&unpack, 7, 7), 7);
    unpack = reader(seven, sizeof seven);
    (void)es_unpack_uint_in(&unpack, 8, 9);
    assert_false(es_unpack_ok(&unpack));
    unpack = reader(seven, sizeof seven);
    (void)es_unpack_uint_in(&unpack, 0, 6);
    assert_false(es_unpack_ok(&unpack));
    unpack = reader(text, sizeof text);
    (void)es_unpack_str(&unpack, 2);
    assert_false(es_unpack_ok(&unpack));
    unpack = reader(bad_text, sizeof bad_text);
    assert_int_equal(es_unpack_str(&unpack, 2).size, 2);
    unpack = reader(bad_text, sizeof bad_text);
    (void)es_unpack_utf8(&unpack, 2);
    assert_false(es_unpack_ok(&unpack));
    unpack = reader(bin, sizeof bin);
    assert_null(es_unpack_bin_of(&unpack, 4));
    unpack = reader(bin, sizeof bin);
    assert_null(es_unpack_bin_of(&unpack, 2));
    unpack = reader(bin, sizeof bin);
    (void)es_unpack_hash_or_empty(&unpack);
    assert_false(es_unpack_ok(&unpack));
    unpack = reader(array, sizeof array);
    (void)es_unpack_array_in(&unpack, 4, 5);
    assert_false(es_unpack_ok(&unpack));
    unpack = reader(array, sizeof array);
    (void)es_unpack_array_in(&unpack, 1, 2);
    assert_false(es_unpack_ok(&unpack));
}

static void skipping_is_bounded_in_depth(void **state)
{
    uint8_t nested[ES_MSGPACK_DEPTH_MAX + 2];

    (void)state;
    memset(nested, 0x91, sizeof nested);
    nested[ES_MSGPACK_DEPTH_MAX] = 0xC0;
    assert_true(es_msgpack_is_canonical_payload(nested, ES_MSGPACK_DEPTH_MAX + 1));
    nested[ES_MSGPACK_DEPTH_MAX] = 0x91;
    nested[ES_MSGPACK_DEPTH_MAX + 1] = 0xC0;
    assert_false(es_msgpack_is_canonical_payload(nested, ES_MSGPACK_DEPTH_MAX + 2));
    /* an empty array at the bottom is a leaf */
    nested[ES_MSGPACK_DEPTH_MAX] = 0x90;
    assert_true(es_msgpack_is_canonical_payload(nested, ES_MSGPACK_DEPTH_MAX + 1));
}

/* 100 bytes that promise gigabytes: msgpack-c would reserve them. */
static void promised_sizes_are_not_believed(void **state)
{
    static const uint8_t arrays[][6] = {
        {0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0}, {0xDF, 0x7F, 0xFF, 0xFF, 0xFF, 0xC0},
        {0xDB, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0}, {0xC6, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0},
        {0xC9, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        assert_false(es_msgpack_is_canonical_payload(arrays[i], sizeof arrays[i]));
    }
}

static void payloads_by_convention_are_one_value_of_any_type(void **state)
{
    static const uint8_t map[] = {0x82, 0xA1, 'a',  0xCA, 0, 0, 0, 0,
                                  0xA1, 'b',  0xD6, 1,    2, 3, 4, 5};
    static const uint8_t ext[] = {0xC7, 0x03, 0x05, 1, 2, 3};
    static const uint8_t two[] = {0x01, 0x02};
    static const uint8_t bad_text[] = {0xA1, 0xFF};

    (void)state;
    assert_true(es_msgpack_is_canonical_payload(map, sizeof map));
    assert_true(es_msgpack_is_canonical_payload(ext, sizeof ext));
    assert_false(es_msgpack_is_canonical_payload(map, sizeof map - 1));
    assert_false(es_msgpack_is_canonical_payload(two, sizeof two));
    assert_false(es_msgpack_is_canonical_payload(bad_text, sizeof bad_text));
    assert_false(es_msgpack_is_canonical_payload("", 0));
    assert_false(es_msgpack_is_canonical_payload("\xC1", 1));
}

static void what_does_not_fit_is_not_written(void **state)
{
    uint8_t small[8];

    (void)state;
    memset(small, 0xEE, sizeof small);
    es_pack_init(&pack, small, 4);
    es_pack_uint(&pack, 1);
    es_pack_uint(&pack, 70000); /* five bytes, three are left */
    es_pack_uint(&pack, 1);     /* would fit, but the error stays */
    size = 42;
    assert_int_equal(es_pack_finish(&pack, &size), ES_E_TOO_LARGE);
    assert_int_equal(size, 42);
    assert_int_equal(small[1], 0xEE);
    assert_int_equal(small[4], 0xEE);
    es_pack_init(&pack, small, 4);
    es_pack_bin_header(&pack, 2);
    es_pack_raw(&pack, "ab", 2);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    assert_memory_equal(small,
                        "\xC4\x02"
                        "ab",
                        4);
    es_pack_raw(&pack, "c", 1);
    assert_int_equal(es_pack_finish(&pack, &size), ES_E_TOO_LARGE);
}

/* Writes a random value, at most 'depth' deep. */
static void write_random(struct prng *prng, unsigned int depth)
{
    static const char text[300];
    uint64_t number = prng_next(prng) >> prng_below(prng, 64);
    uint32_t count = (uint32_t)prng_below(prng, 20);

    switch (prng_below(prng, depth > 0 ? 8 : 6)) {
    case 0: es_pack_uint(&pack, number); break;
    case 1: es_pack_int(&pack, -(int64_t)(number >> 1)); break;
    case 2: es_pack_nil(&pack); break;
    case 3: es_pack_double(&pack, (double)number); break;
    case 4: es_pack_str(&pack, es_text_make(text, count * 15)); break;
    case 5: es_pack_bin(&pack, text, count * 15); break;
    case 6:
        es_pack_array(&pack, count);
        for (uint32_t i = 0; i < count; i++) {
            write_random(prng, depth - 1);
        }
        break;
    default:
        es_pack_map(&pack, count);
        for (uint32_t i = 0; i < 2 * count; i++) {
            write_random(prng, depth - 1);
        }
        break;
    }
}

static void whatever_is_written_is_canonical_and_no_part_of_it_is(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "whatever_is_written_is_canonical_and_no_part_of_it_is");
    for (int i = 0; i < 2000; i++) {
        begin();
        write_random(&prng, 3);
        if (es_pack_finish(&pack, &size) != ES_OK) {
            continue; /* larger than the buffer */
        }
        assert_true(es_msgpack_is_canonical_payload(buffer, size));
        uint32_t cut = (uint32_t)prng_below(&prng, size);
        assert_false(es_msgpack_is_canonical_payload(buffer, cut));
    }
}

/* Under AddressSanitizer: an allocation of exactly the size has no byte to spare. */
static void random_bytes_are_read_within_their_bounds(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "random_bytes_are_read_within_their_bounds");
    for (int i = 0; i < 20000; i++) {
        size_t bytes_size = 1 + prng_below(&prng, 40);
        uint8_t *bytes = malloc(bytes_size);

        assert_non_null(bytes);
        prng_fill(&prng, bytes, bytes_size);
        if (prng_one_in(&prng, 2)) {
            bytes[0] = (uint8_t)(0xC4 + prng_below(&prng, 0x1C));
        }
        struct es_unpack unpack = reader(bytes, bytes_size);
        while (!es_unpack_done(&unpack) && es_unpack_ok(&unpack)) {
            const uint8_t *before = unpack.at;
            struct es_bytes value = es_unpack_skip(&unpack);

            if (es_unpack_ok(&unpack)) {
                assert_ptr_equal(value.data, before);
                assert_ptr_equal(before + value.size, unpack.at);
                assert_true(value.size > 0);
            }
        }
        assert_true(unpack.at <= bytes + bytes_size);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(non_negative_integers_take_the_shortest_unsigned_form),
        cmocka_unit_test(negative_integers_take_the_shortest_signed_form),
        cmocka_unit_test(longer_forms_than_needed_are_refused),
        cmocka_unit_test(a_signed_form_that_holds_a_non_negative_value_is_refused),
        cmocka_unit_test(headers_of_every_size_read_back),
        cmocka_unit_test(small_values_read_back),
        cmocka_unit_test(the_first_error_stays),
        cmocka_unit_test(bounds_on_values_are_kept),
        cmocka_unit_test(skipping_is_bounded_in_depth),
        cmocka_unit_test(promised_sizes_are_not_believed),
        cmocka_unit_test(payloads_by_convention_are_one_value_of_any_type),
        cmocka_unit_test(what_does_not_fit_is_not_written),
        cmocka_unit_test(whatever_is_written_is_canonical_and_no_part_of_it_is),
        cmocka_unit_test(random_bytes_are_read_within_their_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
