/*
 * Reading stored events page by page, the next page being asked for while the
 * present one is worked off. It hands out stored bytes in the order in which they
 * came: event_check.h judges them, reader.c and consumer.c know what order they
 * should have.
 *
 * History. After each new connection to a broker, one that asks for it makes sure
 *          that the broker continues the history it was reading: same store, same
 *          epoch, and a head at or beyond the last position seen. A page that
 *          came over an unverified connection is thrown away.
 * Memory.  At most two pages. An event handed out is valid until the next call.
 * Threads. One.
 */
#ifndef ES_CLIENT_PAGES_H
#define ES_CLIENT_PAGES_H

#include "libclient/heads.h"
#include "libclient/question.h"
#include "shm/codec/published.h"

struct es_pages_options {
    bool is_stream;     /* 'target' is a stream; else a filter of read all */
    bool is_backwards;  /* streams only */
    bool is_verified;   /* see History */
    const char *target; /* NULL: everything; copied */
    uint64_t from;      /* sequence or position */
};

struct es_pages {
    struct es_connection *connection;
    struct es_question *question;
    bool is_stream;
    bool is_backwards;
    char target[ES_STREAM_BYTES_MAX + 2]; /* "": everything */
    uint64_t from;                        /* of the next page to ask for */
    bool is_asked;                        /* for a page */
    bool is_head_asked;

    bool has_page;
    bool is_last; /* of the page in hand: nothing was after it */
    uint32_t events_left;
    struct es_unpack unpack; /* stands at the next event */
    struct es_answer page;
    uint64_t consistent_position; /* of the newest page */

    bool is_verified;
    bool is_bound;             /* store_id and epoch are known */
    uint32_t verified_pipe;    /* connection whose broker was found right; 0: none */
    uint64_t floor_position;   /* the head must not be before this; the caller raises it */
    struct es_store_head head; /* as of the last verification */
};

/* ES_E_NO_MEMORY, ES_E_CLOSED, ES_E_TOO_LARGE (the target's text). */
ES_MUST_USE enum es_status es_pages_init(struct es_pages *pages, struct es_connection *connection,
                                         const struct es_pages_options *options);
void es_pages_deinit(struct es_pages *pages);

/* Goes on at 'from', forgetting what was asked for or is in hand. */
void es_pages_restart(struct es_pages *pages, uint64_t from);

/* Verifies now, waiting for the answer. ES_REGRESSED, ES_E_UNREACHABLE, ES_INTERRUPTED. */
ES_MUST_USE enum es_status es_pages_verify(struct es_pages *pages);

/*
 * The next event as it is stored; waits until 'deadline_ns', 0 does not wait.
 *
 * ES_EMPTY: the end, as of consistent_position; the next call asks again.
 * ES_TIMEOUT: not there yet. ES_REGRESSED: see History. ES_NOT_FOUND and other
 * answers of the broker, ES_E_UNREACHABLE, ES_INTERRUPTED, ES_E_PROTOCOL.
 */
ES_MUST_USE enum es_status es_pages_next(struct es_pages *pages, int64_t deadline_ns,
                                         struct es_published_event *ret_event);

#endif
