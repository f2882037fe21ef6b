#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/request_worker.h"

enum es_status request_say(struct request_worker *worker, enum es_status status, const char *format,
                           ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(worker->message, sizeof worker->message, format, arguments);
    va_end(arguments);
    return status;
}

enum es_status request_say_reader(struct request_worker *worker, enum es_status status)
{
    const char *why = reader_why(worker->reader);

    if (status == ES_E_IO) {
        return request_say(worker, status, "%.700s: %.255s",
                           why[0] != '\0' ? why : "the store cannot be read",
                           store_why(worker->config->store));
    }
    if (status == ES_E_CORRUPT && why[0] != '\0') {
        return request_say(worker, status, "%.1000s", why);
    }
    return status;
}

enum es_status request_say_unreadable(struct request_worker *worker, enum es_status status,
                                      const char *format, ...)
{
    char what[REQUEST_MESSAGE_BYTES];
    va_list arguments;

    if ((status != ES_E_CORRUPT && status != ES_E_IO) || worker->message[0] != '\0') {
        return status;
    }
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (status == ES_E_IO) {
        return request_say(worker, status, "%.700s cannot be read: %.255s", what,
                           store_why(worker->config->store));
    }
    return request_say(worker, status, "%.1000s cannot be read", what);
}

enum es_status request_reserve(struct request_worker *worker, size_t bytes)
{
    bool oversized = worker->buffer_bytes > REQUEST_BUFFER_BYTES && bytes <= REQUEST_BUFFER_BYTES;
    uint8_t *buffer = NULL;

    if (bytes <= worker->buffer_bytes && !oversized) {
        return ES_OK;
    }
    buffer = malloc(bytes); /* one large reply does not keep its memory */
    if (buffer == NULL) {
        return ES_E_NO_MEMORY;
    }
    free(worker->buffer);
    worker->buffer = buffer;
    worker->buffer_bytes = bytes;
    return ES_OK;
}

uint64_t request_position(const struct request_worker *worker)
{
    return reader_snapshot(worker->reader) == NULL ? 0 : reader_head(worker->reader)->position;
}

void request_reply_begin(struct request_worker *worker, struct es_pack *pack, uint32_t rest_count)
{
    es_pack_init(pack, worker->buffer, worker->buffer_bytes);
    es_reply_begin(pack, ES_OK, request_position(worker), rest_count);
}

enum es_status request_reply_end(struct request_worker *worker, const struct es_pack *pack,
                                 struct es_bytes *ret_reply)
{
    uint32_t size = 0;
    enum es_status status = es_pack_finish(pack, &size);

    if (status == ES_OK) {
        *ret_reply = es_bytes_make(worker->buffer, size);
    }
    return status;
}

void request_page_begin(struct request_worker *worker, struct es_page *page)
{
    es_page_begin(page, worker->buffer, worker->buffer_bytes, PAGE_BYTES_MAX);
}

bool request_page_room(struct request_worker *worker, struct es_page *page, uint64_t item_bytes)
{
    size_t bytes = ES_REPLY_HEADER_MAX + (size_t)item_bytes + ES_REPLY_OVERHEAD_MAX;

    if (page->item_count == 0 && bytes > worker->buffer_bytes) {
        if (request_reserve(worker, bytes) != ES_OK) {
            return false;
        }
        request_page_begin(worker, page);
    }
    return es_page_has_room(page, item_bytes);
}

enum es_status request_page_end(struct request_worker *worker, struct es_page *page,
                                uint32_t rest_count, struct es_bytes *ret_reply)
{
    return es_page_finish(page, request_position(worker), rest_count, ret_reply);
}

/* Moves on from 'after' itself; the iterator is at or after it. */
static void step_over(struct store_iterator *iterator, struct es_bytes after)
{
    if (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        if (key.size == after.size && memcmp(key.bytes, after.data, after.size) == 0) {
            store_iterator_next(iterator);
        }
    }
}

enum es_status request_iterate(struct request_worker *worker, enum store_family family,
                               struct es_bytes prefix, struct es_bytes after,
                               struct store_iterator **ret_iterator)
{
    uint8_t end[ES_KEY_SIZE_MAX];
    struct store_range range = {.first = {prefix.data, prefix.size}};
    struct store_iterator *iterator = NULL;
    enum es_status status = ES_OK;

    if (prefix.size > sizeof end) {
        return ES_E_INVALID;
    }
    range.end = (struct store_slice){end, store_prefix_end(range.first, end)};
    status = store_iterator_new(worker->config->store, reader_snapshot(worker->reader), family,
                                &range, &iterator);
    if (status != ES_OK) {
        return status;
    }
    if (after.size == 0) {
        store_iterator_seek_first(iterator);
    } else {
        store_iterator_seek(iterator, (struct store_slice){after.data, after.size});
        step_over(iterator, after);
    }
    *ret_iterator = iterator;
    return ES_OK;
}

enum es_status request_scratch(struct request_worker *worker, struct es_pack *ret_pack)
{
    if (worker->scratch == NULL) {
        worker->scratch = malloc(REQUEST_SCRATCH_BYTES);
    }
    if (worker->scratch == NULL) {
        return ES_E_NO_MEMORY;
    }
    es_pack_init(ret_pack, worker->scratch, REQUEST_SCRATCH_BYTES);
    return ES_OK;
}
