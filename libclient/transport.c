#include "libclient/transport.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "libclient/limits.h"

/*  greeting   00 'S' 'P' 00 | protocol, 2 bytes big-endian | 00 00
 *  frame      01 | length of what follows, 8 bytes big-endian | bytes
 *  REQ, REP   the bytes begin with the request's id, 4 bytes, highest bit set   */
#define GREETING_BYTES 8u
#define FRAME_HEADER_BYTES 9u
#define REQUEST_ID_BYTES 4u
#define REQUEST_ID_BIT UINT32_C(0x80000000)

enum {
    PROTOCOL_PUB = 0x20,
    PROTOCOL_SUB = 0x21,
    PROTOCOL_REQ = 0x30,
    PROTOCOL_REP = 0x31
};

#define INPUT_BYTES (64u << 10)
#define TOPIC_COUNT_MAX 4u
#define TOPIC_BYTES_MAX 1024u
#define UNWANTED_COUNT_MAX 1000u /* messages passed over in one call */

enum socket_state {
    SOCKET_DOWN = 0,
    SOCKET_GREETING, /* connected; the peer has not greeted yet */
    SOCKET_UP
};

struct topic {
    size_t size;
    uint8_t bytes[TOPIC_BYTES_MAX];
};

struct es_socket {
    enum es_socket_kind kind;
    enum socket_state state;
    struct sockaddr_un address;
    int poll_fd;  /* epoll over the next two */
    int timer_fd; /* expires when it is time to come by again */
    int fd;       /* -1: down */
    int retry_ms;
    uint32_t pipe_id; /* of the present connection */
    uint32_t request_id;
    bool is_waiting; /* for the answer to request_id */
    bool is_reset;   /* the connection broke while waiting; not told yet */
    bool is_output_polled;
    bool is_timer_armed;
    uint32_t topic_count;
    struct topic topics[TOPIC_COUNT_MAX];
    uint8_t *output; /* frames on their way */
    size_t output_capacity;
    size_t output_bytes;
    size_t output_sent;
    uint8_t *message; /* being received; NULL: none */
    size_t message_bytes;
    size_t message_received;
    size_t input_at; /* 'input' from here to input_end is not used yet */
    size_t input_end;
    uint8_t input[INPUT_BYTES];
};

static _Atomic uint32_t pipe_id_last;

void es_message_free(struct es_message *message)
{
    free(message->owner);
    *message = (struct es_message){0};
}

/* ---- connecting --------------------------------------------------------- */

static void arm_timer(struct es_socket *sock, int after_ms)
{
    const struct itimerspec after = {
        .it_value = {.tv_sec = after_ms / 1000, .tv_nsec = after_ms % 1000 * ES_MILLISECOND_NS}};

    sock->is_timer_armed = timerfd_settime(sock->timer_fd, 0, &after, NULL) == 0;
}

/* Hangs up, and will try again. What was on its way is dropped. */
static void go_down(struct es_socket *sock)
{
    if (sock->fd >= 0) {
        close(sock->fd); /* leaves the epoll by itself */
    }
    free(sock->message);
    sock->message = NULL;
    sock->fd = -1;
    sock->state = SOCKET_DOWN;
    sock->output_bytes = sock->output_sent = 0;
    sock->input_at = sock->input_end = 0;
    sock->is_reset = sock->is_reset || sock->is_waiting;
    sock->is_waiting = false;
    arm_timer(sock, sock->retry_ms);
    sock->retry_ms =
        2 * sock->retry_ms < ES_RECONNECT_MAX_MS ? 2 * sock->retry_ms : ES_RECONNECT_MAX_MS;
}

static void poll_for(struct es_socket *sock, int operation, bool is_output_wanted)
{
    struct epoll_event event = {.events = EPOLLIN};

    if (is_output_wanted) {
        event.events |= EPOLLOUT;
    }
    (void)epoll_ctl(sock->poll_fd, operation, sock->fd, &event);
    sock->is_output_polled = is_output_wanted;
}

