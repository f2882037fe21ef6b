#include <inttypes.h>
#include <string.h>

#include "broker/first_result.h"
#include "broker/request_worker.h"
#include "shm/codec/receipt.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

/* The receipt of the number's last event; none where it appended no event. */
static enum es_status write_receipt(const struct request_worker *worker,
                                    const struct first_result *first,
                                    uint8_t bytes[ES_RECEIPT_SIZE_MAX],
                                    struct es_bytes *ret_receipt)
{
    const struct es_lane_result *result = &first->result;
    struct es_receipt_fields fields = {
        .epoch = result->epoch,
        .stream = es_text_make(first->stream, first->stream_bytes),
        .sequence = result->stream_sequence,
        .position = result->position,
        .commit_number = result->commit_number,
    };
    uint32_t size = 0;
    enum es_status status = ES_OK;

    if (first->stream_bytes == 0) {
        *ret_receipt = es_bytes_make(NULL, 0);
        return ES_OK;
    }
    memcpy(fields.store_id, worker->config->store_id, ES_STORE_ID_SIZE);
    memcpy(fields.event_hash, result->hash, ES_HASH_SIZE);
    memcpy(fields.store_hash, result->store_hash, ES_HASH_SIZE);
    status = es_receipt_encode(&fields, bytes, ES_RECEIPT_SIZE_MAX, &size);
    *ret_receipt = es_bytes_make(bytes, size);
    return status;
}

/* The producer's entry, from the reader's snapshot. */
static enum es_status read_entry(struct request_worker *worker, struct es_text name,
                                 struct es_producer_value *ret_entry)
{
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_producer(name, &key);
    status = store_get(worker->config->store, reader_snapshot(worker->reader), STORE_PRODUCERS,
                       (struct store_slice){key.bytes, key.size}, &worker->value);
    if (status == ES_OK) {
        status = es_producer_value_decode(worker->value.bytes, worker->value.size, ret_entry);
    }
    switch (status) {
    case ES_OK: return ES_OK;
    case ES_NOT_FOUND: return request_say(worker, status, "there is no such producer");
    default:
        return request_say(worker, status, "the entry of producer %.*s cannot be read",
                           (int)name.size, name.data);
    }
}

static enum es_status write_reply(struct request_worker *worker,
                                  const struct es_producer_reply *reply, struct es_bytes *ret_reply)
{
    struct es_pack pack;

    request_reply_begin(worker, &pack, ES_PRODUCER_REPLY_COUNT);
    es_producer_reply_write(&pack, reply);
    return request_reply_end(worker, &pack, ret_reply);
}

/* What everything published before the question has made of the number. */
static enum es_status answer_number(struct request_worker *worker, struct es_text name,
                                    uint64_t number, const struct es_producer_reply *known,
                                    struct es_bytes *ret_reply)
{
    uint8_t receipt[ES_RECEIPT_SIZE_MAX];
    struct es_producer_reply reply = *known;
    struct first_result first;
    enum es_status status = ES_NOT_FOUND;

    if (number > 0 && number <= reply.last_number) {
        status = first_result_find(worker->config->store, reader_snapshot(worker->reader), name,
                                   number, &first);
    }
    if (status == ES_OK) {
        reply.found = true;
        reply.result = request_wire_result(&first.result);
        status = write_receipt(worker, &first, receipt, &reply.receipt);
    } else if (status == ES_NOT_FOUND) {
        status = ES_OK;
    }
    if (status != ES_OK) {
        return request_say(worker, status,
                           "what number %" PRIu64 " of producer %.*s led to cannot be read", number,
                           (int)name.size, name.data);
    }
    return write_reply(worker, &reply, ret_reply);
}

enum es_status request_producer(struct request_worker *worker, const struct es_request *request,
                                struct es_bytes *ret_reply)
{
    const struct es_request_producer *producer = &request->as.producer;
    struct errand errand = {.producer = producer->name, .uid = worker->uid};
    struct es_producer_value entry = {.last_sequence = 0};
    struct es_producer_reply reply = {.found = false};
    enum es_status status = inbox_run(worker->config->inbox, &errand);

