/*
 * A lane: one producer handle's private way to the broker. An arena of records
 * that the producer fills, a 'published' word that says how many of them are
 * whole, an array of results that the broker fills, and an 'acked' word that
 * says how many of those are final. Order between lanes is ring.h; what the
 * bytes of a record mean is codec/.
 *
 *   producer                                broker
 *   claim, write, publish -> (ticket) ->    next (copies, checks)
 *                                           ... the batch becomes durable ...
 *   collect               <- (futex)  <-    stage, then ack, then wake
 *
 * A record is claimed in place and becomes real only by the store to
 * 'published': a producer that dies before it leaves nothing. Records follow
 * each other without gaps at multiples of 32 bytes. One that does not fit
 * before the arena's end is preceded there by a PAD header, which consumes no
 * sequence, and starts at offset 0. The next offset is never arena_bytes: that
 * is 0. Sequences are 1, 2, 3 ... for one incarnation of the lane.
 *
 * This file holds what both sides agree on; lane_writer.h is the producer's
 * side, lane_reader.h the broker's.
 *
 * Trust.    The producer owns every byte of the file and may write any of them
 *           at any time. The broker keeps its own cursor, sequence, geometry
 *           and incarnation, loads each word of a header once, copies the body
 *           out and checks the copy. A header it cannot believe evicts the
 *           lane, for the next record cannot be found; what a sound record
 *           asks for is judged elsewhere. Nothing here is asserted on.
 * Credits.  At most credit_count records are published and not collected: so
 *           the result of a record is never overwritten before it is read, and
 *           the ring never fills. Space and credits come back by collecting.
 * Ordering.
 *   [L1] record   publish: store published, release    next: load, acquire
 *   [L2] result   ack: store acked, seq_cst            collect: load, acquire
 *   [L3] closed   close: store closed, release         is_closed: load, acquire
 *   [L4] attached attach: store attached, release      is_attached: load, acquire
 *   [D1] Dekker   wait: store waiting, then load acked   both seq_cst
 *                 wake: store acked, then load waiting   both seq_cst
 *        so either the broker sees that somebody waits, or the producer sees
 *        that it need not.
 */
#ifndef ES_SHM_LANE_H
#define ES_SHM_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/layout.h"
#include "shm/segment.h"

/*     0 magic | 8 layout_id | 12 credit_count | 16 incarnation | 24 arena_bytes
 *    28 results_offset | 32 arena_offset                  by the broker, once
 *    64 published | 72 closed | 76 attached               by the producer
 *   128 waiting          the number of the producer's sleep; 0: awake; cleared by either
 *   192 acked            by the broker; its low half is the futex word
 *  4096 results, 256 bytes each, filled up to a page
 *       arena                                                              */
struct es_lane_file {
    _Atomic uint64_t magic;
    _Atomic uint32_t layout_id;
    _Atomic uint32_t credit_count;
    _Atomic uint64_t incarnation;
    _Atomic uint32_t arena_bytes;
    _Atomic uint32_t results_offset;
    _Atomic uint32_t arena_offset;
    uint8_t reserved_36[28];
    _Atomic uint64_t published;
    _Atomic uint32_t closed;
    _Atomic uint32_t attached;
    uint8_t reserved_80[48];
    _Atomic uint32_t waiting;
    uint8_t reserved_132[60];
    _Atomic uint64_t acked;
    uint8_t reserved_200[3896];
};
static_assert(offsetof(struct es_lane_file, arena_offset) == 32, "identity in the first line");
static_assert(offsetof(struct es_lane_file, published) == 64, "own cache line");
static_assert(offsetof(struct es_lane_file, closed) == 72, "beside published");
static_assert(offsetof(struct es_lane_file, attached) == 76, "beside published");
static_assert(offsetof(struct es_lane_file, waiting) == 128, "own cache line");
static_assert(offsetof(struct es_lane_file, acked) == 192, "own cache line");
static_assert(sizeof(struct es_lane_file) == ES_PAGE_BYTES, "results start at the second page");