static void try_connect(struct es_socket *sock)
{
    const uint8_t protocol = sock->kind == ES_SOCKET_REQUEST ? PROTOCOL_REQ : PROTOCOL_SUB;
    const uint8_t greeting[GREETING_BYTES] = {0, 'S', 'P', 0, 0, protocol, 0, 0};

    sock->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock->fd < 0 ||
        connect(sock->fd, (const struct sockaddr *)&sock->address, sizeof sock->address) != 0) {
        if (errno == EAGAIN) { /* the queue is full: there is a broker, which lets some in */
            sock->retry_ms = ES_CONNECT_AGAIN_MS;
        }
        go_down(sock);
        return;
    }
    if (send(sock->fd, greeting, sizeof greeting, MSG_NOSIGNAL) != (ssize_t)sizeof greeting) {
        go_down(sock);
        return;
    }
    sock->state = SOCKET_GREETING;
    sock->pipe_id = atomic_fetch_add_explicit(&pipe_id_last, 1, memory_order_relaxed) + 1;
    poll_for(sock, EPOLL_CTL_ADD, false);
}

/* Connects again when the timer says that it is time; at once where it could not be set. */
static void come_by(struct es_socket *sock)
{
    uint64_t expirations = 0;

    if (sock->is_timer_armed &&
        read(sock->timer_fd, &expirations, sizeof expirations) != (ssize_t)sizeof expirations) {
        return;
    }
    sock->is_timer_armed = false;
    if (sock->state == SOCKET_DOWN) {
        try_connect(sock);
    }
}

enum es_status es_socket_open(enum es_socket_kind kind, const char *path,
                              struct es_socket **ret_sock)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct es_socket *sock = malloc(sizeof *sock);

    if (sock == NULL) {
        return ES_E_NO_MEMORY;
    }
    memset(sock, 0, offsetof(struct es_socket, input)); /* the input is written before it is read */
    sock->kind = kind;
    sock->fd = -1;
    sock->retry_ms = ES_RECONNECT_MIN_MS;
    sock->address.sun_family = AF_UNIX;
    memcpy(sock->address.sun_path, path, strnlen(path, sizeof sock->address.sun_path - 1));
    sock->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    sock->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (sock->poll_fd < 0 || sock->timer_fd < 0 ||
        epoll_ctl(sock->poll_fd, EPOLL_CTL_ADD, sock->timer_fd, &event) != 0) {
        es_socket_close(sock);
        return ES_E_LIMIT;
    }
    try_connect(sock);
    *ret_sock = sock;
    return ES_OK;
}

void es_socket_close(struct es_socket *sock)
{
    if (sock == NULL) {
        return;
    }
    if (sock->fd >= 0) {
        close(sock->fd);
    }
    if (sock->timer_fd >= 0) {
        close(sock->timer_fd);
    }
    if (sock->poll_fd >= 0) {
        close(sock->poll_fd);
    }
    free(sock->message);
    free(sock->output);
    free(sock);
}

int es_socket_fd(const struct es_socket *sock)
{
    return sock->poll_fd;
}

enum es_status es_socket_subscribe(struct es_socket *sock, const void *topic, size_t size)
{
    struct topic *added = &sock->topics[sock->topic_count];

    if (sock->topic_count == TOPIC_COUNT_MAX || size > TOPIC_BYTES_MAX) {
        return ES_E_LIMIT;
    }
    memcpy(added->bytes, topic, size);
    added->size = size;
    sock->topic_count++;
    return ES_OK;
}

/* ---- receiving ---------------------------------------------------------- */

/* Reads more into the input, or straight into a message whose beginning is known.
 * ES_EMPTY: nothing there. ES_E_CLOSED: the connection is gone. */
static enum es_status read_more(struct es_socket *sock)
{
    bool is_direct = sock->message != NULL && sock->input_at == sock->input_end;
    uint8_t *to = sock->input + sock->input_end;
    size_t room = sizeof sock->input - sock->input_end;
    ssize_t count;

