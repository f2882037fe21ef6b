/*
 * The two messages of control.sock, by which a producer asks for a lane:
 *   [1, "attach", layout_id, client_name]                        an unnamed producer
 *   [1, "attach", layout_id, client_name, producer, take_over]   a named one
 *   [1, status, message, lane_index, incarnation, ring_index, last_number]
 * The descriptors travel beside the reply, not in it. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_ATTACH_H
#define EVENTSPINE_CODEC_ATTACH_H

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"

#include <stdbool.h>
#include <stddef.h>

#define ES_ATTACH_NAME_MAX 255U /* bytes of a client's name; UTF-8, may be empty */
#define ES_ATTACH_MESSAGE_MAX 1024U
#define ES_ATTACH_BYTES_MAX 1088U /* of either message */

struct es_attach_request {
    uint32_t layout_id;
    struct es_text client_name;
    struct es_text producer; /* the name to own; size 0: unnamed */
    bool take_over;          /* of a named one: also from a live owner */
};

struct es_attach_reply {
    enum es_status status;
    struct es_text message; /* one line for a person; empty with ES_OK */
    uint32_t lane_index;
    uint64_t incarnation;
    uint32_t ring_index;
    uint64_t last_number; /* of the producer; 0: unnamed, or it never committed any */
};

/* ES_E_TOO_LARGE: it does not fit into 'capacity', or a text is longer than its maximum. */
ES_MUST_USE enum es_status es_attach_request_encode(const struct es_attach_request *request,
                                                    void *ret_bytes, size_t capacity,
                                                    uint32_t *ret_size);
ES_MUST_USE enum es_status es_attach_reply_encode(const struct es_attach_reply *reply,
                                                  void *ret_bytes, size_t capacity,
                                                  uint32_t *ret_size);

/*
 * ES_E_PROTOCOL: not such a message. ES_E_VERSION: of another version. Views into
 * 'bytes'. Whether the producer's name keeps the rules of a name, the caller asks.
 */
ES_MUST_USE enum es_status es_attach_request_decode(const void *bytes, size_t size,
                                                    struct es_attach_request *ret_request);
ES_MUST_USE enum es_status es_attach_reply_decode(const void *bytes, size_t size,
                                                  struct es_attach_reply *ret_reply);

#endif
