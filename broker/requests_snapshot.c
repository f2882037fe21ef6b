#include <inttypes.h>
#include <string.h>

#include "broker/request_worker.h"
#include "broker/stored_snapshot.h"

enum {
    SNAPSHOTS_LOOKED_AT_MAX = 65536
}; /* of other projections, for one load */

static struct es_snapshot_item item_of(const struct stored_snapshot *stored, bool valid)
{
    static const uint8_t no_hash[ES_HASH_SIZE] = {0};
    struct es_snapshot_item item = {
        .stream = stored->stream,
        .tick = stored->tick,
        .sequence = stored->sequence,
        .hash = no_hash,
        .projection = stored->projection,
        .valid = valid,
    };

    if (stored->readable) {
        item.sequence = stored->value.sequence;
        item.hash = stored->value.event_hash;
        item.version = stored->value.version;
        item.created_us = stored->value.created_us;
        item.state_size = stored->value.state.size;
    }
    return item;
}

/* ---- save and delete, through the inbox ---- */

/* What a refused transaction says; ES_OK: it was stored. */
static enum es_status refusal_of(struct request_worker *worker, const struct es_lane_result *result,
                                 struct es_text stream)
{
    if (result->status == ES_OK) {
        return ES_OK;
    }
    return request_say(worker, (enum es_status)result->status, "%s, in stream %.*s",
                       result->reason == ES_REASON_NONE
                           ? es_status_text((enum es_status)result->status)
                           : es_reason_text(result->reason),
                       (int)stream.size, stream.data);
}

static enum es_status submit_operation(struct request_worker *worker,
                                       const struct es_operation *operation,
                                       struct es_lane_result *ret_result)
{
    struct es_pack pack;
    uint32_t size = 0;
    enum es_status status = request_scratch(worker, &pack);

    if (status != ES_OK) {
        return status;
    }
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, operation);
    status = es_pack_finish(&pack, &size);
    if (status != ES_OK) {
        return status;
    }
    return request_submit(worker, worker->scratch, size, 0, es_text_make("", 0), ret_result);
}

/* Answers with the snapshot as it is stored now. */
static enum es_status saved_reply(struct request_worker *worker,
                                  const struct es_request_snapshot_save *save,
                                  struct es_bytes *ret_reply)
{
    struct stored_snapshot stored = {
        .stream = save->stream, .tick = save->tick, .projection = save->projection};
    struct es_snapshot_item item;
    struct es_pack pack;
    struct es_key key;
    enum es_status status = reader_begin(worker->reader);

    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    stored.sequence = save->sequence;
    es_key_snapshot(save->stream, save->tick, save->sequence, save->projection, &key);
    status = store_get(worker->config->store, reader_snapshot(worker->reader), STORE_SNAPSHOTS,
                       (struct store_slice){key.bytes, key.size}, &worker->value);
    if (status == ES_NOT_FOUND) {
        return request_say(worker, status, "it was saved, and deleted at once by somebody else");
    }
    if (status != ES_OK) {
        return request_say_unreadable(worker, status,
                                      "the saved snapshot of tick %" PRIu64 " of stream %.*s",
                                      save->tick, (int)save->stream.size, save->stream.data);
    }
    stored.readable =
        es_snapshot_value_decode(worker->value.bytes, worker->value.size, &stored.value) == ES_OK;
    item = item_of(&stored, stored_snapshot_flaw(worker->reader, &stored) == NULL);
    request_reply_begin(worker, &pack, 1);
    es_snapshot_item_write(&pack, &item);
    return request_reply_end(worker, &pack, ret_reply);
}

enum es_status request_snapshot_save(struct request_worker *worker,
                                     const struct es_request *request, struct es_bytes *ret_reply)
{
    const struct es_request_snapshot_save *save = &request->as.snapshot_save;
    const struct es_operation operation = {
        .kind = ES_OPERATION_SNAPSHOT_SAVE,
        .as.snapshot_save = {.stream = save->stream,
                             .tick = save->tick,
                             .sequence = save->sequence,
                             .projection = save->projection,
                             .version = save->version,
                             .state = save->state},
    };
    struct es_lane_result result;
    enum es_status status = submit_operation(worker, &operation, &result);

    if (status == ES_OK) {
        status = refusal_of(worker, &result, save->stream);
    }
    return status == ES_OK ? saved_reply(worker, save, ret_reply) : status;
}

