#include "tests/corruption/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader.h"
#include "shm/codec/head_record.h"
#include "shm/codec/store_key.h"

enum {
    PAGE_EVENTS = 1024
};

/* 'default' is not among them: it has the number of the last batch. */
const enum store_family history_families[HISTORY_FAMILY_COUNT] = {
    STORE_STREAM_META, STORE_SNAPSHOTS, STORE_KV,       STORE_READ_MODELS,
    STORE_COMMITS,     STORE_PRODUCERS, STORE_CONSUMERS};

static uint64_t digest(uint64_t start, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < size; i++) {
        start = (start ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return start;
}

uint64_t history_digest_of_event(const struct reader_event *event)
{
    uint64_t result = UINT64_C(0xcbf29ce484222325);

    result = digest(result, event->stream.data, event->stream.size);
    result = digest(result, &event->sequence, sizeof event->sequence);
    result = digest(result, &event->position, sizeof event->position);
    result = digest(result, &event->time_us, sizeof event->time_us);
    return digest(result, event->envelope.data, event->envelope.size);
}

uint64_t history_digest_of_value(struct store_slice value)
{
    return digest(UINT64_C(0xcbf29ce484222325), value.bytes, value.size);
}

/* ---- Recording -------------------------------------------------------------- */

static void *grown(void *memory, size_t size)
{
    void *larger = realloc(memory, size);

    if (larger == NULL) {
        abort();
    }
    return larger;
}

static bool record_event(void *context, const struct reader_event *event)
{
    struct history *history = context;

    if (history->event_count % PAGE_EVENTS == 0) {
        history->events =
            grown(history->events, (history->event_count + PAGE_EVENTS) * sizeof(uint64_t));
    }
    history->events[history->event_count++] = history_digest_of_event(event);
    return true;
}

/* The stream of a head's key, "S:{stream}:Head"; empty: another key. */
struct es_text history_stream_of(const struct history *history, const struct history_entry *entry)
{
    const char *key = (const char *)history->keys + entry->key_at;

    if (entry->family != STORE_STREAM_META || entry->key_bytes < 8 ||
        memcmp(key + entry->key_bytes - 5, ":Head", 5) != 0) {
        return es_text_make("", 0);
    }
    return es_text_make(key + 2, entry->key_bytes - 7);
}

static void record_entry(struct history *history, enum store_family family, struct store_slice key,
                         struct store_slice value)
{
    struct history_entry *entry = NULL;
    struct es_head_value head;

    if (history->entry_count == history->entry_capacity) {
        history->entry_capacity = history->entry_capacity * 2 + 1024;
        history->entries =
            grown(history->entries, history->entry_capacity * sizeof *history->entries);
    }
    if (history->keys_capacity - history->keys_bytes < key.size) {
        history->keys_capacity = history->keys_capacity * 2 + 65536;
        history->keys = grown(history->keys, history->keys_capacity);
    }
    entry = &history->entries[history->entry_count++];
    entry->family = family;
    entry->key_at = history->keys_bytes;
    entry->key_bytes = (uint32_t)key.size;
    entry->digest = history_digest_of_value(value);
    memcpy(history->keys + history->keys_bytes, key.bytes, key.size);
    history->keys_bytes += (uint32_t)key.size;
    entry->event_count = 0;
    if (history_stream_of(history, entry).size > 0 &&
        es_head_decode(value.bytes, value.size, &head) == ES_OK) {
        entry->event_count = head.last_sequence;
    }
}

static enum es_status record_family(struct history *history, struct store *store,
                                    enum store_family family)
{
    const struct store_range everything = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *entries = NULL;
    enum es_status status = store_iterator_new(store, NULL, family, &everything, &entries);

    if (status != ES_OK) {
        return status;
    }
    for (store_iterator_seek_first(entries); store_iterator_valid(entries);
         store_iterator_next(entries)) {
        record_entry(history, family, store_iterator_key(entries), store_iterator_value(entries));
    }
    status = store_iterator_status(entries);
    store_iterator_free(entries);
    return status;
}

bool history_record(struct history *history, struct store *store, const char **ret_why)
{
    struct reader_page page = {.end = false, .next = 1};
    struct reader *reader = NULL;
    enum es_status status = reader_new(store, &reader);

    if (status == ES_OK) {
        status = reader_begin(reader);
    }
    while (status == ES_OK && !page.end) {
        status = reader_all(reader, page.next, PAGE_EVENTS, (struct es_text){"", 0}, record_event,
                            history, &page);
    }
    *ret_why = status == ES_OK ? "an entry" : "an event";
    if (status == ES_OK) {
        reader_end(reader);
    }
    reader_free(reader);
    for (size_t i = 0; i < HISTORY_FAMILY_COUNT && status == ES_OK; i++) {
        status = record_family(history, store, history_families[i]);
    }
    return status == ES_OK;
}

bool history_save(const struct history *history, const char *path)
{
    FILE *file = fopen(path, "we");
    bool is_written = file != NULL && fwrite(history, sizeof *history, 1, file) == 1 &&
                      fwrite(history->events, sizeof *history->events, history->event_count,
                             file) == history->event_count &&
                      fwrite(history->entries, sizeof *history->entries, history->entry_count,
                             file) == history->entry_count &&
                      fwrite(history->keys, 1, history->keys_bytes, file) == history->keys_bytes;

    return file != NULL && fclose(file) == 0 && is_written;
}

bool history_load(struct history *history, const char *path)
{
    FILE *file = fopen(path, "re");
    bool is_read = file != NULL && fread(history, sizeof *history, 1, file) == 1;

    if (is_read) {
        history->events = grown(NULL, (history->event_count + 1) * sizeof *history->events);
        history->entries = grown(NULL, (history->entry_count + 1) * sizeof *history->entries);
        history->keys = grown(NULL, history->keys_bytes + 1);
        is_read = fread(history->events, sizeof *history->events, history->event_count, file) ==
                      history->event_count &&
                  fread(history->entries, sizeof *history->entries, history->entry_count, file) ==
                      history->entry_count &&
                  fread(history->keys, 1, history->keys_bytes, file) == history->keys_bytes;
    }
    if (file != NULL) {
        fclose(file);
    }
    return is_read;
}
