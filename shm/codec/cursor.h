/*
 * A cursor over a bounded stretch of bytes: little-endian fields of the headers
 * on disk, written and read one after the other, never as a struct copy. It does
 * not know any layout: log.c and anchor.c name their fields themselves.
 * MessagePack is pack.h and strict_msgpack.h.
 *
 * Errors stick: a read or write past the end does nothing (a read gives zeros)
 * and sets 'failed', so a caller checks once, at the end. One thread per cursor.
 */
#ifndef EVENTSPINE_CODEC_CURSOR_H
#define EVENTSPINE_CODEC_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct es_cursor {
    uint8_t *bytes; /* a read-only cursor never writes through it */
    size_t size;
    size_t offset; /* of the next field */
    bool failed;
};

/* For writing, and reading, 'size' bytes that stay the caller's. */
void es_cursor_init(struct es_cursor *cursor, void *bytes, size_t size);

/* For reading only: the put functions must not be used on it. */
void es_cursor_init_read(struct es_cursor *cursor, const void *bytes, size_t size);

void es_cursor_put_u8(struct es_cursor *cursor, uint8_t value);
void es_cursor_put_u16(struct es_cursor *cursor, uint16_t value);
void es_cursor_put_u32(struct es_cursor *cursor, uint32_t value);
void es_cursor_put_u64(struct es_cursor *cursor, uint64_t value);
void es_cursor_put_bytes(struct es_cursor *cursor, const void *bytes, size_t size);

/* Zeros up to 'offset', which is not before the cursor. */
void es_cursor_put_zeros_to(struct es_cursor *cursor, size_t offset);

uint8_t es_cursor_get_u8(struct es_cursor *cursor);
uint16_t es_cursor_get_u16(struct es_cursor *cursor);
uint32_t es_cursor_get_u32(struct es_cursor *cursor);
uint64_t es_cursor_get_u64(struct es_cursor *cursor);

/* Copies 'size' bytes out; zeros if they are not there. */
void es_cursor_get_bytes(struct es_cursor *cursor, void *ret_bytes, size_t size);

/* A view of the next 'size' bytes; NULL if they are not there. */
const uint8_t *es_cursor_take(struct es_cursor *cursor, size_t size);

size_t es_cursor_left(const struct es_cursor *cursor);

/* True if nothing has failed so far. */
bool es_cursor_ok(const struct es_cursor *cursor);

#endif
