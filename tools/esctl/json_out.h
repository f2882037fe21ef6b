/*
 * Writes JSON text into a growing buffer: the lines of --json and of export.
 * It is written here and not through jansson's tree because that has no unsigned
 * 64-bit integers, and costs an allocation per value on the export's fast path.
 * Reading JSON is payload_json.h and import_line.h, with jansson.
 *
 * The caller opens and closes what it opens; commas are put in here. Texts are
 * valid UTF-8 (the library has checked them). A failed allocation sticks: nothing
 * more is written and json_out_print() says ES_E_NO_MEMORY. One thread.
 */
#ifndef ESCTL_JSON_OUT_H
#define ESCTL_JSON_OUT_H

#include <eventspine.h>

#include <stdio.h>

struct json_out {
    char *text; /* not terminated */
    size_t size;
    size_t capacity;
    bool failed;     /* an allocation failed */
    bool want_comma; /* the next value or name has one before it */
};

/* An empty buffer, no allocation yet. */
void json_out_init(struct json_out *out);
void json_out_deinit(struct json_out *out);

/* Empties it for the next line; keeps the memory. */
void json_out_reset(struct json_out *out);

void json_out_open(struct json_out *out, char bracket);  /* '{' or '[' */
void json_out_close(struct json_out *out, char bracket); /* '}' or ']' */

/* The name of the next member; plain characters without escapes are not required. */
void json_out_name(struct json_out *out, const char *name);
void json_out_name_of_size(struct json_out *out, const char *name, size_t size);

/* Values: of an array, or after a name. */
void json_out_null(struct json_out *out);
void json_out_bool(struct json_out *out, bool value);
void json_out_uint(struct json_out *out, uint64_t value);
void json_out_int(struct json_out *out, int64_t value);
void json_out_string(struct json_out *out, const char *text, size_t size);

/* The shortest digits that read back as 'value', always with '.' or 'e', so that it
 * is not taken for an integer. 'value' is finite. */
void json_out_double(struct json_out *out, double value);

/* Bytes as lower-case hexadecimal digits, or as base64 with padding, in quotes. */
void json_out_hex(struct json_out *out, const uint8_t *bytes, size_t size);
void json_out_base64(struct json_out *out, const void *bytes, size_t size);

/* JSON text that is complete already. */
void json_out_raw(struct json_out *out, const char *text, size_t size);

/* A name and its value at once. */
void json_out_member_string(struct json_out *out, const char *name, const char *text);
void json_out_member_uint(struct json_out *out, const char *name, uint64_t value);
void json_out_member_hex(struct json_out *out, const char *name, const uint8_t *bytes, size_t size);

/* A number with 'digits' digits after the point, for measured values. */
void json_out_member_fixed(struct json_out *out, const char *name, double value, int digits);

/* Writes the text and a newline. ES_E_IO: the stream's error indicator is set.
 * ES_E_NO_MEMORY: for want of it; that is said on stderr. */
ES_MUST_USE enum es_status json_out_print(const struct json_out *out, FILE *stream);

#endif
