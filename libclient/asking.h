/*
 * A question from its beginning to its end: taken, asked, the answer read and freed, and
 * given back; and a listing, which asks on from the last name of each page. For those who
 * wait for their answer: pages.c, which looks in between, uses question.h itself.
 *
 * Threads. Any.
 */
#ifndef ES_CLIENT_ASKING_H
#define ES_CLIENT_ASKING_H

#include "libclient/question.h"

/* Reads an answer of status ES_OK, which lasts as long as the call. */
typedef enum es_status es_answer_reader(struct es_connection *connection, struct es_answer *answer,
                                        void *context);

/* Statuses of es_question_acquire(), es_question_ask() and 'read', which may be NULL
 * where the status is all there is to know. */
ES_MUST_USE enum es_status es_ask(struct es_connection *connection,
                                  const struct es_request *request, size_t value_bytes,
                                  bool is_repeatable, es_answer_reader *read, void *context);

/* Reads one page, and puts into the request where the next one begins. */
typedef enum es_status es_page_reader(struct es_connection *connection, struct es_answer *answer,
                                      void *context, bool *ret_is_over);

/* Asks for page after page. 'read' changes 'request' by way of 'context'. */
ES_MUST_USE enum es_status es_ask_pages(struct es_connection *connection,
                                        const struct es_request *request, es_page_reader *read,
                                        void *context);

/* A listing by name. */
struct es_list {
    struct es_request *request;
    struct es_text *request_after; /* in 'request': where the next page begins */
    char *after; /* the last name, terminated; room for the longest there may be */
    /*
     * Reads an item, keeps its name with es_list_keep() and visits it. False: nothing more
     * is wanted. An item that breaks a rule fails the unpacking.
     */
    bool (*visit_item)(struct es_list *list, struct es_unpack *unpack, void *context);
    void *context;
};

ES_MUST_USE enum es_status es_ask_list(struct es_connection *connection, struct es_list *list);

/* Whether a name comes behind the last one: a listing that does not move on would never end. */
bool es_list_goes_on(const struct es_list *list, struct es_text name);

/* 'name' fits into list->after: the caller has looked. */
void es_list_keep(struct es_list *list, struct es_text name);

#endif
