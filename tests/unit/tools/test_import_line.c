/* One line of an import: what it may hold, and what becomes of it. */
#include "tools/esctl/base64.h"
#include "tools/esctl/import_line.h"

#include "tests/support/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

struct fixture {
    struct import_parser parser;
    struct import_line line;
    char *text; /* what the line points into may be changed by the parser */
    char error[PAYLOAD_ERROR_SIZE];
};

static int set_up(void **state)
{
    static struct fixture fixture;

    import_parser_init(&fixture.parser);
    fixture.text = NULL;
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    import_parser_deinit(&f->parser);
    free(f->text);
    return 0;
}

static enum es_status parse(struct fixture *f, const char *text)
{
    free(f->text);
    f->text = strdup(text);
    f->error[0] = '\0';
    return import_parser_read(&f->parser, f->text, strlen(text), &f->line, f->error);
}

static void the_shortest_event_has_tick_0_and_no_expectation(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "{\"stream\":\"a:b:L0:c:Md\",\"type\":\"t\",\"payload\":[1]}"),
                     ES_OK);
    assert_false(f->line.is_key);
    assert_string_equal(f->line.stream, "a:b:L0:c:Md");
    assert_string_equal(f->line.event.type, "t");
    assert_int_equal(f->line.event.tick, 0);
    assert_int_equal(f->line.event.payload_bytes, 2);
    assert_memory_equal(f->line.event.payload, "\x91\x01", 2);
    assert_null(f->line.event.expected_hash);
    assert_int_equal(f->line.expectation.kind, ES_EXPECT_ANY);
    assert_null(f->line.expectation.hash);
    assert_false(f->line.has_store_fields);
}

static void what_an_export_wrote_becomes_what_must_come_out(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "{\"stream\":\"s\",\"sequence\":7,\"tick\":9223372036854775807,"
                              "\"type\":\"t\",\"payload_base64\":\"AP8=\",\"previous_hash\":\"" HASH
                              "\",\"hash\":\"" HASH "\",\"position\":12,\"time\":13}"),
                     ES_OK);
    assert_int_equal(f->line.event.tick, INT64_MAX);
    assert_int_equal(f->line.expectation.kind, ES_EXPECT_SEQUENCE);
    assert_int_equal(f->line.expectation.sequence, 6);
    assert_int_equal(f->line.expectation.hash_bytes, 32);
    assert_int_equal(f->line.expectation.hash[31], 0xFF);
    assert_int_equal(f->line.event.expected_hash[1], 0x11);
    assert_int_equal(f->line.event.payload_bytes, 2);
    assert_memory_equal(f->line.event.payload, "\0\xFF", 2);
    assert_true(f->line.has_store_fields);

    assert_int_equal(parse(f, "{\"stream\":\"s\",\"type\":\"t\",\"payload\":0,\"sequence\":1,"
                              "\"previous_hash\":\"\"}"),
                     ES_OK);
    assert_int_equal(f->line.expectation.kind, ES_EXPECT_NONE);
    assert_non_null(f->line.expectation.hash);
    assert_int_equal(f->line.expectation.hash_bytes, 0);
}

/* 2^63-1 is noted for a tick as well as inside the payload, and the payload may stand anywhere:
 * each gets its own number. */
static void big_numbers_of_the_line_and_of_its_payload_are_not_mixed_up(void **state)
{
    static const char packed[] = "\x92\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xCF\x7F\xFF\xFF\xFF\xFF"
                                 "\xFF\xFF\xFF";
    static const char *const texts[] = {
        "{\"tick\":9223372036854775807,\"payload\":[18446744073709551615,9223372036854775807],"
        "\"stream\":\"s\",\"type\":\"t\"}",
        "{\"payload\":[18446744073709551615,9223372036854775807],\"tick\":9223372036854775807,"
        "\"stream\":\"s\",\"type\":\"t\"}",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(parse(f, texts[i]), ES_OK);
        assert_int_equal(f->line.event.tick, INT64_MAX);
        assert_int_equal(f->line.event.payload_bytes, sizeof packed - 1);
        assert_memory_equal(f->line.event.payload, packed, sizeof packed - 1);
    }
}

static void a_key_has_a_text_or_base64(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse(f, "{\"namespace\":\"n\",\"key\":\"k\",\"value\":\"a\\u0000b\","
                              "\"revision\":4}"),
                     ES_OK);
    assert_true(f->line.is_key);
    assert_string_equal(f->line.name_space, "n");
    assert_string_equal(f->line.key, "k");
    assert_int_equal(f->line.value_bytes, 3);
    assert_memory_equal(f->line.value, "a\0b", 3);
    assert_int_equal(parse(f, "{\"key\":\"k\",\"namespace\":\"n\",\"value_base64\":\"/w==\"}"),
                     ES_OK);
    assert_int_equal(f->line.value_bytes, 1);
    assert_memory_equal(f->line.value, "\xFF", 1);
}

