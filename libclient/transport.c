#include "libclient/transport.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdio.h>

#include "libclient/guard.h"
#include "libclient/limits.h"

/* es_guard_process() of the process that has first used nng; 0: none has. */
static _Atomic uint64_t nng_process;

static enum es_status status_of(int error)
{
    switch (error) {
    case 0: return ES_OK;
    case NNG_ENOMEM: return ES_E_NO_MEMORY;
    case NNG_ECONNRESET: return ES_E_CLOSED;
    /* With NONBLOCK nng says EAGAIN or, where no peer is connected, ETIMEDOUT. */
    case NNG_EAGAIN:
    case NNG_ETIMEDOUT: return ES_EMPTY;
    case NNG_ENOFILES: return ES_E_LIMIT;
    /* Nothing was asked on this socket: what had been asked was reset. */
    case NNG_ESTATE: return ES_E_CLOSED;
    default: return ES_E_IO;
    }
}

static enum es_status claim_nng(void)
{
    uint64_t process = es_guard_process();
    uint64_t user = 0;

    if (atomic_compare_exchange_strong(&nng_process, &user, process) || user == process) {
        return ES_OK;
    }
    return ES_E_FORKED;
}

/* Sets what both kinds have in common and starts to connect. */
static int start(nng_socket socket, const char *path, struct es_socket *ret_socket)
{
    char url[128];
    nng_dialer dialer;
    int error;

    (void)snprintf(url, sizeof url, "ipc://%s", path);
    error = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, ES_RECONNECT_MIN_MS);
    if (error == 0) {
        error = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, ES_RECONNECT_MAX_MS);
    }
    if (error == 0) {
        error = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, ES_REPLY_BYTES_MAX);
    }
    if (error == 0) {
        error = nng_socket_get_int(socket, NNG_OPT_RECVFD, &ret_socket->receive_fd);
    }
    if (error == 0) {
        error = nng_dialer_create(&dialer, socket, url);
    }
    if (error == 0) {
        error = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    }
    return error;
}

static enum es_status finish_open(int error, nng_socket socket, const struct es_socket *opened,
                                  struct es_socket *ret_socket)
{
    enum es_status status = status_of(error);

    if (status == ES_OK) {
        *ret_socket = *opened;
    } else {
        nng_close(socket);
    }
    return status;
}

enum es_status es_socket_open_request(struct es_socket *ret_socket, const char *path)
{
    struct es_socket opened = {.receive_fd = -1, .send_fd = -1};
    nng_socket socket;
    enum es_status status = claim_nng();
    int error;

    if (status != ES_OK) {
        return status;
    }
    error = nng_req0_open(&socket);
    if (error != 0) {
        return status_of(error);
    }
    opened.id = socket.id;
    /* By itself nng would send a request again, and so do what it asks twice. */
    error = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (error == 0) {
        error = nng_socket_get_int(socket, NNG_OPT_SENDFD, &opened.send_fd);
    }
    if (error == 0) {
        error = start(socket, path, &opened);
    }
    return finish_open(error, socket, &opened, ret_socket);
}

enum es_status es_socket_open_subscribe(struct es_socket *ret_socket, const char *path)
{
    struct es_socket opened = {.receive_fd = -1, .send_fd = -1};
    nng_socket socket;
    enum es_status status = claim_nng();
    int error;

    if (status != ES_OK) {
        return status;
    }
    error = nng_sub0_open(&socket);
    if (error != 0) {
        return status_of(error);
    }
    opened.id = socket.id;
    error = nng_socket_set_int(socket, NNG_OPT_RECVBUF, ES_SUBSCRIBER_MESSAGE_COUNT);
    if (error == 0) {
        error = start(socket, path, &opened);
    }
    return finish_open(error, socket, &opened, ret_socket);
}

void es_socket_close(struct es_socket *socket)
{
    nng_socket closing = {.id = socket->id};

    if (socket->id != 0) {
        nng_close(closing);
    }
    *socket = (struct es_socket){.receive_fd = -1, .send_fd = -1};
}

enum es_status es_socket_subscribe(const struct es_socket *socket, const void *topic, size_t size)
{
    nng_socket subscriber = {.id = socket->id};

    return status_of(nng_socket_set(subscriber, NNG_OPT_SUB_SUBSCRIBE, topic, size));
}

enum es_status es_socket_send(const struct es_socket *socket, const void *bytes, size_t size)
{
    nng_socket sender = {.id = socket->id};
    nng_msg *message = NULL;
    int error = nng_msg_alloc(&message, 0);

    if (error == 0) {
        error = nng_msg_append(message, bytes, size);
    }
    if (error == 0) {
        error = nng_sendmsg(sender, message, NNG_FLAG_NONBLOCK); /* owns it if it succeeds */
    }
    if (error != 0 && message != NULL) {
        nng_msg_free(message);
    }
    return status_of(error);
}

enum es_status es_socket_receive(const struct es_socket *socket, struct es_message *ret_message)
{
    nng_socket receiver = {.id = socket->id};
    nng_msg *message = NULL;
    enum es_status status = status_of(nng_recvmsg(receiver, &message, NNG_FLAG_NONBLOCK));

    if (status != ES_OK) {
        return status;
    }
    ret_message->owner = message;
    ret_message->data = nng_msg_body(message);
    ret_message->size = nng_msg_len(message);
    ret_message->pipe_id = (uint32_t)nng_pipe_id(nng_msg_get_pipe(message));
    return ES_OK;
}

void es_message_free(struct es_message *message)
{
    if (message->owner != NULL) {
        nng_msg_free(message->owner);
    }
    *message = (struct es_message){0};
}
