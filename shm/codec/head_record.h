/*
 * The two values of the family 'stream_meta'.
 *   Head  [1, last_sequence, last_hash, last_tick, first_sequence,
 *          hash_before_first, last_position, flags, parent or nil]
 *   Pos   the position of one event, an integer
 * Trailing elements are passed over. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_HEAD_RECORD_H
#define EVENTSPINE_CODEC_HEAD_RECORD_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_HEAD_SIZE_MAX 132U
#define ES_POS_SIZE_MAX 9U
#define ES_POS_INTERVAL 64U /* a run that reaches or crosses a multiple writes Pos */

/* No pointers: it can be kept. Flags are 0 until a program defines one. */
struct es_head_value {
    uint64_t last_sequence; /* at least 1 */
    uint64_t last_tick;
    uint64_t first_sequence; /* 1 until the stream is truncated */
    uint64_t last_position;
    uint64_t flags;
    uint8_t last_hash[ES_HASH_SIZE];
    uint8_t hash_before_first[ES_HASH_SIZE]; /* zeros if there is none */
    bool has_hash_before_first;
};

/* ES_E_TOO_LARGE: it does not fit into 'capacity'; ES_HEAD_SIZE_MAX always does. */
ES_MUST_USE enum es_status es_head_encode(const struct es_head_value *head, void *ret_bytes,
                                          size_t capacity, uint32_t *ret_size);

/*
 * ES_E_CORRUPT: not a head. ES_E_VERSION: another leading number, or a parent:
 * this program does not know forks, and must not lose one by rewriting the head.
 * '*ret_head' is untouched on failure.
 */
ES_MUST_USE enum es_status es_head_decode(const void *bytes, size_t size,
                                          struct es_head_value *ret_head);

ES_MUST_USE enum es_status es_pos_encode(uint64_t position, void *ret_bytes, size_t capacity,
                                         uint32_t *ret_size);
ES_MUST_USE enum es_status es_pos_decode(const void *bytes, size_t size, uint64_t *ret_position);

#endif
