#include "broker/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/verify_state.h"
#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"

enum {
    CURSOR_VERSION = 1,
    CURSOR_COUNT = 3,
    CLOCK_INTERVAL = 16
};

static const struct phase {
    enum store_family family;
    enum es_finding_kind kind; /* of what cannot even be read */
    enum es_status (*begin)(struct verify *verify, struct es_bytes after);
    enum es_status (*entry)(struct verify *verify, struct es_bytes key, struct es_bytes value);
    enum es_status (*end)(struct verify *verify);
} phases[] = {
    {STORE_COMMITS, ES_FINDING_COMMIT, verify_commits_begin, verify_commits_entry,
     verify_commits_end},
    {STORE_EVENTS, ES_FINDING_EVENT, verify_events_begin, verify_events_entry, NULL},
    {STORE_STREAM_META, ES_FINDING_HEAD, verify_streams_begin, verify_streams_entry,
     verify_streams_end},
    {STORE_DEFAULT, ES_FINDING_HEAD, verify_default_begin, verify_default_entry, NULL},
    {STORE_SNAPSHOTS, ES_FINDING_SNAPSHOT, NULL, verify_snapshots_entry, NULL},
    {STORE_KV, ES_FINDING_KEY, verify_values_begin, verify_truth_entry, verify_truth_end},
    {STORE_READ_MODELS, ES_FINDING_KEY, verify_values_begin, verify_values_entry, NULL},
    {STORE_PRODUCERS, ES_FINDING_PRODUCER, NULL, verify_producers_entry, NULL},
    {STORE_CONSUMERS, ES_FINDING_PRODUCER, NULL, verify_consumers_entry, NULL},
};
enum {
    PHASE_COUNT = sizeof phases / sizeof phases[0]
};

/* ---- life ---- */

enum es_status verify_new(struct store *store, const uint8_t *store_id, struct verify **ret_verify)
{
    struct verify *verify = calloc(1, sizeof *verify);
    enum es_status status = ES_E_NO_MEMORY;

    if (verify == NULL) {
        return status;
    }
    verify->store = store;
    memcpy(verify->store_id, store_id, ES_STORE_ID_SIZE);
    verify->seen = calloc(VERIFY_STREAMS_REMEMBERED, sizeof *verify->seen);
    verify->categories = calloc(VERIFY_CATEGORIES_REMEMBERED, sizeof *verify->categories);
    verify->events = calloc(STORE_GET_MANY_MAX, sizeof *verify->events);
    verify->keys = calloc(STORE_GET_MANY_MAX, sizeof *verify->keys);
    verify->slices = calloc(STORE_GET_MANY_MAX, sizeof *verify->slices);
    if (verify->seen != NULL && verify->categories != NULL && verify->events != NULL &&
        verify->keys != NULL && verify->slices != NULL) {
        status = reader_new(store, &verify->reader);
    }
    if (status == ES_OK) {
        *ret_verify = verify;
    } else {
        verify_free(verify);
    }
    return status;
}

void verify_free(struct verify *verify)
{
    if (verify == NULL) {
        return;
    }
    reader_free(verify->reader);
    store_buffer_deinit(&verify->value);
    verify_history_deinit(&verify->history);
    free(verify->seen);
    free(verify->categories);
    free(verify->events);
    free(verify->keys);
    free(verify->slices);
    free(verify);
}

/* ---- what the phases use ---- */

void verify_report(struct verify *verify, enum es_finding_kind kind, struct es_text stream,
                   uint64_t sequence, uint64_t position, const char *format, ...)
{
    char message[VERIFY_MESSAGE_BYTES];
    struct verify_finding finding = {kind, stream, sequence, position, message};
    va_list arguments;

    if (verify->progress.findings >= verify->findings_max) {
        verify->suppressed++;
        return;
    }
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    verify->progress.findings++;
    verify->found(verify->found_context, &finding);
}

