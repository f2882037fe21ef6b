/*
 * Where the store and its streams stand: the store's head, a stream's head, and
 * the streams by prefix.
 */
#include "libclient/heads.h"

#include <string.h>

#include "libclient/asking.h"

#define STREAM_PAGE_COUNT 4096u

enum es_status es_store_head_ask(struct es_question *question)
{
    const struct es_request request = {.verb = ES_VERB_STORE_HEAD};

    return es_question_send(question, &request, 0, true);
}

enum es_status es_store_head_of(const struct es_connection *connection, struct es_answer *answer,
                                struct es_store_head *ret_head)
{
    struct es_store_head_item item;
    enum es_status status;

    es_store_head_read(&answer->reply.rest, &item);
    status = es_answer_check(connection, answer);
    if (status != ES_OK) {
        return status;
    }
    ret_head->position = answer->reply.position;
    ret_head->epoch = item.epoch;
    ret_head->commit_number = item.commit_number;
    ret_head->start_number = item.start_number;
    memcpy(ret_head->store_hash, item.store_hash, ES_HASH_BYTES);
    memcpy(ret_head->store_id, item.store_id, ES_STORE_ID_BYTES);
    return ES_OK;
}

static enum es_status read_store_head(struct es_connection *connection, struct es_answer *answer,
                                      void *context)
{
    return es_store_head_of(connection, answer, context);
}

enum es_status es_store_head(struct es_connection *connection, struct es_store_head *ret_head)
{
    const struct es_request request = {.verb = ES_VERB_STORE_HEAD};

    if (ret_head == NULL) {
        return ES_E_INVALID;
    }
    return es_ask(connection, &request, 0, true, read_store_head, ret_head);
}

static void fill_head(const struct es_stream_item *item, struct es_head *ret_head)
{
    ret_head->sequence = item->sequence;
    ret_head->position = item->position;
    ret_head->tick = item->tick;
    ret_head->first_sequence = item->first_sequence;
    memcpy(ret_head->hash, item->hash, ES_HASH_BYTES);
}

static enum es_status read_head(struct es_connection *connection, struct es_answer *answer,
                                void *context)
{
    struct es_stream_item item;
    enum es_status status;

    es_head_item_read(&answer->reply.rest, &item);
    status = es_answer_check(connection, answer);
    if (status == ES_OK) {
        fill_head(&item, context);
    }
    return status;
}

enum es_status es_head(struct es_connection *connection, const char *stream,
                       struct es_head *ret_head)
{
    struct es_request request = {.verb = ES_VERB_HEAD};

    if (stream == NULL || ret_head == NULL) {
        return ES_E_INVALID;
    }
    request.as.stream = es_text_of(stream);
    return es_ask(connection, &request, 0, true, read_head, ret_head);
}

struct visit {
    es_stream_visitor *visit;
    void *context;
};

static bool visit_item(struct es_list *list, struct es_unpack *unpack, void *context)
{
    const struct visit *visit = context;
    struct es_stream_item item;
    struct es_head head;

    es_stream_item_read(unpack, &item);
    /* Streams come in the order of their parts, not of their texts. */
    if (!es_unpack_ok(unpack) || item.stream.size > ES_STREAM_BYTES_MAX ||
        es_text_equal(item.stream, es_text_of(list->after))) {
        es_unpack_fail(unpack);
        return true;
    }
    es_list_keep(list, item.stream);
    item.first_sequence = 0; /* not told here */
    fill_head(&item, &head);
    return visit->visit(visit->context, list->after, &head);
}

enum es_status es_streams(struct es_connection *connection, const char *prefix,
                          es_stream_visitor *visit, void *context)
{
    struct es_request request = {.verb = ES_VERB_STREAMS};
    char after[ES_STREAM_BYTES_MAX + 1] = "";
    struct visit visiting = {visit, context};
    struct es_list list = {.request = &request,
                           .request_after = &request.as.streams.after,
                           .after = after,
                           .visit_item = visit_item,
                           .context = &visiting};

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.streams.prefix = es_text_of(prefix != NULL ? prefix : "");
    request.as.streams.count = STREAM_PAGE_COUNT;
    return es_ask_list(connection, &list);
}
