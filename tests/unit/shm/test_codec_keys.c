/*
 * Names and keys: what a stream may be called, that its two forms are one, and
 * that the keys made from it sort and read back as they should.
 */
#include "shm/codec/store_key.h"

#include "tests/support/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NAME_255                                                       \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
#define LONGEST_STREAM NAME_255 ":" NAME_255 ":L2147483647:" NAME_255 ":M" NAME_255

static const uint64_t numbers[] = {0, 1, 10, 100, 255, 256, 65535, 65536, 1ULL << 32, UINT64_MAX};
#define NUMBER_COUNT (sizeof numbers / sizeof numbers[0])

static void a_sequence_key_is_eight_bytes_big_endian(void **state)
{
    static const uint8_t expected[NUMBER_COUNT][8] = {
        {0, 0, 0, 0, 0, 0, 0, 0},     {0, 0, 0, 0, 0, 0, 0, 1},
        {0, 0, 0, 0, 0, 0, 0, 10},    {0, 0, 0, 0, 0, 0, 0, 100},
        {0, 0, 0, 0, 0, 0, 0, 255},   {0, 0, 0, 0, 0, 0, 1, 0},
        {0, 0, 0, 0, 0, 0, 255, 255}, {0, 0, 0, 0, 0, 1, 0, 0},
        {0, 0, 0, 1, 0, 0, 0, 0},     {255, 255, 255, 255, 255, 255, 255, 255},
    };
    uint8_t bytes[ES_NUMBER_KEY_SIZE];
    uint64_t number = 0;

    (void)state;
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        es_number_key_encode(numbers[i], bytes);
        assert_memory_equal(bytes, expected[i], sizeof bytes);
        number = ~numbers[i];
        assert_int_equal(es_number_key_decode(bytes, sizeof bytes, &number), ES_OK);
        assert_true(number == numbers[i]);
    }
}

static void sequence_keys_sort_as_the_sequences_do(void **state)
{
    struct es_text stream = es_text_of("prod:main:L0:orders:M1042");
    struct prng prng;
    struct es_key a;
    struct es_key b;

    (void)state;
    for (size_t i = 0; i + 1 < NUMBER_COUNT; i++) {
        es_key_event(stream, numbers[i], &a);
        es_key_event(stream, numbers[i + 1], &b);
        assert_true(a.size == b.size && memcmp(a.bytes, b.bytes, a.size) < 0);
    }
    prng_begin(&prng, "sequence_keys_sort_as_the_sequences_do");
    for (int i = 0; i < 10000; i++) {
        uint64_t low = prng_next(&prng) >> prng_below(&prng, 64);
        uint64_t high = prng_next(&prng) >> prng_below(&prng, 64);

        es_key_event(stream, low, &a);
        es_key_event(stream, high, &b);
        int order = memcmp(a.bytes, b.bytes, a.size);
        assert_true((order < 0) == (low < high) && (order == 0) == (low == high));
    }
}

static void a_sequence_key_of_any_other_length_is_refused(void **state)
{
    static const uint8_t bytes[16];
    uint64_t number = 42;

    (void)state;
    for (size_t size = 0; size <= sizeof bytes; size++) {
        enum es_status status = es_number_key_decode(bytes, size, &number);

        assert_int_equal(status, size == 8 ? ES_OK : ES_E_CORRUPT);
        assert_int_equal(number, size < 8 ? 42 : 0); /* untouched on failure */
    }
}

