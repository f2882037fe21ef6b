/*
 * Talking to the broker's two nng sockets without nng: the framing of its ipc://
 * transport (docs/protocol.md) over a plain Unix socket, for one REQ or one SUB.
 * So no thread runs in the caller's process, nothing here survives or minds a
 * fork, and closing never waits: nng 1.5.2 can hang for ever in nng_close() while
 * a message arrives (docs/adr). What the bytes mean, how long to wait and whether
 * to ask again is question.h and live.h.
 *
 * It never blocks: everything is tried once, and one descriptor tells when to try
 * again. A connection that is lost is made again when the caller comes by, at
 * first soon, then every ES_RECONNECT_MAX_MS; nothing is sent twice.
 *
 * Trust.   The peer's greeting and every frame's type and length are checked; a
 *          peer that breaks a rule is hung up on.
 * Threads. One at a time per socket; a message belongs to who got it.
 */
#ifndef ES_CLIENT_TRANSPORT_H
#define ES_CLIENT_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

/* One message received. Zeroed: none. */
struct es_message {
    void *owner; /* private */
    const uint8_t *data;
    size_t size;
    uint32_t pipe_id; /* which connection it came over; never 0, another after a reconnect */
};

/* Frees it, if there is one, and zeroes it. */
void es_message_free(struct es_message *message);

enum es_socket_kind {
    ES_SOCKET_REQUEST,
    ES_SOCKET_SUBSCRIBE /* without any topic at first */
};

struct es_socket;

/*
 * Opens a socket that connects to the socket file at 'path' (at most 107 bytes).
 * ES_E_NO_MEMORY, ES_E_LIMIT (descriptors).
 */
ES_MUST_USE enum es_status es_socket_open(enum es_socket_kind kind, const char *path,
                                          struct es_socket **ret_sock);
void es_socket_close(struct es_socket *sock);

/* Readable when es_socket_send() or es_socket_receive() is worth calling, and when
 * it is time to connect again. Not to be read or closed. */
int es_socket_fd(const struct es_socket *sock);

/* Wants messages that begin with these bytes. ES_E_LIMIT: too many or too long. */
ES_MUST_USE enum es_status es_socket_subscribe(struct es_socket *sock, const void *topic,
                                               size_t size);

/*
 * Sends a request; an answer still due to an earlier one will be dropped.
 * ES_EMPTY: not connected yet. ES_E_NO_MEMORY.
 */
ES_MUST_USE enum es_status es_socket_send(struct es_socket *sock, const void *bytes, size_t size);

/*
 * ES_OK: '*ret_message' is the caller's to free. ES_EMPTY: nothing yet.
 * ES_E_CLOSED: REQ: the connection broke after the request was sent; no answer
 * will come. ES_E_NO_MEMORY: for the next message; the connection is given up.
 */
ES_MUST_USE enum es_status es_socket_receive(struct es_socket *sock,
                                             struct es_message *ret_message);

#endif