    if (status == ES_E_CORRUPT) {
        return request_say(worker, status, "the entry of producer %.*s cannot be read",
                           (int)producer->name.size, producer->name.data);
    }
    if (status != ES_OK) {
        return request_say(worker, status, "the broker is stopping, or too busy: ask again");
    }
    status = reader_begin(worker->reader);
    if (status != ES_OK) {
        return request_say_reader(worker, status);
    }
    status = read_entry(worker, producer->name, &entry);
    if (status != ES_OK) {
        return status;
    }
    reply.last_number = entry.last_sequence;
    reply.owner_incarnation = entry.owner_incarnation;
    reply.owner_uid = entry.owner_uid;
    if (errand.owner_incarnation == entry.owner_incarnation && errand.owner_incarnation != 0) {
        reply.owner_pid = errand.owner_pid;
        reply.owner_alive = errand.owner_lives;
    }
    return answer_number(worker, producer->name, producer->number, &reply, ret_reply);
}

/* Behind the numbers of 'name', where the next producer's entry is. */
static void pass_numbers(struct store_iterator *iterator, struct es_text name)
{
    struct es_key key;

    es_key_producer(name, &key);
    key.bytes[key.size++] = ':' + 1; /* the numbers' keys go on with a colon */
    store_iterator_seek(iterator, (struct store_slice){key.bytes, key.size});
}

static enum es_status list_producers(struct request_worker *worker, struct store_iterator *iterator,
                                     uint32_t count, struct es_page *page)
{
    while (store_iterator_valid(iterator) && page->item_count < count &&
           request_page_room(worker, page, ES_PRODUCER_ITEM_SIZE_MAX)) {
        struct store_slice key = store_iterator_key(iterator);
        struct store_slice value = store_iterator_value(iterator);
        struct es_producer_value entry;
        struct es_text name;
        uint64_t number = 0;

        if (es_key_producer_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &name, &number) !=
            ES_OK) {
            return ES_E_CORRUPT;
        }
        if (number != 0) {
            pass_numbers(iterator, name);
            continue;
        }
        if (es_producer_value_decode(value.bytes, value.size, &entry) != ES_OK) {
            return ES_E_CORRUPT;
        }
        es_producer_item_write(&page->pack, &(struct es_producer_item){name, entry.last_sequence,
                                                                       entry.owner_incarnation,
                                                                       entry.owner_uid});
        es_page_count(page);
        store_iterator_next(iterator);
    }
    return store_iterator_status(iterator);
}

/* Where only numbers are left, nothing is. */
static bool is_at_end(struct store_iterator *iterator)
{
    struct es_text name;
    uint64_t number = 0;

    while (store_iterator_valid(iterator)) {
        struct store_slice key = store_iterator_key(iterator);

        if (es_key_producer_parse(es_bytes_make(key.bytes, (uint32_t)key.size), &name, &number) !=
                ES_OK ||
            number == 0) {
            return false;
        }
        pass_numbers(iterator, name);
    }
    return true;
}

enum es_status request_producers(struct request_worker *worker, const struct es_request *request,
                                 struct es_bytes *ret_reply)
{
    const struct es_request_producers *producers = &request->as.producers;
    struct store_iterator *iterator = NULL;
    struct es_page page;
    struct es_key after = {.size = 0};
    bool end = false;
    enum es_status status = ES_OK;

    if (producers->after.size > 0) {
        es_key_producer(producers->after, &after);
    }
    status = request_iterate(worker, STORE_PRODUCERS, es_bytes_make("P:", 2),
                             es_bytes_make(after.bytes, after.size), &iterator);
    if (status != ES_OK) {
        return status;
    }
    request_page_begin(worker, &page);
    status = list_producers(worker, iterator, producers->count, &page);
    if (status == ES_OK) {
        end = is_at_end(iterator);
        status = store_iterator_status(iterator);
    }
    store_iterator_free(iterator);
    if (status != ES_OK && page.item_count == 0) {
        return request_say_unreadable(worker, status,
                                      producers->after.size > 0 ? "the producer that follows %.*s"
                                                                : "the first producer%.*s",
                                      (int)producers->after.size, producers->after.data);
    }
    end = end && status == ES_OK; /* the next page meets the damage */
    es_page_end_items(&page);
    es_pack_bool(&page.pack, end);
    return request_page_end(worker, &page, 1, ret_reply);
}
