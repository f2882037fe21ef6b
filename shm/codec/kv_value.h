/*
 * The value of a key in the families 'kv' and 'read_models':
 *   [1, revision, value_hash, value(bin)]
 * value_hash is BLAKE2b-256 of the value. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_KV_VALUE_H
#define EVENTSPINE_CODEC_KV_VALUE_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_KV_VALUE_OVERHEAD 54U /* bytes beyond the value, at most */

/* The two families, as transactions and log records number them. */
enum es_kv_family {
    ES_KV_TRUTH = 0,  /* family 'kv': values that are truth themselves */
    ES_KV_DERIVED = 1 /* family 'read_models': may be dropped and rebuilt */
};

struct es_kv_value {
    uint64_t revision; /* at least 1 */
    const uint8_t *value_hash;
    struct es_bytes value;
};

/* ES_E_TOO_LARGE: it does not fit into 'capacity'. */
ES_MUST_USE enum es_status es_kv_value_encode(const struct es_kv_value *value, void *ret_bytes,
                                              size_t capacity, uint32_t *ret_size);

/* ES_E_CORRUPT: not such a value. ES_E_VERSION: a newer one. Views into 'bytes'. */
ES_MUST_USE enum es_status es_kv_value_decode(const void *bytes, size_t size,
                                              struct es_kv_value *ret_value);

/* ES_E_CORRUPT: value_hash is not the hash of the value. */
ES_MUST_USE enum es_status es_kv_value_verify(const struct es_kv_value *value);

#endif
