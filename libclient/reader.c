/*
 * Readers: one stream in either direction, or the whole store by position, every
 * event checked before it is handed out. Pages come from pages.h, the checks of
 * single events from event_check.h; here is which event must come next.
 */
#include <stdlib.h>
#include <string.h>

#include "libclient/event_check.h"
#include "libclient/filter.h"
#include "libclient/pages.h"
#include "shm/futex.h"

struct es_reader {
    struct es_guard guard;
    struct es_connection *connection; /* held */
    struct es_pages pages;
    struct es_filter filter; /* read all */
    struct es_links *links;  /* forwards only */
    bool is_stream;
    bool is_backwards;
    bool is_at_start; /* backwards: the stream's first event was delivered */
    uint64_t wanted;  /* sequence, or position of an unfiltered reading, that comes next; 0: any */
    uint64_t delivered;                   /* last sequence or position; 0: none yet */
    uint8_t previous_hash[ES_HASH_BYTES]; /* backwards: of the event that comes next */
    bool is_damaged;                      /* the next event is; reading does not go past it */
    struct es_event_space space;
};

static void free_reader(struct es_reader *reader)
{
    struct es_connection *connection = reader->connection;

    es_pages_deinit(&reader->pages);
    es_links_free(reader->links);
    es_handle_retire(reader);
    es_connection_drop(connection);
}

static enum es_status new_reader(struct es_connection *connection,
                                 const struct es_pages_options *options, uint32_t link_count,
                                 struct es_reader **ret_reader)
{
    struct es_reader *reader = NULL;
    enum es_status status;

    status = es_connection_hold(connection);
    if (status != ES_OK) {
        return status;
    }
    reader = es_handle_new(sizeof *reader);
    if (reader == NULL) {
        status = es_fail_no_memory(connection);
        es_connection_drop(connection);
        return status;
    }
    reader->connection = connection;
    status = es_pages_init(&reader->pages, connection, options);
    if (status == ES_OK && link_count > 0) {
        reader->links = es_links_new(link_count);
        status = reader->links != NULL ? ES_OK : es_fail_no_memory(connection);
    }
    if (status != ES_OK) {
        free_reader(reader);
        return status;
    }
    reader->is_stream = options->is_stream;
    reader->is_backwards = options->is_backwards;
    es_guard_init(&reader->guard);
    *ret_reader = reader;
    return ES_OK;
}

enum es_status es_reader_open_stream(struct es_connection *connection, const char *stream,
                                     uint64_t from_sequence, bool backwards,
                                     struct es_reader **ret_reader)
{
    const struct es_pages_options options = {
        .is_stream = true, .is_backwards = backwards, .target = stream, .from = from_sequence};
    enum es_status status;

    if (connection == NULL || stream == NULL || stream[0] == '\0' || ret_reader == NULL) {
        return ES_E_INVALID;
    }
    status = new_reader(connection, &options, backwards ? 0 : 1, ret_reader);
    if (status == ES_OK) {
        (*ret_reader)->wanted = from_sequence;
    }
    return status;
}

enum es_status es_reader_open_all(struct es_connection *connection, const char *filter,
                                  uint64_t from_position, struct es_reader **ret_reader)
{
    struct es_pages_options options = {.from = from_position != 0 ? from_position : 1};
    struct es_filter parsed;
    enum es_status status;

    if (connection == NULL || ret_reader == NULL) {
        return ES_E_INVALID;
    }
    status = es_filter_parse(connection, filter, &parsed);
    if (status != ES_OK) {
        return status;
    }
    options.target = parsed.text;
    status = new_reader(connection, &options, ES_LINK_COUNT, ret_reader);
    if (status == ES_OK) {
        (*ret_reader)->filter = parsed;
        (*ret_reader)->wanted = parsed.kind == ES_FILTER_ALL ? options.from : 0;
        (*ret_reader)->delivered = options.from - 1;
    }
    return status;
}

void es_reader_close(struct es_reader *reader)
{
    if (reader != NULL && es_guard_close(&reader->guard)) {
        free_reader(reader);
    }
}

