#include "broker/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/logger.h"
#include "broker/socket_file.h"
#include "broker/transport_state.h"

enum {
    LISTEN_BACKLOG = 128
};

struct transport_worker {
    struct transport *transport;
    struct peer *taken;
    bool rests; /* the peer, when it has its reply */
};

/* ---- opening ---- */

/* Binds, sets mode and group, and only then lets anybody in. */
static int listening_start(struct listening *listening, const struct transport_config *config)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, listening->path, strlen(listening->path));
    listening->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listening->fd < 0 ||
        bind(listening->fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        return errno;
    }
    listening->bound = true;
    if ((config->group_given && chown(listening->path, (uid_t)-1, (gid_t)config->group_id) != 0) ||
        chmod(listening->path, config->group_given ? 0660 : 0700) != 0 ||
        listen(listening->fd, LISTEN_BACKLOG) != 0 ||
        admission_open(&listening->admission, listening->transport->epoll, listening->fd,
                       (epoll_data_t){.ptr = listening}) != ES_OK) {
        return errno;
    }
    return 0;
}

static enum es_status status_of(int error)
{
    switch (error) {
    case 0: return ES_OK;
    case ENOMEM: return ES_E_NO_MEMORY;
    case EADDRINUSE: return ES_E_BUSY;
    case EACCES:
    case EPERM: return ES_E_PERMISSION;
    default: return ES_E_IO;
    }
}

static enum es_status listening_open(struct listening *listening, const char *path,
                                     const struct transport_config *config, char *why)
{
    size_t path_bytes = strlen(path);
    enum es_status status = ES_OK;

    if (path_bytes + 1 > sizeof listening->path) {
        snprintf(why, TRANSPORT_WHY_BYTES,
                 "the path of a socket has %zu bytes and may have %d: use a shorter --run",
                 path_bytes, TRANSPORT_PATH_BYTES_MAX - 1);
        return ES_E_TOO_LARGE;
    }
    memcpy(listening->path, path, path_bytes + 1);
    status = socket_file_clear(path, why, TRANSPORT_WHY_BYTES);
    if (status == ES_OK) {
        int error = listening_start(listening, config);

        if (error != 0) {
            snprintf(why, TRANSPORT_WHY_BYTES, "cannot listen on %.180s: %s", path,
                     strerror(error));
            status = status_of(error);
        }
    }
    return status;
}

static void listening_init(struct transport *transport, struct listening *listening,
                           enum sp_role role)
{
    listening->transport = transport;
    listening->role = role;
    listening->fd = -1;
}

static enum es_status thread_start(struct transport *transport)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = transport};

    if (epoll_ctl(transport->epoll, EPOLL_CTL_ADD, transport->bell, &event) != 0 ||
        pthread_create(&transport->thread, NULL, transport_serve, transport) != 0) {
        return ES_E_NO_MEMORY;
    }
    transport->running = true;
    return ES_OK;
}

enum es_status transport_new(const struct transport_config *config, char *why,
                             struct transport **ret_transport)
{
    struct transport *transport = calloc(1, sizeof *transport);
    enum es_status status = ES_E_NO_MEMORY;

    snprintf(why, TRANSPORT_WHY_BYTES, "no memory or descriptors for the sockets");
    if (transport == NULL) {
        return status;
    }
    pthread_mutex_init(&transport->mutex, NULL);
    pthread_mutex_init(&transport->callback_mutex, NULL);
    pthread_cond_init(&transport->ready, NULL);
    transport->group_given = config->group_given;
    transport->subscribed = config->subscribed;
    transport->subscribed_context = config->context;
    listening_init(transport, &transport->events, SP_ROLE_PUB);
    listening_init(transport, &transport->requests, SP_ROLE_REP);
    transport->epoll = epoll_create1(EPOLL_CLOEXEC);
    transport->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (transport->epoll >= 0 && transport->bell >= 0) {
        status = listening_open(&transport->events, config->events_path, config, why);
    }
    if (status == ES_OK) {
        status = listening_open(&transport->requests, config->requests_path, config, why);
    }
    if (status == ES_OK) {
        status = thread_start(transport);
    }
    if (status == ES_OK) {
        why[0] = '\0';
        *ret_transport = transport;
    } else {
        transport_free(transport);
    }
    return status;
}

void transport_on_subscribed(struct transport *transport, void (*subscribed)(void *context),
                             void *context)
{
    pthread_mutex_lock(&transport->callback_mutex);
    transport->subscribed = subscribed;
    transport->subscribed_context = context;
    pthread_mutex_unlock(&transport->callback_mutex);
}

/* ---- closing ---- */

void transport_stop(struct transport *transport)
{
    pthread_mutex_lock(&transport->mutex);
    transport->stopped = true;
    pthread_cond_broadcast(&transport->ready);
    pthread_mutex_unlock(&transport->mutex);
}

