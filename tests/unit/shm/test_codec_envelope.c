/*
 * The envelope and the chain: one event is one row of bytes with one hash, and no
 * event can be changed, moved to another stream or taken out unseen.
 */
#include "shm/codec/chain.h"
#include "shm/codec/hash.h"
#include "shm/codec/strict_msgpack.h"

#include "tests/support/codec_samples.h"
#include "tests/support/golden.h"
#include "tests/support/prng.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CHAIN_LENGTH 10

static struct sample_event chain[CHAIN_LENGTH];

static void encode(const struct es_event_fields *fields, struct sample_event *ret_event)
{
    assert_int_equal(es_envelope_encode(fields, ret_event->envelope, sizeof ret_event->envelope,
                                        &ret_event->size, ret_event->hash),
                     ES_OK);
}

static struct es_event_view decode(const struct sample_event *event)
{
    struct es_event_view view;

    assert_int_equal(es_envelope_decode(event->envelope, event->size, &view), ES_OK);
    return view;
}

static struct es_bytes hash_of(const struct sample_event *event)
{
    return es_bytes_make(event->hash, ES_HASH_SIZE);
}

static int build_chain(void **state)
{
    (void)state;
    for (int i = 0; i < CHAIN_LENGTH; i++) {
        struct es_event_fields fields =
            sample_fields(SAMPLE_ORDERS, (uint64_t)i, "Counted", es_bytes_make(&i, sizeof i),
                          i > 0 ? chain[i - 1].hash : NULL);

        encode(&fields, &chain[i]);
    }
    return 0;
}

/* ES_OK if every hash and every link of the chain is as it should be. */
static enum es_status verify_chain(void)
{
    struct es_bytes predecessor = es_bytes_make("", 0);

    for (int i = 0; i < CHAIN_LENGTH; i++) {
        struct es_event_view view = decode(&chain[i]);
        enum es_status status = es_chain_verify_hash(&view);

        if (status == ES_OK) {
            status = es_chain_verify_link(&view, (uint64_t)i + 1, predecessor);
        }
        if (status != ES_OK) {
            return status;
        }
        predecessor = hash_of(&chain[i]);
    }
    return ES_OK;
}

static void an_envelope_starts_with_9a(void **state)
{
    (void)state;
    for (int i = 0; i < CHAIN_LENGTH; i++) {
        assert_int_equal(chain[i].envelope[0], 0x9A);
    }
}

/* Its elements are text, integers and binaries, whatever the payload is. */
static void the_preimage_holds_no_map_and_no_float(void **state)
{
    static const uint8_t payload[] = {0x81, 0xA1, 'x', 0xCB, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0};
    static const enum es_msgpack_type types[] = {
        ES_MSGPACK_UINT, ES_MSGPACK_STR,  ES_MSGPACK_STR, ES_MSGPACK_UINT, ES_MSGPACK_STR,
        ES_MSGPACK_STR,  ES_MSGPACK_UINT, ES_MSGPACK_STR, ES_MSGPACK_BIN,  ES_MSGPACK_BIN};
    struct es_event_fields fields = sample_fields(
        SAMPLE_ORDERS, 1, "Measured", es_bytes_make(payload, sizeof payload), chain[0].hash);
    struct sample_event event;
    uint8_t preimage[1024] = {0x9A, 0x01};
    uint8_t hash[ES_HASH_SIZE];
    struct es_unpack unpack;

    (void)state;
    encode(&fields, &event);
    struct es_event_view view = decode(&event);
    memcpy(preimage + 2, view.preimage_tail.data, view.preimage_tail.size);
    size_t size = 2 + (size_t)view.preimage_tail.size;
    es_unpack_init(&unpack, preimage, size);
    assert_int_equal(es_unpack_array(&unpack), 10);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(es_unpack_peek(&unpack), types[i]);
        (void)es_unpack_skip(&unpack);
    }
    assert_true(es_unpack_done(&unpack));
    es_hash(preimage, size, hash);
    assert_memory_equal(hash, event.hash, ES_HASH_SIZE); /* it is the preimage */
}

