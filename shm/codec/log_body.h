/*
 * The body of a record of the commit log: all that one batch changes, from
 * which apply makes the store's keys, in normal running and in recovery, without
 * reading anything else.
 *
 *   [commit record or nil, [envelope(bin)...], [operation...], Last]
 *
 *   kv put           [1, family, namespace, key, revision, value_hash, value(bin)]
 *   kv delete        [2, family, namespace, key, revision]
 *   snapshot put     [3, stream, tick, sequence, event_hash, projection, version,
 *                     created_us, state_hash, state(bin)]
 *   snapshot delete  [4, stream, tick, sequence, projection]
 *   checkpoint put   [5, consumer, epoch, position, owner, updated_us]
 *   checkpoint delete [6, consumer]
 *   producer         [7, producer, owner_incarnation, last_sequence, owner_uid]
 *   epoch            [8, epoch, first_position]
 *
 * Operations name exact keys and hold absolute values: an expectation is judged,
 * and "every snapshot of" is spelled out, before the body is written. The commit
 * record (commit_record.h) and Last (last_record.h) lie in it as they are, not
 * wrapped in a bin. The envelopes are in position order.
 *
 * The body has exactly four elements: another log format changes the segment
 * header. One thread per builder and reader.
 */
#ifndef EVENTSPINE_CODEC_LOG_BODY_H
#define EVENTSPINE_CODEC_LOG_BODY_H

#include "shm/codec/kv_value.h"
#include "shm/codec/last_record.h"
#include "shm/codec/pack.h"
#include "shm/codec/snapshot_value.h"
#include "shm/codec/store_value.h"
#include "shm/codec/stream_key.h"
#include "shm/codec/strict_msgpack.h"

#define ES_LOG_BODY_OVERHEAD (16U + ES_LAST_SIZE_MAX) /* beyond commit, envelopes, operations */
#define ES_LOG_ENVELOPE_OVERHEAD 5U                   /* of each envelope */
#define ES_LOG_OPERATION_OVERHEAD 1440U               /* of each, beyond value or state */

enum es_log_kind {
    ES_LOG_KV_PUT = 1,
    ES_LOG_KV_DELETE = 2,
    ES_LOG_SNAPSHOT_PUT = 3,
    ES_LOG_SNAPSHOT_DELETE = 4,
    ES_LOG_CHECKPOINT_PUT = 5,
    ES_LOG_CHECKPOINT_DELETE = 6,
    ES_LOG_PRODUCER = 7,
    ES_LOG_EPOCH = 8
};

struct es_log_kv { /* put and delete */
    enum es_kv_family family;
    struct es_text name_space;
    struct es_text key;
    struct es_kv_value value; /* of a delete: only the revision */
};

struct es_log_snapshot { /* put and delete */
    struct es_text stream;
    struct es_snapshot_value value; /* of a delete: only tick, sequence and projection */
};

struct es_log_checkpoint { /* put and delete */
    struct es_text consumer;
    struct es_consumer_value value; /* of a put */
};

struct es_log_producer {
    struct es_text producer;
    struct es_producer_value value;
};

struct es_log_operation {
    enum es_log_kind kind;
    union {
        struct es_log_kv kv;
        struct es_log_snapshot snapshot;
        struct es_log_checkpoint checkpoint;
        struct es_log_producer producer;
        struct es_epoch_entry epoch;
    } as;
};

/*
 * Writing, in this order: begin, exactly 'envelope_count' envelopes, operations
 * with their count, each of them, Last. 'commit' is an encoded commit record, or
 * empty for a batch without one. Check with es_pack_finish().
 */
void es_log_body_begin(struct es_pack *pack, struct es_bytes commit, uint32_t envelope_count);
void es_log_body_envelope(struct es_pack *pack, struct es_bytes envelope);
void es_log_body_operations(struct es_pack *pack, uint32_t operation_count);
void es_log_body_operation(struct es_pack *pack, const struct es_log_operation *operation);
void es_log_body_last(struct es_pack *pack, const struct es_last *last);

/* A body that was read and found whole. Views into its bytes. */
struct es_log_body {
    struct es_bytes commit; /* size 0: none */
    struct es_bytes last;
    uint32_t envelope_count;
    uint32_t operation_count;
    /* private: at the next envelope and at the next operation */
    struct es_unpack envelopes;
    struct es_unpack operations;
    uint32_t envelopes_left;
    uint32_t operations_left;
};

/*
 * Checks the whole body, every operation included; of the commit record and
 * Last it checks that they are MessagePack, of the envelopes nothing.
 * ES_E_CORRUPT: it is not one; '*ret_body' is untouched.
 */
ES_MUST_USE enum es_status es_log_body_decode(const void *bytes, size_t size,
                                              struct es_log_body *ret_body);

/* The next envelope, or operation; false after the last. They cannot fail. */
bool es_log_body_next_envelope(struct es_log_body *body, struct es_bytes *ret_envelope);
bool es_log_body_next_operation(struct es_log_body *body, struct es_log_operation *ret_operation);

#endif
