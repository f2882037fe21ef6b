/* Events and keys as lines; see event_line.h. */
#include "tools/esctl/event_line.h"

#include "shm/codec/hash.h"
#include "shm/codec/names.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define US_PER_SECOND UINT64_C(1000000)

void line_writer_init(struct line_writer *writer, FILE *stream, bool json)
{
    *writer = (struct line_writer){.stream = stream, .json = json, .header_due = !json};
    json_out_init(&writer->line);
    payload_scratch_init(&writer->scratch);
}

void line_writer_deinit(struct line_writer *writer)
{
    json_out_deinit(&writer->line);
    payload_scratch_deinit(&writer->scratch);
}

void time_text(uint64_t time_us, char ret_text[TIME_TEXT_SIZE])
{
    const time_t seconds = (time_t)(time_us / US_PER_SECOND);
    struct tm parts;

    if (gmtime_r(&seconds, &parts) == NULL) {
        (void)snprintf(ret_text, TIME_TEXT_SIZE, "%" PRIu64 " us", time_us);
        return;
    }
    const size_t size = strftime(ret_text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(ret_text + size, TIME_TEXT_SIZE - size, ".%06uZ",
                   (unsigned)(time_us % US_PER_SECOND));
}

static void event_json(struct line_writer *writer, const struct es_event *event)
{
    struct json_out *line = &writer->line;

    json_out_open(line, '{');
    json_out_member_string(line, "stream", event->stream);
    json_out_member_uint(line, "sequence", event->sequence);
    json_out_member_uint(line, "tick", event->tick);
    json_out_member_string(line, "type", event->type);
    if (payload_json_survives(&writer->scratch, event->payload, event->payload_bytes)) {
        json_out_name(line, "payload");
        json_out_raw(line, writer->scratch.text.text, writer->scratch.text.size);
    } else {
        json_out_name(line, "payload_base64");
        json_out_base64(line, event->payload, event->payload_bytes);
    }
    json_out_member_hex(line, "previous_hash", event->previous_hash,
                        event->previous_hash == NULL ? 0 : ES_HASH_BYTES);
    json_out_member_hex(line, "hash", event->hash, ES_HASH_BYTES);
    json_out_member_uint(line, "position", event->position);
    json_out_member_uint(line, "time", event->time_us);
    json_out_close(line, '}');
}

/* The payload stands last: it alone has no bound. */
static void event_text(struct line_writer *writer, const struct es_event *event)
{
    struct json_out *line = &writer->line;
    char time[TIME_TEXT_SIZE];
    char hash[2 * ES_HASH_BYTES + 1] = {0};

    time_text(event->time_us, time);
    es_hex_encode(event->hash, ES_HASH_BYTES, hash);
    if (payload_json_write(event->payload, event->payload_bytes, line)) {
        ;
    } else {
        json_out_reset(line);
        json_out_raw(line, "base64:", 7);
        line->want_comma = false;
        json_out_base64(line, event->payload, event->payload_bytes);
    }
    if (writer->header_due) {
        (void)fprintf(writer->stream, "%10s  %8s  %-27s  %13s  %-32s  %-24s  %-64s  %s\n",
                      "position", "sequence", "time", "tick", "stream", "type", "hash", "payload");
        writer->header_due = false;
    }
    (void)fprintf(
        writer->stream, "%10" PRIu64 "  %8" PRIu64 "  %-27s  %13" PRIu64 "  %-32s  %-24s  %s  ",
        event->position, event->sequence, time, event->tick, event->stream, event->type, hash);
}

enum es_status line_writer_event(struct line_writer *writer, const struct es_event *event)
{
    json_out_reset(&writer->line);
    if (writer->json) {
        event_json(writer, event);
    } else {
        event_text(writer, event);
    }
    return json_out_print(&writer->line, writer->stream);
}

static void value_json(struct json_out *line, const void *value, size_t value_bytes)
{
    if (es_utf8_valid(es_text_make(value, (uint32_t)value_bytes))) {
        json_out_name(line, "value");
        json_out_string(line, value, value_bytes);
    } else {
        json_out_name(line, "value_base64");
        json_out_base64(line, value, value_bytes);
    }
}

enum es_status line_writer_key(struct line_writer *writer, const char *name_space, const char *key,
                               uint64_t revision, const void *value, size_t value_bytes)
{
    struct json_out *line = &writer->line;

    json_out_reset(line);
    if (writer->json) {
        json_out_open(line, '{');
        json_out_member_string(line, "namespace", name_space);
        json_out_member_string(line, "key", key);
        json_out_member_uint(line, "revision", revision);
        value_json(line, value, value_bytes);
        json_out_close(line, '}');
        return json_out_print(line, writer->stream);
    }
    if (writer->header_due) {
        (void)fprintf(writer->stream, "%10s  %-32s  %s\n", "revision", "key", "value");
        writer->header_due = false;
    }
    (void)fprintf(writer->stream, "%10" PRIu64 "  %-32s  ", revision, key);
    /* A value of text is shown quoted, so that it stays one line. */
    if (es_utf8_valid(es_text_make(value, (uint32_t)value_bytes))) {
        json_out_string(line, value, value_bytes);
    } else {
        json_out_raw(line, "base64:", 7);
        line->want_comma = false;
        json_out_base64(line, value, value_bytes);
    }
    return json_out_print(line, writer->stream);
}
