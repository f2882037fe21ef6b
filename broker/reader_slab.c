#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/reader_state.h"
#include "shm/codec/chain.h"

void slab_clear(struct reader_slab *slab)
{
    slab->entry_count = 0;
    slab->stream_count = 0;
    slab->text_bytes = 0;
    slab->envelope_bytes = 0;
    memset(slab->table, 0, sizeof slab->table);
}

static uint64_t text_hash(struct es_text text)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (uint32_t i = 0; i < text.size; i++) {
        hash = (hash ^ (uint8_t)text.data[i]) * UINT64_C(1099511628211);
    }
    return hash ^ (hash >> 29);
}

/* The stream's index, a new one if need be; UINT32_MAX: no room for its text. */
static uint32_t stream_index(struct reader_slab *slab, struct es_text text)
{
    uint64_t place = text_hash(text) % SLAB_TABLE_SIZE;
    char *copy = slab->texts + slab->text_bytes;

    while (slab->table[place] != 0) {
        uint32_t index = slab->table[place] - 1;

        if (es_text_equal(slab->streams[index].text, text)) {
            return index;
        }
        place = (place + 1) % SLAB_TABLE_SIZE;
    }
    if (text.size > SLAB_TEXT_BYTES_MAX - slab->text_bytes) {
        return UINT32_MAX;
    }
    memcpy(copy, text.data, text.size);
    slab->text_bytes += text.size;
    slab->streams[slab->stream_count] = (struct slab_stream){
        .text = es_text_make(copy, text.size),
        .first = UINT32_MAX,
    };
    slab->stream_count++;
    slab->table[place] = slab->stream_count;
    return slab->stream_count - 1;
}

bool slab_add(struct reader_slab *slab, struct es_text stream, uint64_t sequence, uint64_t position,
              uint64_t time_us)
{
    uint32_t entry = slab->entry_count;
    uint32_t index = entry == READER_SLAB_EVENTS_MAX ? UINT32_MAX : stream_index(slab, stream);

    if (index == UINT32_MAX) {
        return false;
    }
    slab->entries[entry] = (struct slab_entry){
        .position = position,
        .sequence = sequence,
        .time_us = time_us,
        .stream = index,
    };
    if (slab->streams[index].first == UINT32_MAX) {
        slab->streams[index].first = entry;
    } else {
        slab->entries[slab->streams[index].last].next = entry;
    }
    slab->streams[index].last = entry;
    slab->entry_count++;
    return true;
}

