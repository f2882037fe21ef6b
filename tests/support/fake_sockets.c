#include "tests/support/fake_sockets.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/fake_broker_state.h"

#define MESSAGE_BYTES_MAX (4u << 20)
#define SEND_BUFFER_BYTES (4 << 20) /* what is published is never waited for */
#define POLL_MS 20

static const uint8_t greetings[2][8] = {{0, 'S', 'P', 0, 0, 0x31, 0, 0},
                                        {0, 'S', 'P', 0, 0, 0x20, 0, 0}};

static bool get(int fd, void *bytes, size_t size)
{
    return recv(fd, bytes, size, MSG_WAITALL) == (ssize_t)size;
}

static bool put(int fd, const void *bytes, size_t size)
{
    size_t sent = 0;

    while (sent < size) {
        ssize_t count = send(fd, (const uint8_t *)bytes + sent, size - sent, MSG_NOSIGNAL);

        if (count <= 0) {
            return false;
        }
        sent += (size_t)count;
    }
    return true;
}

static void write_header(uint8_t header[9], uint64_t size)
{
    header[0] = 1;
    for (uint32_t i = 0; i < 8; i++) {
        header[8 - i] = (uint8_t)(size >> (8 * i));
    }
}

/* One request and its answer; false: the connection is over. */
static bool serve(struct fake_sockets *sockets, int fd)
{
    uint8_t header[9];
    uint64_t size = 0;
    size_t reply_size;

    if (!get(fd, header, sizeof header)) {
        return false;
    }
    for (uint32_t i = 1; i < sizeof header; i++) {
        size = size << 8 | header[i];
    }
    fake_require(header[0] == 1 && size >= 4 && size <= MESSAGE_BYTES_MAX, "not a request");
    if (!get(fd, sockets->request, size)) {
        return false;
    }
    memcpy(sockets->reply, sockets->request, 4); /* its id */
    reply_size = sockets->answer(sockets->context, sockets->request + 4, size - 4,
                                 sockets->reply + 4, MESSAGE_BYTES_MAX - 4);
    if (reply_size == SIZE_MAX) {
        return false;
    }
    write_header(header, 4 + reply_size);
    return put(fd, header, sizeof header) && put(fd, sockets->reply, 4 + reply_size);
}

static void add_peer(struct fake_sockets *sockets, uint32_t socket_index)
{
    int fd = accept4(sockets->listen_fds[socket_index], NULL, NULL, SOCK_CLOEXEC);
    int size = SEND_BUFFER_BYTES;
    uint8_t greeting[8];

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (!put(fd, greetings[socket_index], 8) || !get(fd, greeting, sizeof greeting)) {
        close(fd);
        return;
    }
    fake_require(sockets->peer_count < FAKE_PEER_COUNT_MAX, "too many connections");
    pthread_mutex_lock(&sockets->lock);
    sockets->peers[sockets->peer_count].fd = fd;
    sockets->peers[sockets->peer_count++].is_subscriber = socket_index == 1;
    pthread_mutex_unlock(&sockets->lock);
    atomic_fetch_add(&sockets->subscriber_count, socket_index);
}

static void remove_peer(struct fake_sockets *sockets, uint32_t index)
{
    if (sockets->peers[index].is_subscriber) {
        atomic_fetch_sub(&sockets->subscriber_count, 1);
    }
    pthread_mutex_lock(&sockets->lock);
    close(sockets->peers[index].fd);
    sockets->peers[index] = sockets->peers[--sockets->peer_count];
    pthread_mutex_unlock(&sockets->lock);
}

static void *sockets_main(void *context)
{
    struct fake_sockets *sockets = context;

    while (!atomic_load(&sockets->is_stopping)) {
        struct pollfd fds[2 + FAKE_PEER_COUNT_MAX];

        for (uint32_t i = 0; i < 2; i++) {
            fds[i] = (struct pollfd){.fd = sockets->listen_fds[i], .events = POLLIN};
        }
        for (uint32_t i = 0; i < sockets->peer_count; i++) {
            fds[2 + i] = (struct pollfd){.fd = sockets->peers[i].fd, .events = POLLIN};
        }
        if (poll(fds, 2 + sockets->peer_count, POLL_MS) <= 0) {
            continue;
        }
        for (uint32_t i = sockets->peer_count; i > 0; i--) {
            const struct fake_peer *peer = &sockets->peers[i - 1];

            /* A subscriber says nothing but its end. */
            if (fds[1 + i].revents != 0 && (peer->is_subscriber || !serve(sockets, peer->fd))) {
                remove_peer(sockets, i - 1);
            }
        }
        for (uint32_t i = 0; i < 2; i++) {
            if (fds[i].revents != 0) {
                add_peer(sockets, i);
            }
        }
    }
    return NULL;
}

void fake_sockets_publish(struct fake_sockets *sockets, const void *bytes, size_t size)
{
    uint8_t header[9];

    write_header(header, size);
    pthread_mutex_lock(&sockets->lock);
    for (uint32_t i = 0; i < sockets->peer_count; i++) {
        if (sockets->peers[i].is_subscriber) {
            (void)(put(sockets->peers[i].fd, header, sizeof header) &&
                   put(sockets->peers[i].fd, bytes, size)); /* one that is gone is no matter */
        }
    }
    pthread_mutex_unlock(&sockets->lock);
}

static int listen_on(const char *run_dir, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.80s/%s", run_dir, name);
    (void)unlink(address.sun_path);
    fake_require(fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
                     listen(fd, 16) == 0,
                 "cannot listen");
    return fd;
}

void fake_sockets_start(struct fake_sockets *sockets, const char *run_dir, fake_answer *answer,
                        void *context)
{
    (void)snprintf(sockets->run_dir, sizeof sockets->run_dir, "%s", run_dir);
    sockets->answer = answer;
    sockets->context = context;
    sockets->reply = malloc(MESSAGE_BYTES_MAX);
    sockets->request = malloc(MESSAGE_BYTES_MAX);
    fake_require(sockets->reply != NULL && sockets->request != NULL, "no memory");
    pthread_mutex_init(&sockets->lock, NULL);
    sockets->listen_fds[0] = listen_on(run_dir, "requests.sock");
    sockets->listen_fds[1] = listen_on(run_dir, "events.sock");
    fake_require(pthread_create(&sockets->thread, NULL, sockets_main, sockets) == 0, "no thread");
}

void fake_sockets_stop(struct fake_sockets *sockets)
{
    atomic_store(&sockets->is_stopping, true);
    pthread_join(sockets->thread, NULL);
    for (uint32_t i = 0; i < sockets->peer_count; i++) {
        close(sockets->peers[i].fd);
    }
    close(sockets->listen_fds[0]);
    close(sockets->listen_fds[1]);
    pthread_mutex_destroy(&sockets->lock);
    free(sockets->reply);
    free(sockets->request);
}
