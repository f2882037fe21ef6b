#include <assert.h>
#include <string.h>

#include "broker/request_worker.h"
#include "shm/codec/store_key.h"

/* ---- events ---- */

/* A page of events or of a scan's items. */
struct event_page {
    struct request_worker *worker;
    struct es_page page;
};

static bool emit_event(void *context, const struct reader_event *event)
{
    struct event_page *page = context;
    const struct es_published_event published = {
        .position = event->position,
        .sequence = event->sequence,
        .time_us = event->time_us,
        .envelope = event->envelope,
    };

    if (!request_page_room(page->worker, &page->page,
                           (uint64_t)event->envelope.size + ES_EVENT_ITEM_OVERHEAD)) {
        return false;
    }
    es_event_item_write(&page->page.pack, &published);
    es_page_count(&page->page);
    return true;
}

static bool emit_scanned(void *context, const struct reader_event *event)
{
    struct event_page *page = context;
    const struct es_scan_item item = {.sequence = event->sequence, .envelope = event->envelope};

    if (!request_page_room(page->worker, &page->page,
                           (uint64_t)event->envelope.size + ES_SCAN_ITEM_OVERHEAD)) {
        return false;
    }
    es_scan_item_write(&page->page.pack, &item);
    es_page_count(&page->page);
    return true;
}

static enum es_status events_end(struct event_page *page, const struct reader_page *read,
                                 struct es_bytes *ret_reply)
{
    es_page_end_items(&page->page);
    es_pack_bool(&page->page.pack, read->end);
    es_pack_uint(&page->page.pack, read->next);
    return request_page_end(page->worker, &page->page, 2, ret_reply);
}

enum es_status request_read_stream(struct request_worker *worker, const struct es_request *request,
                                   struct es_bytes *ret_reply)
{
    const struct es_request_read_stream *read = &request->as.read_stream;
    struct event_page page = {.worker = worker};
    struct reader_page reached = {0};
    enum es_status status = ES_OK;

    request_page_begin(worker, &page.page);
    status = reader_stream(worker->reader, read->stream, read->from_sequence, read->count,
                           read->backwards, emit_event, &page, &reached);
    if (status == ES_NOT_FOUND) {
        return request_say(worker, status, "there is no stream %.*s", (int)read->stream.size,
                           read->stream.data);
    }
    if (status == ES_TRUNCATED) {
        return request_say(worker, status, "the beginning of stream %.*s was truncated away",
                           (int)read->stream.size, read->stream.data);
    }
    return status == ES_OK ? events_end(&page, &reached, ret_reply)
                           : request_say_reader(worker, status);
}

enum es_status request_read_all(struct request_worker *worker, const struct es_request *request,
                                struct es_bytes *ret_reply)
{
    const struct es_request_read_all *read = &request->as.read_all;
    struct event_page page = {.worker = worker};
    struct reader_page reached = {0};
    enum es_status status = ES_OK;

    request_page_begin(worker, &page.page);
    status = reader_all(worker->reader, read->from_position, read->count, read->category,
                        emit_event, &page, &reached);
    return status == ES_OK ? events_end(&page, &reached, ret_reply)
                           : request_say_reader(worker, status);
}

enum es_status request_scan(struct request_worker *worker, const struct es_request *request,
                            struct es_bytes *ret_reply)
{
    const struct es_request_scan *scan = &request->as.scan;
    struct event_page page = {.worker = worker};
    struct es_key last_key;
    bool end = false;
    enum es_status status = ES_OK;

    request_page_begin(worker, &page.page);
    status = reader_scan(worker->reader, scan->after_key, scan->stream_prefix, scan->count,
                         emit_scanned, &page, &last_key, &end);
    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    es_page_end_items(&page.page);
    es_pack_bool(&page.page.pack, end);
    if (last_key.size > 0) {
        es_pack_bin(&page.page.pack, last_key.bytes, last_key.size);
    } else { /* nothing came: the place stays */
        es_pack_bin(&page.page.pack, scan->after_key.data, scan->after_key.size);
    }
    return request_page_end(worker, &page.page, 2, ret_reply);
}

/* ---- heads ---- */

static struct es_stream_item item_of(struct es_text stream, const struct es_head_value *head)
{
    return (struct es_stream_item){
        .stream = stream,
        .sequence = head->last_sequence,
        .hash = head->last_hash,
        .tick = head->last_tick,
        .position = head->last_position,
        .first_sequence = head->first_sequence,
    };
}

enum es_status request_head(struct request_worker *worker, const struct es_request *request,
                            struct es_bytes *ret_reply)
{
    struct es_text stream = request->as.stream;
    struct es_head_value head;
    struct es_stream_item item;
    struct es_pack pack;
    enum es_status status = reader_stream_head(worker->reader, stream, &head);

    if (status == ES_NOT_FOUND) {
        return request_say(worker, status, "there is no stream %.*s", (int)stream.size,
                           stream.data);
    }
    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    item = item_of(stream, &head);
    request_reply_begin(worker, &pack, 1);
    es_head_item_write(&pack, &item);
    return request_reply_end(worker, &pack, ret_reply);
}