/* Each breaks one rule, which is named. */
static void names_that_break_a_rule_are_refused_with_it(void **state)
{
    static const struct {
        const char *text;
        enum es_reason reason;
    } cases[] = {
        {"a", ES_REASON_NONE},
        {"Straße 7 \xE2\x82\xAC \xF0\x9F\x9A\x80", ES_REASON_NONE},
        {"a$", ES_REASON_NONE},
        {NAME_255, ES_REASON_NONE},
        {"", ES_REASON_NAME_EMPTY},
        {NAME_255 "x", ES_REASON_NAME_TOO_LONG},
        {"a:b", ES_REASON_NAME_COLON},
        {"$a", ES_REASON_NAME_RESERVED},
        {"a\tb", ES_REASON_NAME_CONTROL},
        {"a\x7F", ES_REASON_NAME_CONTROL},
        {"\xC2\x80", ES_REASON_NAME_CONTROL},  /* U+0080 */
        {"\xC2\x9F", ES_REASON_NAME_CONTROL},  /* U+009F */
        {"\xC2\xA0", ES_REASON_NONE},          /* U+00A0 */
        {"\xC0\xAF", ES_REASON_NAME_NOT_UTF8}, /* '/' in two bytes */
        {"\xC1\xBF", ES_REASON_NAME_NOT_UTF8},
        {"\xE0\x9F\xBF", ES_REASON_NAME_NOT_UTF8}, /* U+07FF in three */
        {"\xE0\xA0\x80", ES_REASON_NONE},
        {"\xED\x9F\xBF", ES_REASON_NONE},
        {"\xED\xA0\x80", ES_REASON_NAME_NOT_UTF8}, /* a surrogate */
        {"\xED\xBF\xBF", ES_REASON_NAME_NOT_UTF8},
        {"\xEE\x80\x80", ES_REASON_NONE},
        {"\xF0\x8F\xBF\xBF", ES_REASON_NAME_NOT_UTF8}, /* U+FFFF in four */
        {"\xF0\x90\x80\x80", ES_REASON_NONE},
        {"\xF4\x8F\xBF\xBF", ES_REASON_NONE}, /* U+10FFFF, the last one */
        {"\xF4\x90\x80\x80", ES_REASON_NAME_NOT_UTF8},
        {"\xF5\x80\x80\x80", ES_REASON_NAME_NOT_UTF8},
        {"\x80", ES_REASON_NAME_NOT_UTF8},
        {"a\xE2\x82", ES_REASON_NAME_NOT_UTF8}, /* cut off */
        {"\xE2\x28\xA1", ES_REASON_NAME_NOT_UTF8},
        {"\xFF", ES_REASON_NAME_NOT_UTF8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(es_name_check(es_text_of(cases[i].text)), cases[i].reason);
    }
    assert_int_equal(es_name_check(es_text_make("a\0b", 3)), ES_REASON_NAME_CONTROL);
}

/* Names are looked at eight bytes at a time. */
static void every_byte_of_a_long_name_is_looked_at(void **state)
{
    (void)state;
    for (uint32_t at = 1; at < 26; at++) {
        for (int value = 0; value < 256; value++) {
            char text[26];
            enum es_reason reason = ES_REASON_NONE;

            memset(text, value % 2 == 0 ? ' ' : '~', sizeof text);
            text[at] = (char)value;
            if (value >= 0x80) {
                reason = ES_REASON_NAME_NOT_UTF8;
            } else if (value == ':') {
                reason = ES_REASON_NAME_COLON;
            } else if (value < 0x20 || value == 0x7F) {
                reason = ES_REASON_NAME_CONTROL;
            }
            assert_int_equal(es_name_check(es_text_make(text, sizeof text)), reason);
        }
    }
}

static void types_and_keys_have_their_own_rules(void **state)
{
    static char long_key[ES_KEY_TEXT_MAX + 1];

    (void)state;
    memset(long_key, 'k', sizeof long_key);
    assert_int_equal(es_type_check(es_text_of("$order:placed twice")), ES_REASON_NONE);
    assert_int_equal(es_type_check(es_text_of(NAME_255)), ES_REASON_NONE);
    assert_int_equal(es_type_check(es_text_of(NAME_255 "x")), ES_REASON_TYPE_SIZE);
    assert_int_equal(es_type_check(es_text_of("")), ES_REASON_TYPE_SIZE);
    assert_int_equal(es_type_check(es_text_of("a\nb")), ES_REASON_TYPE_NOT_PRINTABLE);
    assert_int_equal(es_type_check(es_text_of("a\xE2\x80\xA8")), ES_REASON_TYPE_NOT_PRINTABLE);
    assert_int_equal(es_type_check(es_text_of("\xFF")), ES_REASON_TYPE_NOT_PRINTABLE);
    assert_int_equal(es_key_text_check(es_text_of("$a:b:c")), ES_REASON_NONE);
    assert_int_equal(es_key_text_check(es_text_of("")), ES_REASON_KEY_SIZE);
    assert_int_equal(es_key_text_check(es_text_make(long_key, ES_KEY_TEXT_MAX)), ES_REASON_NONE);
    assert_int_equal(es_key_text_check(es_text_make(long_key, sizeof long_key)),
                     ES_REASON_KEY_SIZE);
    assert_int_equal(es_key_text_check(es_text_of("a\x01")), ES_REASON_KEY_TEXT);
    assert_int_equal(es_key_text_check(es_text_of("\xC3")), ES_REASON_KEY_TEXT);
}

static void only_the_one_spelling_of_a_stream_is_accepted(void **state)
{
    static const struct {
        const char *text;
        enum es_reason reason;
    } cases[] = {
        {"prod:main:L0:orders:M1042", ES_REASON_NONE},
        {"p:m:L2147483647:o:M1", ES_REASON_NONE},
        {LONGEST_STREAM, ES_REASON_NONE},
        {LONGEST_STREAM "x", ES_REASON_NAME_TOO_LONG},
        {"", ES_REASON_STREAM_FORM},
        {"prod", ES_REASON_STREAM_FORM},
        {"prod:main:L0:orders", ES_REASON_STREAM_FORM},
        {"prod:main:L0:orders:", ES_REASON_STREAM_FORM},
        {"prod:main:L0:orders:1042", ES_REASON_STREAM_FORM},
        {"prod:main:L0:orders:m1042", ES_REASON_STREAM_FORM},
        {"prod:main:L0:orders:M1042:", ES_REASON_STREAM_FORM},
        {"prod:main:0:orders:M1", ES_REASON_STREAM_FORM},
        {"prod:main:l0:orders:M1", ES_REASON_STREAM_FORM},
        {"prod:main::orders:M1", ES_REASON_STREAM_FORM},
        {"prod:main:L:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L00:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L01:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L-1:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L+1:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L1a:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L2147483648:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L99999999999:orders:M1", ES_REASON_STREAM_LEVEL},
        {"prod:main:L18446744073709551617:orders:M1", ES_REASON_STREAM_LEVEL},
        {":main:L0:orders:M1", ES_REASON_NAME_EMPTY},
        {"prod::L0:orders:M1", ES_REASON_NAME_EMPTY},
        {"prod:main:L0::M1", ES_REASON_NAME_EMPTY},
        {"prod:main:L0:orders:M", ES_REASON_NAME_EMPTY},
        {"$prod:main:L0:orders:M1", ES_REASON_NAME_RESERVED},
        {"prod:main:L0:orders:M$1", ES_REASON_NAME_RESERVED},
        {"prod:ma\nin:L0:orders:M1", ES_REASON_NAME_CONTROL},
        {"prod:main:L0:\xFF:M1", ES_REASON_NAME_NOT_UTF8},
        {"prod:main:L0:" NAME_255 "x:M1", ES_REASON_NAME_TOO_LONG},
    };
    char formatted[ES_STREAM_SIZE_MAX];
    struct es_stream_parts parts;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct es_text text = es_text_of(cases[i].text);

        assert_int_equal(es_stream_parse(text, &parts), cases[i].reason);
        if (cases[i].reason == ES_REASON_NONE) {
            assert_int_equal(es_stream_check(&parts), ES_REASON_NONE);
            uint32_t size = es_stream_format(&parts, formatted);
            assert_true(es_text_equal(es_text_make(formatted, size), text));
        }
    }
}

