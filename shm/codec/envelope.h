/*
 * The envelope of an event, schema 1: the value that the store keeps, the
 * publisher sends and a reader verifies.
 *
 *   envelope  [variant, branch, level, domain, model, tick, type, payload,
 *              previous_hash, hash]
 *   preimage  [1, variant, branch, level, domain, model, tick, type, payload,
 *              previous_hash]
 *
 * The eight elements up to the payload and the previous hash are the same bytes
 * in both, so an event is encoded once and hashed where it lies. The payload is
 * opaque and never re-encoded. Whether a hash is right and follows another is
 * chain.h's question. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_ENVELOPE_H
#define EVENTSPINE_CODEC_ENVELOPE_H

#include "shm/codec/stream_key.h"

#define ES_ENVELOPE_FIRST_BYTE 0x9AU /* an array of ten */
#define ES_ENVELOPE_SCHEMA 1U

/* An event before it has a hash. All views stay the caller's. */
struct es_event_fields {
    struct es_stream_parts stream;
    uint64_t tick; /* 0..ES_TICK_MAX */
    struct es_text type;
    struct es_bytes payload;
    struct es_bytes previous_hash; /* 32 bytes, or none at the start of a stream */
};

/* A decoded envelope. Views into the envelope's bytes. */
struct es_event_view {
    struct es_event_fields event;
    const uint8_t *hash;           /* ES_HASH_SIZE bytes, as stored: not verified */
    struct es_bytes preimage_tail; /* the preimage without its first two bytes */
};

/*
 * An upper bound, in bytes, of the envelope of an event with a stream text of
 * 'stream_size', a type of 'type_size' and a payload of 'payload_size' bytes.
 */
uint64_t es_envelope_size_max(uint32_t stream_size, uint32_t type_size, uint32_t payload_size);

/*
 * Writes the envelope of 'fields' and its hash. The names, type and tick have
 * passed their checks already (transaction.h).
 *
 * ES_E_INVALID: a previous hash that is neither empty nor 32 bytes, or a tick
 * or level out of range.
 * ES_E_TOO_LARGE: it does not fit into 'capacity'; es_envelope_size_max() does.
 */
ES_MUST_USE enum es_status es_envelope_encode(const struct es_event_fields *fields, void *ret_bytes,
                                              size_t capacity, uint32_t *ret_size,
                                              uint8_t ret_hash[ES_HASH_SIZE]);

/*
 * Reads an envelope strictly: exactly ten elements, shortest forms, every name,
 * the type and the tick valid, nothing after the end.
 *
 * ES_E_CORRUPT: it is not one. ES_E_VERSION: an array of another length, which
 * a newer program may have written. '*ret_view' is untouched.
 */
ES_MUST_USE enum es_status es_envelope_decode(const void *bytes, size_t size,
                                              struct es_event_view *ret_view);

/* The hash that the event in 'view' must have: recomputed from its bytes. */
void es_event_hash(const struct es_event_view *view, uint8_t ret_hash[ES_HASH_SIZE]);

#endif