enum es_status request_store_head(struct request_worker *worker, const struct es_request *request,
                                  struct es_bytes *ret_reply)
{
    const struct reader_head *head = reader_head(worker->reader);
    struct es_store_head_item item = {
        .epoch = worker->config->epoch,
        .commit_number = head->commit_number,
        .start_number = worker->config->start_number,
    };
    struct es_pack pack;

    (void)request;
    memcpy(item.store_hash, head->store_hash, ES_HASH_SIZE);
    memcpy(item.store_id, worker->config->store_id, ES_STORE_ID_SIZE);
    request_reply_begin(worker, &pack, ES_STORE_HEAD_COUNT);
    es_store_head_write(&pack, &item);
    return request_reply_end(worker, &pack, ret_reply);
}

/* ---- streams ---- */

/* If the iterator stands among the positions of 'stream', moves it past all of them. */
static void skip_positions(struct store_iterator *iterator, struct es_text stream)
{
    uint8_t end[ES_KEY_SIZE_MAX];
    struct es_key prefix;
    struct store_slice key;

    if (!store_iterator_valid(iterator)) {
        return;
    }
    es_key_pos_prefix(stream, &prefix);
    key = store_iterator_key(iterator);
    if (key.size >= prefix.size && memcmp(key.bytes, prefix.bytes, prefix.size) == 0) {
        size_t end_bytes = store_prefix_end((struct store_slice){prefix.bytes, prefix.size}, end);

        store_iterator_seek(iterator, (struct store_slice){end, end_bytes});
    }
}

/* Adds the head under the iterator. ES_FULL: the page takes no more. */
static enum es_status add_stream(struct request_worker *worker, struct es_page *page,
                                 const struct store_iterator *iterator, struct es_text *ret_stream)
{
    struct store_slice key = store_iterator_key(iterator);
    struct store_slice value = store_iterator_value(iterator);
    struct es_head_value head;
    struct es_stream_item item;
    struct es_text stream;

    if (es_key_head_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &stream) != ES_OK) {
        return ES_E_CORRUPT;
    }
    if (es_head_decode(value.bytes, value.size, &head) != ES_OK) {
        return request_say(worker, ES_E_CORRUPT, "the head of stream %.*s is damaged",
                           (int)stream.size, stream.data);
    }
    if (!request_page_room(worker, page, ES_STREAM_ITEM_SIZE_MAX)) {
        return ES_FULL;
    }
    item = item_of(stream, &head);
    es_stream_item_write(&page->pack, &item);
    es_page_count(page);
    *ret_stream = stream;
    return ES_OK;
}

/* Fills the page; ES_OK too if the iterator is at its end. */
static enum es_status list_streams(struct request_worker *worker, struct store_iterator *iterator,
                                   uint32_t count, struct es_page *page)
{
    enum es_status status = ES_OK;

    request_page_begin(worker, page);
    while (status == ES_OK && page->item_count < count && store_iterator_valid(iterator)) {
        char text[ES_STREAM_SIZE_MAX]; /* for the iterator moves under the view */
        struct es_text stream = {NULL, 0};

        status = add_stream(worker, page, iterator, &stream);
        if (status == ES_OK) {
            assert(stream.data != NULL);
            memcpy(text, stream.data, stream.size);
            store_iterator_next(iterator);
            skip_positions(iterator, es_text_make(text, stream.size));
        }
    }
    return status == ES_OK ? store_iterator_status(iterator) : status;
}

enum es_status request_streams(struct request_worker *worker, const struct es_request *request,
                               struct es_bytes *ret_reply)
{
    const struct es_request_streams *streams = &request->as.streams;
    struct es_key prefix = {.size = 2 + streams->prefix.size};
    struct es_key after = {.size = 0};
    struct store_iterator *iterator = NULL;
    struct es_page page;
    enum es_status status = ES_OK;
    bool end = false;

    memcpy(prefix.bytes, "S:", 2);
    memcpy(prefix.bytes + 2, streams->prefix.data, streams->prefix.size);
    if (streams->after.size > 0) {
        es_key_head(streams->after, &after);
    }
    status = request_iterate(worker, STORE_STREAM_META, es_bytes_make(prefix.bytes, prefix.size),
                             es_bytes_make(after.bytes, after.size), &iterator);
    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    if (streams->after.size > 0) {
        skip_positions(iterator, streams->after);
    }
    status = list_streams(worker, iterator, streams->count, &page);
    end = status == ES_OK && !store_iterator_valid(iterator);
    store_iterator_free(iterator);
    if (status != ES_OK && page.item_count == 0 && streams->after.size > 0) {
        return request_say_unreadable(worker, status, "the stream that follows %.*s",
                                      (int)streams->after.size, streams->after.data);
    }
    if (status != ES_OK && page.item_count == 0) {
        return request_say_unreadable(worker, status, "the first stream that begins with '%.*s'",
                                      (int)streams->prefix.size, streams->prefix.data);
    }
    es_page_end_items(&page);
    es_pack_bool(&page.pack, end);
    return request_page_end(worker, &page, 1, ret_reply);
}
