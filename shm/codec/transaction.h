/*
 * The transaction: the body of a ring record, carried in an append request too.
 *
 *   [1, producer_sequence, [operation...]]
 *   append           [1, stream, expected_sequence, expected_hash, [event...]]
 *   event            [tick, type, payload(bin), expected_event_hash or nil]
 *   kv put           [2, family, namespace, key, expected_revision, value(bin)]
 *   kv delete        [3, family, namespace, key, expected_revision]
 *   snapshot save    [4, stream, tick, sequence, projection, version, state(bin)]
 *   snapshot delete  [5, stream, projection or nil, tick or nil]
 *
 * The writer is the client's: it packs what it is told. The reader is the
 * broker's, over a copy of bytes that it trusts in nothing: every count, size,
 * name, type and number is checked before a view is handed out, and the reason
 * says which rule was broken. Expectations are only carried here; the sequencer
 * judges them. Shared memory must never be decoded in place.
 * One thread per builder and per reader.
 */
#ifndef EVENTSPINE_CODEC_TRANSACTION_H
#define EVENTSPINE_CODEC_TRANSACTION_H

#include "shm/codec/kv_value.h"
#include "shm/codec/pack.h"
#include "shm/codec/stream_key.h"
#include "shm/codec/strict_msgpack.h"

#define ES_OPERATION_COUNT_MAX 4096U
#define ES_TRANSACTION_HEADER_MAX 16U /* bytes before the first operation */
#define ES_APPEND_OVERHEAD_MAX 1096U  /* bytes of an append beyond its events */
#define ES_EVENT_OVERHEAD_MAX 309U    /* bytes of an event beyond its payload */

enum es_operation_kind {
    ES_OPERATION_APPEND = 1,
    ES_OPERATION_KV_PUT = 2,
    ES_OPERATION_KV_DELETE = 3,
    ES_OPERATION_SNAPSHOT_SAVE = 4,
    ES_OPERATION_SNAPSHOT_DELETE = 5
};

enum es_expected_kind {
    ES_EXPECTED_ANY = 0,    /* nil */
    ES_EXPECTED_NONE = 1,   /* 0: must not exist */
    ES_EXPECTED_EXISTS = 2, /* -1: must exist (streams only) */
    ES_EXPECTED_EXACT = 3   /* N: this sequence or revision */
};

struct es_expected {
    enum es_expected_kind kind;
    uint64_t number; /* with ES_EXPECTED_EXACT; else 0 */
};

/* "Not given" and "given and empty" are different: the latter means genesis. */
struct es_expected_hash {
    bool given;
    struct es_bytes hash; /* 32 bytes, or none */
};

struct es_append_operation {
    struct es_text stream;
    struct es_stream_parts parts; /* decoded; ignored by the builder */
    struct es_expected expect;
    struct es_expected_hash expect_hash;
    uint32_t event_count;
};

struct es_append_event {
    uint64_t tick;
    struct es_text type;
    struct es_bytes payload;
    const uint8_t *expected_hash; /* ES_HASH_SIZE bytes, or NULL */
};

struct es_kv_operation { /* put and delete */
    enum es_kv_family family;
    struct es_text name_space;
    struct es_text key;
    struct es_expected expect; /* of a delete: ES_EXPECTED_ANY (must exist) or EXACT */
    struct es_bytes value;     /* empty for a delete */
};

struct es_snapshot_save_operation {
    struct es_text stream;
    uint64_t tick;
    uint64_t sequence;
    struct es_text projection; /* size 0: none */
    uint64_t version;
    struct es_bytes state;
};

struct es_snapshot_delete_operation {
    struct es_text stream;
    bool every_projection;
    struct es_text projection; /* size 0: those without one */
    bool every_tick;
    uint64_t tick;
};

struct es_operation {
    enum es_operation_kind kind;
    union {
        struct es_append_operation append;
        struct es_kv_operation kv;
        struct es_snapshot_save_operation snapshot_save;
        struct es_snapshot_delete_operation snapshot_delete;
    } as;
};

/*
 * Writing, into 'pack': begin, then exactly 'operation_count' operations, an
 * append being followed by exactly its 'event_count' events. Check with
 * es_pack_finish(). 'producer_sequence' is 0 for an unnamed producer.
 */
void es_transaction_write_begin(struct es_pack *pack, uint64_t producer_sequence,
                                uint32_t operation_count);
void es_transaction_write_operation(struct es_pack *pack, const struct es_operation *operation);
void es_transaction_write_event(struct es_pack *pack, const struct es_append_event *event);

/*
 * The same, for a payload that the caller writes where it will lie: everything
 * up to the payload, then es_pack_raw() of the payload (or the caller's own
 * bytes at pack->at), then the expected hash, NULL for none.
 */
void es_transaction_write_event_begin(struct es_pack *pack, uint64_t tick, struct es_text type,
                                      uint32_t payload_size);
void es_transaction_write_event_end(struct es_pack *pack, const uint8_t *expected_hash);

/* Reading. The fields up to 'operation_count' are the caller's to read. */
struct es_transaction_reader {
    uint64_t producer_sequence;
    uint32_t operation_count;
    /* private */
    uint32_t operations_left;
    uint32_t events_left;
    struct es_unpack unpack;
    struct es_bytes content;
};

/*
 * Reads the beginning. 'bytes' must stay as they are until the reader is done
 * with. Answers ES_REASON_NONE or the rule broken; on the latter the reader is
 * not to be used.
 */
enum es_reason es_transaction_read(struct es_transaction_reader *reader, const void *bytes,
                                   size_t size);

/*
 * Reads the next operation, passing over events of the one before that were not
 * read. '*ret_found' is false after the last, and then nothing may be left over
 * (ES_REASON_TRAILING_BYTES). A transaction is good only if this was reached.
 */
enum es_reason es_transaction_read_operation(struct es_transaction_reader *reader,
                                             struct es_operation *ret_operation, bool *ret_found);

/* Reads the next event of the append read last; '*ret_found' is false after its last. */
enum es_reason es_transaction_read_event(struct es_transaction_reader *reader,
                                         struct es_append_event *ret_event, bool *ret_found);

/*
 * Reads the whole transaction and hands out nothing: ES_REASON_NONE means that
 * a second reading will meet no broken rule. On a broken rule
 * '*ret_operation_index' says in which operation (0 if before the first).
 */
enum es_reason es_transaction_check(const void *bytes, size_t size, uint32_t *ret_operation_index);

/*
 * The content hash of a transaction: BLAKE2b with a 16-byte digest over its
 * encoded array of operations. It tells a repeat of a named producer's number
 * from a mistake. The reader must have been begun successfully.
 */
void es_transaction_content_hash(const struct es_transaction_reader *reader,
                                 uint8_t ret_hash[ES_CONTENT_HASH_SIZE]);

#endif
