/* One line of an import; see import_line.h. */
#include "tools/esctl/import_line.h"

#include "shm/codec/hash.h"
#include "tools/esctl/base64.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* What stands in a line; a member that is missing is NULL. */
struct members {
    const json_t *stream;
    const json_t *type;
    const json_t *payload;
    const json_t *payload_base64;
    const json_t *tick;
    const json_t *sequence;
    const json_t *previous_hash;
    const json_t *hash;
    const json_t *position;
    const json_t *time;
    const json_t *name_space;
    const json_t *key;
    const json_t *value;
    const json_t *value_base64;
    const json_t *revision;
};

static const struct {
    const char *name;
    size_t offset;
    bool of_key;
} member_table[] = {
    {"stream", offsetof(struct members, stream), false},
    {"type", offsetof(struct members, type), false},
    {"payload", offsetof(struct members, payload), false},
    {"payload_base64", offsetof(struct members, payload_base64), false},
    {"tick", offsetof(struct members, tick), false},
    {"sequence", offsetof(struct members, sequence), false},
    {"previous_hash", offsetof(struct members, previous_hash), false},
    {"hash", offsetof(struct members, hash), false},
    {"position", offsetof(struct members, position), false},
    {"time", offsetof(struct members, time), false},
    {"namespace", offsetof(struct members, name_space), true},
    {"key", offsetof(struct members, key), true},
    {"value", offsetof(struct members, value), true},
    {"value_base64", offsetof(struct members, value_base64), true},
    {"revision", offsetof(struct members, revision), true},
};

void import_parser_init(struct import_parser *parser)
{
    *parser = (struct import_parser){0};
    payload_scratch_init(&parser->scratch);
}

void import_parser_deinit(struct import_parser *parser)
{
    payload_scratch_deinit(&parser->scratch);
    json_decref(parser->json);
    free(parser->decoded);
    *parser = (struct import_parser){0};
}