static void a_malformed_line_is_refused_with_a_reason(void **state)
{
    static const char event[] = "{\"stream\":\"s\",\"type\":\"t\",\"payload\":1%s}";
    static const char *const texts[] = {
        "[]",
        "1",
        "nonsense",
        "{}",
        "{\"type\":\"t\",\"payload\":1}",
        "{\"stream\":\"s\",\"payload\":1}",
        "{\"stream\":\"s\",\"type\":\"t\"}",
        "{\"stream\":1,\"type\":\"t\",\"payload\":1}",
        "{\"stream\":\"a\\u0000b\",\"type\":\"t\",\"payload\":1}",
        "{\"stream\":\"s\",\"type\":\"t\",\"payload\":1e999}",
        "{\"stream\":\"s\",\"type\":\"t\",\"payload_base64\":\"A\"}",
        "{\"stream\":\"s\",\"type\":\"t\",\"payload_base64\":\"AB==\"}",
        "{\"stream\":\"s\",\"type\":\"t\",\"payload_base64\":1}",
        "{\"namespace\":\"n\",\"key\":\"k\"}",
        "{\"namespace\":\"n\",\"value\":\"v\"}",
        "{\"namespace\":\"n\",\"key\":\"k\",\"value\":1}",
        "{\"namespace\":\"n\",\"key\":\"k\",\"value\":\"v\",\"value_base64\":\"\"}",
        "{\"namespace\":\"n\",\"key\":\"k\",\"value\":\"v\",\"stream\":\"s\"}",
    };
    static const char *const members[] = {
        ",\"payload_base64\":\"\"",
        ",\"stream\":\"s\"",
        ",\"seqence\":1",
        ",\"tick\":-1",
        ",\"tick\":9223372036854775808",
        ",\"tick\":18446744073709551616",
        ",\"tick\":1.0",
        ",\"tick\":\"1\"",
        ",\"sequence\":0",
        ",\"sequence\":[9223372036854775807]",
        ",\"previous_hash\":\"00\"",
        ",\"previous_hash\":null",
        ",\"hash\":\"\"",
        ",\"hash\":\"" HASH "0\"",
        ",\"position\":\"1\"",
        ",\"time\":-1",
        ",\"namespace\":\"n\"",
    };
    struct fixture *f = *state;
    char text[512];

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(parse(f, texts[i]), ES_E_CORRUPT);
        assert_true(strlen(f->error) > 0);
    }
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        (void)snprintf(text, sizeof text, "%.*s%s}", (int)(sizeof event - 4), event, members[i]);
        assert_int_equal(parse(f, text), ES_E_CORRUPT);
        assert_true(strlen(f->error) > 0);
    }
}

/* Lines of strangers: with any bytes changed, cut out or put in twice a line is read or
 * refused with a reason, and the next one is read as if nothing had been. */
static void mutated_lines_do_no_harm(void **state)
{
    static const char line[] =
        "{\"stream\":\"a:b:L0:c:Md\",\"sequence\":7,\"tick\":9223372036854775807,\"type\":"
        "\"t\\u00e9\","
        "\"payload\":{\"a\":[18446744073709551615,-1.5e3,null,true],\"b\":\"\\ud83d\\ude00\"},"
        "\"previous_hash\":\"" HASH "\",\"hash\":\"" HASH "\",\"position\":12,\"time\":13}";
    static const char bytes[] = "{}[]\",:\\u0019-+.eE tfn\xFF\xC3";
    struct fixture *f = *state;
    struct prng prng;
    char text[sizeof line];

    prng_begin(&prng, __func__);
    for (int i = 0; i < 20000; i++) {
        memcpy(text, line, sizeof line);
        for (uint64_t n = prng_below(&prng, 4); n > 0; n--) {
            text[prng_below(&prng, sizeof line - 1)] = bytes[prng_below(&prng, sizeof bytes - 1)];
        }
        if (prng_one_in(&prng, 4)) {
            text[prng_below(&prng, sizeof line - 1)] = '\0';
        }
        assert_true(parse(f, text) == ES_OK || strlen(f->error) > 0);
    }
    assert_int_equal(parse(f, line), ES_OK);
}

static void base64_has_one_spelling_for_each_bytes(void **state)
{
    static const char *const texts[] = {"", "AA==", "AAE=", "AAEC", "AAECAw==", "+/+/"};
    static const char *const refused[] = {"A",    "AA",   "AAA",      "AA=A", "A===", "====",
                                          "AB==", "AAF=", "AA==AAAA", "A A=", "-_-_", "AAEC\n"};
    uint8_t bytes[16];
    char text[16];
    size_t size = 0;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_true(base64_decode(texts[i], strlen(texts[i]), bytes, &size));
        assert_int_equal(base64_text_size(size), strlen(texts[i]));
        base64_encode(bytes, size, text);
        assert_memory_equal(text, texts[i], strlen(texts[i]));
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_false(base64_decode(refused[i], strlen(refused[i]), bytes, &size));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_shortest_event_has_tick_0_and_no_expectation, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_an_export_wrote_becomes_what_must_come_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(big_numbers_of_the_line_and_of_its_payload_are_not_mixed_up,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_has_a_text_or_base64, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_malformed_line_is_refused_with_a_reason, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(mutated_lines_do_no_harm, set_up, tear_down),
        cmocka_unit_test(base64_has_one_spelling_for_each_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
