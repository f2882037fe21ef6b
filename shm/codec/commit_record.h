/*
 * The commit record: one small value per commit, which gives global order, the
 * position and time of every event, receipts, who wrote, and one hash for the
 * whole history.
 *
 *   [1, commit_number, first_position, count, time_us, previous_store_hash,
 *    events_hash, [transaction...], store_hash]
 *   transaction  [origin_uid, producer or nil, producer_sequence,
 *                 content_hash(16) or nil, [run...], [kv...]]
 *   run          [stream, first_sequence, count, previous_position_of_stream]
 *   kv           [op, namespace, key, revision, value_hash]
 *
 * store_hash is over the array of the first eight elements. Positions follow
 * from the order: the runs, one after the other, cover first_position up to
 * first_position + count - 1. A commit of keys only has count 0 and a
 * first_position one past the last event before it.
 *
 * The decoder checks everything once, so that walking over the result cannot
 * fail and allocates nothing: readers seek positions through it. Trailing
 * elements, in the record and in each array inside, are passed over, but hashed.
 * Whether records follow each other is the reader's question (verify, recovery).
 * Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_COMMIT_RECORD_H
#define EVENTSPINE_CODEC_COMMIT_RECORD_H

#include "shm/codec/hash.h"
#include "shm/codec/strict_msgpack.h"

enum es_commit_kv_op {
    ES_COMMIT_KV_PUT = 1,
    ES_COMMIT_KV_DELETE = 2 /* value_hash is empty on the wire, zeros here */
};

/* Events of one stream that follow each other in position and in sequence. */
struct es_commit_run {
    struct es_text stream;
    uint64_t first_sequence;
    uint64_t count;             /* at least 1 */
    uint64_t previous_position; /* of the stream's event before the run; 0: none */
};

/* A key of the family 'kv' put or deleted. */
struct es_commit_kv {
    enum es_commit_kv_op op;
    struct es_text name_space;
    struct es_text key;
    uint64_t revision;
    uint8_t value_hash[ES_HASH_SIZE];
};

/* Who wrote, and how many of the record's runs and kv entries, in order, are theirs. */
struct es_commit_transaction {
    uint32_t origin_uid;
    struct es_text producer; /* size 0: unnamed */
    uint64_t producer_sequence;
    bool has_content_hash;
    uint8_t content_hash[ES_CONTENT_HASH_SIZE];
    uint32_t run_count;
    uint32_t kv_count;
};

/*
 * A record to be written. 'runs' and 'kvs' hold those of all transactions, one
 * after the other. The caller owns the arrays.
 */
struct es_commit_record {
    uint64_t commit_number;
    uint64_t first_position;
    uint64_t count;
    uint64_t time_us;
    uint8_t previous_store_hash[ES_HASH_SIZE];
    uint8_t events_hash[ES_HASH_SIZE];
    const struct es_commit_transaction *transactions;
    const struct es_commit_run *runs;
    const struct es_commit_kv *kvs;
    uint32_t transaction_count;
};

/* A record that was read. Views into its bytes. */
struct es_commit_view {
    uint64_t commit_number;
    uint64_t first_position;
    uint64_t count;
    uint64_t time_us;
    const uint8_t *previous_store_hash;
    const uint8_t *events_hash;
    const uint8_t *store_hash;     /* as stored: see es_commit_verify_hash() */
    struct es_bytes hashed;        /* the encoded first eight elements, no header */
    struct es_unpack transactions; /* at the first transaction */
    uint32_t transaction_count;
    uint32_t run_count; /* over all transactions */
    uint32_t kv_count;
};

/* Walks over the transactions of a view and, inside the current one, its runs and kvs. */
struct es_commit_walk {
    struct es_unpack transactions;
    struct es_unpack runs;
    struct es_unpack kvs;
    uint32_t transactions_left;
    uint32_t runs_left;
    uint32_t kvs_left;
    uint64_t position_next; /* first position of the next run */
};

/* The store hash before the first commit: BLAKE2b-256 of "eventspine" + store id. */
void es_store_hash_genesis(const uint8_t store_id[ES_STORE_ID_SIZE],
                           uint8_t ret_hash[ES_HASH_SIZE]);

/* An upper bound, in bytes, of the encoded record. */
uint64_t es_commit_size_max(const struct es_commit_record *record);

/*
 * Writes 'record' with its store hash, which is also returned.
 * ES_E_TOO_LARGE: it does not fit into 'capacity'.
 */
ES_MUST_USE enum es_status es_commit_encode(const struct es_commit_record *record, void *ret_bytes,
                                            size_t capacity, uint32_t *ret_size,
                                            uint8_t ret_store_hash[ES_HASH_SIZE]);

/*
 * Reads a record strictly; the sum of the runs' counts must be 'count'.
 * ES_E_CORRUPT: it is not one. ES_E_VERSION: another leading number.
 * '*ret_view' is untouched on failure.
 */
ES_MUST_USE enum es_status es_commit_decode(const void *bytes, size_t size,
                                            struct es_commit_view *ret_view);

/* ES_E_CORRUPT: the store hash is not that of the first eight elements. */
ES_MUST_USE enum es_status es_commit_verify_hash(const struct es_commit_view *view);

/* The last position of the record, or first_position - 1 if it holds no event. */
uint64_t es_commit_last_position(const struct es_commit_view *view);

void es_commit_walk_begin(const struct es_commit_view *view, struct es_commit_walk *ret_walk);

/* The next transaction; false after the last. What was left of the one before is skipped. */
bool es_commit_walk_transaction(struct es_commit_walk *walk,
                                struct es_commit_transaction *ret_transaction);

/* The next run of the current transaction and its first position; false after the last. */
bool es_commit_walk_run(struct es_commit_walk *walk, struct es_commit_run *ret_run,
                        uint64_t *ret_first_position);

/* The next kv entry of the current transaction; false after the last. */
bool es_commit_walk_kv(struct es_commit_walk *walk, struct es_commit_kv *ret_kv);

/*
 * Which event is at 'position'. ES_NOT_FOUND: the record does not hold it;
 * outputs untouched.
 */
ES_MUST_USE enum es_status es_commit_find_position(const struct es_commit_view *view,
                                                   uint64_t position, struct es_text *ret_stream,
                                                   uint64_t *ret_sequence);

/*
 * At which position is the event 'sequence' of 'stream'. If it is not in this
 * record but an earlier event of the stream's run chain is sought, go on with
 * the commit of the run's previous_position.
 * ES_NOT_FOUND: the record does not hold it; outputs untouched.
 */
ES_MUST_USE enum es_status es_commit_find_event(const struct es_commit_view *view,
                                                struct es_text stream, uint64_t sequence,
                                                uint64_t *ret_position);

/*
 * The first run of 'stream' in the record: its previous_position leads to the
 * commit before. ES_NOT_FOUND: none; outputs untouched.
 */
ES_MUST_USE enum es_status es_commit_find_run(const struct es_commit_view *view,
                                              struct es_text stream, struct es_commit_run *ret_run,
                                              uint64_t *ret_first_position);

/* The events_hash: hash the event hashes in position order, incrementally. */
void es_events_hash_begin(struct es_hash_state *state);
void es_events_hash_add(struct es_hash_state *state, const uint8_t hash[ES_HASH_SIZE]);
void es_events_hash_end(struct es_hash_state *state, uint8_t ret_hash[ES_HASH_SIZE]);

#endif
