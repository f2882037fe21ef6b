/*
 * Where the store and its streams stand: the store's head, a stream's head, and
 * the streams by prefix.
 */
#include "libclient/heads.h"

#include <string.h>

#include "libclient/question.h"
#include "shm/codec/names.h"
#include "shm/codec/stream_key.h"

#define STREAM_PAGE_COUNT 4096u

enum es_status es_store_head_ask(struct es_question *question)
{
    struct es_pack *pack = NULL;
    enum es_status status = es_question_begin(question, ES_VERB_STORE_HEAD, 0, 0, &pack);

    return status == ES_OK ? es_question_send(question, true) : status;
}

enum es_status es_store_head_read(const struct es_connection *connection, struct es_reply *reply,
                                  struct es_store_head *ret_head)
{
    struct es_store_head head = {.position = reply->position};
    enum es_status status;

    es_unpack_bin_copy(&reply->unpack, head.store_hash, ES_HASH_BYTES);
    es_unpack_bin_copy(&reply->unpack, head.store_id, ES_STORE_ID_BYTES);
    head.epoch = es_unpack_uint(&reply->unpack);
    head.commit_number = es_unpack_uint(&reply->unpack);
    head.start_number = es_unpack_uint(&reply->unpack);
    status = es_reply_check(connection, reply);
    if (status == ES_OK) {
        *ret_head = head;
    }
    return status;
}

enum es_status es_store_head(struct es_connection *connection, struct es_store_head *ret_head)
{
    struct es_question *question = NULL;
    struct es_pack *pack = NULL;
    struct es_reply reply = {0};
    enum es_status status;

    if (ret_head == NULL) {
        return ES_E_INVALID;
    }
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_begin(question, ES_VERB_STORE_HEAD, 0, 0, &pack);
    if (status == ES_OK) {
        status = es_question_ask(question, true, &reply);
    }
    if (status == ES_OK) {
        status = es_store_head_read(connection, &reply, ret_head);
        es_reply_free(&reply);
    }
    es_question_release(question);
    return status;
}

enum es_status es_head(struct es_connection *connection, const char *stream,
                       struct es_head *ret_head)
{
    struct es_question *question = NULL;
    struct es_pack *pack = NULL;
    struct es_reply reply = {0};
    struct es_head head = {0};
    enum es_status status;

    if (stream == NULL || ret_head == NULL) {
        return ES_E_INVALID;
    }
    status = es_question_acquire(connection, &question);
    if (status != ES_OK) {
        return status;
    }
    status = es_question_begin(question, ES_VERB_HEAD, 1, strlen(stream) + 8, &pack);
    if (status == ES_OK) {
        es_pack_str(pack, es_text_of(stream));
        status = es_question_ask(question, true, &reply);
    }
    if (status == ES_OK) {
        (void)es_unpack_str(&reply.unpack, ES_STREAM_SIZE_MAX);
        head.sequence = es_unpack_uint(&reply.unpack);
        es_unpack_bin_copy(&reply.unpack, head.hash, ES_HASH_BYTES);
        head.tick = es_unpack_uint(&reply.unpack);
        head.position = es_unpack_uint(&reply.unpack);
        head.first_sequence = es_unpack_uint(&reply.unpack);
        status = es_reply_check(connection, &reply);
        es_reply_free(&reply);
    }
    if (status == ES_OK) {
        *ret_head = head;
    }
    es_question_release(question);
    return status;
}

/* One page: visits its streams and remembers the last in 'after'. */
static enum es_status visit_page(struct es_connection *connection, struct es_reply *reply,
                                 es_stream_visitor *visit, void *context, char *after,
                                 bool *ret_is_over)
{
    struct es_unpack *unpack = &reply->unpack;
    uint32_t count = es_unpack_array(unpack);
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on && es_unpack_ok(unpack); i++) {
        uint32_t elements = es_unpack_array_in(unpack, 5, UINT32_MAX);
        struct es_text stream = es_unpack_str(unpack, ES_STREAM_BYTES_MAX);
        struct es_stream_parts parts;
        struct es_head head = {.first_sequence = 0};

        head.sequence = es_unpack_uint(unpack);
        es_unpack_bin_copy(unpack, head.hash, ES_HASH_BYTES);
        head.tick = es_unpack_uint(unpack);
        head.position = es_unpack_uint(unpack);
        es_unpack_skip_count(unpack, elements - 5);
        if (!es_unpack_ok(unpack) || es_stream_parse(stream, &parts) != ES_REASON_NONE ||
            es_text_equal(stream, es_text_of(after))) {
            es_unpack_fail(unpack);
            break;
        }
        memcpy(after, stream.data, stream.size);
        after[stream.size] = '\0';
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
    return es_reply_check(connection, reply);
}

enum es_status es_streams(struct es_connection *connection, const char *prefix,
                          es_stream_visitor *visit, void *context)
{
    char after[ES_STREAM_BYTES_MAX + 1] = "";
    struct es_question *question = NULL;
    bool is_over = false;
    enum es_status status;

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    prefix = prefix != NULL ? prefix : "";
    status = es_question_acquire(connection, &question);
    while (status == ES_OK && !is_over) {
        struct es_reply reply = {0};
        struct es_pack *pack = NULL;

        status = es_question_begin(question, ES_VERB_STREAMS, 3,
                                   strlen(prefix) + strlen(after) + 32, &pack);
        if (status == ES_OK) {
            es_pack_str(pack, es_text_of(prefix));
            es_pack_str(pack, es_text_of(after));
            es_pack_uint(pack, STREAM_PAGE_COUNT);
            status = es_question_ask(question, true, &reply);
        }
        if (status == ES_OK) {
            status = visit_page(connection, &reply, visit, context, after, &is_over);
            es_reply_free(&reply);
        }
    }
    if (question != NULL) {
        es_question_release(question);
    }
    return status;
}
