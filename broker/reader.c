#include "broker/reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/reader_state.h"
#include "shm/codec/chain.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

enum {
    AVERAGE_BYTES_AT_FIRST = 512
};

static void slab_free(struct reader_slab *slab)
{
    if (slab != NULL) {
        free(slab->many);
        free(slab->envelopes);
        free(slab);
    }
}

enum es_status reader_new(struct store *store, struct reader **ret_reader)
{
    struct reader *reader = calloc(1, sizeof *reader);
    struct reader_slab *slab = malloc(sizeof *slab);

    if (slab != NULL) {
        slab->envelopes = NULL;
        slab->envelope_capacity = 0;
        slab->many = malloc(sizeof *slab->many);
    }
    if (reader == NULL || slab == NULL || slab->many == NULL) {
        slab_free(slab);
        free(reader);
        return ES_E_NO_MEMORY;
    }
    slab_clear(slab);
    reader->slab = slab;
    reader->store = store;
    reader->average_bytes = AVERAGE_BYTES_AT_FIRST;
    *ret_reader = reader;
    return ES_OK;
}

void reader_free(struct reader *reader)
{
    if (reader == NULL) {
        return;
    }
    reader_end(reader);
    store_buffer_deinit(&reader->commit.bytes);
    store_buffer_deinit(&reader->value);
    store_buffer_deinit(&reader->event);
    free(reader->commit.runs);
    slab_free(reader->slab);
    free(reader);
}

enum es_status reader_damage(struct reader *reader, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reader->why, sizeof reader->why, format, arguments);
    va_end(arguments);
    return ES_E_CORRUPT;
}

enum es_status reader_iterator(struct reader *reader, enum store_family family,
                               struct store_iterator **iterator)
{
    const struct store_range everything = {{NULL, 0}, {NULL, 0}};

    if (*iterator != NULL) {
        return ES_OK;
    }
    return store_iterator_new(reader->store, reader->snapshot, family, &everything, iterator);
}

/* Before the first commit the store hash is that of the store's identity. */
static enum es_status head_of_nothing(struct reader *reader)
{
    struct es_store_identity identity;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_store(&key);
    status = store_get(reader->store, reader->snapshot, STORE_DEFAULT,
                       (struct store_slice){key.bytes, key.size}, &reader->value);
    if (status == ES_NOT_FOUND) {
        return ES_OK; /* not even created: a test's store */
    }
    if (status != ES_OK) {
        return status;
    }
    if (es_store_identity_decode(reader->value.bytes, reader->value.size, &identity) != ES_OK) {
        return reader_damage(reader, "the store's identity is damaged");
    }
    es_store_hash_genesis(identity.store_id, reader->head.store_hash);
    return ES_OK;
}

/* From the key, and the store hash from the record, which is damaged if that fails. */
static enum es_status head_of_last_commit(struct reader *reader)
{
    struct store_slice key = store_iterator_key(reader->commits);
    struct store_slice value = store_iterator_value(reader->commits);
    struct reader_head *head = &reader->head;
    struct es_commit_view view;
    enum es_status status = es_key_commit_parse(es_bytes_make(key.bytes, (uint32_t)key.size),
                                                &head->position, &head->commit_number);

    if (status == ES_OK) {
        status = es_commit_decode(value.bytes, value.size, &view);
    }
    if (status != ES_OK || view.commit_number != head->commit_number ||
        es_commit_last_position(&view) != head->position) {
        return reader_damage(
            reader, "the last commit record, %" PRIu64 " at position %" PRIu64 ", is damaged",
            head->commit_number, head->position);
    }
    memcpy(head->store_hash, view.store_hash, ES_HASH_SIZE);
    return ES_OK;
}

/* Everything but what the last commit record says. */
static enum es_status begin(struct reader *reader)
{
    enum es_status status = ES_OK;

