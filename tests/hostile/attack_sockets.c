/* Attacks by what is said on the sockets: too much, too little, too often, or nothing. */
#include "tests/hostile/hostile.h"

#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/codec/attach.h"

enum {
    CROWD = 1000,
    IDLE = 500,
    SENT_DESCRIPTORS = 200,
    GREETING_BYTES = 8,
    FRAME_BYTES = 9
};

static const uint8_t greeting_of_req[GREETING_BYTES] = {0, 'S', 'P', 0, 0, 48, 0, 0};
static const uint8_t greeting_of_sub[GREETING_BYTES] = {0, 'S', 'P', 0, 0, 33, 0, 0};

static void rest(int ms)
{
    (void)poll(NULL, 0, ms);
}

static void say(int fd, const void *bytes, size_t size)
{
    (void)!send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_descriptors(struct hostile *h)
{
    while (!hostile_is_over(h)) {
        union {
            struct cmsghdr align;
            uint8_t bytes[CMSG_SPACE(sizeof(int) * SENT_DESCRIPTORS)];
        } control;
        uint8_t bytes[2048];
        int fd = hostile_connect(h, "control.sock", SOCK_SEQPACKET);
        int given = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct iovec vector = {.iov_base = bytes,
                               .iov_len = 1 + prng_below(&h->prng, sizeof bytes)};
        struct msghdr message = {.msg_iov = &vector,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);

        prng_fill(&h->prng, bytes, sizeof bytes);
        memset(&control, 0, sizeof control);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int) * SENT_DESCRIPTORS);
        for (size_t i = 0; i < SENT_DESCRIPTORS; i++) {
            memcpy(CMSG_DATA(part) + i * sizeof given, &given, sizeof given);
        }
        if (fd >= 0) {
            (void)!sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            close(fd);
        }
        close(given);
        h->rounds++;
    }
}

/* Beginnings of a sound request, and sound ones with a byte changed. */
static void half_messages(struct hostile *h)
{
    struct es_attach_request request = {.layout_id = ES_LAYOUT_ID,
                                        .client_name = es_text_of("half")};
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    uint32_t size = 0;

    while (!hostile_is_over(h) &&
           es_attach_request_encode(&request, bytes, sizeof bytes, &size) == ES_OK) {
        int fd = hostile_connect(h, "control.sock", SOCK_SEQPACKET);

        bytes[prng_below(&h->prng, size)] ^= (uint8_t)(1U << prng_below(&h->prng, 8));
        if (fd >= 0) {
            say(fd, bytes, prng_below(&h->prng, size + 1));
            say(fd, bytes, size);
            close(fd);
        }
        h->rounds++;
    }
}

/* A thousand connections that stay, to one socket after the other. */
static void crowd(struct hostile *h)
{
    static const struct {
        const char *name;
        int type;
        const uint8_t *greeting;
    } sockets[] = {{"control.sock", SOCK_SEQPACKET, NULL},
                   {"requests.sock", SOCK_STREAM, greeting_of_req},
                   {"events.sock", SOCK_STREAM, greeting_of_sub},
                   {"requests.sock", SOCK_STREAM, NULL}};
    static int fds[CROWD];

    while (!hostile_is_over(h)) {
        uint64_t which = h->rounds % 4;

        for (int i = 0; i < CROWD; i++) {
            fds[i] = hostile_connect(h, sockets[which].name, sockets[which].type);
            if (fds[i] >= 0 && sockets[which].greeting != NULL) {
                say(fds[i], sockets[which].greeting, GREETING_BYTES);
            }
        }
        rest(300);
        for (int i = 0; i < CROWD; i++) {
            if (fds[i] >= 0) {
                close(fds[i]);
            }
        }
        h->rounds++;
    }
}

/* Takes lanes, closes them, and stays connected; or does not even close them. */
static void take_all_lanes(struct hostile *h)
{
    static struct hostile many[CROWD];
    int count = 0;

    while (!hostile_is_over(h)) {
        struct hostile *one = &many[count++ % CROWD];

        hostile_detach(one);
        *one = *h;
        one->socket = -1;
        one->until_ns = h->until_ns;
        if (prng_one_in(&h->prng, 2) && hostile_attach(one)) {
            atomic_store(&one->writer.file->closed, 1);
        } else {
            one->until_ns = 0;
            one->socket = -1;
        }
        h->rounds++;
    }
}

