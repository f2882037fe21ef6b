/*
 * Where the store and its streams stand: the store's head, a stream's head, and
 * the streams by prefix.
 */
#include "libclient/heads.h"

#include <string.h>

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

enum es_status es_store_head(struct es_connection *connection, struct es_store_head *ret_head)
{
    const struct es_request request = {.verb = ES_VERB_STORE_HEAD};
    struct es_question *question = NULL;
    struct es_answer answer = {0};
    enum es_status status;

    if (ret_head == NULL) {
        return ES_E_INVALID;
    }
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_ask(question, &request, 0, true, &answer);
    if (status == ES_OK) {
        status = es_store_head_of(connection, &answer, ret_head);
        es_answer_free(&answer);
    }
    es_question_release(question);
    return status;
}

static void fill_head(const struct es_stream_item *item, struct es_head *ret_head)
{
    ret_head->sequence = item->sequence;
    ret_head->position = item->position;
    ret_head->tick = item->tick;
    ret_head->first_sequence = item->first_sequence;
    memcpy(ret_head->hash, item->hash, ES_HASH_BYTES);
}

enum es_status es_head(struct es_connection *connection, const char *stream,
                       struct es_head *ret_head)
{
    struct es_request request = {.verb = ES_VERB_HEAD};
    struct es_question *question = NULL;
    struct es_answer answer = {0};
    enum es_status status;

    if (stream == NULL || ret_head == NULL) {
        return ES_E_INVALID;
    }
    request.as.stream = es_text_of(stream);
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_ask(question, &request, 0, true, &answer);
    if (status == ES_OK) {
        struct es_stream_item item;

        es_head_item_read(&answer.reply.rest, &item);
        status = es_answer_check(connection, &answer);
        if (status == ES_OK) {
            fill_head(&item, ret_head);
        }
        es_answer_free(&answer);
    }
    es_question_release(question);
    return status;
}

/* One page: visits its streams and remembers the last in 'after'. */
static enum es_status visit_page(struct es_connection *connection, struct es_answer *answer,
                                 es_stream_visitor *visit, void *context, char *after,
                                 bool *ret_is_over)
{
    struct es_unpack *unpack = &answer->reply.rest;
    uint32_t count = es_unpack_array(unpack);
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on; i++) {
        struct es_stream_item item;
        struct es_head head;

        es_stream_item_read(unpack, &item);
        if (!es_unpack_ok(unpack) || item.stream.size > ES_STREAM_BYTES_MAX ||
            es_text_equal(item.stream, es_text_of(after))) {
            es_unpack_fail(unpack);
            break;
        }
        memcpy(after, item.stream.data, item.stream.size);
        after[item.stream.size] = '\0';
        item.first_sequence = 0; /* not told here */
        fill_head(&item, &head);
        goes_on = visit(context, after, &head);
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

enum es_status es_streams(struct es_connection *connection, const char *prefix,
                          es_stream_visitor *visit, void *context)
{
    struct es_request request = {.verb = ES_VERB_STREAMS};
    char after[ES_STREAM_BYTES_MAX + 1] = "";
    struct es_question *question = NULL;
    bool is_over = false;
    enum es_status status;

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    request.as.streams.prefix = es_text_of(prefix != NULL ? prefix : "");
    request.as.streams.count = STREAM_PAGE_COUNT;
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    while (status == ES_OK && !is_over) {
        struct es_answer answer = {0};

        request.as.streams.after = es_text_of(after);
        status = es_question_ask(question, &request, 0, true, &answer);
        if (status == ES_OK) {
            status = visit_page(connection, &answer, visit, context, after, &is_over);
            es_answer_free(&answer);
        }
    }
    es_question_release(question);
    return status;
}
