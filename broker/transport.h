/*
 * The broker's two sockets: PUB in events.sock, REP in requests.sock, in the SP
 * protocol that nng speaks over ipc:// (sp_link.h has its bytes). It moves
 * messages and gives them no meaning: publisher.h and requests.h do. It is not
 * nng itself: docs/adr/0015 says why.
 *
 * Peers.    A message larger than REQUEST_BYTES_MAX closes its connection. At
 *           most TRANSPORT_CONNECTIONS_MAX connections are served on each socket; a
 *           further one replaces one that has not greeted or has nothing under
 *           way, or any of a user who holds more, else it is closed at once. So is
 *           one that does not greet, or does not take its reply, within
 *           TRANSPORT_PATIENCE_NS. Sockets have
 *           mode 0700, or 0660 with a group; a peer that is neither the broker's
 *           user nor root is closed unless there is a group.
 * Slow peers. A subscriber that does not read loses its oldest messages. A client
 *           that does not take its reply occupies itself and no worker: each
 *           connection has one request at a time. One whose request broke the rules is
 *           answered, and not read again before TRANSPORT_REST_MS have passed.
 * Threads.  One of its own. transport_publish(): one thread. Each worker: one
 *           thread. The callback must only set a flag and wake.
 */
#ifndef BROKER_TRANSPORT_H
#define BROKER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

enum {
    TRANSPORT_PATH_BYTES_MAX = 108, /* sun_path, with its NUL */
    TRANSPORT_WHY_BYTES = 256,
    TRANSPORT_CONNECTIONS_MAX = 512, /* of each socket */
    TRANSPORT_REST_MS = 4
};
#define TRANSPORT_PATIENCE_NS UINT64_C(10000000000)

struct transport;

struct transport_config {
    const char *requests_path; /* of the socket files; a stale file is replaced */
    const char *events_path;
    bool group_given; /* mode 0660 and this group, else 0700 */
    uint32_t group_id;
    /* After a subscriber has greeted; may be NULL. */
    void (*subscribed)(void *context);
    void *context;
};

/*
 * Listens on both sockets; nobody answers until a worker receives.
 *
 * ES_E_TOO_LARGE: a path does not fit a Unix socket. ES_E_BUSY: somebody
 * listens there. ES_E_PERMISSION, ES_E_IO: as the system says. 'why',
 * TRANSPORT_WHY_BYTES large, gets a sentence with the way out.
 */
ES_MUST_USE enum es_status transport_new(const struct transport_config *config, char *why,
                                         struct transport **ret_transport);

/* Sets or changes the callback; what connected before it was set is not told. */
void transport_on_subscribed(struct transport *transport, void (*subscribed)(void *context),
                             void *context);

/*
 * Ends every transport_receive() with ES_E_CLOSED and takes no request more;
 * what was received may still be answered. Any thread; also twice.
 */
void transport_stop(struct transport *transport);

/* Closes the sockets and removes their files. All workers are freed before. NULL is fine. */
void transport_free(struct transport *transport);

/* How many subscribers are connected. Any thread. */
uint32_t transport_subscriber_count(const struct transport *transport);

/*
 * Sends one message (topic, zero byte, body) to all subscribers; copies it and
 * never waits. ES_E_NO_MEMORY, ES_E_CLOSED: nobody got it.
 */
ES_MUST_USE enum es_status transport_publish(struct transport *transport, const void *bytes,
                                             size_t size);

struct transport_worker;

/* A request that was received: valid until it is answered. */
struct transport_request {
    const uint8_t *bytes;
    size_t size;
    uint32_t uid; /* of the peer; UINT32_MAX where it cannot be told */
};

ES_MUST_USE enum es_status transport_worker_new(struct transport *transport,
                                                struct transport_worker **ret_worker);
void transport_worker_free(struct transport_worker *worker);

/* Waits for a request. ES_E_CLOSED: transport_stop() was called. */
ES_MUST_USE enum es_status transport_receive(struct transport_worker *worker,
                                             struct transport_request *ret_request);

/* Whoever sent the request received last is to rest when it has been answered. */
void transport_rest(struct transport_worker *worker);

/*
 * Answers the request received last, exactly once; copies the bytes. Whether
 * the client takes it is not known. ES_E_NO_MEMORY: the client gets none.
 */
ES_MUST_USE enum es_status transport_reply(struct transport_worker *worker, const void *bytes,
                                           size_t size);

#endif
