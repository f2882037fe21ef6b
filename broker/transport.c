#include "broker/transport.h"

#include <assert.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/limits.h"
#include "broker/logger.h"
#include "broker/socket_file.h"

enum {
    SEND_BUFFER_MESSAGES = 512, /* of each subscriber; beyond it nng drops */
    PUBLISH_RECEIVE_BYTES = 64, /* nobody has to say anything to a PUB socket */
    REPLY_TIMEOUT_MS = 10000    /* a client that takes no reply for so long gets none */
};

/* A request on its way: one nng context, from receiving to the reply's end. */
enum exchange_state {
    EXCHANGE_IDLE, /* receiving failed because the socket closes */
    EXCHANGE_RECEIVING,
    EXCHANGE_READY, /* in the queue */
    EXCHANGE_TAKEN, /* a worker has it */
    EXCHANGE_SENDING
};

struct exchange {
    struct transport *transport;
    struct exchange *next;
    nng_ctx context;
    nng_aio *aio;
    nng_msg *request;
    uint32_t uid;
    bool opened;
    enum exchange_state state; /* handed from thread to thread through mutex or nng */
};

/* One socket and the doors it has. */
struct listening {
    nng_socket socket;
    bool opened;
    bool group_given;
    _Atomic uint32_t connections;
    char path[TRANSPORT_PATH_BYTES_MAX];
};

struct transport {
    struct listening events;
    struct listening requests;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t ready;
    struct exchange *ready_first;
    struct exchange *ready_last;
    void (*subscribed)(void *context);
    void *subscribed_context;
    bool stopped;
    struct exchange exchanges[TRANSPORT_REQUESTS_MAX];
};

struct transport_worker {
    struct transport *transport;
    struct exchange *taken;
};

/* ---- connections ---- */

/* Runs on nng's threads; every pipe that gets ADD_PRE gets REM_POST too. */
static void on_connecting(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    struct listening *listening = context;
    uint32_t before = atomic_fetch_add(&listening->connections, 1);
    uint64_t uid = UINT64_MAX;
    bool known = nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) == 0;
    bool allowed = known && (listening->group_given || uid == 0 || uid == geteuid());

    (void)event;
    if (!allowed || before >= TRANSPORT_CONNECTIONS_MAX) {
        (void)nng_pipe_close(pipe);
    }
}

static void on_disconnected(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    struct listening *listening = context;

    (void)pipe;
    (void)event;
    atomic_fetch_sub(&listening->connections, 1);
}

static void on_subscriber(nng_pipe pipe, nng_pipe_ev event, void *context)
{
    struct transport *transport = context;

    (void)pipe;
    (void)event;
    pthread_mutex_lock(&transport->mutex);
    if (transport->subscribed != NULL) {
        transport->subscribed(transport->subscribed_context);
    }
    pthread_mutex_unlock(&transport->mutex);
}

/* ---- requests, on nng's threads ---- */

