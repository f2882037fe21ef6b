#include "libclient/filter.h"

#include <stdio.h>
#include <string.h>

static uint32_t colon_count(const char *text, size_t size)
{
    uint32_t count = 0;

    for (size_t i = 0; i < size; i++) {
        count += text[i] == ':';
    }
    return count;
}

/* A prefix may end with the colon after the category, and not go beyond: it
 * chooses categories, which is what is published. */
static bool prefix_is_sound(const char *text, size_t size)
{
    uint32_t colons = colon_count(text, size);

    return size <= ES_CATEGORY_SIZE_MAX + 1 &&
           (colons < 4 || (colons == 4 && text[size - 1] == ':'));
}

enum es_status es_filter_parse(const struct es_connection *connection, const char *text,
                               struct es_filter *ret_filter)
{
    struct es_filter filter = {.kind = ES_FILTER_ALL, .text = "", .topic = "S:"};
    size_t size = text != NULL ? strlen(text) : 0;

    if (size == 0) {
        *ret_filter = filter;
        return ES_OK;
    }
    if (text[size - 1] == '*') {
        filter.kind = size == 1 ? ES_FILTER_ALL : ES_FILTER_PREFIX;
        if (!prefix_is_sound(text, size - 1)) {
            return es_fail(connection, ES_E_INVALID,
                           "the filter '%.100s' goes beyond the category: at most "
                           "variant:branch:L0:domain:*",
                           text);
        }
        (void)snprintf(filter.topic, sizeof filter.topic, "S:%.*s", (int)size - 1, text);
    } else {
        filter.kind = ES_FILTER_CATEGORY;
        if (size > ES_CATEGORY_SIZE_MAX || es_category_check(es_text_of(text)) != ES_REASON_NONE) {
            return es_fail(connection, ES_E_INVALID,
                           "the filter '%.100s' is not a category, variant:branch:L0:domain; "
                           "to choose all that begin so, end it with *",
                           text);
        }
        (void)snprintf(filter.topic, sizeof filter.topic, "S:%s:", text);
    }
    if (filter.kind != ES_FILTER_ALL) {
        memcpy(filter.text, text, size + 1);
    }
    *ret_filter = filter;
    return ES_OK;
}

bool es_filter_wants_category(const struct es_filter *filter, struct es_text category)
{
    struct es_text wanted = es_text_of(filter->topic + 2);

    if (filter->kind == ES_FILTER_CATEGORY) {
        return wanted.size == category.size + 1 &&
               memcmp(wanted.data, category.data, category.size) == 0;
    }
    if (es_text_starts_with(category, wanted)) {
        return true;
    }
    return wanted.size == category.size + 1 && wanted.data[category.size] == ':' &&
           memcmp(wanted.data, category.data, category.size) == 0;
}

bool es_filter_wants_stream(const struct es_filter *filter, struct es_text stream)
{
    return es_text_starts_with(stream, es_text_of(filter->topic + 2));
}
