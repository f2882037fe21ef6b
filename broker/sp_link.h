/*
 * One connection of a PUB or REP socket in the SP protocol, as nng, nanomsg and
 * mangos speak it over ipc://: eight bytes of greeting each way, then frames of
 * 1, eight bytes of length (big-endian), message. It moves bytes without ever
 * waiting; who connects and what messages mean is transport.h's business.
 *
 *   greeting   0 'S' 'P' 0, protocol (2, big-endian), 0 0
 *   request    header: words of four bytes, the last of them with its highest bit
 *              set; then the body. The reply begins with the same header.
 *
 * Doubt.    Every byte comes from a stranger. A greeting of another protocol, a
 *           frame that is too long or a header without end closes the link.
 * Bounded.  A REP link has one request at a time: the next one is not read before
 *           the reply is written. A PUB link drops its oldest message when
 *           SP_QUEUE_MESSAGES_MAX or SP_QUEUE_BYTES_MAX wait.
 * Threads.  The caller locks. Messages are shared by links: they are counted.
 */
#ifndef BROKER_SP_LINK_H
#define BROKER_SP_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sp_role {
    SP_ROLE_PUB = 32, /* SP protocol numbers: ours */
    SP_ROLE_REP = 49
};

enum {
    SP_GREETING_BYTES = 8,
    SP_FRAME_BYTES = 9,
    SP_REQUEST_WORDS_MAX = 9, /* eight devices on the way, and the request's number */
    SP_QUEUE_MESSAGES_MAX = 512,
    SP_QUEUE_BYTES_MAX = 32 << 20
};

/* A whole frame; freed with its last reference. */
struct sp_message {
    _Atomic uint32_t references;
    size_t size;
    uint8_t bytes[];
};

/* A frame of 'head' and 'body', with one reference; NULL: no memory. */
struct sp_message *sp_message_new(const void *head, size_t head_bytes, const void *body,
                                  size_t body_bytes);
void sp_message_release(struct sp_message *message);

struct sp_link {
    int fd; /* not blocking; the link's */
    enum sp_role role;
    uint32_t uid;
    bool greeted;                 /* the other side has said what it is */
    uint64_t moved_ns;            /* when bytes moved last, or the link was made */
    uint8_t head[SP_FRAME_BYTES]; /* greeting or frame header, as far as it has come */
    uint32_t head_bytes;
    uint8_t *message; /* being received, or the request received */
    size_t message_bytes;
    size_t received_bytes;
    uint32_t request_head_bytes;                     /* of 'message' */
    struct sp_message *queue[SP_QUEUE_MESSAGES_MAX]; /* a ring */
    uint32_t queue_first;
    uint32_t queue_count;
    size_t queue_bytes;
    size_t written_bytes; /* of the first in the queue */
};

/* Takes over 'fd' and queues our greeting; NULL: no memory, 'fd' is still the caller's. */
struct sp_link *sp_link_new(int fd, enum sp_role role, uint32_t uid, uint64_t now_ns);

/* Closes it and lets go of all messages. */
void sp_link_free(struct sp_link *link);

enum sp_event {
    SP_NOTHING, /* all that came was taken in; more may come */
    SP_GREETED, /* the greeting is complete; read again */
    SP_REQUEST, /* a request is complete: sp_link_request(); do not read meanwhile */
    SP_CLOSED   /* the other side is gone, or breaks the protocol: free it */
};

/* Takes in what has come. 'message_bytes_max' bounds a frame's message. */
enum sp_event sp_link_read(struct sp_link *link, size_t message_bytes_max, uint64_t now_ns);

/* The body of the request, valid until sp_link_reply(). */
const uint8_t *sp_link_request(const struct sp_link *link, size_t *ret_bytes);

/* Queues the reply and lets go of the request. False: no memory. */
bool sp_link_reply(struct sp_link *link, const void *body, size_t body_bytes);

/* Queues a message; drops the oldest one that is not under way where there is no room. */
void sp_link_publish(struct sp_link *link, struct sp_message *message);

/* Writes what the socket takes. False: the other side is gone: free it. */
bool sp_link_write(struct sp_link *link, uint64_t now_ns);

/* Something is queued that the socket did not take yet. */
static inline bool sp_link_pending(const struct sp_link *link)
{
    return link->queue_count > 0;
}

#endif
