#include "tests/corruption/history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader.h"
#include "broker/verify.h"
#include "shm/codec/store_key.h"

enum {
    PAGE_EVENTS = 1024,
    ERRORS_MAX = 200, /* of one way of reading: a file that is gone costs thousands */
    FINDINGS_MAX = 10
};

/* What is compared entry by entry; 'default' has the number of the last batch. */
static const enum store_family families[] = {STORE_STREAM_META, STORE_SNAPSHOTS, STORE_KV,
                                             STORE_READ_MODELS, STORE_COMMITS,   STORE_PRODUCERS,
                                             STORE_CONSUMERS};

static uint64_t digest(uint64_t start, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < size; i++) {
        start = (start ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return start;
}

static uint64_t digest_of_event(const struct reader_event *event)
{
    uint64_t result = UINT64_C(0xcbf29ce484222325);

    result = digest(result, event->stream.data, event->stream.size);
    result = digest(result, &event->sequence, sizeof event->sequence);
    result = digest(result, &event->position, sizeof event->position);
    result = digest(result, &event->time_us, sizeof event->time_us);
    return digest(result, event->envelope.data, event->envelope.size);
}

static uint64_t digest_of_value(struct store_slice value)
{
    return digest(UINT64_C(0xcbf29ce484222325), value.bytes, value.size);
}

__attribute__((format(printf, 2, 3))) static void note(struct comparison *comparison,
                                                       const char *format, ...)
{
    va_list arguments;

    if (comparison->what[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(comparison->what, sizeof comparison->what, format, arguments);
        va_end(arguments);
    }
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
    history->events[history->event_count++] = digest_of_event(event);
    return true;
}

static void record_entry(struct history *history, enum store_family family, struct store_slice key,
                         struct store_slice value)
{
    struct history_entry *entry = NULL;

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
    entry->digest = digest_of_value(value);
    memcpy(history->keys + history->keys_bytes, key.bytes, key.size);
    history->keys_bytes += (uint32_t)key.size;
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
    for (size_t i = 0; i < sizeof families / sizeof families[0] && status == ES_OK; i++) {
        status = record_family(history, store, families[i]);
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

/* ---- Comparing --------------------------------------------------------------- */

struct comparing {
    const struct history *history;
    struct comparison *result;
    uint64_t next; /* position */
};

static bool compare_event(void *context, const struct reader_event *event)
{
    struct comparing *comparing = context;

    if (event->position != comparing->next || event->position > comparing->history->event_count) {
        comparing->result->wrong++;
        note(comparing->result, "position %" PRIu64 " served where %" PRIu64 " should be",
             event->position, comparing->next);
    } else if (digest_of_event(event) != comparing->history->events[event->position - 1]) {
        comparing->result->wrong++;
        note(comparing->result, "position %" PRIu64 " served with other bytes", event->position);
    }
    comparing->next = event->position + 1;
    return true;
}

static void count_error(struct comparison *result, enum es_status status, const char *why)
{
    if (status == ES_NOT_FOUND || status == ES_TRUNCATED) {
        result->missing++;
        note(result, "answered %s", es_status_text(status));
    } else if (why[0] == '\0') {
        result->mute++;
        note(result, "an error that says nothing: %s", es_status_text(status));
    } else {
        result->errors++;
    }
}

static void compare_positions(struct comparing *comparing, struct reader *reader)
{
    struct comparison *result = comparing->result;
    struct reader_page page = {.end = false};
    uint64_t errors = 0;

    comparing->next = 1;
    while (!page.end && errors < ERRORS_MAX && comparing->next <= comparing->history->event_count) {
        enum es_status status =
            reader_all(reader, comparing->next, PAGE_EVENTS, (struct es_text){"", 0}, compare_event,
                       comparing, &page);

        if (status != ES_OK) {
            if (status == ES_E_CORRUPT && strstr(reader_why(reader), "position") == NULL &&
                strstr(reader_why(reader), "commit") == NULL) {
                result->mute++;
                note(result, "an error without a position: %s", reader_why(reader));
            }
            count_error(result, status, reader_why(reader));
            errors++;
            comparing->next++; /* behind the damage */
        }
    }
    if (errors == 0 && comparing->next <= comparing->history->event_count) {
        result->missing++;
        note(result, "the history ends at %" PRIu64 " of %" PRIu64, comparing->next - 1,
             comparing->history->event_count);
    }
}

static bool skip_event(void *context, const struct reader_event *event)
{
    (void)event;
    ++*(uint64_t *)context;
    return true;
}

/* Reads one stream from its first to its last. */
static void compare_stream(struct comparing *comparing, struct reader *reader,
                           struct es_text stream)
{
    struct comparison *result = comparing->result;
    struct reader_page page = {.end = false, .next = 0};
    struct es_head_value head;
    uint64_t count = 0;
    enum es_status status = reader_stream_head(reader, stream, &head);

    while (status == ES_OK && !page.end) {
        status =
            reader_stream(reader, stream, page.next, PAGE_EVENTS, false, skip_event, &count, &page);
    }
    if (status != ES_OK) {
        count_error(result, status, reader_why(reader));
    } else if (count != head.last_sequence) {
        result->missing++;
        note(result, "%.*s has %" PRIu64 " events of %" PRIu64, (int)stream.size, stream.data,
             count, head.last_sequence);
    }
}

static void compare_entry(struct comparing *comparing, struct store *store,
                          const struct history_entry *entry)
{
    struct comparison *result = comparing->result;
    const struct store_slice key = {comparing->history->keys + entry->key_at, entry->key_bytes};
    struct store_buffer value = {0};
    enum es_status status = store_get(store, NULL, entry->family, key, &value);

    if (status != ES_OK) {
        count_error(result, status, "the store says it");
    } else if (digest_of_value((struct store_slice){value.bytes, value.size}) != entry->digest) {
        result->wrong++;
        note(result, "other bytes of a key in %s", store_family_name(entry->family));
    }
    store_buffer_deinit(&value);
}

/* In key order: nothing is skipped, nothing is there that was not. */
static void compare_family(struct comparing *comparing, struct store *store,
                           enum store_family family)
{
    const struct store_range everything = {{NULL, 0}, {NULL, 0}};
    struct comparison *result = comparing->result;
    struct store_iterator *entries = NULL;
    uint32_t expected = 0;
    uint32_t found = 0;

    for (uint32_t i = 0; i < comparing->history->entry_count; i++) {
        expected += comparing->history->entries[i].family == family ? 1 : 0;
    }
    if (store_iterator_new(store, NULL, family, &everything, &entries) != ES_OK) {
        result->errors++;
        return;
    }
    for (store_iterator_seek_first(entries); store_iterator_valid(entries);
         store_iterator_next(entries)) {
        found++;
    }
    if (store_iterator_status(entries) != ES_OK) {
        result->errors++;
    } else if (found != expected) {
        result->missing++;
        note(result, "%u keys of %u in %s", found, expected, store_family_name(family));
    }
    store_iterator_free(entries);
}

/* The stream of a head's key, "S:{stream}:Head"; empty: another key. */
static struct es_text stream_of_head(const struct history *history,
                                     const struct history_entry *entry)
{
    const char *key = (const char *)history->keys + entry->key_at;

    if (entry->family != STORE_STREAM_META || entry->key_bytes < 8 ||
        memcmp(key + entry->key_bytes - 5, ":Head", 5) != 0) {
        return es_text_make("", 0);
    }
    return es_text_make(key + 2, entry->key_bytes - 7);
}

void history_compare(const struct history *history, struct store *store,
                     struct comparison *ret_comparison)
{
    struct comparing comparing = {.history = history, .result = ret_comparison};
    struct reader *reader = NULL;

    memset(ret_comparison, 0, sizeof *ret_comparison);
    if (reader_new(store, &reader) != ES_OK) {
        abort();
    }
    if (reader_begin(reader) != ES_OK) {
        count_error(ret_comparison, ES_E_CORRUPT, reader_why(reader));
    } else {
        compare_positions(&comparing, reader);
        for (uint32_t i = 0; i < history->entry_count; i++) {
            struct es_text stream = stream_of_head(history, &history->entries[i]);

            if (stream.size > 0 && ret_comparison->errors < 2 * ERRORS_MAX) {
                compare_stream(&comparing, reader, stream);
            }
        }
        reader_end(reader);
    }
    reader_free(reader);
    for (uint32_t i = 0; i < history->entry_count; i++) {
        compare_entry(&comparing, store, &history->entries[i]);
    }
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        compare_family(&comparing, store, families[i]);
    }
}

static void ignore(void *context, const struct verify_finding *finding)
{
    (void)context;
    (void)finding;
}

uint64_t history_verify(const struct history *history, struct store *store)
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;
    uint64_t findings = 0;

    if (verify_new(store, history->store_id, &verify) != ES_OK) {
        abort();
    }
    while (!progress.end && findings < FINDINGS_MAX) {
        if (verify_slice(verify, &cursor, 1000000000U, FINDINGS_MAX, ignore, NULL, &progress) !=
            ES_OK) {
            findings++;
            break;
        }
        findings += progress.findings;
    }
    verify_free(verify);
    return findings;
}
