/*
 * Requests of the REQ/REP socket: [1, verb, arguments...] as docs/protocol.md
 * lists them. The client writes them, the broker reads bytes of strangers: every
 * count, size, name and number is checked, and nothing may follow the last
 * argument. Replies are in replies.h, the transaction inside an append in
 * transaction.h. Views point into the request. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_REQUESTS_H
#define EVENTSPINE_CODEC_REQUESTS_H

#include "shm/codec/kv_value.h"
#include "shm/codec/pack.h"
#include "shm/codec/reason.h"
#include "shm/codec/stream_key.h"
#include "shm/codec/strict_msgpack.h"

#define ES_PROTOCOL_VERSION 1U
#define ES_REQUEST_BYTES_MAX (2U << 20) /* a larger message closes the connection */
#define ES_PAGE_BYTES_MAX (256U << 10)  /* a reply's page, or one item if that is larger */
#define ES_REQUEST_OVERHEAD_MAX 2560U   /* beyond transaction or state, at most */
#define ES_REQUEST_COUNT_MAX 65536U     /* items asked for at once */
#define ES_REQUEST_BUDGET_MS_MAX 60000U /* of a verify */
#define ES_VERIFY_CURSOR_MAX 1400U      /* bytes of a verify's cursor, opaque to the client */
#define ES_CLIENT_NAME_MAX 255U         /* bytes of UTF-8; for status, never a key */
#define ES_BACKUP_PATH_MAX 2048U        /* bytes of a directory's path */
#define ES_APPEND_ALLOW_GAP 8U          /* flag of an append: as of a ring record */

enum es_verb {
    ES_VERB_HELLO = 1,
    ES_VERB_APPEND = 2,
    ES_VERB_READ_STREAM = 3,
    ES_VERB_READ_ALL = 4,
    ES_VERB_SCAN = 5,
    ES_VERB_HEAD = 6,
    ES_VERB_STORE_HEAD = 7,
    ES_VERB_STREAMS = 8,
    ES_VERB_SNAPSHOT_SAVE = 9,
    ES_VERB_SNAPSHOT_LOAD = 10,
    ES_VERB_SNAPSHOT_LIST = 11,
    ES_VERB_SNAPSHOT_DELETE = 12,
    ES_VERB_KV_GET = 13,
    ES_VERB_KV_LIST = 14,
    ES_VERB_STATUS = 15,
    ES_VERB_VERIFY = 16,
    ES_VERB_KV_EXPORT = 17,
    ES_VERB_PRODUCER = 18,
    ES_VERB_PRODUCERS = 19,
    ES_VERB_BACKUP = 20
};

/* What a client has seen of a store and wants it to continue: either may be absent. */
struct es_request_hello {
    struct es_text client_name;
    struct es_bytes receipt; /* receipt.h, not looked into; size 0: none */
    bool has_checkpoint;
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    uint64_t position; /* the last one applied */
};

struct es_request_append {
    struct es_bytes transaction; /* not looked into */
    uint32_t flags;              /* 0 or ES_APPEND_ALLOW_GAP */
    struct es_text producer;     /* whose number the transaction has; size 0: unnamed */
};

struct es_request_read_stream {
    struct es_text stream;
    uint64_t from_sequence; /* 0: the first, or backwards the last */
    uint32_t count;
    bool backwards;
};

struct es_request_read_all {
    uint64_t from_position; /* inclusive; 0 is as 1 */
    uint32_t count;
    struct es_text category; /* size 0: every; else a category, or a prefix ending in ':' or '*' */
};

struct es_request_scan {
    struct es_bytes after_key;    /* size 0: from the start */
    struct es_text stream_prefix; /* size 0: every stream */
    uint32_t count;
};

struct es_request_streams {
    struct es_text prefix;
    struct es_text after; /* size 0: from the start */
    uint32_t count;
};

struct es_request_snapshot_save {
    struct es_text stream;
    uint64_t tick;
    uint64_t sequence;
    struct es_text projection; /* size 0: none */
    uint64_t version;
    struct es_bytes state;
};

struct es_request_snapshot_load {
    struct es_text stream;
    bool newest; /* nil as the tick */
    uint64_t tick;
    struct es_text projection;
};

struct es_request_snapshot_list {
    struct es_text prefix;
    struct es_bytes after_key;
    uint32_t count;
};

struct es_request_snapshot_delete {
    struct es_text stream;
    bool every_tick; /* nil as the tick */
    uint64_t tick;
    bool every_projection; /* nil as the projection */
    struct es_text projection;
};

struct es_request_kv_get {
    enum es_kv_family family;
    struct es_text name_space;
    struct es_text key;
};

struct es_request_kv_list {
    enum es_kv_family family;
    struct es_text name_space;
    struct es_text after; /* size 0: from the start */
    uint32_t count;
};

struct es_request_verify {
    struct es_bytes cursor; /* of the reply before, at most ES_VERIFY_CURSOR_MAX; size 0: start */
    uint32_t budget_ms;     /* 1..ES_REQUEST_BUDGET_MS_MAX */
};

struct es_request_kv_export {
    struct es_bytes after_key;
    uint32_t count;
};

struct es_request_producer {
    struct es_text name;
    uint64_t number; /* whose receipt is wanted; 0: none */
};

struct es_request_producers {
    struct es_text after; /* size 0: from the start */
    uint32_t count;
};

struct es_request {
    enum es_verb verb;
    union {
        struct es_request_hello hello;
        struct es_request_append append;
        struct es_request_read_stream read_stream;
        struct es_request_read_all read_all;
        struct es_request_scan scan;
        struct es_text stream; /* head */
        struct es_request_streams streams;
        struct es_request_snapshot_save snapshot_save;
        struct es_request_snapshot_load snapshot_load;
        struct es_request_snapshot_list snapshot_list;
        struct es_request_snapshot_delete snapshot_delete;
        struct es_request_kv_get kv_get;
        struct es_request_kv_list kv_list;
        struct es_request_verify verify;
        struct es_request_kv_export kv_export;
        struct es_text backup; /* absolute path of the directory to make */
        struct es_request_producer producer;
        struct es_request_producers producers;
    } as;
};

/*
 * Writes 'request'. Nothing is checked: the broker does. Check the buffer with
 * es_pack_finish().
 */
void es_request_encode(struct es_pack *pack, const struct es_request *request);

/*
 * ES_OK: '*ret_request' holds it.
 * ES_E_VERSION: another protocol version.
 * ES_E_INVALID: not a request, an unknown verb, or an argument outside its
 * range; '*ret_reason' says which rule was broken.
 * On both '*ret_request' is untouched.
 */
ES_MUST_USE enum es_status es_request_decode(struct es_bytes bytes, struct es_request *ret_request,
                                             enum es_reason *ret_reason);

#endif
