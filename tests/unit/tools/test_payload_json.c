/* Payloads between JSON and MessagePack: what a number is, what survives, what is refused. */
#include "tools/esctl/payload_json.h"

#include "tests/support/prng.h"

#include "shm/codec/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct payload_scratch scratch;
    char error[PAYLOAD_ERROR_SIZE];
};

static int set_up(void **state)
{
    static struct fixture fixture;

    payload_scratch_init(&fixture.scratch);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    payload_scratch_deinit(&f->scratch);
    return 0;
}

/* JSON -> MessagePack in f->scratch.packed. */
static enum es_status convert(struct fixture *f, const char *text)
{
    char *copy = strdup(text);
    json_t *json = NULL;

    f->error[0] = '\0';
    enum es_status status = payload_json_parse(&f->scratch, copy, strlen(text), &json, f->error);
    if (status == ES_OK) {
        status = payload_json_pack(&f->scratch, json, strlen(text), f->error);
    }
    json_decref(json);
    free(copy);
    return status;
}

static void assert_packs(struct fixture *f, const char *text, const void *bytes, size_t size)
{
    assert_int_equal(convert(f, text), ES_OK);
    assert_int_equal(f->scratch.packed_size, size);
    assert_memory_equal(f->scratch.packed, bytes, size);
}

/* Every integer of 64 bits, signed or not, is an integer: what jansson cannot
 * hold (2^63 and more) as well. One more is a float64, as is one less than -2^63. */