    assert(reader->snapshot == NULL);
    reader->why[0] = '\0';
    reader->head = (struct reader_head){0};
    reader->commit.under_iterator = false;
    status = store_snapshot_new(reader->store, &reader->snapshot);
    if (status == ES_OK) {
        status = reader_iterator(reader, STORE_COMMITS, &reader->commits);
    }
    if (status == ES_OK) {
        store_iterator_seek_last(reader->commits);
    }
    return status;
}

enum es_status reader_begin(struct reader *reader)
{
    enum es_status status = begin(reader);

    if (status == ES_OK && store_iterator_valid(reader->commits)) {
        status = head_of_last_commit(reader);
    } else if (status == ES_OK) {
        status = store_iterator_status(reader->commits);
        status = status == ES_OK ? head_of_nothing(reader) : status;
    }
    if (status != ES_OK) {
        reader_end(reader);
    }
    return status;
}

enum es_status reader_begin_unchecked(struct reader *reader)
{
    enum es_status status = begin(reader);

    if (status == ES_OK && store_iterator_valid(reader->commits)) {
        status = head_of_last_commit(reader);
        status = status == ES_E_CORRUPT ? ES_OK : status;
    } else if (status == ES_OK) {
        status = store_iterator_status(reader->commits);
    }
    if (status != ES_OK) {
        reader_end(reader);
    }
    return status;
}

void reader_end(struct reader *reader)
{
    store_iterator_free(reader->commits);
    store_iterator_free(reader->events);
    reader->commits = NULL;
    reader->events = NULL;
    if (reader->snapshot != NULL) {
        store_snapshot_free(reader->store, reader->snapshot);
        reader->snapshot = NULL;
    }
}

const struct reader_head *reader_head(const struct reader *reader)
{
    return &reader->head;
}

struct store_snapshot *reader_snapshot(const struct reader *reader)
{
    return reader->snapshot;
}

const char *reader_why(const struct reader *reader)
{
    return reader->why;
}

enum es_status reader_stream_head(struct reader *reader, struct es_text stream,
                                  struct es_head_value *ret_head)
{
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_head(stream, &key);
    status = store_get(reader->store, reader->snapshot, STORE_STREAM_META,
                       (struct store_slice){key.bytes, key.size}, &reader->value);
    if (status == ES_NOT_FOUND) {
        return status;
    }
    if (status == ES_OK) {
        status = es_head_decode(reader->value.bytes, reader->value.size, ret_head);
    }
    if (status == ES_E_CORRUPT) {
        return reader_damage(reader, "the head of stream %.*s is damaged", (int)stream.size,
                             stream.data);
    }
    return status;
}

/* Whether the envelope's five parts spell 'stream'. */
static bool is_of_stream(const struct es_event_view *view, struct es_text stream)
{
    char text[ES_STREAM_SIZE_MAX];
    uint32_t size = es_stream_format(&view->event.stream, text);

    return es_text_equal(es_text_make(text, size), stream);
}

enum es_status reader_check_event(struct reader *reader, struct es_text stream, uint64_t sequence,
                                  uint64_t position, struct es_bytes envelope,
                                  struct es_event_view *ret_view)
{
    const char *what = NULL;
    struct es_event_view view;

    if (es_envelope_decode(envelope.data, envelope.size, &view) != ES_OK) {
        what = "is malformed";
    } else if (!is_of_stream(&view, stream)) {
        what = "belongs to another stream";
    } else if (es_chain_verify_hash(&view) != ES_OK) {
        what = "does not match its hash";
    }
    if (what != NULL) {
        return reader_damage(reader, "event %" PRIu64 " of stream %.*s at position %" PRIu64 " %s",
                             sequence, (int)stream.size, stream.data, position, what);
    }
    *ret_view = view;
    return ES_OK;
}

bool reader_filter_matches(struct es_text filter, struct es_text stream)
{
    char last = filter.size == 0 ? '*' : filter.data[filter.size - 1];

    if (last == '*') {
        return filter.size == 0 ||
               es_text_starts_with(stream, es_text_make(filter.data, filter.size - 1));
    }
    return es_text_starts_with(stream, filter) &&
           (last == ':' || (stream.size > filter.size && stream.data[filter.size] == ':'));
}
