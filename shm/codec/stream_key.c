#include "shm/codec/stream_key.h"

#include "shm/codec/key_bytes.h"

#include <assert.h>

#define COLON_COUNT 4U /* in a stream's text */

static const struct es_text EVENT_TAG = {"E:", 2};
static const struct es_text HEAD_TAG = {"Head", 4};
static const struct es_text POS_TAG = {"Pos:", 4};
static const struct es_text SNAPSHOT_TAG = {"Snap:", 5};

enum es_reason es_stream_check(const struct es_stream_parts *parts)
{
    const struct es_text names[] = {parts->variant, parts->branch, parts->domain, parts->model};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        enum es_reason reason = es_name_check(names[i]);
        if (reason != ES_REASON_NONE) {
            return reason;
        }
    }
    return parts->level > ES_LEVEL_MAX ? ES_REASON_STREAM_LEVEL : ES_REASON_NONE;
}

/* Cuts 'text' at its colons into exactly 'count' pieces; false if there are more or fewer. */
static bool cut(struct es_text text, struct es_text *ret_pieces, uint32_t count)
{
    const char *at = text.data;
    uint32_t left = text.size;

    for (uint32_t i = 0; i < count; i++) {
        const char *colon = left > 0 ? (const char *)memchr(at, ':', left) : NULL;
        bool is_last = i + 1 == count;

        if (is_last != (colon == NULL)) {
            return false;
        }
        uint32_t size = is_last ? left : (uint32_t)(colon - at);
        ret_pieces[i] = es_text_make(at, size);
        if (!is_last) {
            at += size + 1;
            left -= size + 1;
        }
    }
    return true;
}

/* Reads "L" and a number without leading zeros. */
static enum es_reason level_parse(struct es_text piece, uint32_t *ret_level)
{
    uint64_t level = 0;

    if (piece.size == 0 || piece.data[0] != 'L') {
        return ES_REASON_STREAM_FORM;
    }
    if (piece.size == 1 || piece.size > 11 || (piece.data[1] == '0' && piece.size > 2)) {
        return ES_REASON_STREAM_LEVEL;
    }
    for (uint32_t i = 1; i < piece.size; i++) {
        if (piece.data[i] < '0' || piece.data[i] > '9') {
            return ES_REASON_STREAM_LEVEL;
        }
        level = level * 10 + (uint64_t)(piece.data[i] - '0');
    }
    if (level > ES_LEVEL_MAX) {
        return ES_REASON_STREAM_LEVEL;
    }
    *ret_level = (uint32_t)level;
    return ES_REASON_NONE;
}

/* The four pieces of a category into all parts but the model. */
static enum es_reason category_pieces_parse(const struct es_text pieces[4],
                                            struct es_stream_parts *ret_parts)
{
    enum es_reason reason = level_parse(pieces[2], &ret_parts->level);

    ret_parts->variant = pieces[0];
    ret_parts->branch = pieces[1];
    ret_parts->domain = pieces[3];
    if (reason == ES_REASON_NONE) {
        reason = es_name_check(pieces[0]);
    }
    if (reason == ES_REASON_NONE) {
        reason = es_name_check(pieces[1]);
    }
    if (reason == ES_REASON_NONE) {
        reason = es_name_check(pieces[3]);
    }
    return reason;
}

enum es_reason es_stream_parse(struct es_text text, struct es_stream_parts *ret_parts)
{
    struct es_text pieces[5];
    struct es_stream_parts parts;

    if (text.size > ES_STREAM_SIZE_MAX) {
        return ES_REASON_NAME_TOO_LONG;
    }
    if (!cut(text, pieces, 5) || pieces[4].size == 0 || pieces[4].data[0] != 'M') {
        return ES_REASON_STREAM_FORM;
    }
    parts.model = es_text_make(pieces[4].data + 1, pieces[4].size - 1);
    enum es_reason reason = category_pieces_parse(pieces, &parts);
    if (reason == ES_REASON_NONE) {
        reason = es_name_check(parts.model);
    }
    if (reason == ES_REASON_NONE) {
        *ret_parts = parts;
    }
    return reason;
}

enum es_reason es_category_check(struct es_text category)
{
    struct es_text pieces[4];
    struct es_stream_parts parts;

    if (category.size > ES_CATEGORY_SIZE_MAX) {
        return ES_REASON_NAME_TOO_LONG;
    }
    return cut(category, pieces, 4) ? category_pieces_parse(pieces, &parts) : ES_REASON_STREAM_FORM;
}

