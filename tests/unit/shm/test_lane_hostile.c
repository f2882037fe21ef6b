/* A producer may write anything anywhere in its lane, at any time. Whatever it
 * leaves there, the broker delivers only records that are whole and are next, and
 * evicts the lane else: for good, with a reason, without a step too far. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "shm/crc32c.h"
#include "tests/support/one_lane.h"
#include "tests/support/prng.h"

static struct es_record_header *header_at(struct one_lane *f, uint32_t offset)
{
    return (struct es_record_header *)(void *)(f->writer.arena + offset);
}

/* Makes the header's own checksum right again, so that only the forged field is wrong. */
static void header_seal(struct es_record_header *header)
{
    header->header_crc = es_crc32c(0, header, offsetof(struct es_record_header, header_crc));
}

static void assert_evicts(struct one_lane *f, const char *why)
{
    struct es_record record = {.sequence = 99};
    uint64_t consumed = f->reader.consumed;
    uint32_t next_offset = f->reader.next_offset;

    for (int i = 0; i < 2; i++) { /* once evicted, for good */
        assert_int_equal(es_lane_next(&f->reader, f->buffer, sizeof f->buffer, &record),
                         ES_E_CORRUPT);
        assert_int_equal(record.sequence, 99);
        assert_int_equal(f->reader.consumed, consumed);
        assert_int_equal(f->reader.next_offset, next_offset);
        assert_non_null(f->reader.evicted_why);
        assert_non_null(strstr(f->reader.evicted_why, why));
        assert_int_equal(es_lane_backlog(&f->reader), 0);
    }
}

static void open_with_records(struct one_lane *f)
{
    one_lane_open(f, 8);
    one_lane_publish(f, 100); /* offsets 0, 160, 320 */
    one_lane_publish(f, 100);
    one_lane_publish(f, 100);
    one_lane_assert_next(f, 1, 100);
}

static void every_impossible_length_evicts(void **state)
{
    static const uint32_t forged[] = {0,
                                      1,
                                      31,
                                      32, /* no body */
                                      ONE_LANE_RECORD_BYTES_MAX + 1,
                                      ONE_LANE_ARENA_BYTES,
                                      INT32_MAX,
                                      UINT32_MAX - 31,
                                      UINT32_MAX};
    struct one_lane f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_with_records(&f);
        header_at(&f, 160)->length = forged[i];
        header_seal(header_at(&f, 160));
        assert_evicts(&f, "impossible length");
        one_lane_close(&f);
    }
}

static void a_record_over_the_arenas_end_evicts(void **state)
{
    struct one_lane f;

    (void)state;
    for (uint32_t before_end = 32; before_end < ONE_LANE_RECORD_BYTES_MAX; before_end += 32) {
        one_lane_open(&f, 8);
        f.reader.next_offset = ONE_LANE_ARENA_BYTES - before_end;
        one_lane_publish(&f, 1);
        memcpy(f.writer.arena + f.reader.next_offset, f.writer.arena, 32);
        header_at(&f, f.reader.next_offset)->length = before_end + 1;
        header_seal(header_at(&f, f.reader.next_offset));
        assert_evicts(&f, "over the end");
        one_lane_close(&f);
    }
}

static void every_impossible_sequence_evicts(void **state)
{
    static const uint64_t forged[] = {0, 1, 3, UINT64_MAX, (UINT64_C(1) << 32) + 2};
    struct one_lane f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_with_records(&f);
        header_at(&f, 160)->sequence = forged[i];
        header_seal(header_at(&f, 160));
        assert_evicts(&f, "out of sequence");
        one_lane_close(&f);
    }
}

/* A record that a former owner of the lane left in memory must never be taken. */
static void every_other_incarnation_evicts(void **state)
{
    static const uint64_t forged[] = {0, ONE_LANE_INCARNATION - 1, ONE_LANE_INCARNATION + 1,
                                      ONE_LANE_INCARNATION << 32, UINT64_MAX};
    struct one_lane f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_with_records(&f);
        header_at(&f, 160)->incarnation = forged[i];
        header_seal(header_at(&f, 160));
        assert_evicts(&f, "another incarnation");
        one_lane_close(&f);
    }
}

static void every_unknown_flag_evicts(void **state)
{
    struct one_lane f;

    (void)state;
    for (uint32_t bit = 0; bit < 32; bit++) {
        uint32_t flags = 1u << bit;

        if (flags == ES_RECORD_PAD || (flags & ES_RECORD_FLAGS_USER) != 0) {
            continue;
        }
        open_with_records(&f);
        header_at(&f, 160)->flags |= flags;
        header_seal(header_at(&f, 160));
        assert_evicts(&f, "flags that do not exist");
        one_lane_close(&f);
    }
    open_with_records(&f);
    header_at(&f, 160)->flags = ES_RECORD_PAD | ES_RECORD_ORDERED;
    header_seal(header_at(&f, 160));
    assert_evicts(&f, "flags that do not exist");
    one_lane_close(&f);
}

