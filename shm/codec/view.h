/*
 * Views: a pointer and a size into bytes that somebody else owns. What a
 * decoder hands out points into the bytes it was given, and lives as long as
 * they do. Nothing here is terminated by a zero.
 */
#ifndef EVENTSPINE_CODEC_VIEW_H
#define EVENTSPINE_CODEC_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ES_HASH_SIZE 32U         /* bytes of every BLAKE2b digest but content_hash */
#define ES_CONTENT_HASH_SIZE 16U /* bytes: tells a repeat from a mistake, no more */
#define ES_STORE_ID_SIZE 16U     /* bytes, random */

/* UTF-8 text of 'size' bytes. */
struct es_text {
    const char *data;
    uint32_t size;
};

/* Opaque bytes. */
struct es_bytes {
    const uint8_t *data;
    uint32_t size;
};

/* A view of a terminated string. */
static inline struct es_text es_text_of(const char *string)
{
    return (struct es_text){.data = string, .size = (uint32_t)strlen(string)};
}

static inline struct es_text es_text_make(const char *data, uint32_t size)
{
    return (struct es_text){.data = data, .size = size};
}

static inline struct es_bytes es_bytes_make(const void *data, uint32_t size)
{
    return (struct es_bytes){.data = (const uint8_t *)data, .size = size};
}

static inline bool es_text_equal(struct es_text a, struct es_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool es_bytes_equal(struct es_bytes a, struct es_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* True if 'text' begins with 'prefix'; every text begins with the empty one. */
static inline bool es_text_starts_with(struct es_text text, struct es_text prefix)
{
    return text.size >= prefix.size &&
           (prefix.size == 0 || memcmp(text.data, prefix.data, prefix.size) == 0);
}

#endif
