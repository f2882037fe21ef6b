#include <inttypes.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/verify_state.h"
#include "shm/codec/chain.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

static const struct es_text no_stream = {"", 0};

/* ---- the record and the one before it ---- */

enum es_status verify_commits_begin(struct verify *verify, struct es_bytes after)
{
    struct verify_chain *chain = &verify->chain;
    struct es_commit_view view;
    struct es_key key = {.size = after.size};

    memset(chain, 0, sizeof *chain);
    if (after.size == 0) {
        es_store_hash_genesis(verify->store_id, chain->store_hash);
        chain->hash_known = true;
        verify_history_begin(verify);
        return ES_OK;
    }
    if (es_key_commit_parse(after, &chain->last_position, &chain->commit_number) != ES_OK) {
        return ES_E_INVALID;
    }
    memcpy(key.bytes, after.data, after.size);
    if (verify_get(verify, STORE_COMMITS, &key) == ES_OK &&
        es_commit_decode(verify->value.bytes, verify->value.size, &view) == ES_OK) {
        chain->time_us = view.time_us;
        chain->hash_known = true;
        memcpy(chain->store_hash, view.store_hash, ES_HASH_SIZE);
    }
    return ES_OK;
}

static void check_chain(struct verify *verify, const struct es_commit_view *view)
{
    const struct verify_chain *chain = &verify->chain;
    uint64_t position = view->first_position;

    if (view->commit_number != chain->commit_number + 1) {
        verify_report(verify, ES_FINDING_MISSING, no_stream, 0, chain->last_position + 1,
                      "commit %" PRIu64 " follows commit %" PRIu64, view->commit_number,
                      chain->commit_number);
    }
    if (view->first_position != chain->last_position + 1) {
        verify_report(verify, ES_FINDING_MISSING, no_stream, 0, chain->last_position + 1,
                      "commit %" PRIu64 " begins at position %" PRIu64 " and not at %" PRIu64,
                      view->commit_number, view->first_position, chain->last_position + 1);
    }
    if (chain->hash_known &&
        memcmp(view->previous_store_hash, chain->store_hash, ES_HASH_SIZE) != 0) {
        verify_report(verify, ES_FINDING_COMMIT, no_stream, 0, position,
                      "commit %" PRIu64 " does not continue the store hash of the one before it",
                      view->commit_number);
    }
    if (es_commit_verify_hash(view) != ES_OK) {
        verify_report(verify, ES_FINDING_COMMIT, no_stream, 0, position,
                      "commit %" PRIu64 " does not match its store hash", view->commit_number);
    }
    if (view->time_us < chain->time_us) {
        verify_report(verify, ES_FINDING_COMMIT, no_stream, 0, position,
                      "the time of commit %" PRIu64 " lies before that of the one before it",
                      view->commit_number);
    }
}

/* ---- events, some hundred together ---- */

/* Copies what is needed of one envelope: the store is locked meanwhile. */
static enum es_status look_at_event(void *context, size_t index, const struct store_slice *value)
{
    struct verify *verify = context;
    struct verify_event *event = &verify->events[index];
    struct es_event_view view;
    char text[ES_STREAM_SIZE_MAX];

    event->missing = value == NULL;
    event->flaw = NULL;
    if (value == NULL) {
        return ES_OK;
    }
    if (es_envelope_decode(value->bytes, value->size, &view) != ES_OK) {
        event->flaw = "is malformed";
        return ES_OK;
    }
    if (!es_text_equal(es_text_make(text, es_stream_format(&view.event.stream, text)),
                       event->stream)) {
        event->flaw = "belongs to another stream";
    } else if (es_chain_verify_hash(&view) != ES_OK) {
        event->flaw = "does not match its hash";
    }
    memcpy(event->hash, view.hash, ES_HASH_SIZE);
    event->first = view.event.previous_hash.size == 0;
    if (!event->first) {
        memcpy(event->previous_hash, view.event.previous_hash.data, ES_HASH_SIZE);
    }
    return ES_OK;
}

