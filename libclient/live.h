/*
 * What has been published, brought into position order, and the knowledge of
 * whether anything is missing. It reads no socket: consumer.c feeds it messages
 * and, when it is in doubt, reads the store instead.
 *
 * An event may be delivered when nothing wanted can lie before it any more:
 *   - it is at position + 1; or
 *   - the last heartbeat vouches for everything up to it (complete_position); or
 *   - one category is wanted, and its message says that it follows what we have.
 *
 * Doubt. A message whose predecessor is unknown; a heartbeat that was missed,
 *        does not say what changed, comes from another start of the broker, or
 *        names a category's position that did not arrive; bytes that cannot be
 *        read; too much to keep. Then nothing more is delivered from here until
 *        es_live_resume() says that the store was read up to a position beyond
 *        the doubt. Doubt costs a reading, never an event.
 * Memory. At most ES_LIVE_MESSAGE_COUNT_MAX messages and ES_LIVE_BYTES_MAX.
 * Threads. One.
 */
#ifndef ES_CLIENT_LIVE_H
#define ES_CLIENT_LIVE_H

#include "libclient/filter.h"
#include "libclient/transport.h"
#include "shm/codec/published.h"

/* A message of events with its next one to deliver. */
struct es_live_message {
    struct es_message message;
    struct es_text topic; /* views into the message */
    struct es_published_reader reader;
    struct es_published_event next;
    bool is_joined; /* an event of it was delivered, so the rest follows */
};

struct es_live {
    const struct es_filter *filter;
    uint64_t position;          /* everything wanted up to here is delivered */
    uint64_t complete_position; /* nothing is missing among what waits up to here */
    uint64_t epoch;             /* of the history we follow */
    uint64_t start_number;      /* of the broker, as last heard */
    uint64_t heartbeat_number;  /* of that start */
    uint64_t head_position;     /* as last heard */
    uint64_t doubt_position;    /* to be read at least up to here */
    uint64_t repairs;           /* doubts that were a loss */
    bool has_heartbeat;         /* of this start */
    bool is_in_doubt;
    bool is_suspicious; /* another history may be behind it: verify before reading on */
    size_t bytes;       /* of the messages that wait */
    uint32_t count;
    struct es_live_message *heap; /* by the position of 'next'; ES_LIVE_MESSAGE_COUNT_MAX */
};

/* Everything wanted up to 'position' of history 'epoch' is known, from start
 * 'start_number' of the broker. ES_E_NO_MEMORY. */
ES_MUST_USE enum es_status es_live_init(struct es_live *live, const struct es_filter *filter,
                                        uint64_t position, uint64_t epoch, uint64_t start_number);
void es_live_deinit(struct es_live *live);

/* Takes over the message, whatever it is. */
void es_live_push(struct es_live *live, struct es_message *message);

/*
 * Looks at the next event that may be delivered; es_live_accept() makes it the
 * position. It is valid until the next call but that. '*ret_topic' is what it
 * was published under.
 * ES_EMPTY: none, or in doubt.
 */
ES_MUST_USE enum es_status es_live_next(struct es_live *live, struct es_published_event *ret_event,
                                        struct es_text *ret_topic);

/* Everything wanted up to 'position' has been delivered: from here, or by reading. */
void es_live_accept(struct es_live *live, uint64_t position);

/* The store was read to its end, at 'position': ends the doubt if that was enough. */
void es_live_resume(struct es_live *live, uint64_t position);

/* A message turned out to be damaged: read the store, at least to 'position'. */
void es_live_miss(struct es_live *live, uint64_t position);

#endif
