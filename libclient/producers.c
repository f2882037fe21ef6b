/*
 * Questions about named producers: one name and the receipt of a number, or the
 * list of all names. Owning a name is producer.c's business.
 */
#include <string.h>

#include "libclient/asking.h"
#include "shm/codec/names.h"
#include "shm/codec/receipt.h"

#define PRODUCER_PAGE_COUNT 1024u

static void fill_receipt(const struct es_wire_result *result, struct es_receipt *ret_receipt)
{
    ret_receipt->position = result->position;
    ret_receipt->sequence = result->stream_sequence;
    ret_receipt->tick = result->tick;
    ret_receipt->commit_number = result->commit_number;
    ret_receipt->time_us = result->time_us;
    ret_receipt->revision = result->revision;
    if (result->has_hash) {
        memcpy(ret_receipt->hash, result->hash, sizeof ret_receipt->hash);
    }
    if (result->has_store_hash) {
        memcpy(ret_receipt->store_hash, result->store_hash, sizeof ret_receipt->store_hash);
    }
}

/* What only the receipt itself says. A transaction of keys alone has none. */
static bool add_place(struct es_bytes receipt, struct es_producer_info *info)
{
    struct es_receipt_fields fields;

    if (receipt.size == 0) {
        return true;
    }
    if (es_receipt_decode(receipt.data, receipt.size, &fields) != ES_OK ||
        fields.stream.size > ES_STREAM_BYTES_MAX) {
        return false;
    }
    info->receipt.epoch = fields.epoch;
    memcpy(info->receipt.store_id, fields.store_id, sizeof info->receipt.store_id);
    memcpy(info->stream, fields.stream.data, fields.stream.size);
    info->stream[fields.stream.size] = '\0';
    return true;
}

/* 'context' is the info to fill in: it has the name already. */
static enum es_status read_info(struct es_connection *connection, struct es_answer *answer,
                                void *context)
{
    struct es_producer_info *ret_info = context;
    struct es_producer_info info = {.name = ret_info->name};
    struct es_producer_reply reply;
    enum es_status status;

    es_producer_reply_read(&answer->reply.rest, &reply);
    if (es_unpack_ok(&answer->reply.rest) && !add_place(reply.receipt, &info)) {
        es_unpack_fail(&answer->reply.rest);
    }
    status = es_answer_check(connection, answer);
    if (status != ES_OK) {
        return status;
    }
    info.last_number = reply.last_number;
    info.owner_lane = reply.owner_incarnation;
    info.owner_uid = reply.owner_uid;
    info.owner_pid = reply.owner_pid;
    info.owner_is_alive = reply.owner_alive;
    info.is_found = reply.found;
    if (reply.found) {
        fill_receipt(&reply.result, &info.receipt);
    }
    *ret_info = info;
    return ES_OK;
}

enum es_status es_producer_ask(struct es_connection *connection, const char *name, uint64_t number,
                               struct es_producer_info *ret_info)
{
    struct es_request request = {.verb = ES_VERB_PRODUCER};
    struct es_producer_info info = {.name = name};
    enum es_status status;

    if (name == NULL || ret_info == NULL) {
        return ES_E_INVALID;
    }
    request.as.producer.name = es_text_of(name);
    request.as.producer.number = number;
    status = es_ask(connection, &request, 0, true, read_info, &info);
    if (status == ES_OK) {
        *ret_info = info;
    }
    return status;
}

struct visit {
    es_producer_visitor *visit;
    void *context;
};

static bool visit_item(struct es_list *list, struct es_unpack *unpack, void *context)
{
    const struct visit *visit = context;
    struct es_producer_info info = {.name = list->after};
    struct es_producer_item item;

    es_producer_item_read(unpack, &item);
    if (!es_unpack_ok(unpack) || !es_list_goes_on(list, item.name)) {
        es_unpack_fail(unpack);
        return true;
    }
    es_list_keep(list, item.name);
    info.last_number = item.last_number;
    info.owner_lane = item.owner_incarnation;
    info.owner_uid = item.uid;
    return visit->visit(visit->context, &info);
}

enum es_status es_producers(struct es_connection *connection, es_producer_visitor *visit,
                            void *context)
{
    struct es_request request = {.verb = ES_VERB_PRODUCERS};
    char after[ES_NAME_BYTES_MAX + 1] = "";
    struct visit visiting = {visit, context};
    struct es_list list = {.request = &request,
                           .request_after = &request.as.producers.after,
                           .after = after,
                           .visit_item = visit_item,
                           .context = &visiting};

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.producers.count = PRODUCER_PAGE_COUNT;
    return es_ask_list(connection, &list);
}
