/*
 * The question for the store's head and the reading of its answer, for those who
 * ask over a question of their own: pages.c makes sure with it that a broker it
 * has just been connected to continues the history it was reading.
 */
#ifndef ES_CLIENT_HEADS_H
#define ES_CLIENT_HEADS_H

#include "libclient/question.h"

/* Sends it; es_question_poll() has the answer. */
ES_MUST_USE enum es_status es_store_head_ask(struct es_question *question);

/* Reads an answer of status ES_OK. ES_E_PROTOCOL. */
ES_MUST_USE enum es_status es_store_head_of(const struct es_connection *connection,
                                            struct es_answer *answer,
                                            struct es_store_head *ret_head);

#endif
