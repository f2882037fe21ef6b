/*
 * A store compared with its history, unit by unit: see history.h.
 *
 *   windows of positions | windows of each stream's sequences | entries | families
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader.h"
#include "broker/verify.h"
#include "tests/corruption/history.h"

enum {
    WINDOW = 16,      /* positions, sequences or entries of a unit */
    ERRORS_MAX = 400, /* in events: a file that is gone costs thousands */
    FINDINGS_MAX = 10
};

struct comparing {
    const struct history *history;
    const struct history_observer *observer;
    struct store *store;
    struct comparison *total;
    struct comparison found; /* in this unit */
    struct reader *reader;   /* with a snapshot; NULL: none yet */
    uint32_t unit;
    uint64_t next; /* position */
};

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

/* ---- Units -------------------------------------------------------------------- */

static uint64_t windows_of(uint64_t count)
{
    return (count + WINDOW - 1) / WINDOW;
}

static uint64_t stream_windows(const struct history *history)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < history->entry_count; i++) {
        count += windows_of(history->entries[i].event_count);
    }
    return count;
}

uint32_t history_unit_count(const struct history *history)
{
    return (uint32_t)(windows_of(history->event_count) + stream_windows(history) +
                      windows_of(history->entry_count) + HISTORY_FAMILY_COUNT);
}

uint32_t history_first_key_unit(const struct history *history)
{
    return (uint32_t)(windows_of(history->event_count) + stream_windows(history));
}

uint32_t history_unit_of_position(uint64_t position)
{
    return (uint32_t)((position - 1) / WINDOW);
}

bool history_unit_is_of_positions(const struct history *history, uint32_t unit)
{
    return unit < windows_of(history->event_count);
}

bool history_unit_of_sequence(const struct history *history, struct es_text stream,
                              uint64_t sequence, uint32_t *ret_unit)
{
    uint64_t unit = windows_of(history->event_count);

    for (uint32_t i = 0; i < history->entry_count; i++) {
        const struct history_entry *entry = &history->entries[i];
        struct es_text head = history_stream_of(history, entry);

        if (head.size > 0 && head.size == stream.size &&
            memcmp(head.data, stream.data, head.size) == 0) {
            *ret_unit = (uint32_t)(unit + (sequence - 1) / WINDOW);
            return true;
        }
        unit += windows_of(entry->event_count);
    }
    return false;
}

/* True: to be read. The next number is the next unit's in any case. */
static bool begin_unit(struct comparing *comparing)
{
    const struct history_observer *observer = comparing->observer;

    memset(&comparing->found, 0, sizeof comparing->found);
    if (observer != NULL && observer->wants != NULL &&
        !observer->wants(observer->context, comparing->unit)) {
        comparing->unit++;
        return false;
    }
    return true;
}

static void close_reader(struct comparing *comparing)
{
    if (comparing->reader != NULL) {
        reader_end(comparing->reader);
        reader_free(comparing->reader);
        comparing->reader = NULL;
    }
}

static void end_unit(struct comparing *comparing)
{
    const struct history_observer *observer = comparing->observer;
    const struct comparison *found = &comparing->found;

    comparing->total->errors += found->errors;
    comparing->total->missing += found->missing;
    comparing->total->wrong += found->wrong;
    comparing->total->mute += found->mute;
    if (found->what[0] != '\0') {
        note(comparing->total, "%s", found->what);
    }
    if (observer != NULL && observer->is_cold) {
        close_reader(comparing);
    }
    if (observer != NULL && observer->ended != NULL) {
        observer->ended(observer->context, comparing->unit, found);
    }
    comparing->unit++;
}

static bool open_reader(struct comparing *comparing)
{
    enum es_status status = ES_OK;

    if (comparing->reader != NULL) {
        return true;
    }
    if (reader_new(comparing->store, &comparing->reader) != ES_OK) {
        abort();
    }
    status = reader_begin(comparing->reader);
    if (status != ES_OK) {
        count_error(&comparing->found, status, reader_why(comparing->reader));
        reader_free(comparing->reader);
        comparing->reader = NULL;
    }
    return status == ES_OK;
}

static bool is_too_bad(const struct comparing *comparing)
{
    return comparing->total->errors >= ERRORS_MAX &&
           (comparing->observer == NULL || comparing->observer->gives_up);
}

/* ---- Events -------------------------------------------------------------------- */

static bool compare_event(void *context, const struct reader_event *event)
{
    struct comparing *comparing = context;
    struct comparison *found = &comparing->found;

    if (event->position != comparing->next || event->position > comparing->history->event_count) {
        found->wrong++;
        note(found, "position %" PRIu64 " served where %" PRIu64 " should be", event->position,
             comparing->next);
    } else if (history_digest_of_event(event) != comparing->history->events[event->position - 1]) {
        found->wrong++;
        note(found, "position %" PRIu64 " served with other bytes", event->position);
    }
    comparing->next = event->position + 1;
    return true;
}