static void a_pad_is_believed_only_up_to_the_arenas_end_and_once(void **state)
{
    static const uint32_t forged[] = {0, 32, ONE_LANE_ARENA_BYTES - 160 - 32,
                                      ONE_LANE_ARENA_BYTES - 160 + 32, UINT32_MAX};
    struct one_lane f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_with_records(&f);
        header_at(&f, 160)->flags = ES_RECORD_PAD;
        header_at(&f, 160)->length = forged[i];
        header_seal(header_at(&f, 160));
        assert_evicts(&f, "a pad does not end");
        one_lane_close(&f);
    }
    open_with_records(&f);
    header_at(&f, 160)->flags = ES_RECORD_PAD;
    header_at(&f, 160)->length = ONE_LANE_ARENA_BYTES - 160;
    header_seal(header_at(&f, 160));
    header_at(&f, 0)->flags = ES_RECORD_PAD;
    header_at(&f, 0)->length = ONE_LANE_ARENA_BYTES;
    header_at(&f, 0)->sequence = 2;
    header_seal(header_at(&f, 0));
    assert_evicts(&f, "a pad follows a pad");
    one_lane_close(&f);

    one_lane_open(&f, 8);
    one_lane_publish(&f, 1);
    header_at(&f, 0)->flags = ES_RECORD_PAD;
    header_at(&f, 0)->length = ONE_LANE_ARENA_BYTES;
    header_seal(header_at(&f, 0));
    assert_evicts(&f, "the whole arena");
    one_lane_close(&f);
}

/* One flipped bit anywhere in header or body. */
static void every_flipped_bit_evicts(void **state)
{
    struct one_lane f;

    (void)state;
    for (uint32_t bit = 0; bit < (32 + 100) * 8; bit++) {
        open_with_records(&f);
        f.writer.arena[160 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_evicts(&f, "checksum");
        one_lane_close(&f);
    }
}

static void every_impossible_published_word_evicts(void **state)
{
    static const uint64_t forged[] = {0, 9, 10, 1000, UINT64_C(1) << 32, UINT64_MAX};
    struct one_lane f;

    (void)state;
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        open_with_records(&f);
        atomic_store(&f.writer.file->published, forged[i]);
        assert_int_equal(es_lane_backlog(&f.reader), 1 + (forged[i] == 9 ? 7 : 0));
        assert_evicts(&f, "published sequence is impossible");
        one_lane_close(&f);
    }
}

static void publishing_what_was_not_written_evicts(void **state)
{
    struct one_lane f;

    (void)state;
    open_with_records(&f);
    atomic_store(&f.writer.file->published, 4);
    one_lane_assert_next(&f, 2, 100);
    one_lane_assert_next(&f, 3, 100);
    assert_evicts(&f, "checksum");
    one_lane_close(&f);
}

/* The words that the broker writes are its own only in its private copy. */
static void overwriting_the_brokers_words_gains_nothing(void **state)
{
    struct one_lane f;

    (void)state;
    open_with_records(&f);
    atomic_store(&f.writer.file->acked, UINT64_MAX);
    atomic_store(&f.writer.file->credit_count, 0);
    atomic_store(&f.writer.file->arena_bytes, UINT32_MAX);
    atomic_store(&f.writer.file->arena_offset, UINT32_MAX);
    atomic_store(&f.writer.file->results_offset, UINT32_MAX);
    atomic_store(&f.writer.file->incarnation, 0);
    atomic_store(&f.writer.file->waiting, UINT32_MAX);
    one_lane_assert_next(&f, 2, 100);
    one_lane_assert_next(&f, 3, 100);
    one_lane_assert_no_next(&f);
    for (uint64_t i = 1; i <= 3; i++) {
        one_lane_answer(&f, i);
    }
    one_lane_assert_collects(&f, 1);
    one_lane_close(&f);
}

static void an_evicted_lane_is_not_read_again(void **state)
{
    struct one_lane f;

    (void)state;
    open_with_records(&f);
    es_lane_evict(&f.reader, "the broker had enough");
    es_lane_evict(&f.reader, "a later reason does not replace the first");
    assert_evicts(&f, "had enough");
    one_lane_close(&f);
}

/* Random bytes over the whole file while the broker drains: it never crashes, never
 * writes beyond its buffer (the sanitizers watch), and never takes a record that was
 * not published whole. */
static void random_bytes_are_never_taken_for_a_record(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "random_bytes");
    for (int round = 0; round < 20000; round++) {
        struct one_lane f;
        struct es_record record;
        size_t offset;

        open_with_records(&f);
        for (uint64_t i = prng_below(&prng, 8) + 1; i > 0; i--) {
            offset = prng_below(&prng, prng_one_in(&prng, 2) ? 512 : f.segment.size - 8);
            if (prng_one_in(&prng, 2)) { /* the arena, where it hurts */
                offset =
                    prng_below(&prng, 480) + (size_t)(f.writer.arena - (uint8_t *)f.segment.base);
            }
            prng_fill(&prng, (uint8_t *)f.segment.base + offset, 1 + prng_below(&prng, 8));
        }
        while (es_lane_next(&f.reader, f.buffer, sizeof f.buffer, &record) == ES_OK) {
            uint8_t expected[ONE_LANE_RECORD_BYTES_MAX];

            assert_in_range(record.sequence, 2, 3);
            assert_int_equal(record.size, 100);
            one_lane_pattern(expected, 100, record.sequence);
            assert_memory_equal(f.buffer, expected, 100);
        }
        one_lane_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_impossible_length_evicts),
        cmocka_unit_test(a_record_over_the_arenas_end_evicts),
        cmocka_unit_test(every_impossible_sequence_evicts),
        cmocka_unit_test(every_other_incarnation_evicts),
        cmocka_unit_test(every_unknown_flag_evicts),
        cmocka_unit_test(a_pad_is_believed_only_up_to_the_arenas_end_and_once),
        cmocka_unit_test(every_flipped_bit_evicts),
        cmocka_unit_test(every_impossible_published_word_evicts),
        cmocka_unit_test(publishing_what_was_not_written_evicts),
        cmocka_unit_test(overwriting_the_brokers_words_gains_nothing),
        cmocka_unit_test(an_evicted_lane_is_not_read_again),
        cmocka_unit_test(random_bytes_are_never_taken_for_a_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
