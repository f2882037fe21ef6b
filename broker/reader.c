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

enum es_status reader_unreadable(struct reader *reader, enum es_status status, const char *format,
                                 ...)
{
    va_list arguments;
    int size = 0;

    if (status == ES_E_CORRUPT || status == ES_E_IO) {
        va_start(arguments, format);
        size = vsnprintf(reader->why, sizeof reader->why, format, arguments);
        va_end(arguments);
        if (size >= 0 && (size_t)size < sizeof reader->why) {
            snprintf(reader->why + size, sizeof reader->why - (size_t)size, " cannot be read");
        }
    }
    return status;
}

/* The place comes before the stream, whose name may be longer than an answer's words. */
enum es_status reader_damaged_event(struct reader *reader, struct es_text stream, uint64_t sequence,
                                    uint64_t position, const char *what)
{
    if (position == 0) {
        return reader_damage(reader, "event %" PRIu64 " of stream %.*s %s", sequence,
                             (int)stream.size, stream.data, what);
    }
    return reader_damage(reader,
                         "the event at position %" PRIu64 " %s: event %" PRIu64 " of stream %.*s",
                         position, what, sequence, (int)stream.size, stream.data);
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
        return reader_unreadable(reader, status, "the store's identity");
    }
    if (es_store_identity_decode(reader->value.bytes, reader->value.size, &identity) != ES_OK) {
        return reader_damage(reader, "the store's identity is damaged");
    }
    es_store_hash_genesis(identity.store_id, reader->head.store_hash);
    return ES_OK;
}

/* The position that the record under the iterator ends with; 0: there is no such record. */
static uint64_t position_under(const struct store_iterator *commits)
{
    struct store_slice key = {NULL, 0};
    uint64_t position = 0;
    uint64_t commit_number = 0;

    if (store_iterator_valid(commits)) {
        key = store_iterator_key(commits);
        (void)!es_key_commit_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &position,
                                   &commit_number);
    }
    return position;
}

/*
 * Where the last commit record cannot be read: the position of the last one
 * that can, with only unreadable ones behind it; found by halving.
 */
static uint64_t last_readable(struct store_iterator *commits)
{
    uint64_t low = 0;
    uint64_t high = UINT64_MAX; /* cannot be read */
    uint64_t position = 0;

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        struct es_key key;

        es_key_commit(middle, UINT64_MAX, &key);
        store_iterator_seek_for_prev(commits, (struct store_slice){key.bytes, key.size});
        if (!store_iterator_valid(commits) && store_iterator_status(commits) != ES_OK) {
            high = middle;
        } else {
            low = middle;
            position = position_under(commits);
        }
    }
    return position;
}

/* Words for a last record that does not say what it should. Moves the iterator. */
static enum es_status last_commit_damaged(struct reader *reader)
{
    uint64_t before = 0;

    store_iterator_prev(reader->commits);
    before =
        store_iterator_valid(reader->commits) || store_iterator_status(reader->commits) == ES_OK
            ? position_under(reader->commits)
            : last_readable(reader->commits);
    return reader_damage(reader,
                         "the last commit record, %" PRIu64 " at position %" PRIu64
                         ", is damaged: nothing vouches for position %" PRIu64 " and what follows",
                         reader->head.commit_number, reader->head.position, before + 1);
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
        return last_commit_damaged(reader);
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

/* There is no last commit, or it cannot be read. */
static enum es_status head_without_commit(struct reader *reader)
{
    enum es_status status = store_iterator_status(reader->commits);

    if (status == ES_OK) {
        return head_of_nothing(reader);
    }
    return reader_unreadable(reader, status,
                             "the last commit record, which vouches for position %" PRIu64
                             " and what follows,",
                             last_readable(reader->commits) + 1);
}

enum es_status reader_begin(struct reader *reader)
{
    enum es_status status = begin(reader);

    if (status == ES_OK && store_iterator_valid(reader->commits)) {
        status = head_of_last_commit(reader);
    } else if (status == ES_OK) {
        status = head_without_commit(reader);
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
    return reader_unreadable(reader, status, "the head of stream %.*s", (int)stream.size,
                             stream.data);
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
        return reader_damaged_event(reader, stream, sequence, position, what);
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
