/*
 * The one writer of MessagePack, over a buffer of the caller's. Its forms are
 * canonical: each integer and header is the shortest, non-negative integers are
 * unsigned. It is msgpack-c's own templates with the buffer put in (pack.c), so
 * a value costs a bounds check and a small copy. strict_msgpack.h reads.
 *
 * Errors stick: what does not fit is not written and 'overflow' is set, so a
 * caller writes a whole structure and checks once with es_pack_finish(). The
 * caller keeps its promises about counts. One thread per writer.
 */
#ifndef EVENTSPINE_CODEC_PACK_H
#define EVENTSPINE_CODEC_PACK_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stddef.h>

struct es_pack {
    uint8_t *begin;
    uint8_t *at;
    uint8_t *end;
    bool overflow;
};

void es_pack_init(struct es_pack *pack, void *buffer, size_t capacity);

void es_pack_uint(struct es_pack *pack, uint64_t value);
void es_pack_int(struct es_pack *pack, int64_t value);
void es_pack_nil(struct es_pack *pack);
void es_pack_bool(struct es_pack *pack, bool value);
void es_pack_double(struct es_pack *pack, double value); /* always a float64 */
void es_pack_str(struct es_pack *pack, struct es_text text);
void es_pack_bin(struct es_pack *pack, const void *bytes, uint32_t size);

/* The header of a bin whose 'size' bytes the caller writes next, with es_pack_raw(). */
void es_pack_bin_header(struct es_pack *pack, uint32_t size);
void es_pack_array(struct es_pack *pack, uint32_t count);
void es_pack_map(struct es_pack *pack, uint32_t pair_count);

/* Bytes that are MessagePack already, or the contents of a bin. */
void es_pack_raw(struct es_pack *pack, const void *bytes, size_t size);

/* Bytes written so far. */
size_t es_pack_size(const struct es_pack *pack);

/*
 * ES_OK: everything fitted, '*ret_size' is its size. ES_E_TOO_LARGE: something
 * did not fit; the buffer holds a useless beginning; '*ret_size' is untouched.
 */
ES_MUST_USE enum es_status es_pack_finish(const struct es_pack *pack, uint32_t *ret_size);

#endif
