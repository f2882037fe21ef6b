/*
 * Replies of the REQ/REP socket: [1, status, position, ...] as docs/protocol.md
 * lists them. The broker's workers fill pages of items without knowing their
 * count beforehand; the client reads strictly and passes over trailing elements.
 * What a status means for a verb is the caller's knowledge; requests.h asks.
 *
 * Readers of items take them from the 'rest' of a reply; errors stick in it
 * (strict_msgpack.h), so a page is checked once, at its end. Views point into the
 * reply. One thread per page and per reply.
 */
#ifndef EVENTSPINE_CODEC_REPLIES_H
#define EVENTSPINE_CODEC_REPLIES_H

#include "shm/codec/published.h"
#include "shm/codec/requests.h"

#define ES_REPLY_HEADER_MAX 32U     /* bytes before the first item of a page */
#define ES_REPLY_MESSAGE_MAX 1024U  /* bytes of a refusal's message; longer ones are cut */
#define ES_REPLY_OVERHEAD_MAX 2816U /* bytes beyond value, state, envelope or items, at most */
#define ES_STATUS_NAME_MAX 255U

/* ---- writing: a reply that is not a page ---- */

/* [1, status, position and room for 'rest_count' more, which the caller writes. */
void es_reply_begin(struct es_pack *pack, enum es_status status, uint64_t position,
                    uint32_t rest_count);

/* A whole reply that says why not. 'message' is one line, cut at ES_REPLY_MESSAGE_MAX. */
void es_reply_refuse(struct es_pack *pack, enum es_status status, uint64_t position,
                     const char *message);

/* ---- writing: a page ---- */

/*
 * A page being filled: items are written to 'pack' one by one, then the rest of
 * the reply; the header is put in front at the end, when the count is known.
 */
struct es_page {
    struct es_pack pack;
    uint32_t item_count;
    uint64_t size_max; /* bytes of the whole reply; the first item may exceed it */
    uint8_t *items;
    bool items_ended;
};

/* 'buffer' of 'capacity' bytes, at least ES_REPLY_OVERHEAD_MAX, stays the caller's. */
void es_page_begin(struct es_page *page, void *buffer, size_t capacity, size_t size_max);

/*
 * True if an item of at most 'item_size' bytes may still be added: the page is
 * empty, or stays within size_max. Then write it with one es_..._item_write()
 * and count it with es_page_count().
 */
bool es_page_has_room(const struct es_page *page, uint64_t item_size);
void es_page_count(struct es_page *page);

/*
 * Ends the items; the caller then writes the 'rest_count' elements after them to
 * page->pack and calls es_page_finish().
 */
void es_page_end_items(struct es_page *page);

/* ES_E_TOO_LARGE: something did not fit into the buffer. '*ret_reply' views the buffer. */
ES_MUST_USE enum es_status es_page_finish(struct es_page *page, uint64_t position,
                                          uint32_t rest_count, struct es_bytes *ret_reply);

/* ---- reading ---- */

struct es_reply {
    enum es_status status;
    uint64_t position;
    struct es_unpack rest; /* after the position */
    uint32_t rest_count;
};

/* ES_E_PROTOCOL: not a reply. ES_E_VERSION: of another protocol version. */
ES_MUST_USE enum es_status es_reply_read(struct es_bytes bytes, struct es_reply *ret_reply);

/* The message of a refusal; size 0 if the rest is something else. Does not consume it. */
struct es_text es_reply_message(const struct es_reply *reply);

/* ---- what replies are made of ---- */

struct es_hello {
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    uint64_t start_number;
    uint8_t store_hash[ES_HASH_SIZE];
    uint32_t durability; /* 0 fsync, 1 os */
    uint32_t transaction_bytes_max;
    uint32_t page_bytes_max;
    uint32_t heartbeat_ms;
};
#define ES_HELLO_COUNT 8U /* elements of a reply */

/* The answer to an append: see "Results" in docs/protocol.md. */
struct es_wire_result {
    enum es_status status;
    uint32_t reason;    /* enum es_reason */
    uint32_t operation; /* index */
    uint64_t stream_sequence;
    uint64_t position;
    bool has_hash; /* false: bin(0) on the wire */
    uint8_t hash[ES_HASH_SIZE];
    uint64_t commit_number;
    bool has_store_hash;
    uint8_t store_hash[ES_HASH_SIZE];
    uint64_t revision;
    uint64_t tick;
    uint64_t time_us;
};

struct es_stream_item {
    struct es_text stream;
    uint64_t sequence;
    const uint8_t *hash;
    uint64_t tick;
    uint64_t position;
    uint64_t first_sequence; /* on the wire only in the reply to head */
};

struct es_store_head_item {
    uint8_t store_hash[ES_HASH_SIZE];
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    uint64_t commit_number;
    uint64_t start_number;
};
#define ES_STORE_HEAD_COUNT 5U

struct es_snapshot_item {
    struct es_text stream;
    uint64_t tick;
    uint64_t sequence;
    const uint8_t *hash;
    struct es_text projection;
    uint64_t version;
    uint64_t created_us;
    uint64_t state_size; /* bytes */
    bool valid;
};