    if (is_direct) {
        to = sock->message + sock->message_received;
        room = sock->message_bytes - sock->message_received;
    }
    do {
        count = recv(sock->fd, to, room, 0);
    } while (count < 0 && errno == EINTR);
    if (count < 0 && errno == EAGAIN) {
        return ES_EMPTY;
    }
    if (count <= 0) {
        return ES_E_CLOSED;
    }
    if (is_direct) {
        sock->message_received += (size_t)count;
    } else {
        sock->input_end += (size_t)count;
    }
    return ES_OK;
}

/* Makes sure that 'size' bytes of input lie ready, moving the few there are to the front. */
static enum es_status need(struct es_socket *sock, size_t size)
{
    enum es_status status = ES_OK;

    while (status == ES_OK && sock->input_end - sock->input_at < size) {
        if (sock->input_at > 0) {
            memmove(sock->input, sock->input + sock->input_at, sock->input_end - sock->input_at);
            sock->input_end -= sock->input_at;
            sock->input_at = 0;
        }
        status = read_more(sock);
    }
    return status;
}

static enum es_status read_greeting(struct es_socket *sock)
{
    const uint8_t protocol = sock->kind == ES_SOCKET_REQUEST ? PROTOCOL_REP : PROTOCOL_PUB;
    const uint8_t expected[GREETING_BYTES] = {0, 'S', 'P', 0, 0, protocol, 0, 0};
    enum es_status status = need(sock, GREETING_BYTES);

    if (status != ES_OK) {
        return status;
    }
    if (memcmp(sock->input + sock->input_at, expected, GREETING_BYTES) != 0) {
        return ES_E_CLOSED;
    }
    sock->input_at += GREETING_BYTES;
    sock->state = SOCKET_UP;
    sock->retry_ms = ES_RECONNECT_MIN_MS;
    return ES_OK;
}

/* Reads a frame's header and makes room for what follows. */
static enum es_status begin_message(struct es_socket *sock)
{
    enum es_status status = need(sock, FRAME_HEADER_BYTES);
    const uint8_t *header = sock->input + sock->input_at;
    uint64_t size = 0;

    if (status != ES_OK) {
        return status;
    }
    for (uint32_t i = 1; i < FRAME_HEADER_BYTES; i++) {
        size = size << 8 | header[i];
    }
    if (header[0] != 1 || size > ES_REPLY_BYTES_MAX ||
        (sock->kind == ES_SOCKET_REQUEST && size < REQUEST_ID_BYTES)) {
        return ES_E_CLOSED;
    }
    sock->input_at += FRAME_HEADER_BYTES;
    sock->message = malloc(size + 1);
    sock->message_bytes = size;
    sock->message_received = 0;
    return sock->message != NULL ? ES_OK : ES_E_NO_MEMORY;
}

/* Receives one whole message into sock->message, whatever it is. */
static enum es_status read_message(struct es_socket *sock)
{
    enum es_status status = sock->message == NULL ? begin_message(sock) : ES_OK;

    while (status == ES_OK) {
        size_t there = sock->input_end - sock->input_at;
        size_t wanted = sock->message_bytes - sock->message_received;
        size_t taken = there < wanted ? there : wanted;

        memcpy(sock->message + sock->message_received, sock->input + sock->input_at, taken);
        sock->message_received += taken;
        sock->input_at += taken;
        if (sock->message_received == sock->message_bytes) {
            return ES_OK;
        }
        status = read_more(sock);
    }
    return status;
}

static bool is_wanted(const struct es_socket *sock)
{
    if (sock->kind == ES_SOCKET_REQUEST) {
        uint32_t id = (uint32_t)sock->message[0] << 24 | (uint32_t)sock->message[1] << 16 |
                      (uint32_t)sock->message[2] << 8 | sock->message[3];

        return sock->is_waiting && id == sock->request_id;
    }
    for (uint32_t i = 0; i < sock->topic_count; i++) {
        if (sock->message_bytes >= sock->topics[i].size &&
            memcmp(sock->message, sock->topics[i].bytes, sock->topics[i].size) == 0) {
            return true;
        }
    }
    return false;
}

