/*
 * The name of a stream in its two forms, and the store keys that begin with it.
 *
 *   text      prod:main:L0:orders:M1042          the identity everywhere
 *   category  prod:main:L0:orders                its first four parts
 *   topic     S:prod:main:L0:orders:             what a subscriber's prefix meets
 *   prefix    S:prod:main:L0:orders:M1042:       of every key of the stream, then
 *             E: + sequence(8)                   events
 *             Head                               stream_meta
 *             Pos: + sequence(8)                 stream_meta
 *             Snap: + tick(8)                    snapshots without a projection
 *             Snap: + tick(8) + sequence(8) + projection
 *
 * Numbers in keys are 8 bytes, big-endian, so that keys sort as the numbers do.
 * Keys without a stream are in store_key.h. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_STREAM_KEY_H
#define EVENTSPINE_CODEC_STREAM_KEY_H

#include "shm/codec/names.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

#define ES_STREAM_SIZE_MAX 1036U  /* 4 parts of 255, "L" and 10 digits, "M", 4 colons */
#define ES_CATEGORY_SIZE_MAX 779U /* 3 parts of 255, "L" and 10 digits, 3 colons */
#define ES_TOPIC_SIZE_MAX 782U    /* "S:", a category, ":" */
#define ES_NUMBER_KEY_SIZE 8U     /* a sequence, position or tick in a key */
#define ES_KEY_SIZE_MAX 1315U     /* the longest key of all: a named snapshot */

/* The five parts; views into the bytes they were read from. */
struct es_stream_parts {
    struct es_text variant;
    struct es_text branch;
    struct es_text domain;
    struct es_text model; /* without the leading "M" of the text form */
    uint32_t level;       /* 0..2^31-1 */
};

/* A store key with room for the longest. Only 'size' bytes of it mean anything. */
struct es_key {
    uint32_t size;
    uint8_t bytes[ES_KEY_SIZE_MAX];
};

/* Checks each part and the level; the first rule broken, or ES_REASON_NONE. */
enum es_reason es_stream_check(const struct es_stream_parts *parts);

/*
 * Takes the text form apart. Only the one canonical spelling is accepted, so
 * es_stream_format() of the result gives the same bytes. On any reason but
 * ES_REASON_NONE '*ret_parts' is untouched.
 */
enum es_reason es_stream_parse(struct es_text text, struct es_stream_parts *ret_parts);

/*
 * Writes the text form (not terminated) of parts that pass es_stream_check()
 * and returns its size, 1..ES_STREAM_SIZE_MAX.
 */
uint32_t es_stream_format(const struct es_stream_parts *parts, char ret_text[ES_STREAM_SIZE_MAX]);

/* The category of a valid stream text: a view into it. Size 0 if it has no four colons. */
struct es_text es_stream_category(struct es_text stream);

/* Checks that 'category' is four valid parts in their canonical spelling. */
enum es_reason es_category_check(struct es_text category);

/* Writes the topic "S:" + category + ":" and returns its size. No zero byte is added. */
uint32_t es_category_topic(struct es_text category, char ret_topic[ES_TOPIC_SIZE_MAX]);

/* 'number' as 8 bytes, big-endian: memcmp() orders them as the numbers. */
void es_number_key_encode(uint64_t number, uint8_t ret_bytes[ES_NUMBER_KEY_SIZE]);

/* Reads it back. ES_E_CORRUPT: 'size' is not 8; '*ret_number' is untouched. */
ES_MUST_USE enum es_status es_number_key_decode(const void *bytes, size_t size,
                                                uint64_t *ret_number);

/*
 * Key builders. 'stream' is a valid text form, 'projection' empty or a valid
 * name. Each writes the whole key.
 */
void es_key_stream_prefix(struct es_text stream, struct es_key *ret_key);
void es_key_event(struct es_text stream, uint64_t sequence, struct es_key *ret_key);
void es_key_event_prefix(struct es_text stream, struct es_key *ret_key);
void es_key_head(struct es_text stream, struct es_key *ret_key);
void es_key_pos(struct es_text stream, uint64_t sequence, struct es_key *ret_key);
void es_key_pos_prefix(struct es_text stream, struct es_key *ret_key);
void es_key_snapshot_prefix(struct es_text stream, struct es_key *ret_key);

/* Without a projection the sequence is not part of the key: one snapshot per tick. */
void es_key_snapshot(struct es_text stream, uint64_t tick, uint64_t sequence,
                     struct es_text projection, struct es_key *ret_key);

/* The place of the first snapshot at or after 'tick', of whatever projection. */
void es_key_snapshot_seek(struct es_text stream, uint64_t tick, struct es_key *ret_key);

/*
 * Key readers, for iteration over a family. The views point into 'key'.
 * ES_E_CORRUPT: not such a key, or its stream is not valid; outputs untouched.
 */
ES_MUST_USE enum es_status es_key_event_parse(struct es_bytes key, struct es_text *ret_stream,
                                              uint64_t *ret_sequence);
ES_MUST_USE enum es_status es_key_head_parse(struct es_bytes key, struct es_text *ret_stream);
ES_MUST_USE enum es_status es_key_pos_parse(struct es_bytes key, struct es_text *ret_stream,
                                            uint64_t *ret_sequence);

/* The sequence is 0 and the projection empty where the key has none. */
ES_MUST_USE enum es_status es_key_snapshot_parse(struct es_bytes key, struct es_text *ret_stream,
                                                 uint64_t *ret_tick, uint64_t *ret_sequence,
                                                 struct es_text *ret_projection);

#endif
