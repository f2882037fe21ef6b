/*
 * The broker's side of a lane (lane.h): take records out as private copies,
 * stage their answers, release them. It judges only whether a record is whole
 * and is the next one; what it asks for is judged by codec/ and the sequencer.
 *
 * Trust.   None. Every word is loaded once and bounded; geometry, incarnation
 *          and cursor are the broker's own. A lane that breaks a rule is
 *          evicted: nothing is read from it again, its owner loses it.
 * Threads. The broker's committing thread.
 * Labels of ordering pairs: lane.h.
 */
#ifndef ES_SHM_LANE_READER_H
#define ES_SHM_LANE_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/lane.h"
#include "shm/segment.h"

/* Private to the broker; the truth about the lane as far as it is known. */
struct es_lane_reader {
    struct es_lane_file *file;
    struct es_lane_result *results;
    const uint8_t *arena;
    uint64_t incarnation;
    uint64_t consumed; /* last sequence taken */
    uint64_t acked;    /* last sequence answered */
    uint32_t arena_bytes;
    uint32_t credit_count;
    uint32_t record_bytes_max;
    uint32_t next_offset;    /* of the header after 'consumed' */
    const char *evicted_why; /* NULL: sound; else static text, and nothing more is read */
};

/* One record, as copied out. */
struct es_record {
    uint64_t sequence;
    uint32_t flags; /* of ES_RECORD_FLAGS_USER */
    uint32_t size;  /* of the payload, now in the caller's buffer */
};

/*
 * Attaches the broker to a lane: a new one (last_sequence 0, next_offset 0), or
 * one that outlived a former broker, at what the control page and 'Last' say.
 * Sets 'acked' to last_sequence, so results staged up to it count, and wakes the
 * producer.
 *
 * ES_E_CORRUPT: the header is not this lane's, 'next_offset' cannot be, or what
 * is published does not fit: the lane is lost. ES_E_VERSION: another layout.
 */
ES_MUST_USE enum es_status es_lane_reader_attach(struct es_lane_reader *reader,
                                                 const struct es_segment *segment,
                                                 uint64_t incarnation, uint32_t arena_bytes,
                                                 uint32_t credit_count, uint64_t last_sequence,
                                                 uint32_t next_offset);

/*
 * Takes the next record: copies it into 'buffer' (of record_bytes_max bytes at
 * least; 'buffer_bytes' is checked) and moves the cursor past it.
 *
 * ES_EMPTY: nothing is published beyond the cursor.
 * ES_FULL: 'buffer' is too small for it; nothing changed.
 * ES_E_CORRUPT: the lane breaks a rule and is evicted for good; the cursor
 *               stays. The bytes of 'buffer' are undefined then.
 */
ES_MUST_USE enum es_status es_lane_next(struct es_lane_reader *reader, void *buffer,
                                        uint32_t buffer_bytes, struct es_record *ret_record);

/*
 * After attaching to a lane of a former broker: whether that one was refusing its
 * ordered records. The results tell: that of the last record taken, or, where the
 * former broker has staged another into its place, that of the one behind it. The
 * producer can forge both, to its own harm alone.
 */
bool es_lane_order_was_broken(const struct es_lane_reader *reader);

/* Records published and not taken: 0..credit_count (0 once evicted). Asked by
 * the sweep, which delivers what no ticket announced. A count that is
 * impossible is given as 1, for es_lane_next() to judge. */
uint32_t es_lane_backlog(const struct es_lane_reader *reader);

/* Whether the producer said that nothing more will come. */
bool es_lane_is_closed(const struct es_lane_reader *reader);

/* Whether the producer has ever heard of its lane. */
bool es_lane_is_attached(const struct es_lane_reader *reader);

/*
 * Writes the answer to record result->sequence (acked + 1 .. consumed). It
 * counts only once es_lane_ack() reaches it.
 */
void es_lane_stage(struct es_lane_reader *reader, const struct es_lane_result *result);

/* Answers every record up to 'sequence' (acked .. consumed), whose results are
 * staged and whose batch is durable. */
void es_lane_ack(struct es_lane_reader *reader, uint64_t sequence);

/* Wakes the producer if it sleeps; after es_lane_ack(). */
void es_lane_wake(struct es_lane_reader *reader);

/* Ends the use of a lane that is no longer believed; 'why' is static text. */
void es_lane_evict(struct es_lane_reader *reader, const char *why);

#endif
