/*
 * The broker's counters and settings, by name; and the library's own version.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/asking.h"

#define NAME_BYTES_MAX ES_STATUS_NAME_MAX
#define TEXT_BYTES_MAX 4095u

const char *es_version(void)
{
    return "eventspine " ES_VERSION_TEXT;
}

void es_free(void *memory)
{
    free(memory);
}

/* One value; those of an array get the names name.0, name.1 and so on. */
static bool visit_value(struct es_unpack *unpack, es_status_visitor *visit, void *context,
                        const char *name, char *text_space)
{
    uint64_t number = 0;
    const char *text = NULL;

    if (es_unpack_peek(unpack) == ES_MSGPACK_STR) {
        struct es_text found = es_unpack_str(unpack, TEXT_BYTES_MAX);

        if (!es_unpack_ok(unpack)) {
            return false;
        }
        memcpy(text_space, found.data, found.size);
        text_space[found.size] = '\0';
        text = text_space;
    } else {
        number = es_unpack_uint(unpack);
    }
    return es_unpack_ok(unpack) && visit(context, name, number, text);
}

static bool visit_pair(struct es_unpack *unpack, es_status_visitor *visit, void *context)
{
    char text_space[TEXT_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
    uint32_t elements = es_unpack_array_in(unpack, 2, UINT32_MAX);
    struct es_text found = es_unpack_str(unpack, NAME_BYTES_MAX);
    bool goes_on = true;

    if (!es_unpack_ok(unpack)) {
        return false;
    }
    memcpy(name, found.data, found.size);
    name[found.size] = '\0';
    if (es_unpack_peek(unpack) != ES_MSGPACK_ARRAY) {
        goes_on = visit_value(unpack, visit, context, name, text_space);
    } else {
        uint32_t count = es_unpack_array(unpack);

        for (uint32_t i = 0; i < count && goes_on; i++) {
            char member[NAME_BYTES_MAX + 16];

            (void)snprintf(member, sizeof member, "%s.%u", name, i);
            goes_on = visit_value(unpack, visit, context, member, text_space);
        }
    }
    if (goes_on) {
        es_unpack_skip_count(unpack, elements - 2);
    }
    return goes_on;
}

struct visit {
    es_status_visitor *visit;
    void *context;
};

static enum es_status visit_pairs(struct es_connection *connection, struct es_answer *answer,
                                  void *context)
{
    const struct visit *visit = context;
    uint32_t count = es_unpack_array(&answer->reply.rest);
    bool goes_on = true;

    for (uint32_t i = 0; i < count && goes_on; i++) {
        goes_on = visit_pair(&answer->reply.rest, visit->visit, visit->context);
    }
    return es_answer_check(connection, answer);
}

enum es_status es_broker_status(struct es_connection *connection, es_status_visitor *visit,
                                void *context)
{
    const struct es_request request = {.verb = ES_VERB_STATUS};
    struct visit visiting = {visit, context};

    if (visit == NULL) {
        return ES_E_INVALID;
    }
    return es_ask(connection, &request, 0, true, visit_pairs, &visiting);
}