static void exchange_receive(struct exchange *exchange)
{
    exchange->state = EXCHANGE_RECEIVING;
    nng_aio_set_timeout(exchange->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(exchange->context, exchange->aio);
}

static void exchange_ready(struct exchange *exchange)
{
    struct transport *transport = exchange->transport;
    nng_msg *request = nng_aio_get_msg(exchange->aio);
    uint64_t uid = UINT32_MAX;

    nng_aio_set_msg(exchange->aio, NULL);
    if (nng_pipe_get_uint64(nng_msg_get_pipe(request), NNG_OPT_IPC_PEER_UID, &uid) != 0) {
        uid = UINT32_MAX;
    }
    exchange->request = request;
    exchange->uid = (uint32_t)uid;
    exchange->next = NULL;
    pthread_mutex_lock(&transport->mutex);
    exchange->state = EXCHANGE_READY;
    if (transport->ready_last == NULL) {
        transport->ready_first = exchange;
    } else {
        transport->ready_last->next = exchange;
    }
    transport->ready_last = exchange;
    pthread_cond_signal(&transport->ready);
    pthread_mutex_unlock(&transport->mutex);
}

static void on_exchange(void *context)
{
    struct exchange *exchange = context;
    int error = nng_aio_result(exchange->aio);

    if (exchange->state == EXCHANGE_SENDING) {
        if (error != 0) {
            nng_msg_free(nng_aio_get_msg(exchange->aio));
            nng_aio_set_msg(exchange->aio, NULL);
        }
        if (error == NNG_ECLOSED || error == NNG_ECANCELED) {
            exchange->state = EXCHANGE_IDLE;
        } else {
            exchange_receive(exchange);
        }
    } else if (error == 0) {
        exchange_ready(exchange);
    } else if (error == NNG_ECLOSED || error == NNG_ECANCELED) {
        exchange->state = EXCHANGE_IDLE;
    } else {
        exchange_receive(exchange);
    }
}

/* ---- opening ---- */

static enum es_status status_of(int error)
{
    switch (error) {
    case 0: return ES_OK;
    case NNG_ENOMEM: return ES_E_NO_MEMORY;
    case NNG_EADDRINUSE: return ES_E_BUSY;
    case NNG_EPERM: return ES_E_PERMISSION;
    default: return ES_E_IO;
    }
}

static int listening_options(struct listening *listening, size_t receive_bytes_max)
{
    int error = nng_socket_set_size(listening->socket, NNG_OPT_RECVMAXSZ, receive_bytes_max);

    if (error == 0) {
        error = nng_pipe_notify(listening->socket, NNG_PIPE_EV_ADD_PRE, on_connecting, listening);
    }
    if (error == 0) {
        error =
            nng_pipe_notify(listening->socket, NNG_PIPE_EV_REM_POST, on_disconnected, listening);
    }
    return error;
}

/* Starts the door; the mode is set by nng before anybody can be accepted. */
static int listening_start(struct listening *listening, const struct transport_config *config)
{
    char url[TRANSPORT_PATH_BYTES_MAX + 8];
    nng_listener listener;
    int mode = config->group_given ? 0660 : 0700;
    int error = 0;

    snprintf(url, sizeof url, "ipc://%s", listening->path);
    error = nng_listener_create(&listener, listening->socket, url);
    if (error == 0) {
        error = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, mode);
    }
    if (error == 0) {
        error = nng_listener_start(listener, 0);
    }
    if (error == 0 && config->group_given &&
        chown(listening->path, (uid_t)-1, (gid_t)config->group_id) != 0) {
        error = NNG_EPERM;
    }
    return error;
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
    listening->group_given = config->group_given;
    status = socket_file_clear(path, why, TRANSPORT_WHY_BYTES);
    if (status == ES_OK) {
        int error = listening_start(listening, config);

        if (error != 0) {
            snprintf(why, TRANSPORT_WHY_BYTES, "cannot listen on %.180s: %s", path,
                     nng_strerror(error));
            status = status_of(error);
        }
    }
    return status;
}

static int sockets_open(struct transport *transport)
{
    int error = nng_pub0_open(&transport->events.socket);

    if (error == 0) {
        transport->events.opened = true;
        error = nng_socket_set_int(transport->events.socket, NNG_OPT_SENDBUF, SEND_BUFFER_MESSAGES);
    }
    if (error == 0) {
        error = listening_options(&transport->events, PUBLISH_RECEIVE_BYTES);
    }
    if (error == 0) {
        error = nng_pipe_notify(transport->events.socket, NNG_PIPE_EV_ADD_POST, on_subscriber,
                                transport);
    }
    if (error == 0) {
        error = nng_rep0_open(&transport->requests.socket);
    }
    if (error == 0) {
        transport->requests.opened = true;
        error = listening_options(&transport->requests, REQUEST_BYTES_MAX);
    }
    return error;
}

static int exchanges_open(struct transport *transport)
{
    int error = 0;

    for (size_t i = 0; i < TRANSPORT_REQUESTS_MAX && error == 0; i++) {
        struct exchange *exchange = &transport->exchanges[i];

        exchange->transport = transport;
        error = nng_aio_alloc(&exchange->aio, on_exchange, exchange);
        if (error == 0) {
            error = nng_ctx_open(&exchange->context, transport->requests.socket);
        }
        if (error == 0) {
            exchange->opened = true;
            exchange_receive(exchange);
        }
    }
    return error;
}

enum es_status transport_new(const struct transport_config *config, char *why,
                             struct transport **ret_transport)
{
    struct transport *transport = calloc(1, sizeof *transport);
    enum es_status status = ES_OK;
    int error = 0;

    if (transport == NULL) {
        snprintf(why, TRANSPORT_WHY_BYTES, "no memory for the sockets");
        return ES_E_NO_MEMORY;
    }
    pthread_mutex_init(&transport->mutex, NULL);
    pthread_cond_init(&transport->ready, NULL);
    transport->subscribed = config->subscribed;
    transport->subscribed_context = config->context;
    if (!socket_sendmsg_is_cured()) {
        log_warning("transport: sendmsg() is not wrapped: a client that connects and closes at "
                    "once can stop the listener (nng #1518)");
    }
    error = sockets_open(transport);
    if (error == 0) {
        error = exchanges_open(transport);
    }
    if (error != 0) {
        snprintf(why, TRANSPORT_WHY_BYTES, "cannot open the sockets: %s", nng_strerror(error));
        status = status_of(error);
    }
    if (status == ES_OK) {
        status = listening_open(&transport->events, config->events_path, config, why);
    }
    if (status == ES_OK) {
        status = listening_open(&transport->requests, config->requests_path, config, why);
    }
    if (status == ES_OK) {
        *ret_transport = transport;
    } else {
        transport_free(transport);
    }
    return status;
}

