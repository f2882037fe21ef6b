#include "tests/support/one_lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "tests/support/shared_memory.h"

void one_lane_attach_reader(struct one_lane *f, uint64_t last_sequence, uint32_t next_offset,
                            enum es_status expected)
{
    assert_int_equal(es_lane_reader_attach(&f->reader, &f->segment, ONE_LANE_INCARNATION,
                                           ONE_LANE_ARENA_BYTES, f->credit_count, last_sequence,
                                           next_offset),
                     expected);
}

void one_lane_open(struct one_lane *f, uint32_t credit_count)
{
    memset(f, 0, sizeof *f);
    f->credit_count = credit_count;
    f->segment = shared_memory(es_lane_bytes(ONE_LANE_ARENA_BYTES, credit_count));
    es_lane_format(&f->segment, ONE_LANE_INCARNATION, ONE_LANE_ARENA_BYTES, credit_count);
    assert_int_equal(es_lane_writer_attach(&f->writer, &f->segment, ONE_LANE_INCARNATION,
                                           ONE_LANE_ARENA_BYTES, credit_count),
                     ES_OK);
    one_lane_attach_reader(f, 0, 0, ES_OK);
}

void one_lane_close(struct one_lane *f)
{
    es_segment_unmap(&f->segment);
}

/* The bytes of record 'sequence': no two records are alike anywhere. */
void one_lane_pattern(uint8_t *bytes, uint32_t size, uint64_t sequence)
{
    uint64_t word = sequence * UINT64_C(0x9e3779b97f4a7c15);

    while (size > 0) {
        uint32_t part = size < sizeof word ? size : (uint32_t)sizeof word;

        memcpy(bytes, &word, part);
        word += UINT64_C(0xbf58476d1ce4e5b9);
        bytes += part;
        size -= part;
    }
}

uint64_t one_lane_publish(struct one_lane *f, uint32_t size)
{
    void *payload = NULL;
    uint64_t sequence = 0;

    assert_int_equal(es_lane_claim(&f->writer, size, &payload), ES_OK);
    one_lane_pattern(payload, size, f->writer.published + 1);
    assert_int_equal(es_lane_publish(&f->writer, size, ES_RECORD_ORDERED, &sequence), ES_OK);
    assert_int_equal(sequence, f->writer.published);
    return sequence;
}

void one_lane_assert_next(struct one_lane *f, uint64_t sequence, uint32_t size)
{
    struct es_record record = {0};
    uint8_t expected[ONE_LANE_RECORD_BYTES_MAX];

    assert_int_equal(es_lane_next(&f->reader, f->buffer, sizeof f->buffer, &record), ES_OK);
    one_lane_pattern(expected, size, sequence);
    assert_int_equal(record.sequence, sequence);
    assert_int_equal(record.flags, ES_RECORD_ORDERED);
    assert_int_equal(record.size, size);
    assert_memory_equal(f->buffer, expected, size);
}

void one_lane_assert_no_next(struct one_lane *f)
{
    struct es_record record = {.sequence = 99};

    assert_int_equal(es_lane_next(&f->reader, f->buffer, sizeof f->buffer, &record), ES_EMPTY);
    assert_int_equal(record.sequence, 99);
}

void one_lane_answer(struct one_lane *f, uint64_t sequence)
{
    struct es_lane_result result = {
        .sequence = sequence, .status = ES_OK, .position = sequence * 10, .hash = {1, 2, 3}};

    es_lane_stage(&f->reader, &result);
    es_lane_ack(&f->reader, sequence);
    es_lane_wake(&f->reader);
}

void one_lane_assert_collects(struct one_lane *f, uint64_t sequence)
{
    struct es_lane_result result = {0};

    assert_int_equal(es_lane_collect(&f->writer, &result), ES_OK);
    assert_int_equal(result.sequence, sequence);
    assert_int_equal(result.position, sequence * 10);
    assert_int_equal(result.hash[2], 3);
}
