/*
 * Putting a store key together, for stream_key.c and store_key.c alone. Callers
 * have checked the names, so what does not fit is our own mistake.
 */
#ifndef EVENTSPINE_CODEC_KEY_BYTES_H
#define EVENTSPINE_CODEC_KEY_BYTES_H

#include "shm/codec/stream_key.h"

#include <assert.h>

static inline void es_key_add(struct es_key *key, const void *bytes, uint32_t size)
{
    assert(size <= ES_KEY_SIZE_MAX - key->size);
    if (size > 0) {
        memcpy(key->bytes + key->size, bytes, size);
        key->size += size;
    }
}

static inline void es_key_add_number(struct es_key *key, uint64_t number)
{
    uint8_t bytes[ES_NUMBER_KEY_SIZE];

    es_number_key_encode(number, bytes);
    es_key_add(key, bytes, sizeof bytes);
}

#endif