/* The next message that is wanted, of those that have arrived. */
static enum es_status take_message(struct es_socket *sock, struct es_message *ret_message)
{
    for (uint32_t passed = 0; passed < UNWANTED_COUNT_MAX; passed++) {
        size_t id_bytes = sock->kind == ES_SOCKET_REQUEST ? REQUEST_ID_BYTES : 0;
        enum es_status status = read_message(sock);

        if (status != ES_OK) {
            return status;
        }
        if (is_wanted(sock)) {
            ret_message->owner = sock->message;
            ret_message->data = sock->message + id_bytes;
            ret_message->size = sock->message_bytes - id_bytes;
            ret_message->pipe_id = sock->pipe_id;
            sock->message = NULL;
            sock->is_waiting = false;
            return ES_OK;
        }
        free(sock->message);
        sock->message = NULL;
    }
    arm_timer(sock, 1); /* there may be more in the input, of which the socket does not tell */
    return ES_EMPTY;
}

/* ---- sending ------------------------------------------------------------ */

static enum es_status flush(struct es_socket *sock)
{
    while (sock->output_sent < sock->output_bytes) {
        ssize_t count = send(sock->fd, sock->output + sock->output_sent,
                             sock->output_bytes - sock->output_sent, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            break;
        }
        if (count < 0) {
            return ES_E_CLOSED;
        }
        sock->output_sent += (size_t)count;
    }
    if (sock->is_output_polled != (sock->output_sent < sock->output_bytes)) {
        poll_for(sock, EPOLL_CTL_MOD, sock->output_sent < sock->output_bytes);
    }
    return ES_OK;
}

/* Moves things on as far as they go without waiting. */
static void move_on(struct es_socket *sock)
{
    enum es_status status = ES_OK;

    come_by(sock);
    if (sock->state == SOCKET_GREETING) {
        status = read_greeting(sock);
    }
    if (status == ES_OK && sock->state == SOCKET_UP) {
        status = flush(sock);
    }
    if (status == ES_E_CLOSED) {
        go_down(sock);
    }
}

/* Appends a frame to what is on its way; usually nothing is. */
static enum es_status put_frame(struct es_socket *sock, const void *bytes, size_t size)
{
    uint64_t length = REQUEST_ID_BYTES + (uint64_t)size;
    size_t wanted = sock->output_bytes + FRAME_HEADER_BYTES + (size_t)length;
    uint8_t *at;

    if (wanted > sock->output_capacity) {
        uint8_t *grown = realloc(sock->output, wanted);

        if (grown == NULL) {
            return ES_E_NO_MEMORY;
        }
        sock->output = grown;
        sock->output_capacity = wanted;
    }
    at = sock->output + sock->output_bytes;
    *at++ = 1;
    for (int shift = 56; shift >= 0; shift -= 8) {
        *at++ = (uint8_t)(length >> shift);
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = (uint8_t)(sock->request_id >> shift);
    }
    memcpy(at, bytes, size);
    sock->output_bytes = wanted;
    return ES_OK;
}

enum es_status es_socket_send(struct es_socket *sock, const void *bytes, size_t size)
{
    enum es_status status;

    move_on(sock);
    if (sock->state != SOCKET_UP) {
        return ES_EMPTY;
    }
    if (sock->output_sent == sock->output_bytes) {
        sock->output_sent = sock->output_bytes = 0;
    }
    sock->request_id = (sock->request_id + 1) | REQUEST_ID_BIT;
    status = put_frame(sock, bytes, size);
    if (status != ES_OK) {
        return status;
    }
    sock->is_waiting = true;
    sock->is_reset = false;
    move_on(sock);
    return ES_OK;
}

enum es_status es_socket_receive(struct es_socket *sock, struct es_message *ret_message)
{
    enum es_status status = ES_EMPTY;

    move_on(sock);
    if (sock->state == SOCKET_UP) {
        status = take_message(sock, ret_message);
    }
    if (status == ES_E_CLOSED || status == ES_E_NO_MEMORY) {
        go_down(sock);
    }
    if (status == ES_OK || status == ES_E_NO_MEMORY) {
        return status;
    }
    if (sock->kind == ES_SOCKET_REQUEST && !sock->is_waiting) {
        sock->is_reset = false;
        return ES_E_CLOSED;
    }
    return ES_EMPTY;
}
