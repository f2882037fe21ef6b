#include "broker/apply.h"

#include <assert.h>
#include <stdlib.h>

#include <uthash.h>

#include "shm/codec/kv_value.h"
#include "shm/codec/snapshot_value.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "shm/codec/stream_key.h"

static enum es_status put(struct store_batch *writes, enum store_family family,
                          const struct es_key *key, const void *value, size_t value_bytes)
{
    return store_batch_put(writes, family, (struct store_slice){key->bytes, key->size},
                           (struct store_slice){value, value_bytes});
}

static enum es_status fill_events(const struct batch *batch, uint32_t run_index,
                                  struct store_batch *writes)
{
    const struct es_commit_run *commit = &batch->commit_runs[run_index];
    const struct batch_event *event = &batch->events[batch->runs[run_index].first_event];
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_event_prefix(commit->stream, &key);
    key.size += ES_NUMBER_KEY_SIZE;
    for (uint64_t i = 0; status == ES_OK && i < commit->count; i++, event++) {
        es_number_key_encode(commit->first_sequence + i, key.bytes + key.size - ES_NUMBER_KEY_SIZE);
        status = put(writes, STORE_EVENTS, &key, batch->envelopes + event->offset, event->size);
    }
    return status;
}

/* Where every ES_POS_INTERVAL-th event of the stream is: from there a reader
 * walks back along the runs, never further than one interval. */
static enum es_status fill_positions(const struct batch_run *run,
                                     const struct es_commit_run *commit, struct store_batch *writes)
{
    uint64_t end = commit->first_sequence + commit->count;
    uint64_t sequence =
        (commit->first_sequence + ES_POS_INTERVAL - 1) / ES_POS_INTERVAL * ES_POS_INTERVAL;
    enum es_status status = ES_OK;

    for (; status == ES_OK && sequence < end; sequence += ES_POS_INTERVAL) {
        uint8_t value[ES_POS_SIZE_MAX];
        uint32_t size = 0;
        struct es_key key;

        es_key_pos(commit->stream, sequence, &key);
        status = es_pos_encode(run->first_position + (sequence - commit->first_sequence), value,
                               sizeof value, &size);
        if (status == ES_OK) {
            status = put(writes, STORE_STREAM_META, &key, value, size);
        }
    }
    return status;
}

static enum es_status fill_head(const struct batch_run *run, struct es_text stream,
                                struct store_batch *writes)
{
    uint8_t value[ES_HEAD_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;
    enum es_status status = es_head_encode(&run->head, value, sizeof value, &size);

    if (status != ES_OK) {
        return status;
    }
    es_key_head(stream, &key);
    return put(writes, STORE_STREAM_META, &key, value, size);
}

static enum es_status fill_category(const struct batch_run *run, const struct es_commit_run *commit,
                                    struct store_batch *writes)
{
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;
    enum es_status status = es_category_value_encode(run->first_position + commit->count - 1, value,
                                                     sizeof value, &size);

    if (status != ES_OK) {
        return status;
    }
    es_key_category(es_text_make(commit->stream.data, run->category_bytes), &key);
    return put(writes, STORE_DEFAULT, &key, value, size);
}

static enum es_status fill_run(const struct batch *batch, uint32_t run_index,
                               struct store_batch *writes)
{
    const struct batch_run *run = &batch->runs[run_index];
    const struct es_commit_run *commit = &batch->commit_runs[run_index];
    enum es_status status = fill_events(batch, run_index, writes);

    if (status == ES_OK) {
        status = fill_positions(run, commit, writes);
    }
    if (status == ES_OK && run->last_of_stream) {
        status = fill_head(run, commit->stream, writes);
    }
    if (status == ES_OK && run->last_of_category) {
        status = fill_category(run, commit, writes);
    }
    return status;
}

static enum es_status fill_kv(const struct es_log_operation *operation, struct store_batch *writes)
{
    const struct es_log_kv *kv = &operation->as.kv;
    enum store_family family = kv->family == ES_KV_TRUTH ? STORE_KV : STORE_READ_MODELS;
    size_t capacity = (size_t)kv->value.value.size + ES_KV_VALUE_OVERHEAD;
    uint8_t *value = NULL;
    uint32_t size = 0;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_kv(kv->name_space, kv->key, &key);
    if (operation->kind == ES_LOG_KV_DELETE) {
        return store_batch_delete(writes, family, (struct store_slice){key.bytes, key.size});
    }
    value = malloc(capacity);
    if (value == NULL) {
        return ES_E_NO_MEMORY;
    }
    status = es_kv_value_encode(&kv->value, value, capacity, &size);
    if (status == ES_OK) {
        status = put(writes, family, &key, value, size);
    }
    free(value);
    return status;
}

static enum es_status fill_snapshot(const struct es_log_operation *operation,
                                    struct store_batch *writes)
{
    const struct es_log_snapshot *snapshot = &operation->as.snapshot;
    size_t capacity = (size_t)snapshot->value.state.size + ES_SNAPSHOT_OVERHEAD;
    uint8_t *value = NULL;
    uint32_t size = 0;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_snapshot(snapshot->stream, snapshot->value.tick, snapshot->value.sequence,
                    snapshot->value.projection, &key);
    if (operation->kind == ES_LOG_SNAPSHOT_DELETE) {
        return store_batch_delete(writes, STORE_SNAPSHOTS,
                                  (struct store_slice){key.bytes, key.size});
    }
    value = malloc(capacity);
    if (value == NULL) {
        return ES_E_NO_MEMORY;
    }
    status = es_snapshot_value_encode(&snapshot->value, value, capacity, &size);
    if (status == ES_OK) {
        status = put(writes, STORE_SNAPSHOTS, &key, value, size);
    }
    free(value);
    return status;
}

static enum es_status fill_producer(const struct es_log_producer *producer,
                                    struct store_batch *writes)
{
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;
    enum es_status status = es_producer_value_encode(&producer->value, value, sizeof value, &size);