static char *copy(char *to, struct es_text text)
{
    assert(text.size <= ES_NAME_SIZE_MAX);
    memcpy(to, text.data, text.size);
    return to + text.size;
}

static char *number_copy(char *to, uint32_t number)
{
    char digits[10];
    uint32_t count = 0;

    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *to++ = digits[--count];
    }
    return to;
}

uint32_t es_stream_format(const struct es_stream_parts *parts, char ret_text[ES_STREAM_SIZE_MAX])
{
    char *at = copy(ret_text, parts->variant);

    *at++ = ':';
    at = copy(at, parts->branch);
    *at++ = ':';
    *at++ = 'L';
    at = number_copy(at, parts->level);
    *at++ = ':';
    at = copy(at, parts->domain);
    *at++ = ':';
    *at++ = 'M';
    at = copy(at, parts->model);
    return (uint32_t)(at - ret_text);
}

struct es_text es_stream_category(struct es_text stream)
{
    uint32_t colons = 0;

    for (uint32_t i = 0; i < stream.size; i++) {
        colons += stream.data[i] == ':';
        if (colons == COLON_COUNT) {
            return es_text_make(stream.data, i);
        }
    }
    return es_text_make(stream.data, 0);
}

uint32_t es_category_topic(struct es_text category, char ret_topic[ES_TOPIC_SIZE_MAX])
{
    assert(category.size <= ES_CATEGORY_SIZE_MAX);
    ret_topic[0] = 'S';
    ret_topic[1] = ':';
    memcpy(ret_topic + 2, category.data, category.size);
    ret_topic[2 + category.size] = ':';
    return category.size + 3;
}

