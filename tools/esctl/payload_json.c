/* Payloads between JSON and MessagePack; see payload_json.h. */
#include "tools/esctl/payload_json.h"

#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* No JSON text of n characters makes more than this many bytes of MessagePack: the
 * worst is a float64 of nine bytes from "1.5," or "1e0,". */
#define PACKED_SIZE_MAX(text_size) (3 * (text_size) + 16)

void payload_scratch_init(struct payload_scratch *scratch)
{
    *scratch = (struct payload_scratch){0};
    json_numbers_init(&scratch->numbers);
    json_out_init(&scratch->text);
}

void payload_scratch_deinit(struct payload_scratch *scratch)
{
    json_numbers_deinit(&scratch->numbers);
    json_out_deinit(&scratch->text);
    free(scratch->copy);
    free(scratch->packed);
    *scratch = (struct payload_scratch){0};
}

/* Makes '*memory' hold at least 'size' bytes; its contents are lost. */
static enum es_status grow(void **memory, size_t *capacity, size_t size)
{
    if (*capacity >= size) {
        return ES_OK;
    }
    void *larger = malloc(size + size / 2);
    if (larger == NULL) {
        return ES_E_NO_MEMORY;
    }
    free(*memory);
    *memory = larger;
    *capacity = size + size / 2;
    return ES_OK;
}

enum es_status payload_json_parse(struct payload_scratch *scratch, char *text, size_t size,
                                  json_t **ret_json, char ret_error[PAYLOAD_ERROR_SIZE])
{
    json_error_t error;
    const enum es_status status = json_numbers_take(&scratch->numbers, text, size);

    if (status != ES_OK) {
        return status;
    }
    json_t *json =
        json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (json == NULL) {
        (void)snprintf(ret_error, PAYLOAD_ERROR_SIZE, "%.200s, at character %d", error.text,
                       error.position);
        return json_error_code(&error) == json_error_out_of_memory ? ES_E_NO_MEMORY : ES_E_CORRUPT;
    }
    *ret_json = json;
    return ES_OK;
}

/* ------------------------------------------------------ JSON -> MessagePack -- */

/* Walks a tree of jansson's; the first thing that cannot be packed ends up in 'error'. */
struct packing {
    struct es_pack pack;
    struct json_numbers *numbers;
    const char *error;
    unsigned depth;
};

static void pack_value(struct packing *packing, const json_t *json);

static void pack_integer(struct packing *packing, int64_t value)
{
    const struct json_number *note =
        value == JSON_NUMBERS_MARK ? json_numbers_next(packing->numbers) : NULL;

    if (note == NULL) {
        es_pack_int(&packing->pack, value);
    } else if (!note->is_float) {
        es_pack_uint(&packing->pack, note->integer);
    } else if (isfinite(note->real)) {
        es_pack_double(&packing->pack, note->real);
    } else {
        packing->error = "a number is too large for a float64";
    }
}

static void pack_array(struct packing *packing, const json_t *json)
{
    const size_t count = json_array_size(json);

    es_pack_array(&packing->pack, (uint32_t)count);
    for (size_t i = 0; i < count && packing->error == NULL; i++) {
        pack_value(packing, json_array_get(json, i));
    }
}

static void pack_object(struct packing *packing, const json_t *json)
{
    /* jansson's iterators take a tree that may be changed; this one is not. */
    json_t *object = (json_t *)(uintptr_t)json;
    void *at = json_object_iter(object);

    es_pack_map(&packing->pack, (uint32_t)json_object_size(object));
    for (; at != NULL && packing->error == NULL; at = json_object_iter_next(object, at)) {
        const struct es_text name =
            es_text_make(json_object_iter_key(at), (uint32_t)json_object_iter_key_len(at));
        es_pack_str(&packing->pack, name);
        pack_value(packing, json_object_iter_value(at));
    }
}

static void pack_nested(struct packing *packing, const json_t *json)
{
    if (packing->depth == PAYLOAD_DEPTH_MAX) {
        packing->error = "the payload nests deeper than 256 levels";
        return;
    }
    packing->depth++;
    if (json_is_array(json)) {
        pack_array(packing, json);
    } else {
        pack_object(packing, json);
    }
    packing->depth--;
}

static void pack_value(struct packing *packing, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
    case JSON_ARRAY: pack_nested(packing, json); break;
    case JSON_STRING:
        es_pack_str(&packing->pack,
                    es_text_make(json_string_value(json), (uint32_t)json_string_length(json)));
        break;
    case JSON_INTEGER: pack_integer(packing, json_integer_value(json)); break;
    case JSON_REAL: es_pack_double(&packing->pack, json_real_value(json)); break;
    case JSON_TRUE:
    case JSON_FALSE: es_pack_bool(&packing->pack, json_is_true(json)); break;
    case JSON_NULL:
    default: es_pack_nil(&packing->pack); break;
    }
}

