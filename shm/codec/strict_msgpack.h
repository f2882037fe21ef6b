/*
 * A strict pull reader of MessagePack. It reads what pack.h writes and nothing
 * looser: every header in bounds and in its shortest form, integers in the one
 * canonical form (a signed form that holds a non-negative value is refused).
 * It allocates nothing and recurses nowhere.
 *
 * Errors stick: after the first one every read gives zero, empty or false and
 * consumes nothing, so a caller reads a whole structure and checks once, with
 * es_unpack_done() or es_unpack_ok(). Loops that run as often as an array header
 * says must check es_unpack_ok() too (an array header is never larger than the
 * bytes left, so they are bounded anyhow).
 *
 * Views point into the input. One thread per reader.
 */
#ifndef EVENTSPINE_CODEC_STRICT_MSGPACK_H
#define EVENTSPINE_CODEC_STRICT_MSGPACK_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_MSGPACK_DEPTH_MAX 64U /* arrays and maps inside each other */

enum es_msgpack_type {
    ES_MSGPACK_NONE = 0, /* at the end, after an error, or the never-used byte 0xC1 */
    ES_MSGPACK_NIL,
    ES_MSGPACK_BOOL,
    ES_MSGPACK_UINT, /* an integer in a non-negative form */
    ES_MSGPACK_INT,  /* an integer in a negative (signed) form */
    ES_MSGPACK_FLOAT,
    ES_MSGPACK_STR,
    ES_MSGPACK_BIN,
    ES_MSGPACK_ARRAY,
    ES_MSGPACK_MAP,
    ES_MSGPACK_EXT
};

struct es_unpack {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

void es_unpack_init(struct es_unpack *unpack, const void *bytes, size_t size);

/* The type of the next value; consumes nothing. */
enum es_msgpack_type es_unpack_peek(const struct es_unpack *unpack);

uint64_t es_unpack_uint(struct es_unpack *unpack);

/* An integer of 'min'..'max'; anything else fails. */
uint64_t es_unpack_uint_in(struct es_unpack *unpack, uint64_t min, uint64_t max);

/* An integer of either sign that fits in 64 signed bits. */
int64_t es_unpack_int(struct es_unpack *unpack);
bool es_unpack_bool(struct es_unpack *unpack);
double es_unpack_double(struct es_unpack *unpack); /* float32 and float64 */
void es_unpack_nil(struct es_unpack *unpack);

/* Consumes a nil and says true; leaves anything else alone and says false. */
bool es_unpack_try_nil(struct es_unpack *unpack);

/* A string of at most 'size_max' bytes. Whether it is UTF-8 is for names.h to say. */
struct es_text es_unpack_str(struct es_unpack *unpack, uint32_t size_max);

/* A string of at most 'size_max' bytes of UTF-8. */
struct es_text es_unpack_utf8(struct es_unpack *unpack, uint32_t size_max);

/* Bytes, at most 'size_max' of them. */
struct es_bytes es_unpack_bin(struct es_unpack *unpack, uint32_t size_max);

/* A bin of exactly 'size' bytes: a pointer to them, or NULL on failure. */
const uint8_t *es_unpack_bin_of(struct es_unpack *unpack, uint32_t size);

/* A bin of exactly 'size' bytes, copied out; zeros on failure. */
void es_unpack_bin_copy(struct es_unpack *unpack, uint8_t *ret_bytes, uint32_t size);

/* A hash or its absence: a bin of 32 bytes or of none. */
struct es_bytes es_unpack_hash_or_empty(struct es_unpack *unpack);

/* The header of an array: its count, never more than the bytes left. */
uint32_t es_unpack_array(struct es_unpack *unpack);

/* The header of an array of 'min'..'max' elements. */
uint32_t es_unpack_array_in(struct es_unpack *unpack, uint32_t min, uint32_t max);

/* The header of a map: its count of pairs, never more than half the bytes left. */
uint32_t es_unpack_map(struct es_unpack *unpack);

/*
 * Passes over one whole value of any type, floats, maps and ext included, at
 * most ES_MSGPACK_DEPTH_MAX deep, and returns its bytes (size 0 on failure).
 * Strings in it must be UTF-8.
 */
struct es_bytes es_unpack_skip(struct es_unpack *unpack);

/* Passes over 'count' values: the trailing elements of a newer program. */
void es_unpack_skip_count(struct es_unpack *unpack, uint32_t count);

/* Marks the input as bad: for a rule that only the caller knows. */
void es_unpack_fail(struct es_unpack *unpack);

/* True if nothing has failed so far. */
bool es_unpack_ok(const struct es_unpack *unpack);

/* True if nothing has failed and nothing is left. */
bool es_unpack_done(const struct es_unpack *unpack);

/*
 * True if the bytes are exactly one MessagePack value in shortest forms (maps,
 * floats and ext allowed): the convention for payloads.
 */
bool es_msgpack_is_canonical_payload(const void *bytes, size_t size);

#endif