static void the_same_event_encoded_100_times_is_the_same_bytes(void **state)
{
    struct es_event_fields fields = sample_fields(SAMPLE_WIDE, ES_TICK_MAX, SAMPLE_WIDE_TYPE,
                                                  sample_wide_payload(), chain[4].hash);
    struct sample_event first;
    struct sample_event again;

    (void)state;
    encode(&fields, &first);
    for (int i = 0; i < 100; i++) {
        memset(&again, i, sizeof again);
        encode(&fields, &again);
        assert_int_equal(again.size, first.size);
        assert_memory_equal(again.envelope, first.envelope, first.size);
        assert_memory_equal(again.hash, first.hash, ES_HASH_SIZE);
    }
}

static void a_chain_of_ten_holds(void **state)
{
    (void)state;
    assert_int_equal(verify_chain(), ES_OK);
}

/* Each event is replaced in turn by one with another payload and a right hash of its
 * own: the next one gives it away. Of the last, the head's hash would. */
static void each_link_broken_in_turn_is_found(void **state)
{
    for (int i = 0; i + 1 < CHAIN_LENGTH; i++) {
        struct sample_event kept = chain[i];
        struct es_event_fields fields = decode(&kept).event;

        fields.payload = es_bytes_make("forged", 6);
        encode(&fields, &chain[i]);
        assert_int_equal(verify_chain(), ES_E_CORRUPT);
        chain[i] = kept;
        assert_int_equal(verify_chain(), ES_OK);
    }
    (void)state;
}

static void a_removed_or_exchanged_event_is_found(void **state)
{
    (void)state;
    for (int i = 0; i + 1 < CHAIN_LENGTH; i++) {
        struct sample_event kept = chain[i];

        chain[i] = chain[i + 1];
        chain[i + 1] = kept;
        assert_int_equal(verify_chain(), ES_E_CORRUPT);
        chain[i + 1] = chain[i];
        chain[i] = kept;
    }
    assert_int_equal(verify_chain(), ES_OK);
}