void es_number_key_encode(uint64_t number, uint8_t ret_bytes[ES_NUMBER_KEY_SIZE])
{
    for (uint32_t i = 0; i < ES_NUMBER_KEY_SIZE; i++) {
        ret_bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

enum es_status es_number_key_decode(const void *bytes, size_t size, uint64_t *ret_number)
{
    const uint8_t *in = (const uint8_t *)bytes;
    uint64_t number = 0;

    if (size != ES_NUMBER_KEY_SIZE) {
        return ES_E_CORRUPT;
    }
    for (uint32_t i = 0; i < ES_NUMBER_KEY_SIZE; i++) {
        number = number << 8 | in[i];
    }
    *ret_number = number;
    return ES_OK;
}

void es_key_stream_prefix(struct es_text stream, struct es_key *ret_key)
{
    assert(stream.size <= ES_STREAM_SIZE_MAX);
    ret_key->size = 0;
    es_key_add(ret_key, "S:", 2);
    es_key_add(ret_key, stream.data, stream.size);
    es_key_add(ret_key, ":", 1);
}

static void tagged(struct es_text stream, struct es_text tag, struct es_key *ret_key)
{
    es_key_stream_prefix(stream, ret_key);
    es_key_add(ret_key, tag.data, tag.size);
}

void es_key_event_prefix(struct es_text stream, struct es_key *ret_key)
{
    tagged(stream, EVENT_TAG, ret_key);
}

void es_key_event(struct es_text stream, uint64_t sequence, struct es_key *ret_key)
{
    tagged(stream, EVENT_TAG, ret_key);
    es_key_add_number(ret_key, sequence);
}

void es_key_head(struct es_text stream, struct es_key *ret_key)
{
    tagged(stream, HEAD_TAG, ret_key);
}

void es_key_pos_prefix(struct es_text stream, struct es_key *ret_key)
{
    tagged(stream, POS_TAG, ret_key);
}

void es_key_pos(struct es_text stream, uint64_t sequence, struct es_key *ret_key)
{
    tagged(stream, POS_TAG, ret_key);
    es_key_add_number(ret_key, sequence);
}

void es_key_snapshot_prefix(struct es_text stream, struct es_key *ret_key)
{
    tagged(stream, SNAPSHOT_TAG, ret_key);
}

void es_key_snapshot_seek(struct es_text stream, uint64_t tick, struct es_key *ret_key)
{
    tagged(stream, SNAPSHOT_TAG, ret_key);
    es_key_add_number(ret_key, tick);
}

void es_key_snapshot(struct es_text stream, uint64_t tick, uint64_t sequence,
                     struct es_text projection, struct es_key *ret_key)
{
    es_key_snapshot_seek(stream, tick, ret_key);
    if (projection.size > 0) {
        es_key_add_number(ret_key, sequence);
        es_key_add(ret_key, projection.data, projection.size);
    }
}

/*
 * Splits a key into its stream and what follows the tag. The stream ends at the
 * fifth colon: no part can hold one, whatever bytes come after.
 */
static enum es_status untag(struct es_bytes key, struct es_text tag, struct es_text *ret_stream,
                            struct es_bytes *ret_rest)
{
    struct es_text text = es_text_make((const char *)key.data, key.size);
    struct es_stream_parts parts;

    if (!es_text_starts_with(text, es_text_make("S:", 2))) {
        return ES_E_CORRUPT;
    }
    text = es_text_make(text.data + 2, text.size - 2);
    struct es_text category = es_stream_category(text);
    uint32_t model_offset = category.size + 1;
    if (category.size == 0 || model_offset >= text.size) {
        return ES_E_CORRUPT;
    }
    const char *end = (const char *)memchr(text.data + model_offset, ':', text.size - model_offset);
    if (end == NULL) {
        return ES_E_CORRUPT;
    }
    struct es_text stream = es_text_make(text.data, (uint32_t)(end - text.data));
    struct es_text rest = es_text_make(end + 1, text.size - stream.size - 1);
    if (!es_text_starts_with(rest, tag) || es_stream_parse(stream, &parts) != ES_REASON_NONE) {
        return ES_E_CORRUPT;
    }
    *ret_stream = stream;
    *ret_rest = es_bytes_make(rest.data + tag.size, rest.size - tag.size);
    return ES_OK;
}

static enum es_status numbered_parse(struct es_bytes key, struct es_text tag,
                                     struct es_text *ret_stream, uint64_t *ret_number)
{
    struct es_text stream;
    struct es_bytes rest;
    enum es_status status = untag(key, tag, &stream, &rest);

    if (status == ES_OK) {
        status = es_number_key_decode(rest.data, rest.size, ret_number);
    }
    if (status == ES_OK) {
        *ret_stream = stream;
    }
    return status;
}

enum es_status es_key_event_parse(struct es_bytes key, struct es_text *ret_stream,
                                  uint64_t *ret_sequence)
{
    return numbered_parse(key, EVENT_TAG, ret_stream, ret_sequence);
}

enum es_status es_key_head_parse(struct es_bytes key, struct es_text *ret_stream)
{
    struct es_text stream;
    struct es_bytes rest;
    enum es_status status = untag(key, HEAD_TAG, &stream, &rest);

    if (status == ES_OK && rest.size > 0) {
        status = ES_E_CORRUPT;
    }
    if (status == ES_OK) {
        *ret_stream = stream;
    }
    return status;
}

enum es_status es_key_pos_parse(struct es_bytes key, struct es_text *ret_stream,
                                uint64_t *ret_sequence)
{
    return numbered_parse(key, POS_TAG, ret_stream, ret_sequence);
}

enum es_status es_key_snapshot_parse(struct es_bytes key, struct es_text *ret_stream,
                                     uint64_t *ret_tick, uint64_t *ret_sequence,
                                     struct es_text *ret_projection)
{
    struct es_text projection = es_text_make("", 0);
    struct es_text stream;
    struct es_bytes rest;
    uint64_t tick = 0;
    uint64_t sequence = 0;

    if (untag(key, SNAPSHOT_TAG, &stream, &rest) != ES_OK || rest.size < ES_NUMBER_KEY_SIZE ||
        es_number_key_decode(rest.data, ES_NUMBER_KEY_SIZE, &tick) != ES_OK) {
        return ES_E_CORRUPT;
    }
    if (rest.size > ES_NUMBER_KEY_SIZE) {
        uint32_t name_offset = 2 * ES_NUMBER_KEY_SIZE;

        if (rest.size <= name_offset ||
            es_number_key_decode(rest.data + ES_NUMBER_KEY_SIZE, ES_NUMBER_KEY_SIZE, &sequence) !=
                ES_OK) {
            return ES_E_CORRUPT;
        }
        projection = es_text_make((const char *)rest.data + name_offset, rest.size - name_offset);
        if (es_name_check(projection) != ES_REASON_NONE) {
            return ES_E_CORRUPT;
        }
    }
    *ret_stream = stream;
    *ret_tick = tick;
    *ret_sequence = sequence;
    *ret_projection = projection;
    return ES_OK;
}