static void listening_close(struct listening *listening)
{
    while (listening->peers != NULL) {
        peer_free(listening->peers);
    }
    if (listening->fd >= 0) {
        close(listening->fd);
    }
    if (listening->bound) {
        (void)unlink(listening->path);
    }
}

void transport_free(struct transport *transport)
{
    if (transport == NULL) {
        return;
    }
    transport_stop(transport);
    if (transport->running) {
        atomic_store(&transport->ending, true);
        if (!transport_wake(transport)) {
            log_warning("transport: the thread could not be woken and ends within a second");
        }
        pthread_join(transport->thread, NULL);
    }
    listening_close(&transport->requests);
    listening_close(&transport->events);
    if (transport->epoll >= 0) {
        close(transport->epoll);
    }
    if (transport->bell >= 0) {
        close(transport->bell);
    }
    pthread_cond_destroy(&transport->ready);
    pthread_mutex_destroy(&transport->callback_mutex);
    pthread_mutex_destroy(&transport->mutex);
    free(transport);
}

/* ---- publishing ---- */

uint32_t transport_subscriber_count(const struct transport *transport)
{
    return atomic_load_explicit(&transport->subscriber_count, memory_order_relaxed);
}

enum es_status transport_publish(struct transport *transport, const void *bytes, size_t size)
{
    struct sp_message *message = NULL;
    struct peer *next = NULL;
    uint64_t now = transport_now_ns();

    if (transport_subscriber_count(transport) == 0) {
        return ES_OK;
    }
    message = sp_message_new(NULL, 0, bytes, size);
    if (message == NULL) {
        return ES_E_NO_MEMORY;
    }
    pthread_mutex_lock(&transport->mutex);
    for (struct peer *peer = transport->events.peers; peer != NULL; peer = next) {
        next = peer->next;
        if (peer->link->greeted) {
            bool waited = sp_link_pending(peer->link);

            sp_link_publish(peer->link, message);
            /* The thread finds out about one that is gone, and frees it. */
            if (!waited && (!sp_link_write(peer->link, now) || sp_link_pending(peer->link))) {
                peer_watch(peer);
            }
        }
    }
    pthread_mutex_unlock(&transport->mutex);
    sp_message_release(message);
    return ES_OK;
}

/* ---- workers ---- */

enum es_status transport_worker_new(struct transport *transport,
                                    struct transport_worker **ret_worker)
{
    struct transport_worker *worker = calloc(1, sizeof *worker);

    if (worker == NULL) {
        return ES_E_NO_MEMORY;
    }
    worker->transport = transport;
    *ret_worker = worker;
    return ES_OK;
}

void transport_worker_free(struct transport_worker *worker)
{
    free(worker);
}

enum es_status transport_receive(struct transport_worker *worker,
                                 struct transport_request *ret_request)
{
    struct transport *transport = worker->transport;
    struct peer *peer = NULL;

    assert(worker->taken == NULL);
    pthread_mutex_lock(&transport->mutex);
    while (transport->ready_first == NULL && !transport->stopped) {
        pthread_cond_wait(&transport->ready, &transport->mutex);
    }
    if (!transport->stopped) {
        peer = transport->ready_first;
        ready_remove(transport, peer);
        peer->taken = true;
    }
    pthread_mutex_unlock(&transport->mutex);
    if (peer == NULL) {
        return ES_E_CLOSED;
    }
    worker->taken = peer;
    worker->rests = false;
    ret_request->bytes = sp_link_request(peer->link, &ret_request->size);
    ret_request->uid = peer->link->uid;
    return ES_OK;
}

void transport_rest(struct transport_worker *worker)
{
    assert(worker->taken != NULL);
    worker->rests = true;
}

enum es_status transport_reply(struct transport_worker *worker, const void *bytes, size_t size)
{
    struct transport *transport = worker->transport;
    struct peer *peer = worker->taken;
    bool queued = false;

    assert(peer != NULL);
    worker->taken = NULL;
    pthread_mutex_lock(&transport->mutex);
    peer->taken = false;
    if (peer->gone) {
        peer_free(peer);
        queued = true; /* nobody is there to miss it */
    } else {
        queued = sp_link_reply(peer->link, bytes, size);
        if (queued && worker->rests) {
            peer_rest(peer);
        }
        if (queued && sp_link_write(peer->link, transport_now_ns()) &&
            !sp_link_pending(peer->link)) {
            peer->busy = peer->rests_until_ns != 0;
        }
        if (!queued) {
            (void)shutdown(peer->link->fd, SHUT_RDWR); /* the thread sees it, and frees it */
            peer->busy = false;
        }
        peer_watch(peer);
    }
    pthread_mutex_unlock(&transport->mutex);
    return queued ? ES_OK : ES_E_NO_MEMORY;
}