    if (status != ES_OK) {
        return status;
    }
    es_key_producer(producer->producer, &key);
    return put(writes, STORE_PRODUCERS, &key, value, size);
}

static enum es_status fill_operation(const struct es_log_operation *operation,
                                     struct store_batch *writes)
{
    switch (operation->kind) {
    case ES_LOG_KV_PUT:
    case ES_LOG_KV_DELETE: return fill_kv(operation, writes);
    case ES_LOG_SNAPSHOT_PUT:
    case ES_LOG_SNAPSHOT_DELETE: return fill_snapshot(operation, writes);
    case ES_LOG_PRODUCER: return fill_producer(&operation->as.producer, writes);
    case ES_LOG_CHECKPOINT_PUT:
    case ES_LOG_CHECKPOINT_DELETE:
    case ES_LOG_EPOCH: break; /* no broker of this version writes them */
    }
    return ES_E_VERSION;
}

/* The operations are read back from the very bytes that the log holds. */
static enum es_status fill_operations(const struct batch *batch, struct store_batch *writes)
{
    struct es_log_body body = {.operations_left = batch->operation_count};
    struct es_log_operation operation;
    enum es_status status = ES_OK;

    es_unpack_init(&body.operations, batch->operations.data, batch->operations.size);
    while (status == ES_OK && es_log_body_next_operation(&body, &operation)) {
        status = fill_operation(&operation, writes);
    }
    return status;
}

/* A producer whose entry the batch writes. */
struct named {
    UT_hash_handle hh;
    struct es_log_producer entry;
};

/* The producers that the batch writes, by name. */
static void gather_producers(const struct batch *batch, struct named *ret_named,
                             struct named **ret_table)
{
    struct es_log_body body = {.operations_left = batch->operation_count};
    struct es_log_operation operation;
    struct named *named = ret_named;

    es_unpack_init(&body.operations, batch->operations.data, batch->operations.size);
    while (es_log_body_next_operation(&body, &operation)) {
        if (operation.kind == ES_LOG_PRODUCER) {
            named->entry = operation.as.producer;
            HASH_ADD_KEYPTR(hh, *ret_table, named->entry.producer.data, named->entry.producer.size,
                            named);
            named++;
        }
    }
}

/* For each producer, how its last number in the commit leads to the commit. */
static enum es_status fill_numbers(const struct batch *batch, struct store_batch *writes)
{
    struct named *all = NULL;
    struct named *table = NULL;
    struct es_commit_transaction transaction;
    struct es_commit_view view;
    struct es_commit_walk walk;
    struct es_key commit;
    struct es_key key;
    enum es_status status = es_commit_decode(batch->record.data, batch->record.size, &view);

    assert(batch->operation_count > 0); /* the entry of whoever has a number */
    all = calloc(batch->operation_count, sizeof *all);
    if (all == NULL) {
        return ES_E_NO_MEMORY;
    }
    if (status == ES_OK) {
        gather_producers(batch, all, &table);
        es_key_commit(batch_last_position(batch), batch->commit_number, &commit);
        es_commit_walk_begin(&view, &walk);
    }
    while (status == ES_OK && es_commit_walk_transaction(&walk, &transaction)) {
        struct named *named = NULL;

        if (transaction.producer.size == 0) {
            continue;
        }
        HASH_FIND(hh, table, transaction.producer.data, transaction.producer.size, named);
        if (named == NULL) {
            status = ES_E_CORRUPT; /* who committed a number has an entry in the same batch */
        } else if (transaction.producer_sequence == named->entry.value.last_sequence) {
            es_key_producer_commit(transaction.producer, transaction.producer_sequence, &key);
            status = put(writes, STORE_PRODUCERS, &key, commit.bytes, commit.size);
        }
    }
    HASH_CLEAR(hh, table);
    free(all);
    return status;
}

static enum es_status fill_revision(const struct batch *batch, struct store_batch *writes)
{
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint32_t size = 0;
    struct es_key key;
    enum es_status status =
        es_revision_value_encode(batch->last_revision, value, sizeof value, &size);

    if (status != ES_OK) {
        return status;
    }
    es_key_revision(&key);
    return put(writes, STORE_DEFAULT, &key, value, size);
}

enum es_status apply_fill(const struct batch *batch, struct store_batch *writes)
{
    store_batch_clear(writes);
    return apply_add(batch, writes);
}

enum es_status apply_add(const struct batch *batch, struct store_batch *writes)
{
    struct es_key key;
    enum es_status status = ES_OK;

    for (uint32_t i = 0; status == ES_OK && i < batch->run_count; i++) {
        status = fill_run(batch, i, writes);
    }
    if (status == ES_OK && batch->operation_count > 0) {
        status = fill_operations(batch, writes);
    }
    if (status == ES_OK && batch->named_count > 0) {
        status = fill_numbers(batch, writes);
    }
    if (status == ES_OK && batch->last_revision != 0) {
        status = fill_revision(batch, writes);
    }
    if (status == ES_OK && batch->commit_number != 0) {
        es_key_commit(batch_last_position(batch), batch->commit_number, &key);
        status = put(writes, STORE_COMMITS, &key, batch->record.data, batch->record.size);
    }
    if (status == ES_OK) {
        es_key_last(&key);
        status = put(writes, STORE_DEFAULT, &key, batch->last.data, batch->last.size);
    }
    return status;
}
