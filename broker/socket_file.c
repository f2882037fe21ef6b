#include "broker/socket_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    GREETING_BYTES = 8,
    GREETING_TIMEOUT_MS = 1000
};

/* A connection to the listener at 'path', or -1: nobody listens there. */
static int listener_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    if (strlen(path) >= sizeof address.sun_path) {
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

enum es_status socket_file_clear(const char *path, char *why, size_t why_bytes)
{
    struct stat found;
    int listener = -1;

    if (lstat(path, &found) != 0) {
        return ES_OK;
    }
    if (!S_ISSOCK(found.st_mode)) {
        snprintf(why, why_bytes, "%.180s is there and is no socket: move it away", path);
        return ES_E_BUSY;
    }
    listener = listener_connect(path);
    if (listener >= 0) {
        close(listener);
        snprintf(why, why_bytes, "another process listens on %.180s: stop it", path);
        return ES_E_BUSY;
    }
    (void)unlink(path);
    return ES_OK;
}

/* Waits for the listener's greeting, of whose eight bytes the first four are fixed. */
static bool greeting_comes(int fd)
{
    static const uint8_t magic[] = {0, 'S', 'P', 0};
    uint8_t greeting[GREETING_BYTES];
    size_t received = 0;

    while (received < sizeof greeting) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t got = 0;

        if (poll(&wait, 1, GREETING_TIMEOUT_MS) != 1) {
            return false;
        }
        got = recv(fd, greeting + received, sizeof greeting - received, MSG_DONTWAIT);
        if (got <= 0) {
            return false;
        }
        received += (size_t)got;
    }
    return memcmp(greeting, magic, sizeof magic) == 0;
}

bool socket_file_answers(const char *path, enum socket_file_peer peer)
{
    const uint8_t greeting[GREETING_BYTES] = {0, 'S', 'P', 0, 0, (uint8_t)peer, 0, 0};
    int fd = listener_connect(path);
    bool answers = false;

    if (fd < 0) {
        return false;
    }
    answers = send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) == (ssize_t)sizeof greeting &&
              greeting_comes(fd);
    close(fd);
    return answers;
}

bool socket_sendmsg_is_cured(void)
{
    ssize_t (*resolved)(int, const struct msghdr *, int) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "sendmsg");
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    int pair[2];
    bool cured = false;

    memcpy(&resolved, &symbol, sizeof resolved); /* POSIX wants it so: no cast exists */
    if (resolved == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return false;
    }
    close(pair[1]);
    cured = resolved(pair[0], &message, MSG_NOSIGNAL) < 0 && errno == ECONNRESET;
    close(pair[0]);
    return cured;
}