static void an_integer_that_fits_64_bits_stays_one(void **state)
{
    struct fixture *f = *state;

    assert_packs(f, "0", "\x00", 1);
    assert_packs(f, "-0", "\x00", 1); /* no fraction, no exponent: an integer */
    assert_packs(f, "127", "\x7F", 1);
    assert_packs(f, "128", "\xCC\x80", 2);
    assert_packs(f, "-1", "\xFF", 1);
    assert_packs(f, "-33", "\xD0\xDF", 2);
    assert_packs(f, "9223372036854775806", "\xCF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFE", 9);
    assert_packs(f, "9223372036854775807", "\xCF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 9);
    assert_packs(f, "9223372036854775808", "\xCF\x80\x00\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "18446744073709551615", "\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 9);
    assert_packs(f, "-9223372036854775807", "\xD3\x80\x00\x00\x00\x00\x00\x00\x01", 9);
    assert_packs(f, "-9223372036854775808", "\xD3\x80\x00\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "18446744073709551616", "\xCB\x43\xF0\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "-9223372036854775809", "\xCB\xC3\xE0\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "100000000000000000000000000000", "\xCB\x45\xF4\x31\xE0\xFA\xE6\xD7\x21", 9);
}

static void a_fraction_or_an_exponent_makes_a_float64(void **state)
{
    struct fixture *f = *state;

    assert_packs(f, "1.0", "\xCB\x3F\xF0\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "1e0", "\xCB\x3F\xF0\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "1E+3", "\xCB\x40\x8F\x40\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "-0.0", "\xCB\x80\x00\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "9223372036854775808.0", "\xCB\x43\xE0\x00\x00\x00\x00\x00\x00", 9);
    assert_packs(f, "1e-400", "\xCB\x00\x00\x00\x00\x00\x00\x00\x00", 9);
}

/* Big integers are found again by their order: between others, nested, and the
 * very value that stands for them in the tree. */
static void big_integers_keep_their_places(void **state)
{
    struct fixture *f = *state;
    static const char packed[] = "\x83"
                                 "\xA1"
                                 "b\xCF\x80\x00\x00\x00\x00\x00\x00\x01"
                                 "\xA1"
                                 "a\x94\x07\xCF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                                 "\xB4"
                                 "18446744073709551615"
                                 "\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE"
                                 "\xA1"
                                 "c\xCB\x43\xF0\x00\x00\x00\x00\x00\x00";

    assert_packs(f,
                 "{\"b\":9223372036854775809,\"a\":[7, 9223372036854775807 ,"
                 "\"18446744073709551615\",18446744073709551614],\"c\":18446744073709551616}",
                 packed, sizeof packed - 1);
}

static void members_keep_the_order_given(void **state)
{
    assert_packs(*state, "{\"z\":1,\"a\":2,\"m\":[null,true,false,\"\\u0000\\u00e9\"]}",
                 "\x83\xA1z\x01\xA1"
                 "a\x02\xA1m\x94\xC0\xC3\xC2\xA3\x00\xC3\xA9",
                 17);
}

static void what_is_not_json_is_refused_with_a_reason(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"a\\u0000\":1}",
        "01",
        "+1",
        "1.",
        ".5",
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "1 2",
        "[1,]",
        "\"\xFF\"",
        "\"\xC0\x80\"",
        "\"\\ud800\"",
        "\"a\nb\"",
        "018446744073709551615",
        "-018446744073709551615",
        "18446744073709551615a",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(convert(f, texts[i]), ES_E_CORRUPT);
        assert_true(strlen(f->error) > 0);
    }
}

/* An integer of 400 digits is no float64, whichever way it is written. */
static void a_number_beyond_float64_is_refused(void **state)
{
    char text[402] = {0};

    memset(text, '9', 400);
    assert_int_equal(convert(*state, text), ES_E_CORRUPT);
    text[308] = '\0';
    assert_int_equal(convert(*state, text), ES_OK);
}

static void nesting_has_a_bound(void **state)
{
    char text[2 * (PAYLOAD_DEPTH_MAX + 1) + 1] = {0};
    struct fixture *f = *state;

    memset(text, '[', PAYLOAD_DEPTH_MAX);
    memset(text + PAYLOAD_DEPTH_MAX, ']', PAYLOAD_DEPTH_MAX);
    assert_int_equal(convert(f, text), ES_OK);
    memset(text, '[', PAYLOAD_DEPTH_MAX + 1);
    memset(text + PAYLOAD_DEPTH_MAX + 1, ']', PAYLOAD_DEPTH_MAX + 1);
    assert_int_equal(convert(f, text), ES_E_CORRUPT);
}

static void assert_survives_as(struct fixture *f, const void *bytes, size_t size, const char *text)
{
    assert_true(payload_json_survives(&f->scratch, bytes, size));
    assert_int_equal(f->scratch.text.size, strlen(text));
    assert_memory_equal(f->scratch.text.text, text, strlen(text));
}

static void messagepack_that_json_can_say_survives(void **state)
{
    struct fixture *f = *state;

    assert_survives_as(f, "\xC0", 1, "null");
    assert_survives_as(f, "\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 9, "18446744073709551615");
    assert_survives_as(f, "\xD3\x80\x00\x00\x00\x00\x00\x00\x00", 9, "-9223372036854775808");
    assert_survives_as(f, "\xCB\x3F\xF0\x00\x00\x00\x00\x00\x00", 9, "1.0");
    assert_survives_as(f, "\xCB\x80\x00\x00\x00\x00\x00\x00\x00", 9, "-0.0");
    assert_survives_as(f, "\xCB\x3F\xB9\x99\x99\x99\x99\x99\x9A", 9, "0.1");
    assert_survives_as(f, "\xCB\x00\x00\x00\x00\x00\x00\x00\x01", 9, "4.94065645841247e-324");
    assert_survives_as(f, "\xA5\"\\\x1B\n\x7F", 6, "\"\\\"\\\\\\u001b\\n\\u007f\"");
    assert_survives_as(f, "\xA4\xC2\x9B\xC2\xA0", 5, "\"\\u009b\xC2\xA0\"");
    assert_survives_as(f, "\x82\xA0\x90\xA1k\x80", 6, "{\"\":[],\"k\":{}}");
}

static void messagepack_that_json_cannot_say_does_not_survive(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } payloads[] = {
        {"", 0},
        {"\xC4\x01x", 3},                            /* bin */
        {"\xD4\x01x", 3},                            /* ext */
        {"\xCA\x3F\x80\x00\x00", 5},                 /* float32 */
        {"\xCB\x7F\xF8\x00\x00\x00\x00\x00\x00", 9}, /* NaN */
        {"\xCB\x7F\xF0\x00\x00\x00\x00\x00\x00", 9}, /* infinity */
        {"\x81\x01\x02", 3},                         /* a key that is no text */
        {"\x82\xA1x\x01\xA1x\x02", 7},               /* a key twice */
        {"\x81\xA1\x00\x01", 4},                     /* NUL in a key */
        {"\xCC\x05", 2},                             /* not the shortest form */
        {"\xD0\x05", 2},                             /* signed and not negative */
        {"\xD9\x01x", 3},                            /* not the shortest header */
        {"\xA1\xFF", 2},                             /* not UTF-8 */
        {"\xC0\xC0", 2},                             /* two values */
        {"\x92\xC0", 2},                             /* cut off */
        {"\xC1", 1},                                 /* never used */
        {"hello", 5},                                /* five small integers */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        assert_false(payload_json_survives(&f->scratch, payloads[i].bytes, payloads[i].size));
    }
}

/* Any double, whatever its bits, comes back as the same bits. */
static void every_finite_double_survives(void **state)
{
    struct fixture *f = *state;
    struct prng prng;
    uint8_t bytes[16];

    prng_begin(&prng, __func__);
    for (int i = 0; i < 20000; i++) {
        const uint64_t bits = prng_next(&prng);
        double value = 0;
        struct es_pack pack;
        uint32_t size = 0;

        memcpy(&value, &bits, sizeof value);
        es_pack_init(&pack, bytes, sizeof bytes);
        es_pack_double(&pack, value);
        assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
        const bool finite = (bits >> 52 & 0x7FF) != 0x7FF;
        assert_int_equal(payload_json_survives(&f->scratch, bytes, size), finite);
    }
}

static void pack_random(struct prng *prng, struct es_pack *pack, unsigned depth)
{
    static const char letters[] = "a\"\\\n\x01z09 {}[]:,.e-";
    char text[24];
    uint32_t count = (uint32_t)prng_below(prng, 5);

    switch (prng_below(prng, depth == 0 ? 6 : 8)) {
    case 0: es_pack_nil(pack); break;
    case 1: es_pack_bool(pack, prng_one_in(prng, 2)); break;
    case 2: es_pack_uint(pack, prng_next(prng) >> prng_below(prng, 64)); break;
    case 3: es_pack_int(pack, -1 - (int64_t)(prng_next(prng) >> (1 + prng_below(prng, 63)))); break;
    case 4: es_pack_double(pack, (double)prng_next(prng) / 1e7); break;
    case 5:
        for (size_t i = 0; i < sizeof text; i++) {
            text[i] = letters[prng_below(prng, sizeof letters - 1)];
        }
        es_pack_str(pack, es_text_make(text, (uint32_t)prng_below(prng, sizeof text)));
        break;
    case 6:
        es_pack_array(pack, count);
        for (; count > 0; count--) {
            pack_random(prng, pack, depth - 1);
        }
        break;
    default:
        es_pack_map(pack, count);
        for (; count > 0; count--) {
            text[0] = (char)('a' + count);
            es_pack_str(pack, es_text_make(text, 1));
            pack_random(prng, pack, depth - 1);
        }
        break;
    }
}

/* Whatever JSON can say comes back byte for byte; and with one byte of it changed,
 * either it still does or it is refused, and nothing breaks. */
static void random_payloads_survive_and_mutated_ones_do_no_harm(void **state)
{
    struct fixture *f = *state;
    struct prng prng;
    uint8_t bytes[65536];

    prng_begin(&prng, __func__);
    for (int i = 0; i < 3000; i++) {
        struct es_pack pack;
        uint32_t size = 0;

        es_pack_init(&pack, bytes, sizeof bytes);
        pack_random(&prng, &pack, 5);
        assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
        assert_true(payload_json_survives(&f->scratch, bytes, size));
        assert_int_equal(f->scratch.packed_size, size);
        bytes[prng_below(&prng, size)] = (uint8_t)prng_next(&prng);
        (void)payload_json_survives(&f->scratch, bytes, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_integer_that_fits_64_bits_stays_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fraction_or_an_exponent_makes_a_float64, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(big_integers_keep_their_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(members_keep_the_order_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_json_is_refused_with_a_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_number_beyond_float64_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nesting_has_a_bound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messagepack_that_json_can_say_survives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messagepack_that_json_cannot_say_does_not_survive, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_finite_double_survives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_payloads_survive_and_mutated_ones_do_no_harm, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
