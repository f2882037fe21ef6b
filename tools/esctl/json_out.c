/* Writes JSON text; see json_out.h. */
#include "tools/esctl/json_out.h"
#include "tools/esctl/esctl.h"

#include "shm/codec/hash.h"
#include "tools/esctl/base64.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 1024
#define NUMBER_TEXT_SIZE 400 /* "%.6f" of the largest double has 309 digits before the point */

void json_out_init(struct json_out *out)
{
    *out = (struct json_out){0};
}

void json_out_deinit(struct json_out *out)
{
    free(out->text);
    *out = (struct json_out){0};
}

void json_out_reset(struct json_out *out)
{
    out->size = 0;
    out->want_comma = false;
}

/* Room for 'size' more characters, or NULL. */
static char *reserve(struct json_out *out, size_t size)
{
    if (out->failed) {
        return NULL;
    }
    if (out->capacity - out->size < size) {
        size_t capacity = out->capacity == 0 ? CAPACITY_FIRST : out->capacity;
        while (capacity - out->size < size) {
            capacity *= 2;
        }
        char *text = realloc(out->text, capacity);
        if (text == NULL) {
            out->failed = true;
            return NULL;
        }
        out->text = text;
        out->capacity = capacity;
    }
    return out->text + out->size;
}

static void put(struct json_out *out, const char *text, size_t size)
{
    char *at = reserve(out, size);

    if (at != NULL) {
        memcpy(at, text, size);
        out->size += size;
    }
}

/* What comes before each value of an array and each name. */
static void begin_value(struct json_out *out)
{
    if (out->want_comma) {
        put(out, ",", 1);
    }
    out->want_comma = true;
}

void json_out_open(struct json_out *out, char bracket)
{
    begin_value(out);
    put(out, &bracket, 1);
    out->want_comma = false;
}

void json_out_close(struct json_out *out, char bracket)
{
    put(out, &bracket, 1);
    out->want_comma = true;
}

/* Bytes at 'text' that may stand in a JSON string as they are: all but quotes, the
 * backslash, U+0000..1F, and U+007F..9F, which would steer a terminal. */
static size_t plain_size(const uint8_t *text, size_t size)
{
    size_t i = 0;

    for (; i < size; i++) {
        const uint8_t byte = text[i];
        if (byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7F) {
            break;
        }
        if (byte == 0xC2 && i + 1 < size && text[i + 1] < 0xA0) {
            break;
        }
    }
    return i;
}

static void put_quoted(struct json_out *out, const char *text, size_t size)
{
    static const char short_forms[] = "btn\0fr"; /* U+0008..000D; U+000B has none */
    static const char digits[] = "0123456789abcdef";
    const uint8_t *at = (const uint8_t *)text;
    const uint8_t *end = at + size;

    put(out, "\"", 1);
    while (at < end) {
        const size_t plain = plain_size(at, (size_t)(end - at));
        put(out, (const char *)at, plain);
        at += plain;
        if (at == end) {
            break;
        }
        const uint8_t code = *at == 0xC2 ? at[1] : *at; /* U+0080..9F are C2 80..9F */
        at += *at == 0xC2 ? 2 : 1;
        if (code == '"' || code == '\\') {
            put(out, (char[2]){'\\', (char)code}, 2);
        } else if (code >= 8 && code <= 13 && code != 11) {
            put(out, (char[2]){'\\', short_forms[code - 8]}, 2);
        } else {
            put(out, (char[6]){'\\', 'u', '0', '0', digits[code >> 4], digits[code & 15]}, 6);
        }
    }
    put(out, "\"", 1);
}

void json_out_name_of_size(struct json_out *out, const char *name, size_t size)
{
    begin_value(out);
    put_quoted(out, name, size);
    put(out, ":", 1);
    out->want_comma = false;
}

void json_out_name(struct json_out *out, const char *name)
{
    json_out_name_of_size(out, name, strlen(name));
}

void json_out_raw(struct json_out *out, const char *text, size_t size)
{
    begin_value(out);
    put(out, text, size);
}

void json_out_null(struct json_out *out)
{
    json_out_raw(out, "null", 4);
}

void json_out_bool(struct json_out *out, bool value)
{
    json_out_raw(out, value ? "true" : "false", value ? 4 : 5);
}

void json_out_uint(struct json_out *out, uint64_t value)
{
    char text[20];
    size_t start = sizeof text;

    do {
        text[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    json_out_raw(out, text + start, sizeof text - start);
}

void json_out_int(struct json_out *out, int64_t value)
{
    char text[24];
    const int size = snprintf(text, sizeof text, "%" PRId64, value);

    json_out_raw(out, text, (size_t)size);
}

void json_out_string(struct json_out *out, const char *text, size_t size)
{
    begin_value(out);
    put_quoted(out, text, size);
}

void json_out_double(struct json_out *out, double value)
{
    char text[NUMBER_TEXT_SIZE];
    int size = 0;

    assert(isfinite(value));
    /* Never below 15 digits, never above 17: that many always read back the same. */
    for (int digits = 15; digits <= 17; digits++) {
        size = snprintf(text, sizeof text - 2, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    if (strpbrk(text, ".e") == NULL) {
        text[size++] = '.';
        text[size++] = '0';
    }
    json_out_raw(out, text, (size_t)size);
}

void json_out_hex(struct json_out *out, const uint8_t *bytes, size_t size)
{
    begin_value(out);
    put(out, "\"", 1);
    char *at = reserve(out, 2 * size);
    if (at != NULL) {
        es_hex_encode(bytes, size, at);
        out->size += 2 * size;
    }
    put(out, "\"", 1);
}

void json_out_base64(struct json_out *out, const void *bytes, size_t size)
{
    begin_value(out);
    put(out, "\"", 1);
    char *at = reserve(out, base64_text_size(size));
    if (at != NULL) {
        base64_encode(bytes, size, at);
        out->size += base64_text_size(size);
    }
    put(out, "\"", 1);
}

void json_out_member_string(struct json_out *out, const char *name, const char *text)
{
    json_out_name(out, name);
    json_out_string(out, text, strlen(text));
}

void json_out_member_uint(struct json_out *out, const char *name, uint64_t value)
{
    json_out_name(out, name);
    json_out_uint(out, value);
}

void json_out_member_hex(struct json_out *out, const char *name, const uint8_t *bytes, size_t size)
{
    json_out_name(out, name);
    json_out_hex(out, bytes, size);
}

void json_out_member_fixed(struct json_out *out, const char *name, double value, int digits)
{
    char text[NUMBER_TEXT_SIZE];
    const int size = snprintf(text, sizeof text, "%.*f", digits, value);

    assert(isfinite(value) && digits <= 6);
    json_out_name(out, name);
    json_out_raw(out, text, (size_t)size);
}

enum es_status json_out_print(const struct json_out *out, FILE *stream)
{
    if (out->failed) {
        invocation_error("there is no memory for a line of output: make some free");
        return ES_E_NO_MEMORY;
    }
    if (fwrite(out->text, 1, out->size, stream) != out->size || fputc('\n', stream) == EOF) {
        return ES_E_IO;
    }
    return ES_OK;
}