uint64_t es_reader_consistent_position(const struct es_reader *reader)
{
    return reader != NULL ? reader->pages.consistent_position : 0;
}

/* An event of a stream: the right stream, the next number, backwards also the link. */
static enum es_status check_in_stream(struct es_reader *reader, const struct es_event *event)
{
    if (strcmp(event->stream, reader->pages.target) != 0) {
        return es_event_damaged(reader->connection, event, "it came in place of another stream's");
    }
    if (reader->is_backwards && reader->delivered == 0 && event->sequence < reader->wanted) {
        /* The broker begins at the last one there is; what was asked for is beyond it. */
        return es_fail(reader->connection, ES_NOT_FOUND, "%.200s: no such stream, or not that far",
                       reader->pages.target);
    }
    if (reader->wanted != 0 && event->sequence != reader->wanted) {
        return es_event_damaged(reader->connection, event,
                                "another sequence was due: one is missing");
    }
    if (!reader->is_backwards) {
        reader->wanted = event->sequence + 1;
        return ES_OK;
    }
    if (reader->delivered != 0 && memcmp(event->hash, reader->previous_hash, ES_HASH_BYTES) != 0) {
        return es_event_damaged(reader->connection, event,
                                "the event after it names another predecessor");
    }
    reader->wanted = event->sequence - 1;
    reader->is_at_start = event->previous_hash == NULL;
    if (event->previous_hash != NULL) {
        memcpy(reader->previous_hash, event->previous_hash, ES_HASH_BYTES);
    }
    return ES_OK;
}

/* An event of the whole store: wanted, further on, and without a filter the very next. */
static enum es_status check_in_store(struct es_reader *reader, const struct es_event *event)
{
    if (!es_filter_wants_stream(&reader->filter, es_text_of(event->stream))) {
        return es_event_damaged(reader->connection, event, "it came though it is filtered out");
    }
    if (event->position <= reader->delivered) {
        return es_event_damaged(reader->connection, event, "it is out of order");
    }
    if (reader->wanted != 0 && event->position != reader->wanted) {
        return es_event_damaged(reader->connection, event, "a position before it is missing");
    }
    if (reader->wanted != 0) {
        reader->wanted = event->position + 1;
    }
    return ES_OK;
}

static enum es_status read_next(struct es_reader *reader, struct es_event *ret_event)
{
    struct es_published_event found;
    struct es_event event;
    enum es_status status;

    if (atomic_load_explicit(&reader->connection->interrupted, memory_order_relaxed) != 0) {
        return ES_INTERRUPTED;
    }
    if (reader->is_damaged) {
        return ES_E_CORRUPT;
    }
    if (reader->is_at_start) {
        return ES_EMPTY;
    }
    status = es_pages_next(&reader->pages, ES_DEADLINE_NEVER, &found);
    if ((status == ES_EMPTY || status == ES_NOT_FOUND) && reader->is_stream) {
        /* A stream that has nothing to give from the start is not there, nor is a
         * sequence beyond its end; after the first event this is the end. */
        if (reader->delivered != 0) {
            return ES_EMPTY;
        }
        return es_fail(reader->connection, ES_NOT_FOUND, "%.200s: no such stream, or not that far",
                       reader->pages.target);
    }
    if (status != ES_OK) {
        return status;
    }
    status = es_event_check(reader->connection, reader->links, &found, &reader->space, &event);
    if (status == ES_OK) {
        status =
            reader->is_stream ? check_in_stream(reader, &event) : check_in_store(reader, &event);
    }
    if (status == ES_E_CORRUPT) {
        reader->is_damaged = true;
    }
    if (status == ES_OK) {
        reader->delivered = reader->is_stream ? event.sequence : event.position;
        *ret_event = event;
    }
    return status;
}

enum es_status es_reader_next(struct es_reader *reader, struct es_event *ret_event)
{
    enum es_status status;

    if (reader == NULL || ret_event == NULL) {
        return ES_E_INVALID;
    }
    status = es_guard_enter(&reader->guard);
    if (status == ES_OK) {
        status = read_next(reader, ret_event);
        es_guard_leave(&reader->guard);
    }
    return status;
}