/* The stored hash of the event before; ES_NOT_FOUND: nothing to compare with. */
static enum es_status predecessor_hash(struct verify *verify, const struct verify_event *event,
                                       uint8_t ret_hash[ES_HASH_SIZE])
{
    const struct verify_seen *seen = &verify->seen[event->seen];
    struct es_head_value head;
    struct es_event_view view;
    struct es_key key;
    enum es_status status = ES_OK;

    if (memcmp(seen->stream, event->fingerprint, sizeof seen->stream) == 0 &&
        seen->looked_up == event->sequence - 1) {
        memcpy(ret_hash, seen->hash, ES_HASH_SIZE);
        return seen->hash_known ? ES_OK : ES_NOT_FOUND;
    }
    es_key_event(event->stream, event->sequence - 1, &key);
    status = verify_get(verify, STORE_EVENTS, &key);
    if (status == ES_OK) {
        status = es_envelope_decode(verify->value.bytes, verify->value.size, &view);
        if (status == ES_OK) {
            memcpy(ret_hash, view.hash, ES_HASH_SIZE);
        }
        return status == ES_OK ? ES_OK : ES_NOT_FOUND;
    }
    if (reader_stream_head(verify->reader, event->stream, &head) == ES_OK &&
        head.first_sequence == event->sequence && head.has_hash_before_first) {
        memcpy(ret_hash, head.hash_before_first, ES_HASH_SIZE);
        return ES_OK;
    }
    return status == ES_E_CORRUPT ? ES_NOT_FOUND : status;
}

static enum es_status check_link(struct verify *verify, struct verify_event *event)
{
    uint8_t expected[ES_HASH_SIZE];
    enum es_status status = ES_OK;

    if (event->sequence == 1 || event->first) {
        if (event->first != (event->sequence == 1)) {
            event->flaw = event->first ? "names no event before it"
                                       : "is the first of its stream and names one before it";
        }
        return ES_OK;
    }
    status = predecessor_hash(verify, event, expected);
    if (status == ES_OK && memcmp(expected, event->previous_hash, ES_HASH_SIZE) != 0) {
        event->flaw = "does not follow the event before it";
    }
    return status == ES_NOT_FOUND ? ES_OK : status;
}

static enum es_status judge_event(struct verify *verify, struct verify_event *event)
{
    struct verify_seen *seen = &verify->seen[event->seen];
    enum es_status status = ES_OK;

    if (event->missing) {
        verify->events_known = false;
        verify_report(verify, ES_FINDING_MISSING, event->stream, event->sequence, event->position,
                      "the event is missing");
    } else {
        if (event->flaw == NULL) {
            status = check_link(verify, event);
        }
        if (event->flaw != NULL) {
            verify_report(verify, ES_FINDING_EVENT, event->stream, event->sequence, event->position,
                          "the event %s", event->flaw);
        }
        es_events_hash_add(&verify->events_hash, event->hash);
    }
    if (memcmp(seen->stream, event->fingerprint, sizeof seen->stream) == 0) {
        seen->looked_up = event->sequence;
        seen->hash_known = !event->missing;
        memcpy(seen->hash, event->hash, ES_HASH_SIZE);
    }
    verify->progress.events_checked++;
    return status;
}

/* Looks up and judges what was collected. */
static enum es_status flush_events(struct verify *verify)
{
    enum es_status status = ES_OK;

    if (verify->event_count == 0) {
        return ES_OK;
    }
    for (uint32_t i = 0; i < verify->event_count; i++) {
        const struct verify_event *event = &verify->events[i];

        es_key_event(event->stream, event->sequence, &verify->keys[i]);
        verify->slices[i] = (struct store_slice){verify->keys[i].bytes, verify->keys[i].size};
    }
    status = store_get_many(verify->store, reader_snapshot(verify->reader), STORE_EVENTS,
                            verify->slices, verify->event_count, look_at_event, verify);
    if (status == ES_E_CORRUPT) { /* one of them: look at each alone */
        for (uint32_t i = 0; i < verify->event_count; i++) {
            struct store_slice value = {NULL, 0};

            status = verify_get(verify, STORE_EVENTS, &verify->keys[i]);
            value = (struct store_slice){verify->value.bytes, verify->value.size};
            (void)look_at_event(verify, i, status == ES_OK ? &value : NULL);
            if (status == ES_E_CORRUPT) {
                verify->events[i].missing = true;
            }
        }
        status = ES_OK;
    }
    for (uint32_t i = 0; i < verify->event_count && status == ES_OK; i++) {
        status = judge_event(verify, &verify->events[i]);
    }
    verify->event_count = 0;
    return status;
}

