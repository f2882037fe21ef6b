/*
 * One question at a time to the broker, and its answer: a REQ socket, the request
 * as long as it may have to be sent again, and what is checked of every reply
 * before anybody looks inside. It knows no verb; heads.c, keys.c, snapshot.c, status.c and
 * pages.c do.
 *
 * Deadline. The connection's timeout from the beginning of each question; a
 *           caller may look in between without waiting.
 * Repeats.  Where a connection breaks after the request was sent, it is sent
 *           again if the asker says that this is harmless, else the outcome is
 *           ES_E_UNKNOWN.
 * Threads.  One at a time per question. Idle ones are kept by the connection, so
 *           that several threads ask over several sockets.
 */
#ifndef ES_CLIENT_QUESTION_H
#define ES_CLIENT_QUESTION_H

#include <stdbool.h>

#include "libclient/connection.h"
#include "libclient/transport.h"
#include "shm/codec/replies.h"
#include "shm/codec/requests.h"

/* A reply and the message that it lies in. */
struct es_answer {
    struct es_message message;
    struct es_reply reply; /* 'rest' is the asker's to unpack */
};

void es_answer_free(struct es_answer *answer);

/* Checks an answer that was unpacked: nothing has failed. ES_E_PROTOCOL, with its text. */
ES_MUST_USE enum es_status es_answer_check(const struct es_connection *connection,
                                           const struct es_answer *answer);

/* The broker's own words about a refusal, as this thread's error text. */
void es_answer_explain(const struct es_connection *connection, const struct es_answer *answer);

struct es_question;

/*
 * Takes a question for the caller's own, with a reference to the connection: an idle
 * one, or a new one, which opens no socket yet. Releasing it keeps its socket for the
 * next who asks, unless an answer is still due.
 */
ES_MUST_USE enum es_status es_question_acquire(struct es_connection *connection,
                                               struct es_question **ret_question);
void es_question_release(struct es_question *question);

/*
 * Sends a request as soon as there is a connection; 'value_bytes' are those of the
 * value or state in it. Whatever was asked before is dropped.
 *
 * ES_E_TOO_LARGE: more than a request holds. ES_E_NO_MEMORY. ES_E_UNREACHABLE,
 * ES_E_PERMISSION, ES_E_FORKED: no socket to ask on.
 */
ES_MUST_USE enum es_status es_question_send(struct es_question *question,
                                            const struct es_request *request, size_t value_bytes,
                                            bool is_repeatable);

/*
 * Looks for the reply, without waiting. The caller frees '*ret_answer'.
 *
 * ES_EMPTY: not yet; es_question_fd() or a moment later. ES_E_UNREACHABLE: no
 * broker, or no answer in time. ES_E_UNKNOWN: as said above. ES_E_PROTOCOL: no
 * reply of this protocol. ES_E_VERSION: of another version.
 * After all but ES_EMPTY the question is over.
 */
ES_MUST_USE enum es_status es_question_poll(struct es_question *question,
                                            struct es_answer *ret_answer);

/* The same, waiting up to 'deadline_ns': also ES_TIMEOUT (ask on later) and
 * ES_INTERRUPTED. */
ES_MUST_USE enum es_status es_question_wait(struct es_question *question, int64_t deadline_ns,
                                            struct es_answer *ret_answer);

/* Readable when es_question_poll() may have the reply; -1: no socket yet. */
int es_question_fd(const struct es_question *question);

/*
 * Sends and waits for the connection's timeout. A status other than ES_OK of the
 * broker is returned as it is, with its message as the error text and nothing to
 * free. ES_E_UNREACHABLE, ES_INTERRUPTED, ES_E_UNKNOWN, ES_E_PROTOCOL.
 */
ES_MUST_USE enum es_status es_question_ask(struct es_question *question,
                                           const struct es_request *request, size_t value_bytes,
                                           bool is_repeatable, struct es_answer *ret_answer);

/* For the connection's end: frees the idle questions. */
void es_question_free_idle(struct es_connection *connection);

#endif
