/*
 * Which streams a reader or consumer wants, in the forms that the places need
 * which know: the text of a request, the topic of a subscription, the question
 * whether a category or a stream belongs to it.
 *
 *   NULL or ""      everything
 *   v:b:L0:d        one category
 *   v:b:*           every category that begins so
 */
#ifndef ES_CLIENT_FILTER_H
#define ES_CLIENT_FILTER_H

#include "libclient/connection.h"
#include "shm/codec/stream_key.h"

enum es_filter_kind {
    ES_FILTER_ALL = 0,
    ES_FILTER_CATEGORY,
    ES_FILTER_PREFIX
};

struct es_filter {
    enum es_filter_kind kind;
    char text[ES_CATEGORY_SIZE_MAX + 3]; /* as it goes into a request; "" for everything */
    char topic[ES_TOPIC_SIZE_MAX + 2];   /* "S:" and what category, ":" included, begins with */
};

/* ES_E_INVALID: it is none of the three forms; the error text tells. */
ES_MUST_USE enum es_status es_filter_parse(const struct es_connection *connection, const char *text,
                                           struct es_filter *ret_filter);

bool es_filter_wants_category(const struct es_filter *filter, struct es_text category);
bool es_filter_wants_stream(const struct es_filter *filter, struct es_text stream);

#endif