/* From 'first' to 'last'; behind the very last one there must be nothing. */
static void compare_positions(struct comparing *comparing, uint64_t first, uint64_t last)
{
    struct comparison *found = &comparing->found;
    uint64_t end = last == comparing->history->event_count ? last + 1 : last;

    comparing->next = first;
    while (comparing->next <= last) {
        struct reader_page page = {.end = false};
        uint64_t before = comparing->next;
        enum es_status status =
            reader_all(comparing->reader, before, (uint32_t)(end - before + 1),
                       (struct es_text){"", 0}, compare_event, comparing, &page);
        const char *why = reader_why(comparing->reader);

        if (status == ES_OK && comparing->next == before) {
            found->missing++;
            note(found, "the history ends at %" PRIu64 " of %" PRIu64, before - 1,
                 comparing->history->event_count);
            return;
        }
        if (status != ES_OK) {
            if (status == ES_E_CORRUPT && strstr(why, "position") == NULL &&
                strstr(why, "commit") == NULL) {
                found->mute++;
                note(found, "an error without a position: %s", why);
            }
            count_error(found, status, why);
            comparing->next++; /* behind the damage */
        }
    }
}

static bool count_event(void *context, const struct reader_event *event)
{
    (void)event;
    ++*(uint64_t *)context;
    return true;
}

/* A stream from sequence 'first' to 'last'; behind its end there must be nothing. */
static void compare_stream(struct comparing *comparing, const struct history_entry *entry,
                           uint64_t first, uint64_t last)
{
    struct es_text stream = history_stream_of(comparing->history, entry);
    struct comparison *found = &comparing->found;
    uint64_t end = last == entry->event_count ? last + 1 : last;
    uint64_t next = first;
    enum es_status status = ES_OK;

    while (status == ES_OK && next <= last) {
        struct reader_page page = {.end = false};
        uint64_t before = next;

        status = reader_stream(comparing->reader, stream, next, (uint32_t)(end - next + 1), false,
                               count_event, &next, &page);
        if (status == ES_OK && next == before) {
            break;
        }
    }
    if (status != ES_OK) {
        count_error(found, status, reader_why(comparing->reader));
    } else if (next != last + 1) {
        found->missing++;
        note(found, "%.*s has %" PRIu64 " events of %" PRIu64, (int)stream.size, stream.data,
             next - 1, entry->event_count);
    }
}

static void compare_events(struct comparing *comparing)
{
    const struct history *history = comparing->history;

    for (uint64_t first = 1; first <= history->event_count; first += WINDOW) {
        uint64_t last = first + WINDOW - 1;

        if (begin_unit(comparing)) {
            last = last < history->event_count ? last : history->event_count;
            if (!is_too_bad(comparing) && open_reader(comparing)) {
                compare_positions(comparing, first, last);
            }
            end_unit(comparing);
        }
    }
    for (uint32_t i = 0; i < history->entry_count; i++) {
        const struct history_entry *entry = &history->entries[i];

        for (uint64_t first = 1; first <= entry->event_count; first += WINDOW) {
            uint64_t last = first + WINDOW - 1;

            if (begin_unit(comparing)) {
                last = last < entry->event_count ? last : entry->event_count;
                if (!is_too_bad(comparing) && open_reader(comparing)) {
                    compare_stream(comparing, entry, first, last);
                }
                end_unit(comparing);
            }
        }
    }
    close_reader(comparing);
}

/* ---- Keys ---------------------------------------------------------------------- */

static void compare_entry(struct comparing *comparing, const struct history_entry *entry)
{
    struct comparison *found = &comparing->found;
    const struct store_slice key = {comparing->history->keys + entry->key_at, entry->key_bytes};
    struct store_buffer value = {0};
    enum es_status status = store_get(comparing->store, NULL, entry->family, key, &value);

    if (status != ES_OK) {
        count_error(found, status, "the store says it");
    } else if (history_digest_of_value((struct store_slice){value.bytes, value.size}) !=
               entry->digest) {
        found->wrong++;
        note(found, "other bytes of a key in %s", store_family_name(entry->family));
    }
    store_buffer_deinit(&value);
}

static void compare_entries(struct comparing *comparing)
{
    const struct history *history = comparing->history;

    for (uint32_t first = 0; first < history->entry_count; first += WINDOW) {
        if (begin_unit(comparing)) {
            for (uint32_t i = first; i < first + WINDOW && i < history->entry_count; i++) {
                compare_entry(comparing, &history->entries[i]);
            }
            end_unit(comparing);
        }
    }
}

/* In key order: nothing is skipped, nothing is there that was not. */
static void compare_family(struct comparing *comparing, enum store_family family)
{
    const struct store_range everything = {{NULL, 0}, {NULL, 0}};
    struct comparison *result = &comparing->found;
    struct store_iterator *entries = NULL;
    uint32_t expected = 0;
    uint32_t found = 0;

    for (uint32_t i = 0; i < comparing->history->entry_count; i++) {
        expected += comparing->history->entries[i].family == family ? 1 : 0;
    }
    if (store_iterator_new(comparing->store, NULL, family, &everything, &entries) != ES_OK) {
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

void history_compare(const struct history *history, struct store *store,
                     const struct history_observer *observer, struct comparison *ret_comparison)
{
    struct comparing comparing = {
        .history = history, .observer = observer, .store = store, .total = ret_comparison};

    memset(ret_comparison, 0, sizeof *ret_comparison);
    compare_events(&comparing);
    compare_entries(&comparing);
    for (uint32_t i = 0; i < HISTORY_FAMILY_COUNT; i++) {
        if (begin_unit(&comparing)) {
            compare_family(&comparing, history_families[i]);
            end_unit(&comparing);
        }
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