/* ---- runs ---- */

/* Where the run says the stream's event before it is. */
static void check_previous(struct verify *verify, const struct es_commit_run *run,
                           uint64_t position, const struct verify_seen *seen, bool is_seen)
{
    const char *flaw = NULL;

    if (run->first_sequence == 1) {
        flaw = run->previous_position == 0 ? NULL : "names a predecessor of the first event";
    } else if (is_seen && seen->sequence == run->first_sequence - 1) {
        flaw = run->previous_position == seen->position
                   ? NULL
                   : "names another position than its predecessor's";
    } else if (run->previous_position >= position) {
        flaw = "names a later position as its predecessor's";
    } else {
        flaw =
            verify_place_flaw(verify, run->stream, run->first_sequence - 1, run->previous_position);
    }
    if (flaw != NULL) {
        verify_report(verify, ES_FINDING_COMMIT, run->stream, run->first_sequence, position,
                      "the run of this event %s (%" PRIu64 ")", flaw, run->previous_position);
    }
}

/* What the store says of the category; 0: nothing. */
static uint64_t category_position(struct verify *verify, struct es_text category)
{
    uint8_t fingerprint[VERIFY_FINGERPRINT_BYTES];
    struct verify_category *entry = NULL;
    struct es_key key;
    uint64_t position = 0;
    uint32_t index = 0;

    if (es_text_equal(category,
                      es_text_make(verify->category_before, verify->category_before_bytes))) {
        return verify->categories[verify->category_index].last_position;
    }
    verify_fingerprint(category, fingerprint);
    memcpy(&index, fingerprint, sizeof index);
    index %= VERIFY_CATEGORIES_REMEMBERED;
    entry = &verify->categories[index];
    if (!entry->remembered || memcmp(entry->category, fingerprint, sizeof fingerprint) != 0) {
        es_key_category(category, &key);
        if (verify_get(verify, STORE_DEFAULT, &key) != ES_OK ||
            es_category_value_decode(verify->value.bytes, verify->value.size, &position) != ES_OK) {
            position = 0;
        }
        memcpy(entry->category, fingerprint, sizeof fingerprint);
        entry->last_position = position;
        entry->remembered = true;
    }
    memcpy(verify->category_before, category.data, category.size);
    verify->category_before_bytes = category.size;
    verify->category_index = index;
    return entry->last_position;
}

/* Remembers the run's last event, in place of another stream's if need be. */
static uint32_t remember_run(struct verify *verify, const struct es_commit_run *run,
                             uint64_t position, const uint8_t *fingerprint)
{
    uint32_t index = 0;
    struct verify_seen *seen = NULL;
    bool is_seen = false;

    memcpy(&index, fingerprint, sizeof index);
    index %= VERIFY_STREAMS_REMEMBERED;
    seen = &verify->seen[index];
    is_seen = memcmp(seen->stream, fingerprint, VERIFY_FINGERPRINT_BYTES) == 0;
    check_previous(verify, run, position, seen, is_seen);
    if (!is_seen) {
        memcpy(seen->stream, fingerprint, VERIFY_FINGERPRINT_BYTES);
        seen->looked_up = 0;
    }
    seen->sequence = run->first_sequence + run->count - 1;
    seen->position = position + run->count - 1;
    return index;
}

