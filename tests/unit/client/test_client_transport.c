/*
 * The framing of nng's ipc:// as the library speaks it, against a peer written out
 * by hand, byte by byte: whole, in pieces, too long, of another protocol, gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "libclient/limits.h"
#include "libclient/transport.h"
#include "shm/futex.h"
#include "tests/support/temp_directory.h"

#define PATIENCE_MS 30000
#define QUEUE_MAX 16u
#define GREETING_REP "\0SP\0\0\x31\0\0"
#define GREETING_PUB "\0SP\0\0\x20\0\0"

struct fixture {
    char directory[TEMP_DIRECTORY_BYTES_MAX];
    char path[TEMP_DIRECTORY_BYTES_MAX + 16];
    int listen_fd;
    int peer; /* our end of the connection; -1: none */
};

static int64_t longest_pause_ns; /* that a timer was set for */

int __real_timerfd_settime(int fd, int flags, const struct itimerspec *next,
                           struct itimerspec *ret_before);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *next,
                           struct itimerspec *ret_before);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *next,
                           struct itimerspec *ret_before)
{
    int64_t pause_ns = next->it_value.tv_sec * INT64_C(1000000000) + next->it_value.tv_nsec;

    longest_pause_ns = pause_ns > longest_pause_ns ? pause_ns : longest_pause_ns;
    return __real_timerfd_settime(fd, flags, next, ret_before);
}

static void listen_again(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)unlink(f->path);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", f->path);
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listen_fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listen_fd, 4), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    temp_directory_make(f->directory);
    (void)snprintf(f->path, sizeof f->path, "%s/peer.sock", f->directory);
    f->peer = -1;
    listen_again(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->peer >= 0) {
        close(f->peer);
    }
    close(f->listen_fd);
    temp_directory_remove(f->directory);
    free(f);
    return 0;
}

