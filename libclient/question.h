/*
 * One question at a time to the broker, and its answer: a REQ socket, the request
 * as long as it may have to be sent again, and what is checked of every reply
 * before anybody looks inside. It knows no verb but passes their bytes; heads.c,
 * keys.c, snapshot.c, status.c and pages.h know them.
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
#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"

enum es_verb { /* docs/protocol.md */
    ES_VERB_READ_STREAM = 3,
    ES_VERB_READ_ALL = 4,
    ES_VERB_HEAD = 6,
    ES_VERB_STORE_HEAD = 7,
    ES_VERB_STREAMS = 8,
    ES_VERB_SNAPSHOT_SAVE = 9,
    ES_VERB_SNAPSHOT_LOAD = 10,
    ES_VERB_SNAPSHOT_LIST = 11,
    ES_VERB_SNAPSHOT_DELETE = 12,
    ES_VERB_KV_GET = 13,
    ES_VERB_KV_LIST = 14,
    ES_VERB_STATUS = 15,
    ES_VERB_VERIFY = 16,   /* asked by esctl only */
    ES_VERB_KV_EXPORT = 17 /* likewise */
};

/* One reply whose beginning, [1, status, position, ...], has been checked. */
struct es_reply {
    struct es_message message;
    enum es_status status;   /* as the broker said it */
    uint64_t position;       /* of the store, that the reply is consistent with */
    uint32_t element_count;  /* after the position */
    struct es_unpack unpack; /* stands at the first of them */
};

void es_reply_free(struct es_reply *reply);

/*
 * Checks what is left of a reply that was unpacked: nothing has failed, and what
 * trails was a newer broker's. ES_E_PROTOCOL, with its text.
 */
ES_MUST_USE enum es_status es_reply_check(const struct es_connection *connection,
                                          const struct es_reply *reply);

struct es_question;

/* Takes a reference to the connection. Opens no socket yet. */
ES_MUST_USE enum es_status es_question_new(struct es_connection *connection,
                                           struct es_question **ret_question);
void es_question_free(struct es_question *question);

/*
 * Begins a request of 'verb' with room for 'argument_bytes' of arguments: pack
 * exactly 'argument_count' of them into the writer, then es_question_send().
 * Whatever was asked before is dropped.
 *
 * ES_E_TOO_LARGE: more than a request holds. ES_E_NO_MEMORY.
 */
ES_MUST_USE enum es_status es_question_begin(struct es_question *question, enum es_verb verb,
                                             uint32_t argument_count, size_t argument_bytes,
                                             struct es_pack **ret_pack);

/* Sends it as soon as there is a connection. 'is_repeatable': see Repeats. */
ES_MUST_USE enum es_status es_question_send(struct es_question *question, bool is_repeatable);

/*
 * Looks for the reply, without waiting. The caller frees '*ret_reply'.
 *
 * ES_EMPTY: not yet; es_question_fd() or a moment later. ES_E_UNREACHABLE: no
 * broker, or no answer in time. ES_E_UNKNOWN: as said above. ES_E_PROTOCOL: no
 * reply of this protocol. ES_E_VERSION: of another version.
 * After all but ES_EMPTY the question is over.
 */
ES_MUST_USE enum es_status es_question_poll(struct es_question *question,
                                            struct es_reply *ret_reply);

/* The same, waiting up to 'deadline_ns': also ES_TIMEOUT (ask on later) and
 * ES_INTERRUPTED. */
ES_MUST_USE enum es_status es_question_wait(struct es_question *question, int64_t deadline_ns,
                                            struct es_reply *ret_reply);

/* True between es_question_send() and the end of the question. */
bool es_question_is_open(const struct es_question *question);

/* Readable when es_question_poll() may have the reply; -1: no socket yet. */
int es_question_fd(const struct es_question *question);

/*
 * A question of the connection's own, for one answer: acquire, begin, pack, ask,
 * free the reply, release.
 */
ES_MUST_USE enum es_status es_question_acquire(struct es_connection *connection,
                                               struct es_question **ret_question);
void es_question_release(struct es_question *question);

/*
 * Sends and waits for the connection's timeout. A status other than ES_OK of the
 * broker is returned as it is, with its message as the error text and nothing to
 * free. ES_E_UNREACHABLE, ES_INTERRUPTED, ES_E_UNKNOWN, ES_E_PROTOCOL.
 */
ES_MUST_USE enum es_status es_question_ask(struct es_question *question, bool is_repeatable,
                                           struct es_reply *ret_reply);

/* The broker's own words about a refusal, as this thread's error text. */
void es_reply_explain(const struct es_connection *connection, struct es_reply *reply);

/* For the connection's end: frees the idle questions. */
void es_question_free_idle(struct es_connection *connection);

#endif
