/*
 * What the files of the transport share; nobody else includes it.
 *
 *   transport.c         opening and closing, publishing, workers
 *   transport_peers.c   the thread: accepting, reading, writing, ending peers
 *   sp_link.c           the bytes of one connection
 */
#ifndef BROKER_TRANSPORT_STATE_H
#define BROKER_TRANSPORT_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/admission.h"
#include "broker/sp_link.h"
#include "broker/transport.h"

/* A connection, in the list of its socket. */
struct peer {
    struct peer *next;
    struct peer *previous;
    struct peer *ready_next; /* in the queue of requests that wait for a worker */
    struct listening *listening;
    struct sp_link *link;
    bool busy;    /* a request waits for a worker, is with one, or its reply is under way */
    bool gone;    /* the other side is; freed once no worker has it */
    bool taken;   /* by a worker */
    bool dropped; /* shut down to make place; its next event ends it */
    uint64_t rests_until_ns; /* 0: it does not rest */
};

struct listening {
    struct transport *transport;
    enum sp_role role;
    int fd;
    bool bound;
    struct admission admission;
    struct peer *peers;
    uint32_t peer_count;
    char path[TRANSPORT_PATH_BYTES_MAX];
};

struct transport {
    bool group_given;
    int epoll;
    int bell; /* wakes the thread */
    pthread_t thread;
    bool running;
    _Atomic bool ending;
    _Atomic uint32_t subscriber_count;

    pthread_mutex_t callback_mutex; /* of the two below: held during a callback */
    void (*subscribed)(void *context);
    void *subscribed_context;

    pthread_mutex_t mutex; /* of everything below, and of every peer */
    pthread_cond_t ready;
    bool stopped;
    struct peer *ready_first;
    struct peer *ready_last;
    uint32_t resting_count; /* of the peers of 'requests' */
    struct listening events;
    struct listening requests;
};

/* CLOCK_MONOTONIC. */
uint64_t transport_now_ns(void);

/* Has the thread look around. */
bool transport_wake(struct transport *transport);

/* The thread; 'context' is the transport. */
void *transport_serve(void *context);

/* The rest with the mutex held, or once the thread has ended. */

/* Has the thread wait for what the peer's state needs. */
void peer_watch(struct peer *peer);

/* Its next request is read after a while; wakes the thread, which sees to that. */
void peer_rest(struct peer *peer);

/* Out of its list, and freed. */
void peer_free(struct peer *peer);

/* Takes a peer whose request waits for a worker out of that queue. */
void ready_remove(struct transport *transport, struct peer *peer);

#endif
