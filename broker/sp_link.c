#include "broker/sp_link.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FRAME_MESSAGE = 1, /* the only type of frame there is */
    PEER_SUB = 33,
    PEER_REQ = 48,
    WORD_BYTES = 4,
    WORD_LAST = 0x80 /* in the first byte of a header's last word */
};

/* ---- messages ---- */

static struct sp_message *message_of(size_t size)
{
    struct sp_message *message = malloc(sizeof *message + size);

    if (message != NULL) {
        atomic_init(&message->references, 1);
        message->size = size;
    }
    return message;
}

struct sp_message *sp_message_new(const void *head, size_t head_bytes, const void *body,
                                  size_t body_bytes)
{
    struct sp_message *message = message_of(SP_FRAME_BYTES + head_bytes + body_bytes);
    uint64_t length = htobe64(head_bytes + body_bytes);

    if (message == NULL) {
        return NULL;
    }
    message->bytes[0] = FRAME_MESSAGE;
    memcpy(message->bytes + 1, &length, sizeof length);
    if (head_bytes > 0) {
        memcpy(message->bytes + SP_FRAME_BYTES, head, head_bytes);
    }
    if (body_bytes > 0) {
        memcpy(message->bytes + SP_FRAME_BYTES + head_bytes, body, body_bytes);
    }
    return message;
}

void sp_message_release(struct sp_message *message)
{
    /* The last one sees all that the others did with it. */
    if (atomic_fetch_sub_explicit(&message->references, 1, memory_order_acq_rel) == 1) {
        free(message);
    }
}

/* ---- the queue ---- */

static void queue_put(struct sp_link *link, struct sp_message *message)
{
    uint32_t place = (link->queue_first + link->queue_count) % SP_QUEUE_MESSAGES_MAX;

    assert(link->queue_count < SP_QUEUE_MESSAGES_MAX);
    link->queue[place] = message;
    link->queue_count++;
    link->queue_bytes += message->size;
}

static void queue_drop_first(struct sp_link *link)
{
    struct sp_message *message = link->queue[link->queue_first];

    link->queue_first = (link->queue_first + 1) % SP_QUEUE_MESSAGES_MAX;
    link->queue_count--;
    link->queue_bytes -= message->size;
    link->written_bytes = 0;
    sp_message_release(message);
}

/* The oldest message of which nothing is written yet makes room. */
static void queue_drop_oldest(struct sp_link *link)
{
    if (link->written_bytes > 0 && link->queue_count > 1) {
        uint32_t second = (link->queue_first + 1) % SP_QUEUE_MESSAGES_MAX;
        struct sp_message *under_way = link->queue[link->queue_first];
        size_t written_bytes = link->written_bytes;

        link->queue[link->queue_first] = link->queue[second];
        link->queue[second] = under_way;
        queue_drop_first(link);
        link->written_bytes = written_bytes;
    } else if (link->written_bytes == 0) {
        queue_drop_first(link);
    }
}

/* ---- life ---- */

struct sp_link *sp_link_new(int fd, enum sp_role role, uint32_t uid, uint64_t now_ns)
{
    const uint8_t greeting[SP_GREETING_BYTES] = {0, 'S', 'P', 0, 0, (uint8_t)role, 0, 0};
    struct sp_link *link = calloc(1, sizeof *link);
    struct sp_message *message = message_of(sizeof greeting);

    if (link == NULL || message == NULL) {
        free(link);
        free(message);
        return NULL;
    }
    memcpy(message->bytes, greeting, sizeof greeting);
    link->fd = fd;
    link->role = role;
    link->uid = uid;
    link->moved_ns = now_ns;
    queue_put(link, message);
    return link;
}

void sp_link_free(struct sp_link *link)
{
    while (link->queue_count > 0) {
        queue_drop_first(link);
    }
    close(link->fd);
    free(link->message);
    free(link);
}

/* ---- receiving ---- */

/* Fills 'bytes' up to 'wanted'. SP_NOTHING: done, if '*have' is 'wanted', or no more yet. */
static enum sp_event receive(struct sp_link *link, uint8_t *bytes, size_t wanted, size_t *have,
                             uint64_t now_ns)
{
    while (*have < wanted) {
        ssize_t got = recv(link->fd, bytes + *have, wanted - *have, MSG_DONTWAIT);

        if (got > 0) {
            *have += (size_t)got;
            link->moved_ns = now_ns;
        } else if (got < 0 && errno == EINTR) {
            continue;
        } else {
            return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? SP_NOTHING : SP_CLOSED;
        }
    }
    return SP_NOTHING;
}

