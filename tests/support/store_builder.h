/*
 * Builds stores as the broker does: through sequencer, batch and apply, without
 * log, ring or threads. What it says is what a broker's store says, so readers
 * and verify are tested against the real thing. Tampered copies come from
 * store_copy(), for a store refuses to be tampered with.
 *
 * Any failure but the answers of transactions ends the test.
 */
#ifndef TESTS_SUPPORT_STORE_BUILDER_H
#define TESTS_SUPPORT_STORE_BUILDER_H

#include "broker/batch.h"
#include "broker/sequencer.h"
#include "broker/store.h"
#include "shm/codec/transaction.h"

struct store_builder {
    struct store *store;
    struct counters counters;
    struct heads *heads;
    struct sequencer *sequencer;
    struct batch *batch;
    struct store_batch *writes;
    uint64_t batch_number;
    uint64_t commit_number;
    uint64_t position;
    uint64_t time_us; /* of the next commit; counts up */
    uint8_t store_hash[ES_HASH_SIZE];
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint8_t *transaction;
    struct es_text producer;      /* under whose name transactions are sent; size 0: none */
    struct es_lane_result result; /* of the transaction sent last; whole once it is committed */
};

/* Takes over 'store', which is empty, or makes one in memory for NULL. */
void store_builder_open(struct store_builder *builder, struct store *store);
void store_builder_close(struct store_builder *builder);

/* Sends one transaction of bytes; commits first if the batch is full or must be. */
void store_builder_send(struct store_builder *builder, const void *bytes, uint32_t size);

/* One transaction of 'count' events of 'payload_bytes'; tick i, 2 i, 3 i ... of the sequence. */
void store_builder_append(struct store_builder *builder, const char *stream, uint32_t count,
                          uint32_t payload_bytes);
void store_builder_put(struct store_builder *builder, enum es_kv_family family,
                       const char *name_space, const char *key, const char *value);
void store_builder_delete(struct store_builder *builder, enum es_kv_family family,
                          const char *name_space, const char *key);
void store_builder_snapshot(struct store_builder *builder, const char *stream, uint64_t tick,
                            uint64_t sequence, const char *projection, const char *state);

/* One event of zeros under a number of a named producer, as a request sends it. */
void store_builder_named(struct store_builder *builder, const char *producer, uint64_t number,
                         const char *stream);

/* Makes what was sent one commit of the store. */
void store_builder_commit(struct store_builder *builder);

/*
 * Looks at one entry on its way into a copy; may point 'value' (and 'key')
 * somewhere else. False: the entry is left out.
 */
typedef bool (*store_copy_fn)(void *context, enum store_family family, struct store_slice *key,
                              struct store_slice *value);

/* A new store in memory with the entries of 'from' that 'look' lets pass; NULL: all. */
struct store *store_copy(struct store *from, store_copy_fn look, void *context);

#endif