static void every_changed_bit_of_a_stored_event_is_found(void **state)
{
    struct es_bytes predecessor = hash_of(&chain[3]);
    struct es_event_view view;
    uint32_t undecodable = 0;

    (void)state;
    for (uint32_t bit = 0; bit < 8 * chain[4].size; bit++) {
        chain[4].envelope[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (es_envelope_decode(chain[4].envelope, chain[4].size, &view) != ES_OK) {
            undecodable++;
        } else {
            assert_int_equal(es_chain_verify_hash(&view), ES_E_CORRUPT);
        }
        chain[4].envelope[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(undecodable > 0 && undecodable < 8 * chain[4].size);
    view = decode(&chain[4]);
    assert_int_equal(es_chain_verify_hash(&view), ES_OK);
    assert_int_equal(es_chain_verify_link(&view, 5, predecessor), ES_OK);
}

static void an_empty_previous_hash_is_accepted_at_the_start_of_a_stream_only(void **state)
{
    struct es_bytes none = es_bytes_make("", 0);
    struct es_event_view first = decode(&chain[0]);
    struct es_event_view second = decode(&chain[1]);

    (void)state;
    assert_int_equal(first.event.previous_hash.size, 0);
    assert_int_equal(es_chain_verify_link(&first, 1, none), ES_OK);
    assert_int_equal(es_chain_verify_link(&first, 2, none), ES_E_CORRUPT);
    assert_int_equal(es_chain_verify_link(&first, 2, hash_of(&chain[0])), ES_E_CORRUPT);
    assert_int_equal(es_chain_verify_link(&first, 0, none), ES_E_CORRUPT);
    assert_int_equal(es_chain_verify_link(&second, 2, hash_of(&chain[0])), ES_OK);
    assert_int_equal(es_chain_verify_link(&second, 1, hash_of(&chain[0])), ES_E_CORRUPT);
    assert_int_equal(es_chain_verify_link(&second, 2, none), ES_E_CORRUPT);
}

static void the_previous_hash_of_another_stream_is_found(void **state)
{
    struct es_event_fields other =
        sample_fields(SAMPLE_STOCK, 0, "Counted", es_bytes_make("", 0), NULL);
    struct sample_event foreign;
    struct sample_event event;

    (void)state;
    encode(&other, &foreign);
    struct es_event_fields fields =
        sample_fields(SAMPLE_ORDERS, 1, "Counted", es_bytes_make("", 0), foreign.hash);
    encode(&fields, &event);
    struct es_event_view view = decode(&event);
    assert_int_equal(es_chain_verify_hash(&view), ES_OK);
    assert_int_equal(es_chain_verify_link(&view, 2, hash_of(&chain[0])), ES_E_CORRUPT);
}

/* The hash covers each member: change one alone, and the hash is another. */
static void every_member_is_hashed(void **state)
{
    struct es_event_fields base = decode(&chain[1]).event;
    struct es_event_fields changed[9];
    struct sample_event event;

    (void)state;
    for (size_t i = 0; i < 9; i++) {
        changed[i] = base;
    }
    changed[0].stream.variant = es_text_of("test");
    changed[1].stream.branch = es_text_of("test");
    changed[2].stream.level = 1;
    changed[3].stream.domain = es_text_of("test");
    changed[4].stream.model = es_text_of("test");
    changed[5].tick = 77;
    changed[6].type = es_text_of("Test");
    changed[7].payload = es_bytes_make("test", 4);
    changed[8].previous_hash = hash_of(&chain[5]);
    for (size_t i = 0; i < 9; i++) {
        encode(&changed[i], &event);
        assert_memory_not_equal(event.hash, chain[1].hash, ES_HASH_SIZE);
    }
    encode(&base, &event);
    assert_memory_equal(event.hash, chain[1].hash, ES_HASH_SIZE);
}

static void envelopes_that_another_program_would_accept_are_refused(void **state)
{
    uint8_t kept[GOLDEN_SIZE_MAX];
    uint8_t forged[GOLDEN_SIZE_MAX];
    size_t size = golden_read("envelope", "first", kept);
    struct es_event_view view;

    (void)state;
    memcpy(forged, kept, size);
    forged[size] = 0xC0; /* something after the end */
    assert_int_equal(es_envelope_decode(forged, size + 1, &view), ES_E_CORRUPT);
    forged[0] = 0x9B; /* an eleventh element */
    assert_int_equal(es_envelope_decode(forged, size + 1, &view), ES_E_VERSION);
    memcpy(forged + 26, kept + 25, size - 25); /* tick 7 as a signed or a longer form */
    memcpy(forged, kept, 24);
    forged[25] = 7;
    forged[24] = 0xD0;
    assert_int_equal(es_envelope_decode(forged, size + 1, &view), ES_E_CORRUPT);
    forged[24] = 0xCC;
    assert_int_equal(es_envelope_decode(forged, size + 1, &view), ES_E_CORRUPT);
    memcpy(forged, kept, size);
    forged[24] = 0xFF; /* tick -1 */
    assert_int_equal(es_envelope_decode(forged, size, &view), ES_E_CORRUPT);
    memcpy(forged, kept, size);
    forged[2] = ':'; /* in the variant */
    assert_int_equal(es_envelope_decode(forged, size, &view), ES_E_CORRUPT);
    memcpy(forged, kept, size);
    forged[26] = '\n'; /* in the type */
    assert_int_equal(es_envelope_decode(forged, size, &view), ES_E_CORRUPT);
    assert_int_equal(es_envelope_decode(kept, size, &view), ES_OK);
}

static void ticks_and_levels_beyond_their_range_are_not_encoded(void **state)
{
    struct es_event_fields fields = decode(&chain[1]).event;
    uint8_t bytes[512];
    uint8_t hash[ES_HASH_SIZE];
    uint32_t size = 42;

    (void)state;
    fields.tick = (uint64_t)ES_TICK_MAX + 1;
    assert_int_equal(es_envelope_encode(&fields, bytes, sizeof bytes, &size, hash), ES_E_INVALID);
    fields.tick = 0;
    fields.stream.level = 1U << 31;
    assert_int_equal(es_envelope_encode(&fields, bytes, sizeof bytes, &size, hash), ES_E_INVALID);
    fields.stream.level = 0;
    fields.previous_hash.size = 31;
    assert_int_equal(es_envelope_encode(&fields, bytes, sizeof bytes, &size, hash), ES_E_INVALID);
    assert_int_equal(size, 42);
}

static void the_announced_size_always_suffices_and_one_byte_less_never(void **state)
{
    struct es_event_fields fields = sample_fields(SAMPLE_WIDE, ES_TICK_MAX, SAMPLE_WIDE_TYPE,
                                                  sample_wide_payload(), chain[0].hash);
    uint64_t size_max = es_envelope_size_max((uint32_t)strlen(SAMPLE_WIDE),
                                             (uint32_t)strlen(SAMPLE_WIDE_TYPE), 300);
    uint8_t bytes[1024];
    uint8_t hash[ES_HASH_SIZE];
    uint32_t size = 0;

    (void)state;
    assert_int_equal(es_envelope_encode(&fields, bytes, size_max, &size, hash), ES_OK);
    assert_true(size <= size_max && size_max - size < 32);
    for (uint32_t capacity = 0; capacity < size; capacity++) {
        uint32_t untouched = 42;

        assert_int_equal(es_envelope_encode(&fields, bytes, capacity, &untouched, hash),
                         ES_E_TOO_LARGE);
        assert_int_equal(untouched, 42);
    }
}

/* Random events read back as they were written. */
static void random_events_come_back(void **state)
{
    static char letters[ES_NAME_SIZE_MAX + 1];
    static uint8_t payload[70000];
    static uint8_t bytes[72000];
    struct prng prng;

    (void)state;
    memset(letters, 'x', sizeof letters);
    prng_begin(&prng, "random_events_come_back");
    prng_fill(&prng, payload, sizeof payload);
    for (int i = 0; i < 500; i++) {
        struct es_event_fields fields = {
            .stream = {es_text_make(letters, 1 + (uint32_t)prng_below(&prng, 255)),
                       es_text_make(letters, 1 + (uint32_t)prng_below(&prng, 255)),
                       es_text_make(letters, 1 + (uint32_t)prng_below(&prng, 255)),
                       es_text_make(letters, 1 + (uint32_t)prng_below(&prng, 255)),
                       (uint32_t)(prng_next(&prng) >> 33)},
            .tick = prng_next(&prng) >> (1 + prng_below(&prng, 63)),
            .type = es_text_make(letters, 1 + (uint32_t)prng_below(&prng, 255)),
            .payload =
                es_bytes_make(payload, (uint32_t)(prng_next(&prng) >> 48 >> prng_below(&prng, 17))),
            .previous_hash = es_bytes_make(payload, prng_one_in(&prng, 3) ? 0 : ES_HASH_SIZE),
        };
        struct es_event_view view;
        uint8_t hash[ES_HASH_SIZE];
        uint32_t size = 0;

        assert_int_equal(es_envelope_encode(&fields, bytes, sizeof bytes, &size, hash), ES_OK);
        assert_int_equal(es_envelope_decode(bytes, size, &view), ES_OK);
        assert_true(es_text_equal(view.event.stream.variant, fields.stream.variant));
        assert_true(es_text_equal(view.event.stream.model, fields.stream.model));
        assert_true(view.event.stream.level == fields.stream.level);
        assert_true(view.event.tick == fields.tick);
        assert_true(es_text_equal(view.event.type, fields.type));
        assert_true(es_bytes_equal(view.event.payload, fields.payload));
        assert_true(es_bytes_equal(view.event.previous_hash, fields.previous_hash));
        assert_memory_equal(view.hash, hash, ES_HASH_SIZE);
        assert_int_equal(es_chain_verify_hash(&view), ES_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_envelope_starts_with_9a),
        cmocka_unit_test(the_preimage_holds_no_map_and_no_float),
        cmocka_unit_test(the_same_event_encoded_100_times_is_the_same_bytes),
        cmocka_unit_test(a_chain_of_ten_holds),
        cmocka_unit_test(each_link_broken_in_turn_is_found),
        cmocka_unit_test(a_removed_or_exchanged_event_is_found),
        cmocka_unit_test(every_changed_bit_of_a_stored_event_is_found),
        cmocka_unit_test(an_empty_previous_hash_is_accepted_at_the_start_of_a_stream_only),
        cmocka_unit_test(the_previous_hash_of_another_stream_is_found),
        cmocka_unit_test(every_member_is_hashed),
        cmocka_unit_test(envelopes_that_another_program_would_accept_are_refused),
        cmocka_unit_test(ticks_and_levels_beyond_their_range_are_not_encoded),
        cmocka_unit_test(the_announced_size_always_suffices_and_one_byte_less_never),
        cmocka_unit_test(random_events_come_back),
    };

    return cmocka_run_group_tests(tests, build_chain, NULL);
}
