/*
 * Whether a store continues what somebody has seen of it. A checkpoint names an
 * epoch and a position; a receipt proves more, for it holds the hash of the whole
 * history up to its commit. Both are asked by hello (requests_hello.c) and by
 * `esctl verify --receipt --data`.
 *
 *   ES_OK         the store holds all of it
 *   ES_REGRESSED  the store is older: it ends, or its history was cut, before
 *   ES_DIVERGED   another store, or another history from some position on
 *
 * Threads. One for each reader.
 */
#ifndef BROKER_PROOF_H
#define BROKER_PROOF_H

#include "broker/epochs.h"
#include "broker/reader.h"
#include "shm/codec/receipt.h"
#include "shm/codec/store_value.h"

enum {
    PROOF_WHY_BYTES = 512
};

/* What the claims are held against; 'reader' is between reader_begin() and reader_end(). */
struct proof {
    struct reader *reader;
    const uint8_t *store_id;
    const struct es_epochs *epochs;
};

/*
 * 'why' gets a sentence that names the positions with every status but ES_OK.
 */
ES_MUST_USE enum es_status proof_of_checkpoint(const struct proof *proof, const uint8_t *store_id,
                                               uint64_t epoch, uint64_t position,
                                               char why[PROOF_WHY_BYTES]);

/* ES_E_CORRUPT: the store is damaged at that position. ES_E_IO, ES_E_NO_MEMORY. */
ES_MUST_USE enum es_status proof_of_receipt(const struct proof *proof,
                                            const struct es_receipt_fields *receipt,
                                            char why[PROOF_WHY_BYTES]);

#endif