static void attach_and_leave(struct hostile *h)
{
    while (hostile_attach(h)) {
        (void)hostile_publish(h, 10, true);
        hostile_detach(h);
        h->rounds++;
    }
}

static void connect_then_close(struct hostile *h)
{
    while (!hostile_is_over(h)) {
        static const char *const names[] = {"requests.sock", "events.sock"};
        int fd = hostile_connect(h, names[h->rounds % 2], SOCK_STREAM);

        if (fd >= 0) {
            say(fd, greeting_of_req, prng_below(&h->prng, GREETING_BYTES + 1));
            close(fd);
        }
        h->rounds++;
    }
}

/* Frames that promise more than anybody has memory for, and frames that do not end. */
static void giant_frames(struct hostile *h)
{
    static int fds[256];

    memset(fds, 0xff, sizeof fds);
    while (!hostile_is_over(h)) {
        int *fd = &fds[h->rounds % 256];
        uint64_t length =
            prng_one_in(&h->prng, 2) ? prng_next(&h->prng) >> prng_below(&h->prng, 40) : (2U << 20);
        uint8_t frame[FRAME_BYTES] = {1};

        if (*fd >= 0) {
            close(*fd);
        }
        *fd = hostile_connect(h, "requests.sock", SOCK_STREAM);
        length = htobe64(length);
        memcpy(frame + 1, &length, sizeof length);
        if (*fd >= 0) {
            say(*fd, greeting_of_req, sizeof greeting_of_req);
            say(*fd, frame, sizeof frame);
            say(*fd, frame, prng_below(&h->prng, sizeof frame)); /* and stalls */
        }
        h->rounds++;
    }
}

static void idle_connections(struct hostile *h)
{
    static int fds[IDLE];

    for (int i = 0; i < IDLE; i++) {
        fds[i] = hostile_connect(h, i % 2 == 0 ? "requests.sock" : "events.sock", SOCK_STREAM);
        if (fds[i] >= 0) {
            say(fds[i], i % 2 == 0 ? greeting_of_req : greeting_of_sub, GREETING_BYTES);
            h->rounds++;
        }
    }
    while (!hostile_is_over(h)) {
        rest(50);
    }
}

/* Requests of every verb with arguments of every kind, bytes changed and cut. */
static void malformed_requests(struct hostile *h)
{
    int fd = -1;

    while (!hostile_is_over(h)) {
        uint8_t message[FRAME_BYTES + 4 + 256] = {1};
        uint64_t body = 2 + prng_below(&h->prng, 64);
        uint64_t length = htobe64(4 + body);
        uint8_t *at = message + FRAME_BYTES;
        uint8_t answer[4096];

        if (fd < 0) {
            fd = hostile_connect(h, "requests.sock", SOCK_STREAM);
            if (fd < 0) {
                continue;
            }
            say(fd, greeting_of_req, sizeof greeting_of_req);
        }
        memcpy(message + 1, &length, sizeof length);
        prng_fill(&h->prng, at, 4 + body);
        at[0] |= 0x80;
        at[4] = (uint8_t)(0x90 + prng_below(&h->prng, 9));
        at[5] = 1;
        at[6] = (uint8_t)prng_below(&h->prng, 24);
        at[7] = prng_one_in(&h->prng, 3) ? 0xa0 : at[7];
        say(fd, message, FRAME_BYTES + 4 + body);
        while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0) {
        }
        if (prng_one_in(&h->prng, 50)) {
            close(fd);
            fd = -1;
        }
        h->rounds++;
    }
}

const struct attack socket_attacks[] = {
    {"send-descriptors", send_descriptors},
    {"half-messages", half_messages},
    {"crowd", crowd},
    {"take-all-lanes", take_all_lanes},
    {"attach-and-leave", attach_and_leave},
    {"connect-then-close", connect_then_close},
    {"giant-frames", giant_frames},
    {"idle-connections", idle_connections},
    {"malformed-requests", malformed_requests},
    {NULL, NULL},
};