static int compare_texts(const void *left, const void *right, void *context)
{
    const struct reader_slab *slab = context;
    struct es_text a = slab->streams[*(const uint32_t *)left].text;
    struct es_text b = slab->streams[*(const uint32_t *)right].text;
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Room for one more envelope. One that is alone may be as large as it likes. */
static enum es_status reserve(struct reader_slab *slab, size_t bytes)
{
    size_t capacity = bytes > READER_SLAB_BYTES_MAX ? bytes : READER_SLAB_BYTES_MAX;

    if (slab->envelopes != NULL && slab->envelope_bytes + bytes <= slab->envelope_capacity) {
        return ES_OK;
    }
    if (slab->envelope_bytes > 0 || (slab->entry_count > 1 && bytes > READER_SLAB_BYTES_MAX)) {
        return ES_FULL;
    }
    free(slab->envelopes);
    slab->envelope_capacity = 0;
    slab->envelopes = malloc(capacity);
    if (slab->envelopes == NULL) {
        return ES_E_NO_MEMORY;
    }
    slab->envelope_capacity = capacity;
    return ES_OK;
}

static bool is_at(const struct store_iterator *events, const struct es_key *key)
{
    struct store_slice found;

    if (!store_iterator_valid(events)) {
        return false;
    }
    found = store_iterator_key(events);
    return found.size == key->size && memcmp(found.bytes, key->bytes, key->size) == 0;
}

/* Puts the iterator on the event; false: it is not there or cannot be read. */
static bool find(struct store_iterator *events, const struct es_key *key, bool reading_on)
{
    if (reading_on && store_iterator_valid(events)) {
        store_iterator_next(events);
        if (is_at(events, key)) {
            return true;
        }
    }
    store_iterator_seek(events, (struct store_slice){key->bytes, key->size});
    return is_at(events, key);
}

/* Of the envelopes that were kept, at least 1. */
static uint64_t average_of(const struct reader_slab *slab)
{
    uint64_t kept = 1;

    for (uint32_t i = 0; i < slab->entry_count; i++) {
        kept += slab->entries[i].envelope != NULL ? 1 : 0;
    }
    return 1 + slab->envelope_bytes / kept;
}

/* What the fetch of one stream's entries carries from one to the next. */
struct fetch {
    struct es_key key;
    bool found_before; /* the entry before: it is sound and this is its successor */
    uint64_t sequence_before;
    const uint8_t *hash_before;
    uint64_t damage_position; /* lowest so far; UINT64_MAX: none */
    char damage[READER_WHY_BYTES];
};

/* Keeps the words about the damage that a reader in position order meets first. */
static void note_damage(struct reader *reader, struct fetch *fetch, uint64_t position)
{
    if (position < fetch->damage_position) {
        fetch->damage_position = position;
        memcpy(fetch->damage, reader->why, sizeof fetch->damage);
    }
}

/* Copies the bytes found for an entry; they are not checked yet. */
static enum es_status keep(struct reader_slab *slab, struct slab_entry *entry,
                           struct store_slice value)
{
    uint8_t *copy = NULL;
    enum es_status status = reserve(slab, value.size);

    if (status != ES_OK) {
        return status;
    }
    copy = slab->envelopes + slab->envelope_bytes;
    memcpy(copy, value.bytes, value.size);
    slab->envelope_bytes += value.size;
    entry->envelope = copy;
    entry->envelope_bytes = (uint32_t)value.size;
    return ES_OK;
}

/* Damage of an entry, in words; it is not served. */
static void condemn(struct reader *reader, struct fetch *fetch, struct slab_entry *entry,
                    const char *what)
{
    struct es_text stream = reader->slab->streams[entry->stream].text;

    (void)reader_damaged_event(reader, stream, entry->sequence, entry->position, what);
    note_damage(reader, fetch, entry->position);
    entry->envelope = NULL;
}

/* Checks what was kept, and its link if the entry before is its predecessor. */
static void check(struct reader *reader, struct fetch *fetch, struct slab_entry *entry)
{
    struct es_text stream = reader->slab->streams[entry->stream].text;
    struct es_event_view view;

    if (reader_check_event(reader, stream, entry->sequence, entry->position,
                           es_bytes_make(entry->envelope, entry->envelope_bytes), &view) != ES_OK) {
        note_damage(reader, fetch, entry->position);
        entry->envelope = NULL;
    } else if (fetch->found_before &&
               es_chain_verify_link(&view, entry->sequence,
                                    es_bytes_make(fetch->hash_before, ES_HASH_SIZE)) != ES_OK) {
        condemn(reader, fetch, entry, "does not follow the event before it");
    } else {
        fetch->hash_before = view.hash;
    }
}

static enum es_status fetch_entry(struct reader *reader, struct fetch *fetch,
                                  struct slab_entry *entry)
{
    bool reading_on = fetch->found_before && entry->sequence == fetch->sequence_before + 1;
    enum es_status status = ES_OK;

    es_number_key_encode(entry->sequence, fetch->key.bytes + fetch->key.size - ES_NUMBER_KEY_SIZE);
    fetch->found_before = reading_on;
    entry->envelope = NULL;
    if (find(reader->events, &fetch->key, reading_on)) {
        status = keep(reader->slab, entry, store_iterator_value(reader->events));
        if (status == ES_OK) {
            check(reader, fetch, entry);
        }
    } else {
        status = store_iterator_status(reader->events);
        if (status == ES_OK || status == ES_E_CORRUPT) {
            condemn(reader, fetch, entry, status == ES_OK ? "is missing" : "is unreadable");
            status = ES_OK;
        }
    }
    fetch->found_before = entry->envelope != NULL;
    fetch->sequence_before = entry->sequence;
    return status;
}

/* The entries of one stream, with the iterator: one seek, then on and on. */
static enum es_status fetch_stream(struct reader *reader, struct fetch *fetch,
                                   const struct slab_stream *stream)
{
    uint32_t index = stream->first;
    enum es_status status = ES_OK;

    es_key_event(stream->text, 0, &fetch->key);
    fetch->found_before = false;
    do {
        status = fetch_entry(reader, fetch, &reader->slab->entries[index]);
        index = reader->slab->entries[index].next;
    } while (status == ES_OK && index != 0);
    return status;
}

/* ---- events that have their stream to themselves: many keys at once ---- */

static enum es_status keep_one_of_many(void *context, size_t index, const struct store_slice *value)
{
    struct reader_slab *slab = context;
    struct slab_entry *entry = &slab->entries[slab->many->entries[index]];

    return value == NULL ? ES_OK : keep(slab, entry, *value);
}

static enum es_status fetch_many(struct reader *reader, struct fetch *fetch)
{
    struct reader_slab *slab = reader->slab;
    struct slab_many *many = slab->many;
    enum es_status status = ES_OK;

    for (uint32_t i = 0; i < many->count; i++) {
        slab->entries[many->entries[i]].envelope = NULL;
    }
    if (many->count > 0) {
        status = store_get_many(reader->store, reader->snapshot, STORE_EVENTS, many->slices,
                                many->count, keep_one_of_many, slab);
    }
    for (uint32_t i = 0; i < many->count && (status == ES_OK || status == ES_E_CORRUPT); i++) {
        struct slab_entry *entry = &slab->entries[many->entries[i]];

        fetch->found_before = false;
        if (status == ES_E_CORRUPT) { /* one of them: find out which */
            enum es_status alone = fetch_stream(reader, fetch, &slab->streams[entry->stream]);

            status = alone == ES_OK ? status : alone;
        } else if (entry->envelope == NULL) {
            condemn(reader, fetch, entry, "is missing");
        } else {
            check(reader, fetch, entry);
        }
    }
    many->count = 0;
    return status == ES_E_CORRUPT ? ES_OK : status;
}

/* Puts the stream's only entry among the many. */
static enum es_status add_to_many(struct reader *reader, struct fetch *fetch,
                                  const struct slab_stream *stream)
{
    struct slab_many *many = reader->slab->many;
    struct es_key *key = &many->keys[many->count];

    es_key_event(stream->text, reader->slab->entries[stream->first].sequence, key);
    many->slices[many->count] = (struct store_slice){key->bytes, key->size};
    many->entries[many->count] = stream->first;
    many->count++;
    return many->count == STORE_GET_MANY_MAX ? fetch_many(reader, fetch) : ES_OK;
}

enum es_status slab_fetch(struct reader *reader)
{
    struct reader_slab *slab = reader->slab;
    struct fetch fetch = {.damage_position = UINT64_MAX};
    enum es_status status = reader_iterator(reader, STORE_EVENTS, &reader->events);

    slab->envelope_bytes = 0;
    slab->many->count = 0;
    for (uint32_t i = 0; i < slab->stream_count; i++) {
        slab->order[i] = i;
    }
    qsort_r(slab->order, slab->stream_count, sizeof slab->order[0], compare_texts, slab);
    for (uint32_t i = 0; i < slab->stream_count && status == ES_OK; i++) {
        const struct slab_stream *stream = &slab->streams[slab->order[i]];

        status = stream->first == stream->last ? add_to_many(reader, &fetch, stream)
                                               : fetch_stream(reader, &fetch, stream);
    }
    if (status == ES_OK) {
        status = fetch_many(reader, &fetch);
    }
    if (slab->envelope_bytes > 0) {
        reader->average_bytes = average_of(slab);
    }
    if (status == ES_OK && fetch.damage_position != UINT64_MAX) {
        memcpy(reader->why, fetch.damage, sizeof reader->why);
    }
    return status;
}

uint32_t slab_count_wanted(const struct reader *reader, size_t bytes_left)
{
    uint64_t count = bytes_left / (reader->average_bytes + 1);

    if (count > READER_SLAB_EVENTS_MAX) {
        return READER_SLAB_EVENTS_MAX;
    }
    return count == 0 ? 1 : (uint32_t)count;
}

bool slab_emit(const struct reader_slab *slab, const struct slab_entry *entry, reader_emit_fn emit,
               void *context)
{
    const struct reader_event event = {
        .stream = slab->streams[entry->stream].text,
        .sequence = entry->sequence,
        .position = entry->position,
        .time_us = entry->time_us,
        .envelope = es_bytes_make(entry->envelope, entry->envelope_bytes),
    };

    return emit(context, &event);
}
