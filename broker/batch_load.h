/*
 * Fills a batch from a log record, in recovery: the same runs, heads and
 * operations as when it was written, so that apply.h makes the same keys.
 *
 * It trusts nothing but the record's CRC, which log.h has checked: numbers,
 * positions, links and the store hash must continue what came before.
 *
 * Threads. The one that recovers.
 */
#ifndef BROKER_BATCH_LOAD_H
#define BROKER_BATCH_LOAD_H

#include "broker/batch.h"

/* Where the history stands before a batch. */
struct history_point {
    uint64_t batch_number;
    uint64_t commit_number;
    uint64_t position;
    uint64_t time_us; /* of the last commit */
    uint8_t store_hash[ES_HASH_SIZE];
};

/*
 * Loads batch point->batch_number + 1 and moves the point past it. 'body' must
 * stay as it is as long as the batch is used.
 *
 * ES_E_CORRUPT: it does not continue the history; '*ret_why' says how (static
 * text). ES_E_NO_MEMORY, ES_E_IO, ES_E_VERSION: as they say. 'point' is unchanged.
 */
ES_MUST_USE enum es_status batch_load(struct batch *batch, struct heads *heads, const uint8_t *body,
                                      size_t body_bytes, struct history_point *point,
                                      struct es_last *ret_last, const char **ret_why);

#endif