enum es_status request_snapshot_delete(struct request_worker *worker,
                                       const struct es_request *request, struct es_bytes *ret_reply)
{
    const struct es_request_snapshot_delete *delete = &request->as.snapshot_delete;
    const struct es_operation operation = {
        .kind = ES_OPERATION_SNAPSHOT_DELETE,
        .as.snapshot_delete = {.stream = delete->stream,
                               .every_projection = delete->every_projection,
                               .projection = delete->projection,
                               .every_tick = delete->every_tick,
                               .tick = delete->tick},
    };
    struct es_lane_result result = {.status = ES_OK};
    struct es_pack pack;
    uint64_t deleted = 0;
    enum es_status status = ES_OK;

    do { /* a transaction deletes so many and no more */
        status = submit_operation(worker, &operation, &result);
        if (status == ES_OK && result.status == ES_OK) {
            deleted += result.revision;
        }
    } while (status == ES_OK && result.status == ES_OK && result.revision >= BATCH_OPERATIONS_MAX);
    if (status == ES_OK && !(result.status == ES_NOT_FOUND && deleted > 0)) {
        status = refusal_of(worker, &result, delete->stream);
    }
    if (status == ES_OK) {
        status = reader_begin(worker->reader);
    }
    if (status != ES_OK) {
        return status;
    }
    request_reply_begin(worker, &pack, 1);
    es_pack_uint(&pack, deleted);
    return request_reply_end(worker, &pack, ret_reply);
}

/* ---- load and list ---- */

static enum es_status loaded_reply(struct request_worker *worker,
                                   const struct stored_snapshot *stored, struct es_bytes *ret_reply)
{
    struct es_snapshot_item item = item_of(stored, true);
    struct es_pack pack;
    enum es_status status =
        request_reserve(worker, ES_REPLY_OVERHEAD_MAX + (size_t)stored->value.state.size);

    if (status != ES_OK) {
        return status;
    }
    request_reply_begin(worker, &pack, 2);
    es_snapshot_item_write(&pack, &item);
    es_pack_bin(&pack, stored->value.state.data, stored->value.state.size);
    return request_reply_end(worker, &pack, ret_reply);
}

/* Backwards from where the iterator stands: the newest of the projection that holds. */
static enum es_status load_newest(struct request_worker *worker, struct store_iterator *iterator,
                                  struct es_text projection, struct es_bytes *ret_reply)
{
    for (uint32_t i = 0; i < SNAPSHOTS_LOOKED_AT_MAX && store_iterator_valid(iterator); i++) {
        struct stored_snapshot stored;

        if (stored_snapshot_read(store_iterator_key(iterator), store_iterator_value(iterator),
                                 &stored) == ES_OK &&
            es_text_equal(stored.projection, projection) &&
            stored_snapshot_flaw(worker->reader, &stored) == NULL) {
            return loaded_reply(worker, &stored, ret_reply);
        }
        store_iterator_prev(iterator);
    }
    if (store_iterator_valid(iterator)) {
        return request_say(worker, ES_E_LIMIT,
                           "too many snapshots lie between: name a smaller tick");
    }
    return store_iterator_status(iterator) == ES_OK ? ES_NOT_FOUND
                                                    : store_iterator_status(iterator);
}