static void a_broken_part_is_found_wherever_it_is(void **state)
{
    struct es_stream_parts good;
    struct es_text *const parts[] = {&good.variant, &good.branch, &good.domain, &good.model};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(es_stream_parse(es_text_of("a:b:L0:c:Md"), &good), ES_REASON_NONE);
        *parts[i] = es_text_of("x:y");
        assert_int_equal(es_stream_check(&good), ES_REASON_NAME_COLON);
    }
    assert_int_equal(es_stream_parse(es_text_of("a:b:L0:c:Md"), &good), ES_REASON_NONE);
    good.level = 1U << 31;
    assert_int_equal(es_stream_check(&good), ES_REASON_STREAM_LEVEL);
}

static void a_category_is_the_first_four_parts(void **state)
{
    struct es_text category = es_stream_category(es_text_of("prod:main:L0:orders:M1042"));
    char topic[ES_TOPIC_SIZE_MAX];

    (void)state;
    assert_true(es_text_equal(category, es_text_of("prod:main:L0:orders")));
    uint32_t size = es_category_topic(category, topic);
    assert_true(es_text_equal(es_text_make(topic, size), es_text_of("S:prod:main:L0:orders:")));
    assert_int_equal(es_stream_category(es_text_of("prod:main:L0:orders")).size, 0);
    assert_int_equal(es_category_check(category), ES_REASON_NONE);
    assert_int_equal(es_category_check(es_text_of("prod:main:L0")), ES_REASON_STREAM_FORM);
    assert_int_equal(es_category_check(es_text_of("prod:main:L0:orders:M1")),
                     ES_REASON_STREAM_FORM);
    assert_int_equal(es_category_check(es_text_of("prod:main:L00:orders")), ES_REASON_STREAM_LEVEL);
    assert_int_equal(es_category_check(es_text_of("prod:main:L0:$orders")),
                     ES_REASON_NAME_RESERVED);
    assert_int_equal(es_category_check(es_text_of(LONGEST_STREAM)), ES_REASON_NAME_TOO_LONG);
}