enum es_status payload_json_pack(struct payload_scratch *scratch, const json_t *json,
                                 size_t text_size, char ret_error[PAYLOAD_ERROR_SIZE])
{
    struct packing packing = {.numbers = &scratch->numbers};
    void *memory = scratch->packed;
    uint32_t size = 0;

    enum es_status status = grow(&memory, &scratch->packed_capacity, PACKED_SIZE_MAX(text_size));
    scratch->packed = memory;
    if (status != ES_OK) {
        return status;
    }
    es_pack_init(&packing.pack, scratch->packed, scratch->packed_capacity);
    pack_value(&packing, json);
    if (packing.error != NULL) {
        (void)snprintf(ret_error, PAYLOAD_ERROR_SIZE, "%s", packing.error);
        return ES_E_CORRUPT;
    }
    status = es_pack_finish(&packing.pack, &size);
    if (status != ES_OK) {
        (void)snprintf(ret_error, PAYLOAD_ERROR_SIZE, "the payload is too large");
        return ES_E_CORRUPT;
    }
    scratch->packed_size = size;
    return ES_OK;
}

/* ------------------------------------------------------ MessagePack -> JSON -- */

static bool write_value(struct es_unpack *unpack, struct json_out *out, unsigned depth);

static bool write_array(struct es_unpack *unpack, struct json_out *out, unsigned depth)
{
    const uint32_t count = es_unpack_array(unpack);

    json_out_open(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (!write_value(unpack, out, depth)) {
            return false;
        }
    }
    json_out_close(out, ']');
    return es_unpack_ok(unpack);
}

static bool write_map(struct es_unpack *unpack, struct json_out *out, unsigned depth)
{
    const uint32_t count = es_unpack_map(unpack);

    json_out_open(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        const struct es_text name = es_unpack_str(unpack, UINT32_MAX);
        if (!es_unpack_ok(unpack)) {
            return false;
        }
        json_out_name_of_size(out, name.data, name.size);
        if (!write_value(unpack, out, depth)) {
            return false;
        }
    }
    json_out_close(out, '}');
    return es_unpack_ok(unpack);
}

static bool write_float(struct es_unpack *unpack, struct json_out *out)
{
    const double value = es_unpack_double(unpack);

    if (!isfinite(value)) {
        return false;
    }
    json_out_double(out, value);
    return es_unpack_ok(unpack);
}

static bool write_text(struct es_unpack *unpack, struct json_out *out)
{
    const struct es_text text = es_unpack_str(unpack, UINT32_MAX);

    json_out_string(out, text.data, text.size);
    return es_unpack_ok(unpack);
}

static bool write_value(struct es_unpack *unpack, struct json_out *out, unsigned depth)
{
    switch (es_unpack_peek(unpack)) {
    case ES_MSGPACK_NIL:
        es_unpack_nil(unpack);
        json_out_null(out);
        return es_unpack_ok(unpack);
    case ES_MSGPACK_BOOL: json_out_bool(out, es_unpack_bool(unpack)); return es_unpack_ok(unpack);
    case ES_MSGPACK_UINT: json_out_uint(out, es_unpack_uint(unpack)); return es_unpack_ok(unpack);
    case ES_MSGPACK_INT: json_out_int(out, es_unpack_int(unpack)); return es_unpack_ok(unpack);
    case ES_MSGPACK_FLOAT: return write_float(unpack, out);
    case ES_MSGPACK_STR: return write_text(unpack, out);
    case ES_MSGPACK_ARRAY: return depth > 0 && write_array(unpack, out, depth - 1);
    case ES_MSGPACK_MAP: return depth > 0 && write_map(unpack, out, depth - 1);
    case ES_MSGPACK_NONE:
    case ES_MSGPACK_BIN:
    case ES_MSGPACK_EXT:
    default: return false;
    }
}

bool payload_json_write(const void *bytes, size_t size, struct json_out *out)
{
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    return write_value(&unpack, out, PAYLOAD_DEPTH_MAX) && es_unpack_done(&unpack) && !out->failed;
}

/* Reads the text in scratch->text back into scratch->packed. */
static bool read_back(struct payload_scratch *scratch)
{
    char error[PAYLOAD_ERROR_SIZE];
    json_t *json = NULL;
    void *memory = scratch->copy;
    const size_t size = scratch->text.size;

    enum es_status status = grow(&memory, &scratch->copy_capacity, size);
    scratch->copy = memory;
    if (status != ES_OK) {
        return false;
    }
    memcpy(scratch->copy, scratch->text.text, size);
    status = payload_json_parse(scratch, scratch->copy, size, &json, error);
    if (status == ES_OK) {
        status = payload_json_pack(scratch, json, size, error);
    }
    json_decref(json);
    return status == ES_OK;
}

bool payload_json_survives(struct payload_scratch *scratch, const void *bytes, size_t size)
{
    json_out_reset(&scratch->text);
    return payload_json_write(bytes, size, &scratch->text) && read_back(scratch) &&
           scratch->packed_size == size && memcmp(scratch->packed, bytes, size) == 0;
}