void transport_on_subscribed(struct transport *transport, void (*subscribed)(void *context),
                             void *context)
{
    pthread_mutex_lock(&transport->mutex);
    transport->subscribed = subscribed;
    transport->subscribed_context = context;
    pthread_mutex_unlock(&transport->mutex);
}

/* ---- closing ---- */

void transport_stop(struct transport *transport)
{
    pthread_mutex_lock(&transport->mutex);
    transport->stopped = true;
    pthread_cond_broadcast(&transport->ready);
    pthread_mutex_unlock(&transport->mutex);
}

static void exchange_close(struct exchange *exchange)
{
    if (exchange->aio != NULL) {
        nng_aio_stop(exchange->aio); /* no callback runs or comes after this */
    }
    if (exchange->opened) {
        (void)nng_ctx_close(exchange->context);
    }
    if (exchange->aio != NULL) {
        nng_aio_free(exchange->aio);
    }
    if (exchange->request != NULL) {
        nng_msg_free(exchange->request);
    }
}

static void listening_close(struct listening *listening)
{
    if (listening->opened) {
        (void)nng_close(listening->socket);
    }
}

void transport_free(struct transport *transport)
{
    if (transport == NULL) {
        return;
    }
    transport_stop(transport);
    for (size_t i = 0; i < TRANSPORT_REQUESTS_MAX; i++) {
        exchange_close(&transport->exchanges[i]);
    }
    listening_close(&transport->requests);
    listening_close(&transport->events);
    pthread_cond_destroy(&transport->ready);
    pthread_mutex_destroy(&transport->mutex);
    free(transport);
}

/* ---- publishing ---- */

uint32_t transport_subscriber_count(const struct transport *transport)
{
    return atomic_load_explicit(&transport->events.connections, memory_order_relaxed);
}

enum es_status transport_publish(struct transport *transport, const void *bytes, size_t size)
{
    nng_msg *message = NULL;
    int error = nng_msg_alloc(&message, size);

    if (error == 0) {
        memcpy(nng_msg_body(message), bytes, size);
        error = nng_sendmsg(transport->events.socket, message, NNG_FLAG_NONBLOCK);
        if (error != 0) {
            nng_msg_free(message);
        }
    }
    return error == NNG_ECLOSED ? ES_E_CLOSED : status_of(error);
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
    free(worker); /* a request it still has is freed with its exchange */
}

enum es_status transport_receive(struct transport_worker *worker,
                                 struct transport_request *ret_request)
{
    struct transport *transport = worker->transport;
    struct exchange *exchange = NULL;

    assert(worker->taken == NULL);
    pthread_mutex_lock(&transport->mutex);
    while (transport->ready_first == NULL && !transport->stopped) {
        pthread_cond_wait(&transport->ready, &transport->mutex);
    }
    if (!transport->stopped) {
        exchange = transport->ready_first;
        transport->ready_first = exchange->next;
        if (transport->ready_first == NULL) {
            transport->ready_last = NULL;
        }
        exchange->state = EXCHANGE_TAKEN;
    }
    pthread_mutex_unlock(&transport->mutex);
    if (exchange == NULL) {
        return ES_E_CLOSED;
    }
    worker->taken = exchange;
    ret_request->bytes = nng_msg_body(exchange->request);
    ret_request->size = nng_msg_len(exchange->request);
    ret_request->uid = exchange->uid;
    return ES_OK;
}

enum es_status transport_reply(struct transport_worker *worker, const void *bytes, size_t size)
{
    struct exchange *exchange = worker->taken;
    nng_msg *reply = NULL;
    int error = 0;

    assert(exchange != NULL);
    worker->taken = NULL;
    nng_msg_free(exchange->request);
    exchange->request = NULL;
    error = nng_msg_alloc(&reply, size);
    if (error != 0) {
        exchange_receive(exchange);
        return ES_E_NO_MEMORY;
    }
    memcpy(nng_msg_body(reply), bytes, size);
    nng_aio_set_msg(exchange->aio, reply);
    nng_aio_set_timeout(exchange->aio, REPLY_TIMEOUT_MS);
    exchange->state = EXCHANGE_SENDING;
    nng_ctx_send(exchange->context, exchange->aio);
    return ES_OK;
}

enum es_status transport_check(const struct transport *transport)
{
    bool answers = socket_file_answers(transport->events.path, SOCKET_FILE_PEER_SUB) &&
                   socket_file_answers(transport->requests.path, SOCKET_FILE_PEER_REQ);

    return answers ? ES_OK : ES_E_UNREACHABLE;
}
