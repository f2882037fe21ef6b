#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/limits.h"
#include "broker/transport_state.h"

enum {
    EVENTS_AT_ONCE = 64,
    SWEEP_MS = 1000,
    NO_DESCRIPTORS_MS = 10, /* to wait where no connection can be accepted */
    SEND_BUFFER_BYTES = 1 << 20
};
#define NS_PER_MS UINT64_C(1000000)

uint64_t transport_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

bool transport_wake(struct transport *transport)
{
    const uint64_t one = 1;

    return write(transport->bell, &one, sizeof one) == (ssize_t)sizeof one;
}

/* ---- peers; the mutex is held ---- */

/* What the thread waits for: nothing is read while a request is answered. */
void peer_watch(struct peer *peer)
{
    struct epoll_event event = {.data.ptr = peer};

    event.events = (peer->busy ? 0U : (uint32_t)EPOLLIN) |
                   (sp_link_pending(peer->link) ? (uint32_t)EPOLLOUT : 0U);
    (void)epoll_ctl(peer->listening->transport->epoll, EPOLL_CTL_MOD, peer->link->fd, &event);
}

void peer_rest(struct peer *peer)
{
    struct transport *transport = peer->listening->transport;

    assert(peer->rests_until_ns == 0); /* it rests until its next request is read */
    peer->rests_until_ns = transport_now_ns() + TRANSPORT_REST_MS * NS_PER_MS;
    if (transport->resting_count++ == 0) {
        (void)transport_wake(transport);
    }
}

static void peer_rouse(struct peer *peer)
{
    if (peer->rests_until_ns != 0) {
        peer->rests_until_ns = 0;
        peer->listening->transport->resting_count--;
    }
}

void peer_free(struct peer *peer)
{
    struct listening *listening = peer->listening;

    peer_rouse(peer);
    if (peer->previous != NULL) {
        peer->previous->next = peer->next;
    } else {
        listening->peers = peer->next;
    }
    if (peer->next != NULL) {
        peer->next->previous = peer->previous;
    }
    listening->peer_count--;
    if (listening->role == SP_ROLE_PUB && peer->link->greeted) {
        atomic_fetch_sub(&listening->transport->subscriber_count, 1);
    }
    sp_link_free(peer->link);
    free(peer);
}

void ready_remove(struct transport *transport, struct peer *peer)
{
    struct peer **place = &transport->ready_first;
    struct peer *before = NULL;

    while (*place != NULL && *place != peer) {
        before = *place;
        place = &before->ready_next;
    }
    if (*place != NULL) {
        *place = peer->ready_next;
        if (transport->ready_last == peer) {
            transport->ready_last = before;
        }
    }
}

/* The other side is gone, or has to go. A peer that a worker has is freed by it. */
static void peer_end(struct peer *peer)
{
    struct transport *transport = peer->listening->transport;

    (void)epoll_ctl(transport->epoll, EPOLL_CTL_DEL, peer->link->fd, NULL);
    if (peer->taken) {
        peer->gone = true;
        return;
    }
    ready_remove(transport, peer);
    peer_free(peer);
}

static void peer_ready(struct peer *peer)
{
    struct transport *transport = peer->listening->transport;

    peer->busy = true;
    peer->ready_next = NULL;
    if (transport->ready_last == NULL) {
        transport->ready_first = peer;
    } else {
        transport->ready_last->ready_next = peer;
    }
    transport->ready_last = peer;
    pthread_cond_signal(&transport->ready);
}

/* Reads and writes what can be; false: the peer has ended. '*ret_subscribed': it greeted. */
static bool peer_move(struct peer *peer, uint32_t events, bool *ret_subscribed)
{
    enum sp_event event = SP_GREETED;
    uint64_t now = transport_now_ns();

    if ((events & (uint32_t)EPOLLOUT) != 0 && !sp_link_write(peer->link, now)) {
        return false;
    }
    if (peer->busy && !sp_link_pending(peer->link) && !peer->taken && peer->link->message == NULL &&
        peer->rests_until_ns == 0) {
        peer->busy = false; /* the reply is out */
    }
    if ((events & (uint32_t)(EPOLLERR | EPOLLHUP)) != 0 && peer->busy) {
        return false;
    }
    while (!peer->busy && event == SP_GREETED) {
        event = sp_link_read(peer->link, REQUEST_BYTES_MAX, now);
        if (event == SP_GREETED && peer->link->role == SP_ROLE_PUB) {
            atomic_fetch_add(&peer->listening->transport->subscriber_count, 1);
            *ret_subscribed = true;
        }
    }
    if (event == SP_REQUEST) {
        peer_ready(peer);
    }
    return event != SP_CLOSED;
}