enum es_status verify_get(struct verify *verify, enum store_family family, const struct es_key *key)
{
    return store_get(verify->store, reader_snapshot(verify->reader), family,
                     (struct store_slice){key->bytes, key->size}, &verify->value);
}

void verify_fingerprint(struct es_text text, uint8_t ret_fingerprint[VERIFY_FINGERPRINT_BYTES])
{
    es_hash_16(text.data, text.size, ret_fingerprint);
}

const char *verify_place_flaw(struct verify *verify, struct es_text stream, uint64_t sequence,
                              uint64_t position)
{
    const struct reader_run *run = NULL;

    if (position == 0 || position > reader_head(verify->reader)->position) {
        return "names a position that does not exist";
    }
    if (reader_commit_at(verify->reader, position) != ES_OK) {
        return "names a position whose commit record is missing or damaged";
    }
    run = reader_run_at(verify->reader, position);
    if (!es_text_equal(run->stream, stream) ||
        run->first_sequence + (position - run->first_position) != sequence) {
        return "names a position where another event is";
    }
    return NULL;
}

/* ---- slices ---- */

/* Where a slice begins, decoded. */
struct place {
    uint32_t phase;
    uint32_t key_bytes; /* of the entry checked last; 0: none in this phase */
    uint8_t key[ES_KEY_SIZE_MAX];
};

static enum es_status place_decode(const struct verify_cursor *cursor, struct place *ret_place)
{
    struct es_unpack unpack;
    struct es_bytes key;
    uint64_t phase = 0;

    ret_place->phase = 0;
    ret_place->key_bytes = 0;
    if (cursor->size == 0) {
        return ES_OK;
    }
    es_unpack_init(&unpack, cursor->bytes, cursor->size);
    (void)es_unpack_array_in(&unpack, CURSOR_COUNT, CURSOR_COUNT);
    (void)es_unpack_uint_in(&unpack, CURSOR_VERSION, CURSOR_VERSION);
    phase = es_unpack_uint_in(&unpack, 0, PHASE_COUNT);
    key = es_unpack_bin(&unpack, ES_KEY_SIZE_MAX);
    if (!es_unpack_done(&unpack)) {
        return ES_E_INVALID;
    }
    ret_place->phase = (uint32_t)phase;
    ret_place->key_bytes = key.size;
    memcpy(ret_place->key, key.data, key.size);
    return ES_OK;
}

static void place_encode(const struct place *place, struct verify_cursor *ret_cursor)
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, ret_cursor->bytes, sizeof ret_cursor->bytes);
    es_pack_array(&pack, CURSOR_COUNT);
    es_pack_uint(&pack, CURSOR_VERSION);
    es_pack_uint(&pack, place->phase);
    es_pack_bin(&pack, place->key, place->key_bytes);
    if (es_pack_finish(&pack, &size) == ES_OK) {
        ret_cursor->size = size;
    }
}