enum es_status request_snapshot_load(struct request_worker *worker,
                                     const struct es_request *request, struct es_bytes *ret_reply)
{
    const struct es_request_snapshot_load *load = &request->as.snapshot_load;
    struct store_iterator *iterator = NULL;
    struct es_key prefix;
    struct es_key past;
    enum es_status status = ES_OK;

    es_key_snapshot_prefix(load->stream, &prefix);
    status = request_iterate(worker, STORE_SNAPSHOTS, es_bytes_make(prefix.bytes, prefix.size),
                             es_bytes_make(NULL, 0), &iterator);
    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    /* Every key of a tick lies below the first possible one of the next. */
    es_key_snapshot_seek(load->stream, load->newest ? UINT64_MAX : load->tick + 1, &past);
    store_iterator_seek_for_prev(iterator, (struct store_slice){past.bytes, past.size});
    if (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        if (key.size >= past.size && memcmp(key.bytes, past.bytes, past.size) == 0) {
            store_iterator_prev(iterator); /* that is of the next tick */
        }
    }
    status = load_newest(worker, iterator, load->projection, ret_reply);
    store_iterator_free(iterator);
    if (status == ES_NOT_FOUND) {
        return request_say(worker, status, "stream %.*s has no valid snapshot there",
                           (int)load->stream.size, load->stream.data);
    }
    if (load->newest) {
        return request_say_unreadable(worker, status, "the newest snapshot of stream %.*s",
                                      (int)load->stream.size, load->stream.data);
    }
    return request_say_unreadable(worker, status,
                                  "the newest snapshot up to tick %" PRIu64 " of stream %.*s",
                                  load->tick, (int)load->stream.size, load->stream.data);
}

/* Why a page is not even begun; 'after' is the key that it was to follow, size 0: none. */
static enum es_status stopped_after(struct request_worker *worker, enum es_status status,
                                    const struct es_request_snapshot_list *list)
{
    struct es_text stream = {NULL, 0};
    struct es_text projection = {NULL, 0};
    uint64_t tick = 0;
    uint64_t sequence = 0;

    if (es_key_snapshot_parse(list->after_key, &stream, &tick, &sequence, &projection) != ES_OK) {
        return request_say_unreadable(worker, status,
                                      "the first snapshot of the streams that begin with '%.*s'",
                                      (int)list->prefix.size, list->prefix.data);
    }
    return request_say_unreadable(
        worker, status, "what follows the snapshot '%.*s' of tick %" PRIu64 " of stream %.*s",
        (int)projection.size, projection.data, tick, (int)stream.size, stream.data);
}

enum es_status request_snapshot_list(struct request_worker *worker,
                                     const struct es_request *request, struct es_bytes *ret_reply)
{
    const struct es_request_snapshot_list *list = &request->as.snapshot_list;
    struct es_key prefix = {.size = 2 + list->prefix.size};
    struct es_key last = {.size = 0};
    struct store_iterator *iterator = NULL;
    struct es_page page;
    enum es_status status = ES_OK;
    bool end = false;

    memcpy(prefix.bytes, "S:", 2);
    memcpy(prefix.bytes + 2, list->prefix.data, list->prefix.size);
    status = request_iterate(worker, STORE_SNAPSHOTS, es_bytes_make(prefix.bytes, prefix.size),
                             list->after_key, &iterator);
    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    request_page_begin(worker, &page);
    while (page.item_count < list->count && store_iterator_valid(iterator) &&
           request_page_room(worker, &page, ES_SNAPSHOT_ITEM_SIZE_MAX)) {
        struct store_slice key = store_iterator_key(iterator);
        struct stored_snapshot stored;

        if (stored_snapshot_read(store_iterator_key(iterator), store_iterator_value(iterator),
                                 &stored) == ES_OK) {
            struct es_snapshot_item item =
                item_of(&stored, stored_snapshot_flaw(worker->reader, &stored) == NULL);

            es_snapshot_item_write(&page.pack, &item);
            es_page_count(&page);
        }
        last.size = (uint32_t)(key.size < sizeof last.bytes ? key.size : sizeof last.bytes);
        memcpy(last.bytes, key.bytes, last.size);
        store_iterator_next(iterator);
    }
    end = !store_iterator_valid(iterator);
    status = store_iterator_status(iterator);
    store_iterator_free(iterator);
    if (status != ES_OK && page.item_count == 0) {
        return stopped_after(worker, status, list);
    }
    es_page_end_items(&page);
    es_pack_bool(&page.pack, end && status == ES_OK);
    es_pack_bin(&page.pack, last.size > 0 ? last.bytes : list->after_key.data,
                last.size > 0 ? last.size : list->after_key.size);
    return request_page_end(worker, &page, 2, ret_reply);
}
