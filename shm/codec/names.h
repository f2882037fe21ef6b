/*
 * The rules of names, said once: what a part of a stream, a producer, consumer
 * or projection name, a namespace, an event type and a key may be. It judges
 * bytes and changes none: nothing is trimmed, folded or normalised.
 * stream_key.h puts parts together; transaction.h applies the rules at the border.
 *
 * Every function answers ES_REASON_NONE or the first rule broken. Pure; any thread.
 */
#ifndef EVENTSPINE_CODEC_NAMES_H
#define EVENTSPINE_CODEC_NAMES_H

#include "shm/codec/reason.h"
#include "shm/codec/view.h"

#define ES_NAME_SIZE_MAX 255U  /* bytes of a part or another name */
#define ES_TYPE_SIZE_MAX 255U  /* bytes of an event type */
#define ES_KEY_TEXT_MAX 1024U  /* bytes of the key of a key-value pair */
#define ES_TICK_MAX INT64_MAX  /* ticks are 0..2^63-1 */
#define ES_LEVEL_MAX INT32_MAX /* levels are 0..2^31-1 */

/*
 * A part, producer, consumer or projection name or a namespace: 1..255 bytes of
 * UTF-8, no ':' and no control character (U+0000..1F, U+007F..9F), not
 * beginning with '$'.
 */
enum es_reason es_name_check(struct es_text name);

/* An event type: 1..255 bytes of UTF-8 without control characters or U+2028, U+2029. */
enum es_reason es_type_check(struct es_text type);

/* The key of a key-value pair: 1..1024 bytes of UTF-8 without control characters. */
enum es_reason es_key_text_check(struct es_text key);

/*
 * True if 'text' is well-formed UTF-8: no overlong form, no surrogate, nothing
 * above U+10FFFF, no truncated sequence. The empty text is.
 */
bool es_utf8_valid(struct es_text text);

/* True if 'text', which is valid UTF-8, holds U+0000..1F or U+007F..9F. */
bool es_utf8_has_control(struct es_text text);

#endif
