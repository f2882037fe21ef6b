/*
 * What a stranger sends to the broker's sockets. The first byte chooses the
 * socket and how many bytes come at once; the rest is the stream. Each request
 * found in it is answered, and its body lies inside what was sent.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/sp_link.h"

enum {
    MESSAGE_BYTES_MAX = 4096,
    STREAM_BYTES_MAX = 16384
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Takes in what has come; false: the link has to end. */
static bool take(struct sp_link *link)
{
    for (;;) {
        enum sp_event event = sp_link_read(link, MESSAGE_BYTES_MAX, 1);
        const uint8_t *body = NULL;
        size_t body_bytes = 0;
        uint8_t last = 0;

        if (event == SP_NOTHING || event == SP_CLOSED) {
            return event == SP_NOTHING;
        }
        if (event == SP_REQUEST) {
            body = sp_link_request(link, &body_bytes);
            require(link->role == SP_ROLE_REP && body_bytes < MESSAGE_BYTES_MAX);
            for (size_t i = 0; i < body_bytes; i++) {
                last = body[i];
            }
            require(sp_link_reply(link, &last, 1));
            require(sp_link_write(link, 2));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t answers[STREAM_BYTES_MAX];
    struct sp_link *link = NULL;
    int pair[2];
    size_t step = 0;
    bool open = true;

    if (size == 0 || size > STREAM_BYTES_MAX ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        return 0;
    }
    step = 1 + data[0] / 2;
    link = sp_link_new(pair[0], data[0] % 2 == 0 ? SP_ROLE_REP : SP_ROLE_PUB, 0, 0);
    require(link != NULL);
    for (size_t at = 1; at < size && open; at += step) {
        size_t count = size - at < step ? size - at : step;

        require(send(pair[1], data + at, count, MSG_NOSIGNAL) == (ssize_t)count);
        open = take(link);
        while (recv(pair[1], answers, sizeof answers, 0) > 0) { /* room for more */
        }
    }
    sp_link_free(link);
    close(pair[1]);
    return 0;
}