static void put(const struct fixture *f, const void *bytes, size_t size)
{
    assert_int_equal(send(f->peer, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void get(const struct fixture *f, void *bytes, size_t size)
{
    assert_int_equal(recv(f->peer, bytes, size, MSG_WAITALL), (ssize_t)size);
}

static void put_frame(const struct fixture *f, const void *bytes, size_t size)
{
    uint8_t header[9] = {1};

    for (uint32_t i = 0; i < 8; i++) {
        header[8 - i] = (uint8_t)((uint64_t)size >> (8 * i));
    }
    put(f, header, sizeof header);
    put(f, bytes, size);
}

static void await(const struct es_socket *sock)
{
    struct pollfd fd = {.fd = es_socket_fd(sock), .events = POLLIN};

    assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
}

/* Takes the connection that the socket has made; reads its greeting. */
static void meet(struct fixture *f, const char *greeting, uint8_t expected_protocol)
{
    uint8_t received[8];

    f->peer = accept(f->listen_fd, NULL, NULL);
    assert_true(f->peer >= 0);
    get(f, received, sizeof received);
    assert_memory_equal(received, "\0SP\0\0", 5);
    assert_int_equal(received[5], expected_protocol);
    put(f, greeting, 8);
}

static struct es_socket *open_request(struct fixture *f)
{
    struct es_socket *sock = NULL;

    assert_int_equal(es_socket_open(ES_SOCKET_REQUEST, f->path, &sock), ES_OK);
    assert_int_equal(es_socket_send(sock, "early", 5), ES_EMPTY);
    meet(f, GREETING_REP, 0x30);
    await(sock);
    return sock;
}

/* Receives a request; keeps its id. */
static void get_request(const struct fixture *f, const char *expected, uint8_t ret_id[4])
{
    uint8_t frame[64];
    size_t size = strlen(expected);

    get(f, frame, 9 + 4 + size);
    assert_int_equal(frame[0], 1);
    assert_int_equal(frame[8], 4 + size);
    memcpy(ret_id, frame + 9, 4);
    assert_true((ret_id[0] & 0x80) != 0);
    assert_memory_equal(frame + 13, expected, size);
}

static void put_reply(const struct fixture *f, const uint8_t id[4], const char *text)
{
    uint8_t bytes[64];

    memcpy(bytes, id, 4);
    memcpy(bytes + 4, text, strlen(text));
    put_frame(f, bytes, 4 + strlen(text));
}

static void expect_message(struct es_socket *sock, const char *expected)
{
    struct es_message message = {0};
    enum es_status status = es_socket_receive(sock, &message);

    while (status == ES_EMPTY) {
        await(sock);
        status = es_socket_receive(sock, &message);
    }
    assert_int_equal(status, ES_OK);
    assert_int_equal(message.size, strlen(expected));
    assert_memory_equal(message.data, expected, message.size);
    assert_true(message.pipe_id != 0);
    es_message_free(&message);
}

static void a_request_gets_its_own_answer_and_no_other(void **state)
{
    struct fixture *f = *state;
    struct es_socket *sock = open_request(f);
    struct es_message message = {0};
    uint8_t first[4];
    uint8_t second[4];

    assert_int_equal(es_socket_send(sock, "first", 5), ES_OK);
    assert_int_equal(es_socket_receive(sock, &message), ES_EMPTY);
    assert_int_equal(es_socket_send(sock, "second", 6), ES_OK);
    get_request(f, "first", first);
    get_request(f, "second", second);
    put_reply(f, first, "late");
    put_reply(f, second, "answer");
    put_reply(f, second, "again");
    expect_message(sock, "answer");
    assert_int_equal(es_socket_receive(sock, &message), ES_E_CLOSED); /* nothing is asked */
    es_socket_close(sock);
}

static void frames_may_come_in_any_pieces(void **state)
{
    static const char bytes[] = GREETING_PUB "\x01\0\0\0\0\0\0\0\x05"
                                             "S:one"
                                             "\x01\0\0\0\0\0\0\0\x00"
                                             "\x01\0\0\0\0\0\0\0\x06"
                                             "S:more"
                                             "\x01\0\0\0\0\0\0\0\x05"
                                             "X:not"
                                             "\x01\0\0\0\0\0\0\0\x02"
                                             "H:";
    struct fixture *f = *state;

    for (size_t piece = 1; piece < sizeof bytes; piece += 3) {
        struct es_socket *sock = NULL;
        struct es_message message = {0};
        char received[64] = "";
        uint8_t greeting[8];

        assert_int_equal(es_socket_open(ES_SOCKET_SUBSCRIBE, f->path, &sock), ES_OK);
        assert_int_equal(es_socket_subscribe(sock, "S:", 2), ES_OK);
        assert_int_equal(es_socket_subscribe(sock, "H:", 2), ES_OK);
        f->peer = accept(f->listen_fd, NULL, NULL);
        get(f, greeting, sizeof greeting);
        assert_int_equal(greeting[5], 0x21);
        for (size_t at = 0; at < sizeof bytes - 1; at += piece) {
            size_t left = sizeof bytes - 1 - at;

            put(f, bytes + at, left < piece ? left : piece);
            while (es_socket_receive(sock, &message) == ES_OK) {
                strncat(received, (const char *)message.data, message.size);
                es_message_free(&message);
            }
        }
        assert_string_equal(received, "S:oneS:moreH:");
        es_socket_close(sock);
        close(f->peer);
    }
    f->peer = -1;
}

static void a_large_message_arrives_whole(void **state)
{
    struct fixture *f = *state;
    struct es_socket *sock = NULL;
    struct es_message message = {0};
    const size_t size = 300000;
    uint8_t *bytes = malloc(size);
    uint8_t greeting[8];
    size_t sent = 0;

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    assert_int_equal(es_socket_open(ES_SOCKET_SUBSCRIBE, f->path, &sock), ES_OK);
    assert_int_equal(es_socket_subscribe(sock, "", 0), ES_OK);
    f->peer = accept(f->listen_fd, NULL, NULL);
    get(f, greeting, sizeof greeting);
    put(f, GREETING_PUB, 8);
    put(f, "\x01\0\0\0\0\0\x04\x93\xe0", 9);
    while (es_socket_receive(sock, &message) == ES_EMPTY) {
        ssize_t count = send(f->peer, bytes + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += count > 0 ? (size_t)count : 0;
    }
    assert_int_equal(message.size, size);
    assert_memory_equal(message.data, bytes, size);
    es_message_free(&message);
    es_socket_close(sock);
    free(bytes);
}

/* More than a socket holds: it goes out as the peer takes it. */
static void a_large_request_goes_out_in_pieces(void **state)
{
    struct fixture *f = *state;
    struct es_socket *sock = open_request(f);
    struct es_message message = {0};
    const size_t size = 2000000;
    uint8_t *bytes = calloc(1, size);
    uint8_t *received = malloc(size + 13);
    size_t at = 0;

    assert_non_null(bytes);
    assert_non_null(received);
    memset(bytes, 0x42, size);
    assert_int_equal(es_socket_send(sock, bytes, size), ES_OK);
    while (at < size + 13) {
        ssize_t count = recv(f->peer, received + at, size + 13 - at, MSG_DONTWAIT);

        at += count > 0 ? (size_t)count : 0;
        assert_int_equal(es_socket_receive(sock, &message), ES_EMPTY);
    }
    assert_memory_equal(received + 13, bytes, size);
    put_reply(f, received + 9, "stored");
    expect_message(sock, "stored");
    es_socket_close(sock);
    free(bytes);
    free(received);
}

static void a_connection_that_breaks_is_told_and_made_again(void **state)
{
    struct fixture *f = *state;
    struct es_socket *sock = open_request(f);
    struct es_message message = {0};
    uint8_t id[4];

    assert_int_equal(es_socket_send(sock, "lost", 4), ES_OK);
    get_request(f, "lost", id);
    close(f->peer);
    await(sock);
    assert_int_equal(es_socket_receive(sock, &message), ES_E_CLOSED);
    while (es_socket_send(sock, "again", 5) == ES_EMPTY) {
        struct pollfd fds[2] = {{.fd = es_socket_fd(sock), .events = POLLIN},
                                {.fd = f->listen_fd, .events = POLLIN}};

        assert_true(poll(fds, 2, PATIENCE_MS) >= 1);
        if (fds[1].revents != 0) {
            meet(f, GREETING_REP, 0x30);
        }
    }
    get_request(f, "again", id);
    put_reply(f, id, "answer");
    expect_message(sock, "answer");
    es_socket_close(sock);
}

/* Others hold all its places, and take those that come free: who comes by seldom never
 * gets one. */
static void a_queue_that_is_full_is_tried_again_soon(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct es_socket *sock = NULL;
    int crowd[QUEUE_MAX];
    uint32_t count = 0;

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", f->path);
    do {
        assert_true(count < QUEUE_MAX);
        crowd[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(crowd[count++], (const struct sockaddr *)&address, sizeof address) == 0);
    assert_int_equal(errno, EAGAIN);
    longest_pause_ns = 0;
    assert_int_equal(es_socket_open(ES_SOCKET_REQUEST, f->path, &sock), ES_OK);
    for (int tries = 0; tries < 10; tries++) {
        await(sock);
        assert_int_equal(es_socket_send(sock, "early", 5), ES_EMPTY);
    }
    assert_in_range(longest_pause_ns, 1, ES_CONNECT_AGAIN_MS * ES_MILLISECOND_NS);
    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count) { /* the last one was not let in */
            close(accept(f->listen_fd, NULL, NULL));
        }
        close(crowd[i]);
    }
    await(sock);
    assert_int_equal(es_socket_send(sock, "early", 5), ES_EMPTY);
    meet(f, GREETING_REP, 0x30);
    es_socket_close(sock);
}

/* Whatever is no greeting of the right protocol or no frame ends the connection. */
static void a_peer_that_breaks_a_rule_is_hung_up_on(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rude[] = {
        {"HTTP/1.1 200 OK\r\n", 17},
        {GREETING_PUB, 8}, /* for a request */
        {"\0SP\1\0\x31\0\0", 8},
        {GREETING_REP "\x02\0\0\0\0\0\0\0\x05"
                      "abcde",
         22},
        {GREETING_REP "\x01\0\0\0\0\0\0\0\x03"
                      "abc",
         20}, /* no room for an id */
        {GREETING_REP "\x01\xff\xff\xff\xff\xff\xff\xff\xff", 17},
        {GREETING_REP "\x01\0\0\0\0\x04\0\0\x01", 17}, /* 64 MiB and a byte */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rude / sizeof rude[0]; i++) {
        struct es_socket *sock = NULL;
        uint8_t byte;
        uint8_t greeting[8];

        assert_int_equal(es_socket_open(ES_SOCKET_REQUEST, f->path, &sock), ES_OK);
        f->peer = accept(f->listen_fd, NULL, NULL);
        get(f, greeting, sizeof greeting);
        put(f, rude[i].bytes, rude[i].size);
        for (uint32_t calls = 0; calls < 3; calls++) {
            struct es_message message = {0};

            (void)!es_socket_send(sock, "question", 8);
            assert_int_not_equal(es_socket_receive(sock, &message), ES_OK);
        }
        /* At the latest after what was still on its way to us there is the end. */
        while (recv(f->peer, &byte, 1, 0) == 1) {
        }
        es_socket_close(sock);
        close(f->peer);
    }
    f->peer = -1;
}

int main(void)
{
#define FIXED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FIXED(a_request_gets_its_own_answer_and_no_other),
        FIXED(frames_may_come_in_any_pieces),
        FIXED(a_large_message_arrives_whole),
        FIXED(a_large_request_goes_out_in_pieces),
        FIXED(a_connection_that_breaks_is_told_and_made_again),
        FIXED(a_queue_that_is_full_is_tried_again_soon),
        FIXED(a_peer_that_breaks_a_rule_is_hung_up_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
