/*
 * One lane with both its sides in one process, in the smallest arena there is, and
 * the few moves that tests of lanes make all the time. Every record has bytes that
 * follow from its sequence, so that a mix-up of any two shows.
 */
#ifndef TESTS_SUPPORT_ONE_LANE_H
#define TESTS_SUPPORT_ONE_LANE_H

#include <stdint.h>

#include "shm/lane_reader.h"
#include "shm/lane_writer.h"

#define ONE_LANE_INCARNATION ((UINT64_C(3) << 32) | 5)
#define ONE_LANE_ARENA_BYTES ES_ARENA_BYTES_TINY
#define ONE_LANE_RECORD_BYTES_MAX (ONE_LANE_ARENA_BYTES / 8)
#define ONE_LANE_PAYLOAD_BYTES_MAX (ONE_LANE_RECORD_BYTES_MAX - ES_RECORD_HEADER_BYTES)

struct one_lane {
    struct es_segment segment;
    struct es_lane_writer writer;
    struct es_lane_reader reader;
    uint8_t buffer[ONE_LANE_RECORD_BYTES_MAX];
    uint32_t credit_count;
};

void one_lane_open(struct one_lane *f, uint32_t credit_count);
void one_lane_close(struct one_lane *f);

/* Attaches the broker's side anew; asserts that the answer is 'expected'. */
void one_lane_attach_reader(struct one_lane *f, uint64_t last_sequence, uint32_t next_offset,
                            enum es_status expected);

/* The bytes of record 'sequence'. */
void one_lane_pattern(uint8_t *bytes, uint32_t size, uint64_t sequence);

/* Publishes the next record, ORDERED, with 'size' bytes; gives its sequence. */
uint64_t one_lane_publish(struct one_lane *f, uint32_t size);

/* The next record is this one, whole; or there is none. */
void one_lane_assert_next(struct one_lane *f, uint64_t sequence, uint32_t size);
void one_lane_assert_no_next(struct one_lane *f);

/* Stages, acks and wakes; the result's position is ten times the sequence. */
void one_lane_answer(struct one_lane *f, uint64_t sequence);
void one_lane_assert_collects(struct one_lane *f, uint64_t sequence);

#endif