struct es_kv_item {
    struct es_text name_space; /* on the wire only in an export */
    struct es_text key;
    uint64_t revision;
    struct es_bytes value;
};

/* The reply to 'producer'. */
struct es_producer_reply {
    uint64_t last_number;
    uint64_t owner_incarnation; /* of the lane that owns the name; 0: none ever did */
    uint32_t owner_uid;         /* whose name it is */
    uint32_t owner_pid;         /* 0: no lane owns it now */
    bool owner_alive;
    bool found;                   /* the number that was asked for was committed */
    struct es_bytes receipt;      /* of it; size 0: none, for it appended no event */
    struct es_wire_result result; /* of it, with 'found' */
};
#define ES_PRODUCER_REPLY_COUNT 5U /* elements of the reply */

struct es_producer_item {
    struct es_text name;
    uint64_t last_number;
    uint64_t owner_incarnation;
    uint32_t uid; /* whose name it is */
};

struct es_scan_item {
    uint64_t sequence;
    struct es_bytes envelope;
};

enum es_finding_kind {
    ES_FINDING_EVENT = 1,    /* an event's hash, or its link to the one before */
    ES_FINDING_MISSING = 2,  /* something is referred to and is not there */
    ES_FINDING_COMMIT = 3,   /* a commit record, or its link to the one before */
    ES_FINDING_HEAD = 4,     /* a head that does not fit its stream */
    ES_FINDING_SNAPSHOT = 5, /* a snapshot that is damaged or names no event */
    ES_FINDING_KEY = 6,      /* a key-value pair */
    ES_FINDING_PRODUCER = 7, /* a producer's entry or its receipt */
    ES_FINDING_EXTRA = 8     /* something is there that nothing refers to */
};

struct es_finding {
    uint32_t kind;         /* enum es_finding_kind; newer brokers may know more */
    struct es_text stream; /* size 0: none */
    uint64_t sequence;     /* 0: none */
    uint64_t position;     /* 0: none */
    struct es_text message;
};

/* Upper bounds of items in bytes, for es_page_has_room(). */
#define ES_EVENT_ITEM_OVERHEAD ES_PUBLISHED_EVENT_OVERHEAD
#define ES_STREAM_ITEM_SIZE_MAX 1112U
#define ES_SNAPSHOT_ITEM_SIZE_MAX 1408U
#define ES_KV_ITEM_OVERHEAD 1304U
#define ES_SCAN_ITEM_OVERHEAD 16U
#define ES_FINDING_SIZE_MAX 2100U
#define ES_PRODUCER_ITEM_SIZE_MAX 288U

/* Written and read as the elements of the reply themselves, after the position. */
void es_hello_write(struct es_pack *pack, const struct es_hello *hello);
void es_hello_read(struct es_unpack *unpack, struct es_hello *ret_hello);
void es_store_head_write(struct es_pack *pack, const struct es_store_head_item *head);
void es_store_head_read(struct es_unpack *unpack, struct es_store_head_item *ret_head);
void es_producer_reply_write(struct es_pack *pack, const struct es_producer_reply *reply);
void es_producer_reply_read(struct es_unpack *unpack, struct es_producer_reply *ret_reply);

/* Written and read as one array each. After a failed read the output is not to be used. */
void es_result_write(struct es_pack *pack, const struct es_wire_result *result);
void es_result_read(struct es_unpack *unpack, struct es_wire_result *ret_result);
void es_event_item_write(struct es_pack *pack, const struct es_published_event *event);
void es_event_item_read(struct es_unpack *unpack, struct es_published_event *ret_event);
void es_head_item_write(struct es_pack *pack, const struct es_stream_item *head);
void es_head_item_read(struct es_unpack *unpack, struct es_stream_item *ret_head);
void es_stream_item_write(struct es_pack *pack, const struct es_stream_item *stream);
void es_stream_item_read(struct es_unpack *unpack, struct es_stream_item *ret_stream);
void es_snapshot_item_write(struct es_pack *pack, const struct es_snapshot_item *snapshot);
void es_snapshot_item_read(struct es_unpack *unpack, struct es_snapshot_item *ret_snapshot);
void es_kv_item_write(struct es_pack *pack, const struct es_kv_item *item);
void es_kv_item_read(struct es_unpack *unpack, struct es_kv_item *ret_item);
void es_kv_export_item_write(struct es_pack *pack, const struct es_kv_item *item);
void es_kv_export_item_read(struct es_unpack *unpack, struct es_kv_item *ret_item);
void es_scan_item_write(struct es_pack *pack, const struct es_scan_item *item);
void es_scan_item_read(struct es_unpack *unpack, struct es_scan_item *ret_item);
void es_producer_item_write(struct es_pack *pack, const struct es_producer_item *item);
void es_producer_item_read(struct es_unpack *unpack, struct es_producer_item *ret_item);
void es_finding_write(struct es_pack *pack, const struct es_finding *finding);
void es_finding_read(struct es_unpack *unpack, struct es_finding *ret_finding);

#endif
