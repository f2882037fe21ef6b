/*
 * A sequencer over a memory store, and a way to say in one line what is to be
 * appended. Nothing is logged: fixture_commit() closes the batch and applies it.
 */
#ifndef TESTS_SUPPORT_SEQUENCER_FIXTURE_H
#define TESTS_SUPPORT_SEQUENCER_FIXTURE_H

#include "broker/apply.h"
#include "broker/batch_load.h"
#include "broker/sequencer.h"
#include "shm/codec/transaction.h"

struct sequencer_fixture {
    struct store *store;
    struct counters counters;
    struct heads *heads;
    struct sequencer *sequencer;
    struct batch *batch;
    struct store_batch *writes;
    struct history_point end;
    struct es_pack pack; /* of the transaction being written */
    uint8_t bytes[64 * 1024];
    bool order_broken;
    /* Under which name the next transactions come; NULL: none. */
    const char *producer;
    uint64_t number;
    uint64_t incarnation; /* 0: by request */
    uint32_t uid;         /* 1000 unless the test says otherwise */
    bool owner_lives;
};

/* With room for 'stream_count_max' heads; ends the test on failure. */
struct sequencer_fixture *sequencer_fixture_new(uint32_t stream_count_max, uint64_t body_bytes_max);
void sequencer_fixture_free(struct sequencer_fixture *f);

/* For cmocka_unit_test_setup_teardown(): 1,000 heads, bodies of 1 MiB. */
int sequencer_fixture_setup(void **state);
int sequencer_fixture_teardown(void **state);

/* Begins a transaction of so many operations. */
void tx_begin(struct sequencer_fixture *f, uint32_t operation_count);
/* 'expected' is TX_ANY, TX_NONE, TX_EXISTS or a sequence. */
#define TX_ANY (-1)
#define TX_NONE 0
#define TX_EXISTS (-2)
void tx_append(struct sequencer_fixture *f, const char *stream, int64_t expected,
               uint32_t event_count);
void tx_append_hash(struct sequencer_fixture *f, const char *stream, const uint8_t *hash,
                    uint32_t hash_bytes, uint32_t event_count, const uint8_t *event_hash);
void tx_put(struct sequencer_fixture *f, const char *key, int64_t expected, const char *value);
void tx_delete(struct sequencer_fixture *f, const char *key, int64_t expected);
void tx_snapshot(struct sequencer_fixture *f, const char *stream, uint64_t tick, uint64_t sequence,
                 const char *state);
void tx_snapshot_delete(struct sequencer_fixture *f, const char *stream);

/* Adds the transaction; returns the status of the call, and its answer. */
enum es_status tx_add(struct sequencer_fixture *f, uint32_t flags,
                      const struct es_lane_result **ret_result);

/* The same for one that must be taken into the batch; returns the answer. */
const struct es_lane_result *tx_submit(struct sequencer_fixture *f);

/* One append of one event, as a whole transaction. */
const struct es_lane_result *append_one(struct sequencer_fixture *f, const char *stream,
                                        int64_t expected);

/* Closes the batch, applies it, begins the next. */
void fixture_commit(struct sequencer_fixture *f);

/* What the store says: the head (false: none), an event, the value of a key. */
bool stored_head(struct sequencer_fixture *f, const char *stream, struct es_head_value *ret_head);
bool stored_event(struct sequencer_fixture *f, const char *stream, uint64_t sequence,
                  struct store_buffer *ret_envelope);
bool stored_key(struct sequencer_fixture *f, const char *key, uint64_t *ret_revision);
uint64_t stored_count(struct sequencer_fixture *f, enum store_family family);

#endif