/*  0 length | 4 flags | 8 incarnation | 16 sequence | 24 body_crc | 28 header_crc
 *  length: header and body, without the filling to 32. header_crc: bytes 0..27.
 *  PAD: length up to the arena's end, the sequence of the record that follows it
 *  at offset 0, body_crc 0; its body is never looked at.                       */
struct es_record_header {
    uint32_t length;
    uint32_t flags;
    uint64_t incarnation;
    uint64_t sequence;
    uint32_t body_crc;
    uint32_t header_crc;
};
static_assert(sizeof(struct es_record_header) == ES_RECORD_ALIGNMENT, "a pad always fits");
static_assert(offsetof(struct es_record_header, header_crc) == 28, "covers what precedes it");
#define ES_RECORD_HEADER_BYTES ((uint32_t)sizeof(struct es_record_header))

#define ES_RECORD_PAD 1u       /* no record: go on at offset 0 */
#define ES_RECORD_ORDERED 2u   /* after a refusal, refuse what follows until RESUME */
#define ES_RECORD_RESUME 4u    /* ends such a row of refusals */
#define ES_RECORD_ALLOW_GAP 8u /* producer sequences may skip */
#define ES_RECORD_FLAGS_USER (ES_RECORD_ORDERED | ES_RECORD_RESUME | ES_RECORD_ALLOW_GAP)

/* Whether the row of ordered records was broken before this one, and after it. */
#define ES_LANE_ORDER_WAS_BROKEN 1u
#define ES_LANE_ORDER_IS_BROKEN 2u

/* The answer to one record. Fields that do not apply to it are zero.        */
struct es_lane_result {
    uint64_t sequence;        /*   0 the record's own: the tag */
    int32_t status;           /*   8 enum es_status */
    uint32_t reason;          /*  12 which rule was broken, where status says REJECTED */
    uint32_t operation_index; /*  16 of the operation that failed */
    uint32_t order;           /*  20 ES_LANE_ORDER_*, for a broker that takes the lane over */
    uint64_t position;        /*  24 of the last event */
    uint64_t stream_sequence; /*  32 of the last event; conflict: the actual one */
    uint64_t commit_number;   /*  40 */
    uint64_t revision;        /*  48 key-value: the new one; conflict: the actual one */
    uint64_t tick;            /*  56 of the last event */
    uint64_t time_us;         /*  64 of the commit */
    uint64_t epoch;           /*  72 of the history it was committed to */
    uint8_t hash[32];         /*  80 of the last event; conflict: the actual one */
    uint8_t store_hash[32];   /* 112 after the commit */
    uint8_t reserved_144[112];
};
static_assert(offsetof(struct es_lane_result, position) == 24, "as drawn");
static_assert(offsetof(struct es_lane_result, hash) == 80, "as drawn");
static_assert(offsetof(struct es_lane_result, reserved_144) == 144, "as drawn");
static_assert(sizeof(struct es_lane_result) == 256, "as drawn");

/* Writes the header of a new lane into a zeroed file of es_lane_bytes(). */
void es_lane_format(struct es_segment *segment, uint64_t incarnation, uint32_t arena_bytes,
                    uint32_t credit_count);

/*
 * Whether 'segment' holds the lane of this incarnation and geometry. Both sides
 * compute all offsets from what they agreed on, never from the file.
 *
 * ES_E_VERSION: another layout. ES_E_CORRUPT: anything else.
 */
ES_MUST_USE enum es_status es_lane_check(const struct es_segment *segment, uint64_t incarnation,
                                         uint32_t arena_bytes, uint32_t credit_count);

static inline uint32_t es_record_aligned(uint32_t bytes)
{
    return (bytes + ES_RECORD_ALIGNMENT - 1) & ~(ES_RECORD_ALIGNMENT - 1);
}

#endif
