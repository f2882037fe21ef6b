#include "libclient/asking.h"

#include <string.h>

enum es_status es_ask(struct es_connection *connection, const struct es_request *request,
                      size_t value_bytes, bool is_repeatable, es_answer_reader *read, void *context)
{
    struct es_question *question = NULL;
    struct es_answer answer = {0};
    enum es_status status = es_question_acquire(connection, &question);

    if (status != ES_OK) {
        return status;
    }
    status = es_question_ask(question, request, value_bytes, is_repeatable, &answer);
    if (status == ES_OK) {
        if (read != NULL) {
            status = read(connection, &answer, context);
        }
        es_answer_free(&answer);
    }
    es_question_release(question);
    return status;
}

enum es_status es_ask_pages(struct es_connection *connection, const struct es_request *request,
                            es_page_reader *read, void *context)
{
    struct es_question *question = NULL;
    bool is_over = false;
    enum es_status status = es_question_acquire(connection, &question);

    if (status != ES_OK) {
        return status;
    }
    while (status == ES_OK && !is_over) {
        struct es_answer answer = {0};

        status = es_question_ask(question, request, 0, true, &answer);
        if (status == ES_OK) {
            status = read(connection, &answer, context, &is_over);
            es_answer_free(&answer);
        }
    }
    es_question_release(question);
    return status;
}

static enum es_status read_names(struct es_connection *connection, struct es_answer *answer,
                                 void *context, bool *ret_is_over)
{
    struct es_list *list = context;
    struct es_unpack *unpack = &answer->reply.rest;
    uint32_t count = es_unpack_array(unpack);
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on && es_unpack_ok(unpack); i++) {
        goes_on = list->visit_item(list, unpack, list->context);
    }
    if (!goes_on) {
        *ret_is_over = true;
        return ES_OK;
    }
    *ret_is_over = es_unpack_bool(unpack);
    if (count == 0 && !*ret_is_over) {
        es_unpack_fail(unpack); /* a page that leads nowhere */
    }
    *list->request_after = es_text_of(list->after);
    return es_answer_check(connection, answer);
}

enum es_status es_ask_list(struct es_connection *connection, struct es_list *list)
{
    *list->request_after = es_text_of(list->after);
    return es_ask_pages(connection, list->request, read_names, list);
}

bool es_list_goes_on(const struct es_list *list, struct es_text name)
{
    size_t after_bytes = strlen(list->after);
    size_t common = name.size < after_bytes ? name.size : after_bytes;
    int order = memcmp(name.data, list->after, common);

    return order > 0 || (order == 0 && name.size > after_bytes);
}

void es_list_keep(struct es_list *list, struct es_text name)
{
    memcpy(list->after, name.data, name.size);
    list->after[name.size] = '\0';
}
