/*
 * Questions about named producers: one name and the receipt of a number, or the
 * list of all names. Owning a name is producer.c's business.
 */
#include <string.h>

#include "libclient/question.h"
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

static enum es_status read_info(const struct es_connection *connection, struct es_answer *answer,
                                const char *name, struct es_producer_info *ret_info)
{
    struct es_producer_info info = {.name = name};
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
    struct es_question *question = NULL;
    struct es_answer answer = {0};
    enum es_status status;

    if (name == NULL || ret_info == NULL) {
        return ES_E_INVALID;
    }
    request.as.producer.name = es_text_of(name);
    request.as.producer.number = number;
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_ask(question, &request, 0, true, &answer);
    if (status == ES_OK) {
        status = read_info(connection, &answer, name, ret_info);
        es_answer_free(&answer);
    }
    es_question_release(question);
    return status;
}

/* Names come in order: a listing that does not move on would never end. */
static bool is_after(struct es_text name, const char *after)
{
    size_t after_bytes = strlen(after);
    size_t common = name.size < after_bytes ? name.size : after_bytes;
    int order = memcmp(name.data, after, common);

    return order > 0 || (order == 0 && name.size > after_bytes);
}

/* One page: visits its names and remembers the last in 'after'. */
static enum es_status visit_page(struct es_connection *connection, struct es_answer *answer,
                                 es_producer_visitor *visit, void *context, char *after,
                                 bool *ret_is_over)
{
    struct es_unpack *unpack = &answer->reply.rest;
    uint32_t count = es_unpack_array(unpack);
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on; i++) {
        struct es_producer_info info = {.name = after};
        struct es_producer_item item;

        es_producer_item_read(unpack, &item);
        if (!es_unpack_ok(unpack) || !is_after(item.name, after)) {
            es_unpack_fail(unpack);
            break;
        }
        memcpy(after, item.name.data, item.name.size);
        after[item.name.size] = '\0';
        info.last_number = item.last_number;
        info.owner_lane = item.owner_incarnation;
        info.owner_uid = item.uid;
        goes_on = visit(context, &info);
    }
    if (!goes_on) {
        *ret_is_over = true;
        return ES_OK;
    }
    *ret_is_over = es_unpack_bool(unpack);
    if (count == 0 && !*ret_is_over) {
        es_unpack_fail(unpack); /* a page that leads nowhere */
    }
    return es_answer_check(connection, answer);
}

enum es_status es_producers(struct es_connection *connection, es_producer_visitor *visit,
                            void *context)
{
    struct es_request request = {.verb = ES_VERB_PRODUCERS};
    char after[ES_NAME_BYTES_MAX + 1] = "";
    struct es_question *question = NULL;
    bool is_over = false;
    enum es_status status;

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.producers.count = PRODUCER_PAGE_COUNT;
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    while (status == ES_OK && !is_over) {
        struct es_answer answer = {0};

        request.as.producers.after = es_text_of(after);
        status = es_question_ask(question, &request, 0, true, &answer);
        if (status == ES_OK) {
            status = visit_page(connection, &answer, visit, context, after, &is_over);
            es_answer_free(&answer);
        }
    }
    es_question_release(question);
    return status;
}
