#include "tests/support/sp_client.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/futex.h"

enum {
    FRAME_BYTES = 9,
    ID_BYTES = 4,
    MESSAGE_BYTES_MAX = 64 << 20
};
#define WAIT_NS INT64_C(10000000000)
#define NS_PER_MS INT64_C(1000000)

int sp_connect_silently(const char *path)
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

/* Bytes, or the end, within ten seconds, whatever signals come meanwhile. */
static bool wait_readable(int fd)
{
    int64_t deadline_ns = es_deadline_after_ns(WAIT_NS);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int count = 0;

    do {
        int64_t left_ns = deadline_ns - es_monotonic_ns();

        count = poll(&wait, 1, left_ns > 0 ? (int)(left_ns / NS_PER_MS) + 1 : 0);
    } while (count < 0 && errno == EINTR);
    return count == 1;
}

static bool read_exactly(int fd, void *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = 0;

        if (!wait_readable(fd)) {
            return false;
        }
        got = recv(fd, (uint8_t *)bytes + done, size - done, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static bool write_exactly(int fd, const void *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t put = send(fd, (const uint8_t *)bytes + done, size - done, MSG_NOSIGNAL);

        if (put < 0 && errno != EINTR) {
            return false;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

bool sp_connect(struct sp_client *client, const char *path, enum sp_protocol protocol)
{
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, (uint8_t)protocol, 0, 0};
    uint8_t greeted[8];

    client->request_id = 0x80000001U;
    client->fd = sp_connect_silently(path);
    if (client->fd < 0) {
        return false;
    }
    if (!write_exactly(client->fd, greeting, sizeof greeting) ||
        !read_exactly(client->fd, greeted, sizeof greeted) || memcmp(greeted, "\0SP", 4) != 0) {
        sp_close(client);
        return false;
    }
    return true;
}

void sp_close(struct sp_client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
    }
    client->fd = -1;
}

bool sp_send(struct sp_client *client, const void *bytes, size_t size)
{
    uint8_t frame[FRAME_BYTES] = {1};
    uint64_t length = htobe64(size);

    memcpy(frame + 1, &length, sizeof length);
    return write_exactly(client->fd, frame, sizeof frame) && write_exactly(client->fd, bytes, size);
}

bool sp_receive(struct sp_client *client, uint8_t **ret_bytes, size_t *ret_size)
{
    uint8_t frame[FRAME_BYTES];
    uint64_t length = 0;
    uint8_t *bytes = NULL;

    if (!read_exactly(client->fd, frame, sizeof frame)) {
        return false;
    }
    memcpy(&length, frame + 1, sizeof length);
    length = be64toh(length);
    if (length > MESSAGE_BYTES_MAX) {
        return false;
    }
    bytes = malloc((size_t)length + 1);
    if (bytes == NULL || !read_exactly(client->fd, bytes, (size_t)length)) {
        free(bytes);
        return false;
    }
    *ret_bytes = bytes;
    *ret_size = (size_t)length;
    return true;
}

bool sp_request(struct sp_client *client, const void *bytes, size_t size, uint8_t **ret_reply,
                size_t *ret_size)
{
    uint32_t id = htobe32(client->request_id);
    uint8_t *message = malloc(size + ID_BYTES);
    bool sent = false;

    if (message == NULL) {
        return false;
    }
    memcpy(message, &id, ID_BYTES);
    if (size > 0) {
        memcpy(message + ID_BYTES, bytes, size);
    }
    client->request_id++;
    sent = sp_send(client, message, size + ID_BYTES);
    free(message);
    if (!sent || !sp_receive(client, ret_reply, ret_size)) {
        return false;
    }
    if (*ret_size < ID_BYTES || memcmp(*ret_reply, &id, ID_BYTES) != 0) {
        free(*ret_reply);
        return false;
    }
    *ret_size -= ID_BYTES;
    memmove(*ret_reply, *ret_reply + ID_BYTES, *ret_size);
    return true;
}

bool sp_is_closed(struct sp_client *client)
{
    uint8_t *bytes = NULL;
    size_t size = 0;

    while (wait_readable(client->fd)) {
        if (!sp_receive(client, &bytes, &size)) {
            return true;
        }
        free(bytes);
    }
    return false;
}
