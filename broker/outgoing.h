/*
 * One commit on its way to the subscribers: a copy of what they may get, with
 * its events chained by category, cut into messages. It knows the message's
 * form (shm/codec/published.h) and neither queue nor socket (publisher.h).
 *
 * Order. The events of a category go out in position order, and each message
 *        names the position of the category's event before its first, so that
 *        a subscriber sees a message that is missing. Categories follow each
 *        other in no promised order.
 */
#ifndef BROKER_OUTGOING_H
#define BROKER_OUTGOING_H

#include <stddef.h>
#include <stdint.h>

#include "broker/category_changes.h"
#include "broker/publication.h"

struct outgoing {
    struct outgoing *next; /* in the publisher's queue */
    uint64_t head_position;
    uint64_t time_us;
    size_t bytes; /* of this copy */
    uint8_t store_hash[ES_HASH_SIZE];
    uint32_t event_count;
    uint32_t category_count;
    struct outgoing_event *events;
};

/* Notes each category of the commit with its last position; returns how many there are. */
uint32_t outgoing_note_changes(const struct publication *publication,
                               struct category_changes *changes);

/* NULL: no memory. Free it with free(). */
struct outgoing *outgoing_copy(const struct publication *publication);

/* The same as outgoing_note_changes(), of a copy. */
void outgoing_note_copy(const struct outgoing *outgoing, struct category_changes *changes);

/* A buffer for one message; zeroed at first, its memory is used again. */
struct outgoing_buffer {
    uint8_t *bytes;
    size_t capacity;
};

void outgoing_buffer_deinit(struct outgoing_buffer *buffer);

/* Takes one finished message of 'event_count' events. */
typedef void (*outgoing_send_fn)(void *context, const void *bytes, size_t size,
                                 uint32_t event_count);

/*
 * Writes and hands over message after message of at most 'bytes_max', or one
 * event. ES_E_NO_MEMORY: the rest of the commit's messages was not sent.
 */
ES_MUST_USE enum es_status outgoing_send(const struct outgoing *outgoing, uint64_t epoch,
                                         size_t bytes_max, struct outgoing_buffer *buffer,
                                         outgoing_send_fn send, void *context);

#endif
