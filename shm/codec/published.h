/*
 * What goes out over pub/sub. A message is a topic, one zero byte and a
 * MessagePack body.
 *
 *   events     topic S:{category}:  body [1, epoch,
 *              previous_position_in_category, first_position, last_position,
 *              [[position, sequence, time_us, envelope(bin)]...]]
 *   heartbeat  topic H:             body [1, store_id, epoch, start_number,
 *              number, head_position, store_hash,
 *              [[category, last_position]...] or nil]
 *
 * Positions in a message increase; first and last are those of its first and
 * last event. Trailing elements are passed over. Envelopes are handed out as
 * they are: envelope.h and chain.h judge them. One thread per builder and reader.
 */
#ifndef EVENTSPINE_CODEC_PUBLISHED_H
#define EVENTSPINE_CODEC_PUBLISHED_H

#include "shm/codec/pack.h"
#include "shm/codec/stream_key.h"
#include "shm/codec/strict_msgpack.h"

#define ES_PUBLISHED_HEADER_MAX 836U    /* bytes before the first event, topic included */
#define ES_PUBLISHED_EVENT_OVERHEAD 33U /* bytes of an event beyond its envelope */
#define ES_HEARTBEAT_CHANGED_MAX 64U
#define ES_HEARTBEAT_SIZE_MAX 51000U
#define ES_HEARTBEAT_TOPIC "H:"

struct es_published_head {
    uint64_t epoch;
    uint64_t previous_position; /* of the category's event before the first; 0: none */
    uint64_t first_position;
    uint64_t last_position;
    uint32_t event_count; /* at least 1 */
};

struct es_published_event {
    uint64_t position;
    uint64_t sequence;
    uint64_t time_us; /* microseconds since 1970 */
    struct es_bytes envelope;
};

struct es_category_position {
    struct es_text category;
    uint64_t last_position;
};

struct es_heartbeat {
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    uint64_t start_number;
    uint64_t number;
    uint64_t head_position;
    uint8_t store_hash[ES_HASH_SIZE];
    bool changed_known;     /* false: nil, "read on from your own position" */
    uint32_t changed_count; /* 0..ES_HEARTBEAT_CHANGED_MAX */
};

/* Splits a message at its first zero byte. ES_E_PROTOCOL: there is none. */
ES_MUST_USE enum es_status es_published_split(struct es_bytes message, struct es_text *ret_topic,
                                              struct es_bytes *ret_body);

/*
 * Writing a message of events: topic and head, then exactly event_count events
 * in position order. Check with es_pack_finish().
 */
void es_published_begin(struct es_pack *pack, struct es_text category,
                        const struct es_published_head *head);
void es_published_add(struct es_pack *pack, const struct es_published_event *event);

/* Reading the body of one. 'head' is the caller's to read, the rest is private. */
struct es_published_reader {
    struct es_published_head head;
    struct es_unpack unpack;
    uint32_t events_left;
    uint32_t trailing_count;
    uint64_t position_last;
};

/* ES_E_PROTOCOL: not such a body. ES_E_VERSION: a newer one. */
ES_MUST_USE enum es_status es_published_read(struct es_published_reader *reader,
                                             struct es_bytes body);

/* ES_EMPTY after the last event; ES_E_PROTOCOL: the rest of the body is malformed. */
ES_MUST_USE enum es_status es_published_next(struct es_published_reader *reader,
                                             struct es_published_event *ret_event);

/* One event as an array, from wherever it lies: errors stick in 'unpack'. */
void es_published_event_read(struct es_unpack *unpack, struct es_published_event *ret_event);

/*
 * Writes a heartbeat with its topic. 'changed' holds changed_count entries, and
 * is ignored unless changed_known.
 */
void es_heartbeat_write(struct es_pack *pack, const struct es_heartbeat *heartbeat,
                        const struct es_category_position *changed);

/*
 * Reads the body of one. 'ret_changed' has room for ES_HEARTBEAT_CHANGED_MAX
 * entries, which view the body; they are overwritten even on failure.
 * ES_E_PROTOCOL: not such a body. ES_E_VERSION: a newer one.
 */
ES_MUST_USE enum es_status es_heartbeat_read(struct es_bytes body,
                                             struct es_heartbeat *ret_heartbeat,
                                             struct es_category_position *ret_changed);

#endif
