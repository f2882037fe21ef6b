/*
 * What became of a number of a named producer, made again from the store: the
 * number leads to its commit, the commit's transaction to its last event and key.
 * The sequencer answers repeats with it, and requests tell it to who asks.
 *
 * It is exact only where everything accepted of the producer is applied; who
 * asks sees to that. What is said is what the first answer said.
 *
 * Threads. Any, with a snapshot or a store that the caller may read.
 */
#ifndef BROKER_FIRST_RESULT_H
#define BROKER_FIRST_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/store.h"
#include "shm/codec/hash.h"
#include "shm/codec/stream_key.h"
#include "shm/lane.h"

struct first_result {
    uint8_t content_hash[ES_CONTENT_HASH_SIZE]; /* of the transaction */
    struct es_lane_result result;               /* but for 'sequence', which is the record's */
    uint32_t stream_bytes;                      /* 0: it appended no event */
    char stream[ES_STREAM_SIZE_MAX];            /* of its last event */
};

/*
 * Finds transaction 'number' of 'producer'; 'snapshot' may be NULL.
 *
 * ES_NOT_FOUND: it was never committed.
 * ES_E_CORRUPT: something on the way to it is damaged or missing.
 * ES_E_IO, ES_E_NO_MEMORY, ES_E_VERSION: the store cannot be read.
 */
ES_MUST_USE enum es_status first_result_find(struct store *store,
                                             const struct store_snapshot *snapshot,
                                             struct es_text producer, uint64_t number,
                                             struct first_result *ret_first);

#endif