static enum sp_event read_head(struct sp_link *link, uint32_t wanted, uint64_t now_ns)
{
    size_t have = link->head_bytes;
    enum sp_event event = receive(link, link->head, wanted, &have, now_ns);

    link->head_bytes = (uint32_t)have;
    return event;
}

static enum sp_event read_greeting(struct sp_link *link, uint64_t now_ns)
{
    uint8_t peer = link->role == SP_ROLE_PUB ? PEER_SUB : PEER_REQ;
    const uint8_t expected[SP_GREETING_BYTES] = {0, 'S', 'P', 0, 0, peer, 0, 0};
    enum sp_event event = read_head(link, SP_GREETING_BYTES, now_ns);

    if (event != SP_NOTHING || link->head_bytes < SP_GREETING_BYTES) {
        return event;
    }
    if (memcmp(link->head, expected, sizeof expected) != 0) {
        return SP_CLOSED;
    }
    link->head_bytes = 0;
    link->greeted = true;
    return SP_GREETED;
}

/* Makes room for the message whose frame header is complete. */
static enum sp_event begin_message(struct sp_link *link, size_t message_bytes_max)
{
    uint64_t length = 0;

    memcpy(&length, link->head + 1, sizeof length);
    length = be64toh(length);
    if (link->head[0] != FRAME_MESSAGE || length < WORD_BYTES || length > message_bytes_max) {
        return SP_CLOSED;
    }
    link->message = malloc((size_t)length);
    link->message_bytes = (size_t)length;
    link->received_bytes = 0;
    return link->message == NULL ? SP_CLOSED : SP_NOTHING;
}

/* Where the request's body begins. SP_CLOSED: its header has no end. */
static enum sp_event find_body(struct sp_link *link)
{
    for (uint32_t word = 0; word < SP_REQUEST_WORDS_MAX; word++) {
        uint32_t at = word * WORD_BYTES;

        if (link->message_bytes < at + WORD_BYTES) {
            break;
        }
        if ((link->message[at] & WORD_LAST) != 0) {
            link->request_head_bytes = at + WORD_BYTES;
            return SP_REQUEST;
        }
    }
    return SP_CLOSED;
}

enum sp_event sp_link_read(struct sp_link *link, size_t message_bytes_max, uint64_t now_ns)
{
    enum sp_event event = SP_NOTHING;

    if (!link->greeted) {
        return read_greeting(link, now_ns);
    }
    if (link->message == NULL) {
        event = read_head(link, SP_FRAME_BYTES, now_ns);
        if (event != SP_NOTHING || link->head_bytes == 0) {
            return event;
        }
        if (link->role == SP_ROLE_PUB) {
            return SP_CLOSED; /* a subscriber has nothing to say */
        }
        if (link->head_bytes < SP_FRAME_BYTES) {
            return SP_NOTHING;
        }
        event = begin_message(link, message_bytes_max);
    }
    if (event == SP_NOTHING) {
        event = receive(link, link->message, link->message_bytes, &link->received_bytes, now_ns);
    }
    if (event == SP_NOTHING && link->received_bytes == link->message_bytes) {
        event = find_body(link);
    }
    return event;
}

const uint8_t *sp_link_request(const struct sp_link *link, size_t *ret_bytes)
{
    *ret_bytes = link->message_bytes - link->request_head_bytes;
    return link->message + link->request_head_bytes;
}

bool sp_link_reply(struct sp_link *link, const void *body, size_t body_bytes)
{
    struct sp_message *reply =
        sp_message_new(link->message, link->request_head_bytes, body, body_bytes);

    free(link->message);
    link->message = NULL;
    link->head_bytes = 0;
    if (reply == NULL) {
        return false;
    }
    queue_put(link, reply);
    return true;
}

/* ---- sending ---- */

void sp_link_publish(struct sp_link *link, struct sp_message *message)
{
    while (link->queue_count == SP_QUEUE_MESSAGES_MAX ||
           (link->queue_count > 1 && link->queue_bytes + message->size > SP_QUEUE_BYTES_MAX)) {
        queue_drop_oldest(link);
    }
    atomic_fetch_add_explicit(&message->references, 1, memory_order_relaxed);
    queue_put(link, message);
}

bool sp_link_write(struct sp_link *link, uint64_t now_ns)
{
    while (link->queue_count > 0) {
        const struct sp_message *message = link->queue[link->queue_first];
        ssize_t put = send(link->fd, message->bytes + link->written_bytes,
                           message->size - link->written_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK;
        }
        link->moved_ns = now_ns;
        link->written_bytes += (size_t)put;
        if (link->written_bytes == message->size) {
            queue_drop_first(link);
        }
    }
    return true;
}
