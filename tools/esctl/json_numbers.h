/*
 * Integers that jansson cannot hold: it knows int64 only, and Eventspine's JSON
 * knows every integer that fits 64 bits with or without a sign, and takes a
 * larger one for a float64.
 *
 * Before the parse, json_numbers_take() notes each integer of the text that does
 * not fit int64, in the order of the text, and writes 2^63-1 over it (with blanks
 * after it, so every column stays). 2^63-1 itself is noted too. After the parse
 * each JSON_NUMBERS_MARK met in document order stands for the next note.
 *
 * It judges nothing: what is not JSON is left for the parser to find. One thread.
 */
#ifndef ESCTL_JSON_NUMBERS_H
#define ESCTL_JSON_NUMBERS_H

#include <eventspine.h>

#define JSON_NUMBERS_MARK INT64_MAX

struct json_number {
    bool is_float;
    uint64_t integer; /* 2^63-1 .. 2^64-1 */
    double real;      /* may be infinite: refuse it */
};

struct json_numbers {
    struct json_number *notes;
    size_t count;
    size_t capacity;
    size_t next; /* of json_numbers_next() */
};

void json_numbers_init(struct json_numbers *numbers);
void json_numbers_deinit(struct json_numbers *numbers);

/* Forgets earlier notes, then takes those of 'text', which it changes.
 * ES_E_NO_MEMORY: 'text' may be changed in part. */
ES_MUST_USE enum es_status json_numbers_take(struct json_numbers *numbers, char *text, size_t size);

/* The next note, or NULL if there is none any more. */
const struct json_number *json_numbers_next(struct json_numbers *numbers);

#endif
