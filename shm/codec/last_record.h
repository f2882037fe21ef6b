/*
 * Key 'Last' of the default family, in every batch: where the rings and lanes
 * that the batch touched go on.
 *   [1, batch_number, commit_number, [[ring_id, cursor]...],
 *    [[incarnation, last_sequence, next_offset]...]]
 * All values are absolute, so applying it twice is applying it once. What they
 * mean is the ring's and the lane's affair. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_LAST_RECORD_H
#define EVENTSPINE_CODEC_LAST_RECORD_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_LAST_RING_COUNT_MAX 16U
#define ES_LAST_LANE_COUNT_MAX 256U
#define ES_LAST_SIZE_MAX 7504U /* bytes, with every ring and lane */

struct es_last_ring {
    uint64_t ring_id;
    uint64_t cursor; /* ring position of the next ticket */
};

struct es_last_lane {
    uint64_t incarnation;
    uint64_t last_sequence; /* of the last record consumed */
    uint64_t next_offset;   /* bytes into the arena, of the next record */
};

/* Only the first ring_count and lane_count entries mean anything. */
struct es_last {
    uint64_t batch_number;
    uint64_t commit_number;
    uint32_t ring_count;
    uint32_t lane_count;
    struct es_last_ring rings[ES_LAST_RING_COUNT_MAX];
    struct es_last_lane lanes[ES_LAST_LANE_COUNT_MAX];
};

/* ES_E_TOO_LARGE: it does not fit into 'capacity'; ES_LAST_SIZE_MAX always does. */
ES_MUST_USE enum es_status es_last_encode(const struct es_last *last, void *ret_bytes,
                                          size_t capacity, uint32_t *ret_size);

/*
 * ES_E_CORRUPT: not such a value, or more rings or lanes than fit.
 * ES_E_VERSION: another leading number. '*ret_last' is untouched on failure.
 */
ES_MUST_USE enum es_status es_last_decode(const void *bytes, size_t size, struct es_last *ret_last);

/*
 * Adds to 'ahead' what a later batch says of rings and lanes: of each the last one counts.
 * What there is no room for is left out. The batch and commit numbers stay.
 */
void es_last_note(struct es_last *ahead, const struct es_last *last);

#endif
