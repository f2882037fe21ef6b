#include "shm/codec/cursor.h"

#include <assert.h>
#include <string.h>

void es_cursor_init(struct es_cursor *cursor, void *bytes, size_t size)
{
    cursor->bytes = (uint8_t *)bytes;
    cursor->size = size;
    cursor->offset = 0;
    cursor->failed = false;
}

void es_cursor_init_read(struct es_cursor *cursor, const void *bytes, size_t size)
{
    union {
        const void *read;
        void *written;
    } either = {.read = bytes}; /* the get functions never write through it */

    es_cursor_init(cursor, either.written, size);
}

/* The next 'size' bytes, or NULL, and then for ever NULL. */
static uint8_t *advance(struct es_cursor *cursor, size_t size)
{
    uint8_t *bytes = NULL;

    if (cursor->failed || size > cursor->size - cursor->offset) {
        cursor->failed = true;
    } else {
        bytes = cursor->bytes + cursor->offset;
        cursor->offset += size;
    }
    return bytes;
}

static void put_little(struct es_cursor *cursor, uint64_t value, size_t size)
{
    uint8_t *bytes = advance(cursor, size);

    if (bytes != NULL) {
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)(value >> (8 * i));
        }
    }
}

static uint64_t get_little(struct es_cursor *cursor, size_t size)
{
    const uint8_t *bytes = advance(cursor, size);
    uint64_t value = 0;

    if (bytes != NULL) {
        for (size_t i = 0; i < size; i++) {
            value |= (uint64_t)bytes[i] << (8 * i);
        }
    }
    return value;
}

void es_cursor_put_u8(struct es_cursor *cursor, uint8_t value)
{
    put_little(cursor, value, 1);
}

void es_cursor_put_u16(struct es_cursor *cursor, uint16_t value)
{
    put_little(cursor, value, 2);
}

void es_cursor_put_u32(struct es_cursor *cursor, uint32_t value)
{
    put_little(cursor, value, 4);
}

void es_cursor_put_u64(struct es_cursor *cursor, uint64_t value)
{
    put_little(cursor, value, 8);
}

void es_cursor_put_bytes(struct es_cursor *cursor, const void *bytes, size_t size)
{
    uint8_t *to = advance(cursor, size);

    if (to != NULL && size > 0) {
        memcpy(to, bytes, size);
    }
}

void es_cursor_put_zeros_to(struct es_cursor *cursor, size_t offset)
{
    assert(offset >= cursor->offset);
    size_t size = offset - cursor->offset;
    uint8_t *to = advance(cursor, size);

    if (to != NULL && size > 0) {
        memset(to, 0, size);
    }
}

uint8_t es_cursor_get_u8(struct es_cursor *cursor)
{
    return (uint8_t)get_little(cursor, 1);
}

uint16_t es_cursor_get_u16(struct es_cursor *cursor)
{
    return (uint16_t)get_little(cursor, 2);
}

uint32_t es_cursor_get_u32(struct es_cursor *cursor)
{
    return (uint32_t)get_little(cursor, 4);
}

uint64_t es_cursor_get_u64(struct es_cursor *cursor)
{
    return get_little(cursor, 8);
}

void es_cursor_get_bytes(struct es_cursor *cursor, void *ret_bytes, size_t size)
{
    const uint8_t *bytes = advance(cursor, size);

    if (size == 0) {
        return;
    }
    if (bytes != NULL) {
        memcpy(ret_bytes, bytes, size);
    } else {
        memset(ret_bytes, 0, size);
    }
}

const uint8_t *es_cursor_take(struct es_cursor *cursor, size_t size)
{
    return advance(cursor, size);
}

size_t es_cursor_left(const struct es_cursor *cursor)
{
    return cursor->failed ? 0 : cursor->size - cursor->offset;
}

bool es_cursor_ok(const struct es_cursor *cursor)
{
    return !cursor->failed;
}
