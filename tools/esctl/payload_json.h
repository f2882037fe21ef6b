/*
 * Payloads between JSON and MessagePack, the convention for what an event holds.
 *
 *   JSON                                   MessagePack
 *   integer that fits 64 bits, either sign uint or int, shortest form
 *   any other number                       float64
 *   text                                   str
 *   object, members in their order         map with str keys
 *
 * The way back exists for what came that way and for nothing else: bytes that are
 * not one canonical MessagePack value, or hold a bin, an ext, a float32, NaN, an
 * infinity, a key that is no text or stands twice, are not JSON. The check does
 * not argue: payload_json_survives() writes the JSON and reads it back.
 *
 * MessagePack is written by pack.h and read by strict_msgpack.h; JSON is read by
 * jansson and written by json_out.h. One thread per scratch.
 */
#ifndef ESCTL_PAYLOAD_JSON_H
#define ESCTL_PAYLOAD_JSON_H

#include "tools/esctl/json_numbers.h"
#include "tools/esctl/json_out.h"

#include <jansson.h>

#define PAYLOAD_DEPTH_MAX 256  /* arrays and objects inside each other */
#define PAYLOAD_ERROR_SIZE 256 /* characters of a message, with its terminator */

/* Memory that is used again from payload to payload. */
struct payload_scratch {
    struct json_numbers numbers;
    struct json_out text; /* payload_json_survives(): the JSON */
    char *copy;           /* text to be changed by json_numbers_take() */
    size_t copy_capacity;
    uint8_t *packed; /* payload_json_pack(): the MessagePack */
    size_t packed_size;
    size_t packed_capacity;
};

void payload_scratch_init(struct payload_scratch *scratch);
void payload_scratch_deinit(struct payload_scratch *scratch);

/*
 * Parses 'text', which is changed (json_numbers.h). Members that stand twice, NUL
 * in names and invalid UTF-8 are refused. '*ret_json' is the caller's, to be given
 * to json_decref(); its big integers are in scratch->numbers until the next parse.
 *
 * ES_E_CORRUPT: not JSON; 'ret_error' says where and why.
 */
ES_MUST_USE enum es_status payload_json_parse(struct payload_scratch *scratch, char *text,
                                              size_t size, json_t **ret_json,
                                              char ret_error[PAYLOAD_ERROR_SIZE]);

/*
 * Writes 'json', a value of the text last parsed (its only one that may hold big
 * integers), as MessagePack into scratch->packed. 'text_size' is that text's size.
 *
 * ES_E_CORRUPT: too deep, or a number too large for a float64; 'ret_error' says which.
 */
ES_MUST_USE enum es_status payload_json_pack(struct payload_scratch *scratch, const json_t *json,
                                             size_t text_size, char ret_error[PAYLOAD_ERROR_SIZE]);

/*
 * Writes one MessagePack value as JSON. False: it has no JSON form, and 'out'
 * holds a useless beginning of one.
 */
bool payload_json_write(const void *bytes, size_t size, struct json_out *out);

/*
 * True: the payload is the same bytes after MessagePack -> JSON -> MessagePack;
 * its JSON is in scratch->text. False: it has to be written as base64.
 */
bool payload_json_survives(struct payload_scratch *scratch, const void *bytes, size_t size);

#endif
