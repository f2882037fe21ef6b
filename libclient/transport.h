/*
 * The only file of the library that knows nng: one REQ socket to ask on, one SUB
 * socket to listen on, and the messages that come from them. It never blocks:
 * everything is tried once, and descriptors tell when to try again. What the
 * bytes mean, how long to wait and whether to ask again is question.h and live.h.
 *
 * The first socket of a process starts nng's threads, so sockets are opened only
 * when something is to be asked or heard. nng does not survive fork(): a child of
 * a process that has used it is refused with ES_E_FORKED.
 *
 * Threads. One thread at a time per socket; a message belongs to who got it.
 */
#ifndef ES_CLIENT_TRANSPORT_H
#define ES_CLIENT_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

/* One message received. Zeroed: none. */
struct es_message {
    void *owner; /* nng's; private */
    const uint8_t *data;
    size_t size;
    uint32_t pipe_id; /* which connection it came over; never 0, another after a reconnect */
};

/* Frees it, if there is one, and zeroes it. */
void es_message_free(struct es_message *message);

struct es_socket {
    uint32_t id;    /* nng's; 0: not open */
    int receive_fd; /* readable when something may be received; nng's, not to be read or closed */
    int send_fd;    /* REQ: readable when it is connected; likewise */
};

/*
 * Opens a REQ, or a SUB socket without any topic, that connects to the socket
 * file at 'path' in the background, now and again whenever the connection is
 * lost. Nothing is sent twice.
 *
 * ES_E_FORKED, ES_E_NO_MEMORY, ES_E_LIMIT (threads, descriptors).
 */
ES_MUST_USE enum es_status es_socket_open_request(struct es_socket *ret_socket, const char *path);
ES_MUST_USE enum es_status es_socket_open_subscribe(struct es_socket *ret_socket, const char *path);

/* Does nothing to one that is not open. */
void es_socket_close(struct es_socket *socket);

/* Wants messages that begin with these bytes. ES_E_NO_MEMORY. */
ES_MUST_USE enum es_status es_socket_subscribe(const struct es_socket *socket, const void *topic,
                                               size_t size);

/*
 * Sends a request; an answer still due to an earlier one will be dropped.
 * ES_EMPTY: not connected yet, wait for send_fd. ES_E_NO_MEMORY.
 */
ES_MUST_USE enum es_status es_socket_send(const struct es_socket *socket, const void *bytes,
                                          size_t size);

/*
 * ES_OK: '*ret_message' is the caller's to free. ES_EMPTY: nothing yet.
 * ES_E_CLOSED: REQ: the connection broke after the request was sent; no answer
 * will come. ES_E_NO_MEMORY.
 */
ES_MUST_USE enum es_status es_socket_receive(const struct es_socket *socket,
                                             struct es_message *ret_message);

#endif