/* ---- the thread ---- */

static void peer_serve(struct peer *peer, uint32_t events)
{
    struct transport *transport = peer->listening->transport;
    bool subscribed = false;

    pthread_mutex_lock(&transport->mutex);
    if (peer_move(peer, events, &subscribed)) {
        peer_watch(peer);
    } else {
        peer_end(peer);
    }
    pthread_mutex_unlock(&transport->mutex);
    if (subscribed) {
        pthread_mutex_lock(&transport->callback_mutex);
        if (transport->subscribed != NULL) {
            transport->subscribed(transport->subscribed_context);
        }
        pthread_mutex_unlock(&transport->callback_mutex);
    }
}

/* The user on the other side; false: nobody for us. */
static bool peer_is_allowed(const struct transport *transport, int fd, uint32_t *ret_uid)
{
    struct ucred credentials = {.uid = UINT32_MAX};
    socklen_t size = sizeof credentials;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return false;
    }
    *ret_uid = credentials.uid;
    return transport->group_given || credentials.uid == 0 || credentials.uid == geteuid();
}

static struct peer *peer_new(struct listening *listening, int fd, uint32_t uid)
{
    struct peer *peer = calloc(1, sizeof *peer);
    const int buffer_bytes = SEND_BUFFER_BYTES;

    if (peer != NULL) {
        peer->link = sp_link_new(fd, listening->role, uid, transport_now_ns());
    }
    if (peer == NULL || peer->link == NULL) {
        free(peer);
        return NULL;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    peer->listening = listening;
    peer->next = listening->peers;
    if (peer->next != NULL) {
        peer->next->previous = peer;
    }
    listening->peers = peer;
    listening->peer_count++;
    return peer;
}

static uint32_t count_of(const struct listening *listening, uint32_t uid)
{
    uint32_t count = 0;

    for (const struct peer *peer = listening->peers; peer != NULL; peer = peer->next) {
        count += peer->link->uid == uid && !peer->dropped;
    }
    return count;
}

/* How little is lost with it: 2 did not even greet, 1 has nothing under way and can
 * connect again when it wants to, 0 waits for something, as a subscriber always does. */
static int idleness(const struct peer *peer)
{
    if (!peer->link->greeted) {
        return 2;
    }
    return peer->listening->role == SP_ROLE_REP && !peer->busy && peer->link->message == NULL &&
                   !sp_link_pending(peer->link)
               ? 1
               : 0;
}

/* All places are taken: makes one at the cost of the user who holds most of them. Of
 * its own connections a newcomer replaces none that waits. The peer is only shut down
 * here and freed by its next event, for this round may hold one already. False: the
 * newcomer has to stay outside. */
static bool make_place(const struct listening *listening, uint32_t uid)
{
    uint32_t own_count = count_of(listening, uid);
    uint32_t last_uid = uid;
    uint32_t last_count = own_count;
    struct peer *victim = NULL;
    uint32_t crowd = 0;

    for (struct peer *peer = listening->peers; peer != NULL; peer = peer->next) {
        const struct sp_link *link = peer->link;

        if (link->uid != last_uid) {
            last_uid = link->uid;
            last_count = count_of(listening, last_uid);
        }
        if (peer->gone || peer->dropped || last_count < own_count ||
            (last_count == own_count && idleness(peer) == 0)) {
            continue;
        }
        if (victim == NULL || last_count > crowd ||
            (last_count == crowd &&
             (idleness(peer) > idleness(victim) ||
              (idleness(peer) == idleness(victim) && link->moved_ns < victim->link->moved_ns)))) {
            victim = peer;
            crowd = last_count;
        }
    }
    if (victim == NULL) {
        return false;
    }
    victim->dropped = true;
    (void)shutdown(victim->link->fd, SHUT_RDWR);
    return true;
}

/* Makes a peer of a new connection, or closes it. */
static void welcome(struct listening *listening, int fd)
{
    struct transport *transport = listening->transport;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
    struct peer *peer = NULL;
    uint32_t uid = UINT32_MAX;

    pthread_mutex_lock(&transport->mutex);
    if (peer_is_allowed(transport, fd, &uid) &&
        (listening->peer_count < TRANSPORT_CONNECTIONS_MAX || make_place(listening, uid))) {
        peer = peer_new(listening, fd, uid);
    }
    event.data.ptr = peer;
    if (peer == NULL) {
        close(fd);
    } else if (epoll_ctl(transport->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        peer_free(peer);
    }
    pthread_mutex_unlock(&transport->mutex);
}

static void accept_some(struct listening *listening)
{
    for (int i = 0; i < ADMISSIONS_AT_ONCE; i++) {
        int fd = accept4(listening->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            welcome(listening, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            (void)poll(NULL, 0, NO_DESCRIPTORS_MS);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
    admission_rest(&listening->admission, (int64_t)transport_now_ns());
}

/* Ends those who do not greet, or do not take their reply, or send half a request. */
static void sweep(struct listening *listening, uint64_t now)
{
    struct peer *peer = listening->peers;

    while (peer != NULL) {
        struct peer *next = peer->next;
        const struct sp_link *link = peer->link;
        bool owes =
            !link->greeted || (listening->role == SP_ROLE_REP &&
                               (sp_link_pending(link) || (!peer->busy && link->message != NULL)));

        /* a worker may have moved it since 'now' was looked up */
        if (owes && !peer->gone && now > link->moved_ns &&
            now - link->moved_ns > TRANSPORT_PATIENCE_NS) {
            peer_end(peer);
        }
        peer = next;
    }
}

/* Reads again of those who have rested long enough. False: nobody rests any more. */
static bool rouse(struct transport *transport)
{
    uint64_t now = transport_now_ns();
    bool is_resting = false;

    pthread_mutex_lock(&transport->mutex);
    for (struct peer *peer = transport->requests.peers;
         peer != NULL && transport->resting_count > 0; peer = peer->next) {
        if (peer->rests_until_ns != 0 && now >= peer->rests_until_ns) {
            peer_rouse(peer);
            peer->busy = sp_link_pending(peer->link);
            peer_watch(peer);
        }
    }
    is_resting = transport->resting_count > 0;
    pthread_mutex_unlock(&transport->mutex);
    return is_resting;
}

static int wait_ms(struct transport *transport)
{
    int64_t now_ns = (int64_t)transport_now_ns();

    return admission_wait_ms(
        &transport->events.admission, now_ns,
        admission_wait_ms(&transport->requests.admission, now_ns, rouse(transport) ? 1 : SWEEP_MS));
}

static void take_bell(const struct transport *transport)
{
    uint64_t rung = 0;

    (void)!read(transport->bell, &rung, sizeof rung);
}

void *transport_serve(void *context)
{
    struct transport *transport = context;
    uint64_t swept_ns = transport_now_ns();

    while (!atomic_load(&transport->ending)) {
        struct epoll_event events[EVENTS_AT_ONCE];
        int count = epoll_wait(transport->epoll, events, EVENTS_AT_ONCE, wait_ms(transport));

        for (int i = 0; i < count; i++) {
            void *who = events[i].data.ptr;

            if (who == &transport->events || who == &transport->requests) {
                accept_some(who);
            } else if (who == transport) {
                take_bell(transport);
            } else {
                peer_serve(who, events[i].events);
            }
        }
        if (transport_now_ns() - swept_ns >= SWEEP_MS * NS_PER_MS) {
            swept_ns = transport_now_ns();
            pthread_mutex_lock(&transport->mutex);
            sweep(&transport->events, swept_ns);
            sweep(&transport->requests, swept_ns);
            pthread_mutex_unlock(&transport->mutex);
        }
    }
    return NULL;
}
