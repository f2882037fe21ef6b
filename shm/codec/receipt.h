/*
 * A receipt: what an append returns, enough to prove and to resume.
 *   [1, store_id, epoch, stream, sequence, position, event_hash, commit_number,
 *    store_hash]
 * of the last event appended. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_RECEIPT_H
#define EVENTSPINE_CODEC_RECEIPT_H

#include "shm/codec/stream_key.h"

#define ES_RECEIPT_SIZE_MAX 1184U /* bytes, for the longest stream */

struct es_receipt_fields {
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    struct es_text stream; /* decoded: a view into the receipt */
    uint64_t sequence;
    uint64_t position;
    uint8_t event_hash[ES_HASH_SIZE];
    uint64_t commit_number;
    uint8_t store_hash[ES_HASH_SIZE];
};

/* ES_E_TOO_LARGE: it does not fit; ES_RECEIPT_SIZE_MAX always does. */
ES_MUST_USE enum es_status es_receipt_encode(const struct es_receipt_fields *receipt,
                                             void *ret_bytes, size_t capacity, uint32_t *ret_size);

/* ES_E_CORRUPT: not a receipt. ES_E_VERSION: a newer one. Output untouched. */
ES_MUST_USE enum es_status es_receipt_decode(const void *bytes, size_t size,
                                             struct es_receipt_fields *ret_receipt);

#endif
