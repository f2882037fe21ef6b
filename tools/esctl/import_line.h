/*
 * One line of an import: an event or a key, out of JSON. What the members may be
 * is checked here; whether names and sizes are right is the broker's and the
 * library's business, and whether hashes come out equal is asked of the broker.
 *
 *   event  stream, type, payload or payload_base64; tick (0), sequence,
 *          previous_hash ("" none), hash; position and time are read and not used
 *   key    namespace, key, value or value_base64; revision is read and not used
 *
 * One thread per parser.
 */
#ifndef ESCTL_IMPORT_LINE_H
#define ESCTL_IMPORT_LINE_H

#include "tools/esctl/payload_json.h"

struct import_line {
    bool is_key; /* else an event */

    const char *stream;
    struct es_event_input event;
    struct es_expectation expectation;
    bool has_store_fields; /* position or time: the new store has its own */

    const char *name_space;
    const char *key;
    const void *value;
    size_t value_bytes;
};

struct import_parser {
    struct payload_scratch scratch;
    json_t *json;     /* of the line handed out last */
    uint8_t *decoded; /* from base64 */
    size_t decoded_capacity;
    uint8_t previous_hash[ES_HASH_BYTES];
    uint8_t hash[ES_HASH_BYTES];
};

void import_parser_init(struct import_parser *parser);
void import_parser_deinit(struct import_parser *parser);

/*
 * Reads 'text', which is changed. '*ret_line' points into the parser and is valid
 * until the next call.
 *
 * ES_E_CORRUPT: 'ret_error' says what is wrong with the line.
 */
ES_MUST_USE enum es_status import_parser_read(struct import_parser *parser, char *text, size_t size,
                                              struct import_line *ret_line,
                                              char ret_error[PAYLOAD_ERROR_SIZE]);

#endif