static void iterator_start(struct store_iterator *iterator, const struct place *place)
{
    if (place->key_bytes == 0) {
        store_iterator_seek_first(iterator);
        return;
    }
    store_iterator_seek(iterator, (struct store_slice){place->key, place->key_bytes});
    if (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        if (key.size == place->key_bytes && memcmp(key.bytes, place->key, key.size) == 0) {
            store_iterator_next(iterator);
        }
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Remembers where we are; a key too long to be one of ours is not remembered. */
static void place_move(struct verify *verify, struct place *place, struct es_bytes key)
{
    if (key.size <= sizeof place->key) {
        memcpy(place->key, key.data, key.size);
        place->key_bytes = key.size;
    }
    if (verify->suppressed > 0) {
        uint32_t more = verify->suppressed;

        verify->suppressed = 0;
        verify->findings_max++;
        verify_report(verify, phases[place->phase].kind, es_text_make("", 0), 0, 0,
                      "and %u more findings beside these", more);
    }
}

/* Checks entries until the phase, the time or the room for findings ends. */
static enum es_status run_entries(struct verify *verify, struct place *place,
                                  struct store_iterator *iterator, uint64_t deadline_ns)
{
    const struct phase *phase = &phases[place->phase];
    enum es_status status = ES_OK;

    for (uint32_t i = 1; status == ES_OK && store_iterator_valid(iterator); i++) {
        struct store_slice key = store_iterator_key(iterator);
        struct store_slice value = store_iterator_value(iterator);
        struct es_bytes key_bytes = es_bytes_make(key.bytes, (uint32_t)key.size);

        status = phase->entry(verify, key_bytes, es_bytes_make(value.bytes, (uint32_t)value.size));
        place_move(verify, place, key_bytes);
        store_iterator_next(iterator);
        if (verify->progress.findings >= verify->findings_max ||
            (i % CLOCK_INTERVAL == 0 && now_ns() >= deadline_ns)) {
            break;
        }
    }
    return status;
}

/* Runs one phase, or a part of it. '*ret_done': it has come to its end. */
static enum es_status run_phase(struct verify *verify, struct place *place, uint64_t deadline_ns,
                                bool *ret_done)
{
    const struct store_range everything = {{NULL, 0}, {NULL, 0}};
    const struct phase *phase = &phases[place->phase];
    struct store_iterator *iterator = NULL;
    enum es_status status = store_iterator_new(verify->store, reader_snapshot(verify->reader),
                                               phase->family, &everything, &iterator);

    *ret_done = false;
    if (status != ES_OK) {
        return status;
    }
    if (phase->begin != NULL) {
        status = phase->begin(verify, es_bytes_make(place->key, place->key_bytes));
    }
    if (status == ES_OK) {
        iterator_start(iterator, place);
        status = run_entries(verify, place, iterator, deadline_ns);
    }
    if (status == ES_OK && !store_iterator_valid(iterator)) {
        *ret_done = true;
        if (store_iterator_status(iterator) != ES_OK) {
            verify_report(verify, phase->kind, es_text_make("", 0), 0, 0,
                          "the rest of the family %s cannot be read: %.300s",
                          store_family_name(phase->family), store_why(verify->store));
        } else if (phase->end != NULL) {
            status = phase->end(verify);
        }
    }
    store_iterator_free(iterator);
    return status;
}

enum es_status verify_slice(struct verify *verify, struct verify_cursor *cursor, uint64_t budget_ns,
                            uint32_t findings_max, verify_found_fn found, void *context,
                            struct verify_progress *ret_progress)
{
    uint64_t deadline_ns = now_ns() + budget_ns;
    struct place place;
    enum es_status status = place_decode(cursor, &place);

    if (status != ES_OK) {
        return status;
    }
    if (cursor->size != verify->cursor.size ||
        memcmp(cursor->bytes, verify->cursor.bytes, cursor->size) != 0) {
        verify->history.whole = false; /* somebody else's slices lie between */
    }
    verify->found = found;
    verify->found_context = context;
    verify->findings_max = findings_max;
    verify->suppressed = 0;
    verify->progress = (struct verify_progress){0};
    memset(verify->seen, 0, VERIFY_STREAMS_REMEMBERED * sizeof *verify->seen);
    memset(verify->categories, 0, VERIFY_CATEGORIES_REMEMBERED * sizeof *verify->categories);
    verify->category_before_bytes = 0;
    status = reader_begin_unchecked(verify->reader);
    while (status == ES_OK && place.phase < PHASE_COUNT) {
        bool done = false;

        status = run_phase(verify, &place, deadline_ns, &done);
        if (!done) {
            break;
        }
        place.phase++;
        place.key_bytes = 0;
        if (verify->progress.findings >= findings_max || now_ns() >= deadline_ns) {
            break;
        }
    }
    reader_end(verify->reader);
    if (status == ES_OK) {
        place_encode(&place, cursor);
        verify->cursor = *cursor;
        verify->progress.phase = place.phase;
        verify->progress.end = place.phase == PHASE_COUNT;
        *ret_progress = verify->progress;
    }
    return status;
}
