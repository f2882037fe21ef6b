/*
 * The value of a snapshot:
 *   [1, tick, sequence, event_hash, projection, version, created_us,
 *    state_hash, state(bin)]
 * It is bound to the event (sequence, event_hash) whose effects it includes;
 * whether that event is there is the store's question. 'projection' is "" for a
 * snapshot without one. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_SNAPSHOT_VALUE_H
#define EVENTSPINE_CODEC_SNAPSHOT_VALUE_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_SNAPSHOT_OVERHEAD 384U /* bytes beyond the state, at most */

struct es_snapshot_value {
    uint64_t tick;
    uint64_t sequence; /* at least 1 */
    const uint8_t *event_hash;
    struct es_text projection;
    uint64_t version;    /* of the projection, the caller's own count */
    uint64_t created_us; /* microseconds since 1970 */
    const uint8_t *state_hash;
    struct es_bytes state;
};

/* ES_E_TOO_LARGE: it does not fit into 'capacity'. */
ES_MUST_USE enum es_status es_snapshot_value_encode(const struct es_snapshot_value *value,
                                                    void *ret_bytes, size_t capacity,
                                                    uint32_t *ret_size);

/* ES_E_CORRUPT: not such a value. ES_E_VERSION: a newer one. Views into 'bytes'. */
ES_MUST_USE enum es_status es_snapshot_value_decode(const void *bytes, size_t size,
                                                    struct es_snapshot_value *ret_value);

/* ES_E_CORRUPT: state_hash is not the hash of the state. */
ES_MUST_USE enum es_status es_snapshot_value_verify(const struct es_snapshot_value *value);

#endif