static enum es_status check_run(struct verify *verify, const struct es_commit_run *run,
                                uint64_t position)
{
    uint8_t fingerprint[VERIFY_FINGERPRINT_BYTES];
    uint64_t in_category = category_position(verify, es_stream_category(run->stream));
    uint32_t seen = 0;
    enum es_status status = ES_OK;

    verify_fingerprint(run->stream, fingerprint);
    seen = remember_run(verify, run, position, fingerprint);
    if (in_category < position + run->count - 1) {
        verify_report(verify, ES_FINDING_HEAD, run->stream, run->first_sequence, position,
                      "the last position of its category, %" PRIu64 ", lies before this event",
                      in_category);
    }
    for (uint64_t i = 0; i < run->count && status == ES_OK; i++) {
        struct verify_event *event = &verify->events[verify->event_count++];

        event->stream = run->stream;
        event->sequence = run->first_sequence + i;
        event->position = position + i;
        event->seen = seen;
        memcpy(event->fingerprint, fingerprint, sizeof fingerprint);
        if (verify->event_count == STORE_GET_MANY_MAX) {
            status = flush_events(verify);
        }
    }
    return status;
}

/* ---- one record ---- */

static enum es_status check_contents(struct verify *verify, const struct es_commit_view *view)
{
    struct es_commit_transaction transaction;
    struct es_commit_walk walk;
    struct es_commit_run run;
    struct es_commit_kv kv;
    uint8_t events_hash[ES_HASH_SIZE];
    uint64_t position = 0;
    enum es_status status = ES_OK;

    verify->event_count = 0;
    verify->events_known = true;
    es_events_hash_begin(&verify->events_hash);
    es_commit_walk_begin(view, &walk);
    while (status == ES_OK && es_commit_walk_transaction(&walk, &transaction)) {
        while (status == ES_OK && es_commit_walk_run(&walk, &run, &position)) {
            status = check_run(verify, &run, position);
        }
        while (status == ES_OK && es_commit_walk_kv(&walk, &kv)) {
            status = verify_history_note(verify, &kv, view);
        }
    }
    if (status == ES_OK) {
        status = flush_events(verify);
    }
    if (status == ES_OK) {
        status = verify_numbers(verify, view);
    }
    es_events_hash_end(&verify->events_hash, events_hash);
    if (status == ES_OK && verify->events_known &&
        memcmp(events_hash, view->events_hash, ES_HASH_SIZE) != 0) {
        verify_report(verify, ES_FINDING_COMMIT, no_stream, 0, view->first_position,
                      "commit %" PRIu64 " was made of other events", view->commit_number);
    }
    return status;
}

enum es_status verify_commits_entry(struct verify *verify, struct es_bytes key,
                                    struct es_bytes value)
{
    struct verify_chain *chain = &verify->chain;
    struct es_commit_view view;
    uint64_t last_position = 0;
    uint64_t commit_number = 0;
    enum es_status status = ES_OK;

    if (es_key_commit_parse(key, &last_position, &commit_number) != ES_OK) {
        verify_report(verify, ES_FINDING_EXTRA, no_stream, 0, 0,
                      "a key of the family commits is malformed");
        return ES_OK;
    }
    verify->progress.commits_checked++;
    if (es_commit_decode(value.data, value.size, &view) != ES_OK ||
        view.commit_number != commit_number || es_commit_last_position(&view) != last_position) {
        verify_report(verify, ES_FINDING_COMMIT, no_stream, 0, chain->last_position + 1,
                      "the record of commit %" PRIu64 " is damaged: positions %" PRIu64
                      " to %" PRIu64 " cannot be checked",
                      commit_number, chain->last_position + 1, last_position);
        chain->hash_known = false;
    } else {
        check_chain(verify, &view);
        if (view.count <= BATCH_EVENTS_MAX || es_commit_verify_hash(&view) == ES_OK) {
            status = check_contents(verify, &view); /* else its counts mean nothing */
        }
        chain->time_us = view.time_us;
        chain->hash_known = true;
        memcpy(chain->store_hash, view.store_hash, ES_HASH_SIZE);
    }
    chain->commit_number = commit_number;
    chain->last_position = last_position;
    return status;
}
