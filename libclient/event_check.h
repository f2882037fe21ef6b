/*
 * From stored bytes to an event that may be delivered: decodes the envelope,
 * recomputes its hash, and checks that it follows the last event of its stream
 * that was seen here, by number and by hash. Where events come from is pages.h
 * and live.h.
 *
 * Links. The last sequence and hash of each stream seen, at most as many streams
 *        as were asked for at the beginning; the ones not seen for longest give
 *        way, and their next event is then checked by its own hash alone. A
 *        stream is known by a 16-byte hash of its name.
 */
#ifndef ES_CLIENT_EVENT_CHECK_H
#define ES_CLIENT_EVENT_CHECK_H

#include "libclient/connection.h"
#include "shm/codec/envelope.h"
#include "shm/codec/published.h"

struct es_links;

/* 'stream_count' is rounded up to a power of two. NULL: no memory. */
struct es_links *es_links_new(uint32_t stream_count);
void es_links_free(struct es_links *links);

/* Where the texts of the event in hand are kept, terminated. */
struct es_event_space {
    char stream[ES_STREAM_BYTES_MAX + 1];
    char type[ES_NAME_BYTES_MAX + 1];
};

/*
 * Checks 'found' and fills '*ret_event', which then points into 'space' and into
 * the bytes of 'found'. With 'links' NULL the link to the predecessor is not
 * checked.
 *
 * ES_E_CORRUPT: damage, told in the error text with stream, sequence and position.
 * ES_E_VERSION: an envelope of a newer schema.
 */
ES_MUST_USE enum es_status es_event_check(const struct es_connection *connection,
                                          struct es_links *links,
                                          const struct es_published_event *found,
                                          struct es_event_space *space, struct es_event *ret_event);

/* Reports damage of 'event', for checks that only the caller can make. */
ES_MUST_USE enum es_status es_event_damaged(const struct es_connection *connection,
                                            const struct es_event *event, const char *why);

#endif
