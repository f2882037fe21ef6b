/*
 * Fuzzes what a stranger sends to control.sock, over the real listener: the input is a
 * script of connections made, packets sent whole or cut, with descriptors or without, and
 * connections closed. After it a sound request gets its lane.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/control.h"
#include "broker/logger.h"
#include "shm/codec/attach.h"
#include "shm/codec/hash.h"
#include "tests/support/commit_parts.h"

enum {
    CONNECTIONS = 8,
    DESCRIPTORS = 3,
    SLOTS = 4096
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct commit_parts parts;
    struct control *control;
    char path[TEMP_DIRECTORY_BYTES_MAX + 16];
    int fds[CONNECTIONS];
    pthread_t calls_thread;
    pthread_t control_thread;
    _Atomic bool is_ending;
} w;

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Plays the commit thread. */
static void *serve_calls(void *context)
{
    (void)context;
    while (!atomic_load(&w.is_ending)) {
        struct submission *submission = inbox_take(w.parts.inbox);

        if (submission == NULL) {
            sched_yield();
            continue;
        }
        submission->call(submission->context);
        inbox_answer(w.parts.inbox, submission);
    }
    return NULL;
}

static void *serve_control(void *context)
{
    (void)context;
    control_run(w.control);
    return NULL;
}

static void take_lanes_back(void *context)
{
    (void)context;
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        struct lane *lane = lanes_lane(w.parts.lanes, i);

        if (lane != NULL) {
            lane->owner_gone = true;
        }
    }
    lanes_tidy(w.parts.lanes);
}

/* Before RocksDB's own statics go, which its threads may still be looking at. */
static void end(void)
{
    control_stop(w.control);
    require(pthread_join(w.control_thread, NULL) == 0);
    atomic_store(&w.is_ending, true);
    require(pthread_join(w.calls_thread, NULL) == 0);
    control_free(w.control);
    commit_parts_remove(&w.parts);
}

static void start(void)
{
    struct control_config config = {.socket_path = w.path};
    char why[CONTROL_WHY_BYTES] = "";

    es_hash_warm_up();
    logger_set_level(LOGGER_ERROR);
    commit_parts_make(&w.parts, SLOTS);
    snprintf(w.path, sizeof w.path, "%s/c.sock", w.parts.root);
    config.inbox = w.parts.inbox;
    config.lanes = w.parts.lanes;
    require(control_new(&config, why, &w.control) == ES_OK);
    require(pthread_create(&w.calls_thread, NULL, serve_calls, NULL) == 0);
    require(pthread_create(&w.control_thread, NULL, serve_control, NULL) == 0);
    require(atexit(end) == 0);
    memset(w.fds, 0xff, sizeof w.fds);
}

static int connect_one(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", w.path);
    require(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void send_packet(int fd, const void *bytes, size_t size, bool with_descriptors)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (with_descriptors) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof(int) * DESCRIPTORS);
        for (int i = 0; i < DESCRIPTORS; i++) {
            memcpy(CMSG_DATA(&control.align) + (size_t)i * sizeof fd, &fd, sizeof fd);
        }
    }
    (void)!sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A reply, if one is there or 'waits'; its descriptors are closed. */
static bool take_reply(int fd, bool waits)
{
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS)];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t size = recvmsg(fd, &message, (waits ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);
    struct es_attach_reply reply;

    if (size <= 0) {
        return false;
    }
    require(es_attach_reply_decode(bytes, (size_t)size, &reply) == ES_OK);
    if (message.msg_controllen > 0) {
        for (int i = 0; i < DESCRIPTORS; i++) {
            int given = -1;

            memcpy(&given, CMSG_DATA(&control.align) + (size_t)i * sizeof given, sizeof given);
            close(given);
        }
    }
    require((reply.status == ES_OK) == (message.msg_controllen > 0));
    return reply.status == ES_OK;
}

/* False: no lane is free. */
static bool ask_soundly(void)
{
    struct es_attach_request request = {.layout_id = ES_LAYOUT_ID, .client_name = es_text_of("a")};
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    uint32_t size = 0;
    int fd = connect_one();
    bool is_served = false;

    require(es_attach_request_encode(&request, bytes, sizeof bytes, &size) == ES_OK);
    send_packet(fd, bytes, size, false);
    is_served = take_reply(fd, true);
    close(fd);
    return is_served;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_served = false;

    if (w.control == NULL) {
        start();
    }
    for (size_t at = 0; at + 2 <= size;) {
        int *fd = &w.fds[data[at] % CONNECTIONS];
        size_t count = data[at + 1];
        uint8_t verb = data[at] / CONNECTIONS;

        at += 2;
        count = size - at < count ? size - at : count;
        if (*fd < 0) {
            *fd = connect_one();
        }
        send_packet(*fd, data + at, count, verb % 4 == 3);
        at += count;
        if (verb % 3 == 1) {
            (void)take_reply(*fd, false);
        } else if (verb % 3 == 2) {
            close_one(fd);
        }
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        close_one(&w.fds[i]);
    }
    for (int i = 0; !is_served; i++) { /* what it has sent may still ask for lanes */
        require(i < 1000);
        require(inbox_call(w.parts.inbox, take_lanes_back, NULL) == ES_OK);
        is_served = ask_soundly();
    }
    return 0;
}