static struct es_bytes bytes_of(const struct es_key *key)
{
    return es_bytes_make(key->bytes, key->size);
}

/* Sequences and ticks may hold any bytes, colons (0x3A) and tags included. */
static void stream_keys_read_back_as_they_were_made(void **state)
{
    static const uint64_t tricky[] = {0x3A3A3A3A3A3A3A3AULL, 0x453A453A453A453AULL, 1, UINT64_MAX};
    struct es_text stream = es_text_of(LONGEST_STREAM);
    struct es_text found;
    struct es_text projection;
    struct es_key key;
    uint64_t number = 0;
    uint64_t tick = 0;

    (void)state;
    for (size_t i = 0; i < sizeof tricky / sizeof tricky[0]; i++) {
        es_key_event(stream, tricky[i], &key);
        assert_int_equal(es_key_event_parse(bytes_of(&key), &found, &number), ES_OK);
        assert_true(es_text_equal(found, stream) && number == tricky[i]);
        assert_int_equal(es_key_pos_parse(bytes_of(&key), &found, &number), ES_E_CORRUPT);
        es_key_pos(stream, tricky[i], &key);
        assert_int_equal(es_key_pos_parse(bytes_of(&key), &found, &number), ES_OK);
        assert_true(es_text_equal(found, stream) && number == tricky[i]);
        es_key_snapshot(stream, tricky[i], 7, es_text_of(""), &key);
        assert_int_equal(es_key_snapshot_parse(bytes_of(&key), &found, &tick, &number, &projection),
                         ES_OK);
        assert_true(tick == tricky[i] && number == 0 && projection.size == 0);
        es_key_snapshot(stream, 7, tricky[i], es_text_of(NAME_255), &key);
        assert_int_equal(key.size, ES_KEY_SIZE_MAX);
        assert_int_equal(es_key_snapshot_parse(bytes_of(&key), &found, &tick, &number, &projection),
                         ES_OK);
        assert_true(tick == 7 && number == tricky[i]);
        assert_true(es_text_equal(projection, es_text_of(NAME_255)));
    }
    es_key_head(stream, &key);
    assert_int_equal(es_key_head_parse(bytes_of(&key), &found), ES_OK);
    assert_true(es_text_equal(found, stream));
}

static void prefixes_are_prefixes(void **state)
{
    struct es_text stream = es_text_of("prod:main:L0:orders:M1042");
    struct es_key prefix;
    struct es_key key;

    (void)state;
    es_key_stream_prefix(stream, &prefix);
    es_key_event(stream, 1, &key);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
    es_key_event_prefix(stream, &prefix);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
    assert_int_equal(prefix.size + ES_NUMBER_KEY_SIZE, key.size);
    es_key_pos_prefix(stream, &prefix);
    es_key_pos(stream, 1, &key);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
    es_key_snapshot_prefix(stream, &prefix);
    es_key_snapshot(stream, 9, 1, es_text_of("p"), &key);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
    es_key_snapshot_seek(stream, 9, &prefix);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
    es_key_kv_prefix(es_text_of("settings"), &prefix);
    es_key_kv(es_text_of("settings"), es_text_of("a"), &key);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
    es_key_category_prefix(&prefix);
    es_key_category(es_text_of("prod:main:L0:orders"), &key);
    assert_memory_equal(prefix.bytes, key.bytes, prefix.size);
}

static void store_keys_read_back_as_they_were_made(void **state)
{
    struct es_text name;
    struct es_text key_text;
    struct es_key key;
    uint64_t first = 0;
    uint64_t second = 0;

    (void)state;
    es_key_kv(es_text_of("settings"), es_text_of("a:b"), &key);
    assert_int_equal(es_key_kv_parse(bytes_of(&key), &name, &key_text), ES_OK);
    assert_true(es_text_equal(name, es_text_of("settings")));
    assert_true(es_text_equal(key_text, es_text_of("a:b")));
    es_key_commit(300, UINT64_MAX, &key);
    assert_int_equal(es_key_commit_parse(bytes_of(&key), &first, &second), ES_OK);
    assert_true(first == 300 && second == UINT64_MAX);
    es_key_producer(es_text_of("importer"), &key);
    assert_int_equal(es_key_producer_parse(bytes_of(&key), &name, &first), ES_OK);
    assert_true(es_text_equal(name, es_text_of("importer")) && first == 0);
    es_key_producer_commit(es_text_of("importer"), 0x3A3A3A3A3A3A3A3AULL, &key);
    assert_int_equal(es_key_producer_parse(bytes_of(&key), &name, &first), ES_OK);
    assert_true(es_text_equal(name, es_text_of("importer")) && first == 0x3A3A3A3A3A3A3A3AULL);
    es_key_consumer(es_text_of("tables"), &key);
    assert_int_equal(es_key_consumer_parse(bytes_of(&key), &name), ES_OK);
    assert_true(es_text_equal(name, es_text_of("tables")));
    es_key_category(es_text_of("prod:main:L0:orders"), &key);
    assert_int_equal(es_key_category_parse(bytes_of(&key), &name), ES_OK);
    assert_true(es_text_equal(name, es_text_of("prod:main:L0:orders")));
}