static enum es_status refuse(char ret_error[PAYLOAD_ERROR_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum es_status refuse(char ret_error[PAYLOAD_ERROR_SIZE], const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(ret_error, PAYLOAD_ERROR_SIZE, format, arguments);
    va_end(arguments);
    return ES_E_CORRUPT;
}

/* Finds the slot of a member; false: there is none of that name for this kind of line. */
static bool set_member(struct members *members, bool of_key, const char *name, size_t size,
                       const json_t *value)
{
    for (size_t i = 0; i < sizeof member_table / sizeof member_table[0]; i++) {
        if (member_table[i].of_key == of_key && strlen(member_table[i].name) == size &&
            memcmp(member_table[i].name, name, size) == 0) {
            memcpy((char *)members + member_table[i].offset, &value, sizeof(const json_t *));
            return true;
        }
    }
    return false;
}

/*
 * Takes the big integers of a member out of the notes of the line: members come
 * in the order of the text, as the notes do. The payload is packed here for that
 * reason; elsewhere only 2^63-1 itself is allowed, and what nests is refused later.
 */
static enum es_status take_notes(struct import_parser *parser, const char *name,
                                 const json_t *value, size_t text_size,
                                 char ret_error[PAYLOAD_ERROR_SIZE])
{
    if (strcmp(name, "payload") == 0) {
        return payload_json_pack(&parser->scratch, value, text_size, ret_error);
    }
    if (!json_is_integer(value) || json_integer_value(value) != JSON_NUMBERS_MARK) {
        return ES_OK;
    }
    const struct json_number *note = json_numbers_next(&parser->scratch.numbers);
    if (note == NULL || note->is_float || note->integer != (uint64_t)JSON_NUMBERS_MARK) {
        return refuse(ret_error, "\"%s\" is larger than 2^63-1", name);
    }
    return ES_OK;
}

static enum es_status collect(struct import_parser *parser, bool of_key, size_t text_size,
                              struct members *ret_members, char ret_error[PAYLOAD_ERROR_SIZE])
{
    enum es_status status = ES_OK;
    void *at = json_object_iter(parser->json);

    for (; at != NULL && status == ES_OK; at = json_object_iter_next(parser->json, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        if (!set_member(ret_members, of_key, name, json_object_iter_key_len(at), value)) {
            return refuse(ret_error, "there is no member \"%.100s\"", name);
        }
        status = take_notes(parser, name, value, text_size, ret_error);
    }
    return status;
}

/* A text without NUL; NULL where the member is missing or something else. */
static const char *text_of(const json_t *member)
{
    const char *text = json_string_value(member);

    return text != NULL && strlen(text) == json_string_length(member) ? text : NULL;
}

/* An integer of 'min' .. 2^63-1 that stays '*ret_number' where it is missing. */
static bool number_of(const json_t *member, int64_t min, uint64_t *ret_number)
{
    if (member == NULL) {
        return true;
    }
    if (!json_is_integer(member) || json_integer_value(member) < min) {
        return false;
    }
    *ret_number = (uint64_t)json_integer_value(member);
    return true;
}

/* 64 hexadecimal digits, or none with '*ret_size' 0 where 'may_be_empty'. */
static bool hash_of(const json_t *member, bool may_be_empty, uint8_t ret_hash[ES_HASH_BYTES],
                    size_t *ret_size)
{
    const char *text = text_of(member);

    if (text == NULL) {
        return false;
    }
    if (text[0] == '\0') {
        *ret_size = 0;
        return may_be_empty;
    }
    *ret_size = ES_HASH_BYTES;
    return es_hex_decode(es_text_make(text, (uint32_t)json_string_length(member)), ret_hash,
                         ES_HASH_BYTES);
}

static enum es_status bytes_of_base64(struct import_parser *parser, const json_t *member,
                                      const char *name, size_t *ret_size,
                                      char ret_error[PAYLOAD_ERROR_SIZE])
{
    const char *text = json_string_value(member);
    const size_t size = json_string_length(member);

    if (text == NULL) {
        return refuse(ret_error, "\"%s\" is not a text", name);
    }
    if (parser->decoded_capacity < size + 1) {
        uint8_t *decoded = realloc(parser->decoded, size + 1);
        if (decoded == NULL) {
            return ES_E_NO_MEMORY;
        }
        parser->decoded = decoded;
        parser->decoded_capacity = size + 1;
    }
    if (!base64_decode(text, size, parser->decoded, ret_size)) {
        return refuse(ret_error, "\"%s\" is not base64 (with padding)", name);
    }
    return ES_OK;
}

static enum es_status read_payload(struct import_parser *parser, const struct members *members,
                                   struct import_line *line, char ret_error[PAYLOAD_ERROR_SIZE])
{
    if ((members->payload == NULL) == (members->payload_base64 == NULL)) {
        return refuse(ret_error, "one of \"payload\" and \"payload_base64\" is wanted");
    }
    if (members->payload_base64 != NULL) {
        const enum es_status status =
            bytes_of_base64(parser, members->payload_base64, "payload_base64",
                            &line->event.payload_bytes, ret_error);
        line->event.payload = parser->decoded;
        return status;
    }
    line->event.payload = parser->scratch.packed;
    line->event.payload_bytes = parser->scratch.packed_size;
    return ES_OK;
}

/* What the line says about its place: it becomes what the broker has to find. */
static enum es_status read_place(struct import_parser *parser, const struct members *members,
                                 struct import_line *line, char ret_error[PAYLOAD_ERROR_SIZE])
{
    uint64_t sequence = 0;
    uint64_t unused = 0;
    size_t hash_size = 0;

    if (!number_of(members->sequence, 1, &sequence)) {
        return refuse(ret_error, "\"%s\" is not a number of 1 to 2^63-1", "sequence");
    }
    if (sequence > 0) {
        line->expectation.kind = sequence == 1 ? ES_EXPECT_NONE : ES_EXPECT_SEQUENCE;
        line->expectation.sequence = sequence - 1;
    }
    if (members->previous_hash != NULL) {
        if (!hash_of(members->previous_hash, true, parser->previous_hash,
                     &line->expectation.hash_bytes)) {
            return refuse(ret_error, "\"%s\" is neither 64 hexadecimal digits nor \"\"",
                          "previous_hash");
        }
        line->expectation.hash = parser->previous_hash;
    }
    if (members->hash != NULL) {
        if (!hash_of(members->hash, false, parser->hash, &hash_size)) {
            return refuse(ret_error, "\"%s\" is not 64 hexadecimal digits", "hash");
        }
        line->event.expected_hash = parser->hash;
    }
    if (!number_of(members->position, 0, &unused) || !number_of(members->time, 0, &unused)) {
        return refuse(ret_error, "\"position\" or \"time\" is not a number");
    }
    line->has_store_fields = members->position != NULL || members->time != NULL;
    return ES_OK;
}

static enum es_status read_event(struct import_parser *parser, const struct members *members,
                                 struct import_line *line, char ret_error[PAYLOAD_ERROR_SIZE])
{
    line->stream = text_of(members->stream);
    line->event.type = text_of(members->type);
    if (line->stream == NULL || line->event.type == NULL) {
        return refuse(ret_error, "\"%s\" is missing, or is not a text",
                      line->stream == NULL ? "stream" : "type");
    }
    if (!number_of(members->tick, 0, &line->event.tick)) {
        return refuse(ret_error, "\"%s\" is not a number of 0 to 2^63-1", "tick");
    }
    const enum es_status status = read_place(parser, members, line, ret_error);

    return status != ES_OK ? status : read_payload(parser, members, line, ret_error);
}

static enum es_status read_key(struct import_parser *parser, const struct members *members,
                               struct import_line *line, char ret_error[PAYLOAD_ERROR_SIZE])
{
    uint64_t unused = 0;

    line->name_space = text_of(members->name_space);
    line->key = text_of(members->key);
    if (line->name_space == NULL || line->key == NULL) {
        return refuse(ret_error, "\"%s\" is missing, or is not a text",
                      line->name_space == NULL ? "namespace" : "key");
    }
    if (!number_of(members->revision, 0, &unused)) {
        return refuse(ret_error, "\"%s\" is not a number", "revision");
    }
    line->has_store_fields = members->revision != NULL;
    if ((members->value == NULL) == (members->value_base64 == NULL)) {
        return refuse(ret_error, "one of \"value\" and \"value_base64\" is wanted");
    }
    if (members->value_base64 != NULL) {
        const enum es_status status = bytes_of_base64(parser, members->value_base64, "value_base64",
                                                      &line->value_bytes, ret_error);
        line->value = parser->decoded;
        return status;
    }
    line->value = json_string_value(members->value);
    line->value_bytes = json_string_length(members->value);
    return line->value != NULL ? ES_OK : refuse(ret_error, "\"%s\" is not a text", "value");
}

enum es_status import_parser_read(struct import_parser *parser, char *text, size_t size,
                                  struct import_line *ret_line, char ret_error[PAYLOAD_ERROR_SIZE])
{
    struct members members = {0};
    struct import_line line = {0};

    json_decref(parser->json);
    parser->json = NULL;
    enum es_status status =
        payload_json_parse(&parser->scratch, text, size, &parser->json, ret_error);
    if (status != ES_OK) {
        return status;
    }
    if (!json_is_object(parser->json)) {
        return refuse(ret_error, "the line is not a JSON object");
    }
    line.is_key = json_object_get(parser->json, "namespace") != NULL;
    status = collect(parser, line.is_key, size, &members, ret_error);
    if (status == ES_OK) {
        status = line.is_key ? read_key(parser, &members, &line, ret_error)
                             : read_event(parser, &members, &line, ret_error);
    }
    if (status == ES_OK) {
        *ret_line = line;
    }
    return status;
}
