/*
 * Events and keys as lines: the NDJSON of export, read and tail (import_line.h
 * reads it), and columns for people. One thread per writer.
 */
#ifndef ESCTL_EVENT_LINE_H
#define ESCTL_EVENT_LINE_H

#include "tools/esctl/payload_json.h"

struct line_writer {
    FILE *stream;
    bool json;
    bool header_due; /* text: the names of the columns come before the first line */
    struct json_out line;
    struct payload_scratch scratch;
};

/* Lines go to 'stream', which stays the caller's. */
void line_writer_init(struct line_writer *writer, FILE *stream, bool json);
void line_writer_deinit(struct line_writer *writer);

/*
 * Writes one event. JSON: {"stream", "sequence", "tick", "type", "payload" or
 * "payload_base64", "previous_hash" ("" for none), "hash", "position", "time" (us)}.
 *
 * ES_E_IO: the stream cannot be written to.
 */
ES_MUST_USE enum es_status line_writer_event(struct line_writer *writer,
                                             const struct es_event *event);

/* Writes one key: {"namespace", "key", "revision", "value" or "value_base64"}. */
ES_MUST_USE enum es_status line_writer_key(struct line_writer *writer, const char *name_space,
                                           const char *key, uint64_t revision, const void *value,
                                           size_t value_bytes);

#define TIME_TEXT_SIZE 40

/* Microseconds since 1970 as 2026-11-21T08:48:14.123456Z. */
void time_text(uint64_t time_us, char ret_text[TIME_TEXT_SIZE]);

#endif
