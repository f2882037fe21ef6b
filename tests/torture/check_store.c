#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <eventspine.h>

#include "tests/torture/check.h"

#define ANSWER_NS UINT64_C(30000000000)

static _Noreturn void give_up(const struct es_connection *connection, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, es_connection_error(connection));
    exit(1);
}

static void note_event(struct torture *torture, const struct es_event *event)
{
    struct stored *stored = stored_add(&torture->stored);

    stored->position = event->position;
    stored->sequence = event->sequence;
    stored->stream = plan_stream_find(event->stream);
    memcpy(stored->hash, event->hash, HASH_BYTES);
    stored->is_sound = plan_payload_read(event->payload, event->payload_bytes, &stored->client,
                                         &stored->number, &stored->index) &&
                       event->tick == stored->number && strcmp(event->type, "Told") == 0;
}

static bool note_key(void *context, const char *key, uint64_t revision, const void *value,
                     size_t value_bytes)
{
    struct torture *torture = context;
    unsigned client = 0;
    unsigned index = 0;
    uint64_t number = 0;

    if (sscanf(key, "c%u-%u", &client, &index) != 2 || client >= PLAN_VISITOR_FIRST ||
        index >= PLAN_KEYS || value_bytes != sizeof number) {
        violation(torture, "key %s of %zu bytes is nobody's", key, value_bytes);
        return true;
    }
    memcpy(&number, value, sizeof number);
    torture->keys[client][index] = (struct key_found){number, revision};
    return true;
}

void store_read(struct torture *torture, const char *run_dir)
{
    const struct es_connection_options options = {.run_dir = run_dir, .timeout_ns = ANSWER_NS};
    struct es_connection *connection = NULL;
    struct es_reader *reader = NULL;
    struct es_event event;
    enum es_status status = ES_OK;

    if (es_connection_open(&options, &connection) != ES_OK ||
        es_reader_open_all(connection, NULL, 1, &reader) != ES_OK) {
        give_up(connection, "the store cannot be read");
    }
    while ((status = es_reader_next(reader, &event)) == ES_OK) {
        note_event(torture, &event);
    }
    if (status != ES_EMPTY) {
        give_up(connection, "the store cannot be read to its end");
    }
    es_reader_close(reader);
    if (es_keys(connection, ES_KEYS, PLAN_NAME_SPACE, note_key, torture) != ES_OK) {
        give_up(connection, "the keys cannot be read");
    }
    es_connection_close(connection);
}
