/*
 * BLAKE2b with a 32-byte digest and no key (16 bytes for es_content_hash()), over
 * libb2, and the hexadecimal form of digests. What is hashed is decided by the
 * files that own the formats: envelope.h, commit_record.h.
 *
 * libb2 chooses its implementation at the first call, without a lock: call
 * es_hash_warm_up() once before a second thread may hash.
 */
#ifndef EVENTSPINE_CODEC_HASH_H
#define EVENTSPINE_CODEC_HASH_H

#include "shm/codec/view.h"

#include <stddef.h>

#define ES_HASH_HEX_SIZE 64U /* characters, without a terminator */

/* The state of an unfinished hash; opaque, sized and aligned for libb2. */
struct es_hash_state {
    uint64_t words[64];
};

void es_hash_warm_up(void);

void es_hash(const void *bytes, size_t size, uint8_t ret_hash[ES_HASH_SIZE]);

void es_hash_begin(struct es_hash_state *state);
void es_hash_update(struct es_hash_state *state, const void *bytes, size_t size);
void es_hash_end(struct es_hash_state *state, uint8_t ret_hash[ES_HASH_SIZE]);

/* BLAKE2b with a 16-byte digest. */
void es_hash_16(const void *bytes, size_t size, uint8_t ret_hash[ES_CONTENT_HASH_SIZE]);

/* Writes 2 * size lower-case digits; adds no terminator. */
void es_hex_encode(const void *bytes, size_t size, char *ret_hex);

/*
 * Reads exactly 2 * size digits of either case. False: another length or
 * another character; 'ret_bytes' is untouched.
 */
bool es_hex_decode(struct es_text hex, void *ret_bytes, size_t size);

#endif