/* Seeking p must find the commit whose last position is the first at or after p. */
static void seeking_a_position_comes_before_its_commit_and_after_the_one_before(void **state)
{
    struct es_key seek;
    struct es_key own;
    struct es_key before;

    (void)state;
    es_key_commit_seek(10, &seek);
    es_key_commit(10, 4, &own);
    es_key_commit(9, UINT64_MAX, &before);
    assert_true(memcmp(seek.bytes, own.bytes, seek.size) < 0);
    assert_true(memcmp(seek.bytes, before.bytes, seek.size) > 0);
}

static void keys_of_another_kind_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "S",
        "S:",
        "S:a:b:L0:c:Md",
        "S:a:b:L0:c:Md:",
        "S:a:b:L0:c:Md:E:1234567",
        "S:a:b:L0:c:Md:E:123456789",
        "S:a:b:L0:c:Md:Hea",
        "S:a:b:L0:c:Md:Head1",
        "S:a:b:L00:c:Md:Head",
        "S:a:b:L0:c:Xd:Head",
        "S:a:b:L0:c:Md:Snap:1234567",
        "S:a:b:L0:c:Md:Snap:123456789",
        "S:a:b:L0:c:Md:Snap:1234567812345678",
        "S:a:b:L0:c:Md:Snap:1234567812345678$x",
        "K:",
        "K:ns",
        "K:ns:",
        "K::key",
        "P:",
        "P:a:1",
        "P:a:123456789",
        "P::12345678",
        "C:",
        "C:a:b",
        "Category:a:b:L0",
        "Category:",
    };
    struct es_text a;
    struct es_text b;
    uint64_t number = 0;
    uint64_t other = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct es_bytes key = es_bytes_make(bad[i], (uint32_t)strlen(bad[i]));

        assert_int_equal(es_key_event_parse(key, &a, &number), ES_E_CORRUPT);
        assert_int_equal(es_key_head_parse(key, &a), ES_E_CORRUPT);
        assert_int_equal(es_key_pos_parse(key, &a, &number), ES_E_CORRUPT);
        assert_int_equal(es_key_snapshot_parse(key, &a, &number, &other, &b), ES_E_CORRUPT);
        assert_int_equal(es_key_kv_parse(key, &a, &b), ES_E_CORRUPT);
        assert_int_equal(es_key_producer_parse(key, &a, &number), ES_E_CORRUPT);
        assert_int_equal(es_key_consumer_parse(key, &a), ES_E_CORRUPT);
        assert_int_equal(es_key_category_parse(key, &a), ES_E_CORRUPT);
    }
    assert_int_equal(es_key_commit_parse(es_bytes_make("123456781234567", 15), &number, &other),
                     ES_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_key_is_eight_bytes_big_endian),
        cmocka_unit_test(sequence_keys_sort_as_the_sequences_do),
        cmocka_unit_test(a_sequence_key_of_any_other_length_is_refused),
        cmocka_unit_test(names_that_break_a_rule_are_refused_with_it),
        cmocka_unit_test(every_byte_of_a_long_name_is_looked_at),
        cmocka_unit_test(types_and_keys_have_their_own_rules),
        cmocka_unit_test(only_the_one_spelling_of_a_stream_is_accepted),
        cmocka_unit_test(a_broken_part_is_found_wherever_it_is),
        cmocka_unit_test(a_category_is_the_first_four_parts),
        cmocka_unit_test(stream_keys_read_back_as_they_were_made),
        cmocka_unit_test(prefixes_are_prefixes),
        cmocka_unit_test(store_keys_read_back_as_they_were_made),
        cmocka_unit_test(seeking_a_position_comes_before_its_commit_and_after_the_one_before),
        cmocka_unit_test(keys_of_another_kind_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
