#include "broker/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/batch_state.h"

enum {
    RUN_OVERHEAD = 32,         /* of a run in the commit record, beyond the stream's text */
    TRANSACTION_OVERHEAD = 48, /* of an unnamed transaction entry there */
    KV_OVERHEAD = 64,          /* of a kv entry there, beyond namespace and key */
    BODY_FRAME_BYTES = 256,    /* array headers and the record's own members */
    PRODUCER_OVERHEAD = 32,    /* of a producer's operation, beyond the name */
    TRANSACTION_RESERVE = 5120 /* what a largest transaction grows by as envelopes and runs */
};

static enum es_status allocate(struct batch *batch, struct batch_memory *memory)
{
    memory->capacity = (size_t)batch->bytes_max + BATCH_BIN_HEADER_BYTES_MAX;
    memory->record_capacity = (size_t)batch->bytes_max + BODY_FRAME_BYTES;
    memory->envelopes = malloc(memory->capacity);
    memory->operation_region = malloc(memory->capacity);
    memory->record = malloc(memory->record_capacity);
    memory->begin = malloc(memory->record_capacity);
    batch->events = malloc(BATCH_EVENTS_MAX * sizeof *batch->events);
    batch->runs = malloc(BATCH_EVENTS_MAX * sizeof *batch->runs);
    batch->commit_runs = malloc(BATCH_EVENTS_MAX * sizeof *batch->commit_runs);
    batch->transactions = malloc(BATCH_TRANSACTIONS_MAX * sizeof *batch->transactions);
    batch->kvs = malloc(BATCH_OPERATIONS_MAX * sizeof *batch->kvs);
    batch->answers = malloc(BATCH_TRANSACTIONS_MAX * sizeof *batch->answers);
    batch->producers = malloc(BATCH_TRANSACTIONS_MAX * sizeof(struct cache_entry *));
    if (memory->envelopes == NULL || memory->operation_region == NULL || memory->record == NULL ||
        memory->begin == NULL || batch->events == NULL || batch->runs == NULL ||
        batch->commit_runs == NULL || batch->transactions == NULL || batch->kvs == NULL ||
        batch->answers == NULL || batch->producers == NULL) {
        return ES_E_NO_MEMORY;
    }
    return ES_OK;
}

enum es_status batch_new(uint64_t body_bytes_max, struct batch **ret_batch)
{
    struct batch *batch = calloc(1, sizeof *batch);
    enum es_status status = ES_OK;

    if (batch == NULL) {
        return ES_E_NO_MEMORY;
    }
    batch->memory = calloc(1, sizeof *batch->memory);
    if (batch->memory == NULL) {
        free(batch);
        return ES_E_NO_MEMORY;
    }
    if (body_bytes_max > BATCH_BYTES_MAX) {
        body_bytes_max = BATCH_BYTES_MAX;
    }
    assert(body_bytes_max > ES_LOG_BODY_OVERHEAD + BODY_FRAME_BYTES);
    batch->bytes_max = (uint32_t)body_bytes_max - ES_LOG_BODY_OVERHEAD - BODY_FRAME_BYTES;
    status = allocate(batch, batch->memory);
    if (status != ES_OK) {
        batch_free(batch);
        return status;
    }
    *ret_batch = batch;
    return ES_OK;
}

void batch_free(struct batch *batch)
{
    if (batch == NULL) {
        return;
    }
    free(batch->memory->envelopes);
    free(batch->memory->operation_region);
    free(batch->memory->record);
    free(batch->memory->begin);
    free(batch->memory);
    free(batch->events);
    free(batch->runs);
    free(batch->commit_runs);
    free(batch->transactions);
    free(batch->kvs);
    free(batch->answers);
    free(batch->producers);
    free(batch);
}

uint32_t batch_transaction_bytes_max(const struct batch *batch)
{
    return batch->bytes_max - TRANSACTION_RESERVE;
}

void batch_begin(struct batch *batch, uint64_t number, uint64_t first_position,
                 const uint8_t previous_store_hash[ES_HASH_SIZE])
{
    batch->number = number;
    batch->commit_number = 0;
    batch->first_position = first_position;
    batch->time_us = 0;
    batch->last_revision = 0;
    memcpy(batch->previous_store_hash, previous_store_hash, ES_HASH_SIZE);
    memcpy(batch->store_hash, previous_store_hash, ES_HASH_SIZE);
    batch->event_count = 0;
    batch->run_count = 0;
    batch->transaction_count = 0;
    batch->kv_count = 0;
    batch->operation_count = 0;
    batch->producer_count = 0;
    batch->named_count = 0;
    batch->answer_count = 0;
    batch->answer_count_max = BATCH_TRANSACTIONS_MAX;
    batch->bytes = 0;
    batch->envelopes = batch->memory->envelopes;
    batch->memory->envelope_bytes = 0;
    es_pack_init(&batch->memory->operations, batch->memory->operation_region,
                 batch->memory->capacity);
}

void batch_mark(const struct batch *batch, struct batch_mark *ret_mark)
{
    *ret_mark = (struct batch_mark){
        .event_count = batch->event_count,
        .run_count = batch->run_count,
        .transaction_count = batch->transaction_count,
        .kv_count = batch->kv_count,
        .operation_count = batch->operation_count,
        .named_count = batch->named_count,
        .bytes = batch->bytes,
        .envelope_bytes = batch->memory->envelope_bytes,
        .operation_bytes = es_pack_size(&batch->memory->operations),
        .last_revision = batch->last_revision,
    };
    if (batch->run_count > 0) {
        ret_mark->last_run_events = batch->commit_runs[batch->run_count - 1].count;
    }
    if (batch->transaction_count > 0) {
        const struct es_commit_transaction *last =
            &batch->transactions[batch->transaction_count - 1];

        ret_mark->last_transaction_runs = last->run_count;
        ret_mark->last_transaction_kvs = last->kv_count;
    }
}

void batch_rollback(struct batch *batch, const struct batch_mark *mark)
{
    batch->event_count = mark->event_count;
    batch->run_count = mark->run_count;
    batch->transaction_count = mark->transaction_count;
    batch->kv_count = mark->kv_count;
    batch->operation_count = mark->operation_count;
    batch->named_count = mark->named_count;
    batch->bytes = mark->bytes;
    batch->last_revision = mark->last_revision;
    batch->memory->envelope_bytes = mark->envelope_bytes;
    batch->memory->operations.at = batch->memory->operations.begin + mark->operation_bytes;
    batch->memory->operations.overflow = false;
    if (batch->run_count > 0) {
        batch->commit_runs[batch->run_count - 1].count = mark->last_run_events;
    }
    if (batch->transaction_count > 0) {
        batch->transactions[batch->transaction_count - 1].run_count = mark->last_transaction_runs;
        batch->transactions[batch->transaction_count - 1].kv_count = mark->last_transaction_kvs;
    }
}

static enum es_status add_transaction(struct batch *batch, uint32_t uid, uint32_t name_bytes)
{
    struct es_commit_transaction *transaction = NULL;

    if (batch->transaction_count == BATCH_TRANSACTIONS_MAX ||
        batch->bytes_max - batch->bytes < TRANSACTION_OVERHEAD + name_bytes) {
        return ES_FULL;
    }
    batch->bytes += TRANSACTION_OVERHEAD + name_bytes;
    transaction = &batch->transactions[batch->transaction_count++];
    memset(transaction, 0, sizeof *transaction);
    transaction->origin_uid = uid;
    return ES_OK;
}

enum es_status batch_begin_transaction(struct batch *batch, uint32_t uid)
{
    if (batch->transaction_count > 0) {
        const struct es_commit_transaction *last =
            &batch->transactions[batch->transaction_count - 1];

        if (last->origin_uid == uid && last->producer.size == 0) {
            return ES_OK;
        }
    }
    return add_transaction(batch, uid, 0);
}

enum es_status batch_reserve_producer(struct batch *batch, struct es_text producer)
{
    uint32_t bytes = PRODUCER_OVERHEAD + producer.size;

    if (batch->bytes_max - batch->bytes < bytes) {
        return ES_FULL;
    }
    batch->bytes += bytes;
    return ES_OK;
}

enum es_status batch_begin_named(struct batch *batch, uint32_t uid, struct es_text producer,
                                 uint64_t number, const uint8_t content_hash[ES_CONTENT_HASH_SIZE])
{
    struct es_commit_transaction *transaction = NULL;
    enum es_status status = batch_reserve_producer(batch, producer);

    if (status == ES_OK) {
        status = add_transaction(batch, uid, producer.size);
    }
    if (status != ES_OK) {
        return status;
    }
    transaction = &batch->transactions[batch->transaction_count - 1];
    transaction->producer = producer;
    transaction->producer_sequence = number;
    transaction->has_content_hash = true;
    memcpy(transaction->content_hash, content_hash, ES_CONTENT_HASH_SIZE);
    batch->named_count++;
    return ES_OK;
}

void batch_touch_producer(struct batch *batch, struct cache_entry *entry)
{
    entry->changed_batch = batch->number;
    if (producer_state(entry)->touched_batch != batch->number) {
        producer_state(entry)->touched_batch = batch->number;
        assert(batch->producer_count < BATCH_TRANSACTIONS_MAX);
        batch->producers[batch->producer_count++] = entry;
    }
}

/* The run that the stream's next event belongs to: the last one, or a new one. */
static struct batch_run *run_for(struct batch *batch, struct cache_entry *entry)
{
    struct es_commit_transaction *transaction = &batch->transactions[batch->transaction_count - 1];
    struct stream_state *state = stream_state(entry);
    struct es_text text = es_text_make((const char *)entry->key, entry->key_bytes);
    struct batch_run *run = NULL;
    uint32_t last = batch->run_count - 1;

    if (batch->run_count > 0 && transaction->run_count > 0 && batch->runs[last].stream == entry) {
        return &batch->runs[last];
    }
    run = &batch->runs[batch->run_count];
    run->stream = entry;
    run->category_bytes = es_stream_category(text).size;
    run->first_event = batch->event_count;
    run->first_position = batch->first_position + batch->event_count;
    run->last_of_stream = false;
    run->last_of_category = false;
    batch->commit_runs[batch->run_count] = (struct es_commit_run){
        .stream = text,
        .first_sequence = state->head.last_sequence + 1,
        .count = 0,
        .previous_position = state->head.last_position,
    };
    batch->bytes += entry->key_bytes + RUN_OVERHEAD;
    state->run_index = batch->run_count;
    state->run_batch = batch->number;
    transaction->run_count++;
    batch->run_count++;
    return run;
}

/* Encodes the envelope with its bin header in front, and without a gap. */
static enum es_status encode(struct batch *batch, const struct es_event_fields *event,
                             struct batch_event *ret_event)
{
    uint8_t *start = batch->memory->envelopes + batch->memory->envelope_bytes;
    size_t left = batch->memory->capacity - batch->memory->envelope_bytes;
    struct es_pack header;
    size_t header_bytes = 0;
    uint32_t size = 0;
    enum es_status status = ES_OK;

    if (left <= BATCH_BIN_HEADER_BYTES_MAX) {
        return ES_FULL;
    }
    status = es_envelope_encode(event, start + BATCH_BIN_HEADER_BYTES_MAX,
                                left - BATCH_BIN_HEADER_BYTES_MAX, &size, ret_event->hash);
    if (status == ES_E_TOO_LARGE) {
        return ES_FULL;
    }
    if (status != ES_OK) {
        return status;
    }
    es_pack_init(&header, start, BATCH_BIN_HEADER_BYTES_MAX);
    es_pack_bin_header(&header, size);
    header_bytes = es_pack_size(&header);
    memmove(start + header_bytes, start + BATCH_BIN_HEADER_BYTES_MAX, size);
    ret_event->offset = (uint32_t)(batch->memory->envelope_bytes + header_bytes);
    ret_event->size = size;
    batch->memory->envelope_bytes += header_bytes + size;
    return ES_OK;
}

enum es_status batch_append_event(struct batch *batch, struct undo *undo, struct cache_entry *entry,
                                  struct es_event_fields *event, const uint8_t **ret_hash)
{
    struct stream_state *state = stream_state(entry);
    uint64_t size_max =
        es_envelope_size_max(entry->key_bytes, event->type.size, event->payload.size) +
        BATCH_BIN_HEADER_BYTES_MAX + entry->key_bytes + RUN_OVERHEAD;
    struct batch_event *added = &batch->events[batch->event_count];
    enum es_status status = ES_OK;

    assert(batch->transaction_count > 0);
    if (batch->event_count == BATCH_EVENTS_MAX || size_max > batch->bytes_max - batch->bytes) {
        return ES_FULL;
    }
    event->previous_hash =
        state->exists ? es_bytes_make(state->head.last_hash, ES_HASH_SIZE) : es_bytes_make(NULL, 0);
    status = undo_save(undo, entry);
    if (status == ES_OK) {
        status = encode(batch, event, added);
    }
    if (status != ES_OK) {
        return status;
    }
    run_for(batch, entry);
    added->run_index = batch->run_count - 1;
    batch->commit_runs[added->run_index].count++;
    batch->bytes += added->size + BATCH_BIN_HEADER_BYTES_MAX;
    if (!state->exists) {
        state->exists = true;
        state->head.first_sequence = 1;
    }
    state->head.last_sequence++;
    state->head.last_tick = event->tick;
    state->head.last_position = batch->first_position + batch->event_count;
    memcpy(state->head.last_hash, added->hash, ES_HASH_SIZE);
    entry->changed_batch = batch->number;
    batch->event_count++;
    *ret_hash = added->hash;
    return ES_OK;
}

enum es_status batch_add_operation(struct batch *batch, const struct es_log_operation *operation,
                                   const struct es_commit_kv *kv)
{
    struct es_pack *pack = &batch->memory->operations;
    size_t before = es_pack_size(pack);
    size_t kv_bytes = kv == NULL ? 0 : KV_OVERHEAD + kv->name_space.size + kv->key.size;

    if (batch->operation_count == BATCH_OPERATIONS_MAX || batch->kv_count == BATCH_OPERATIONS_MAX) {
        return ES_FULL;
    }
    es_log_body_operation(pack, operation);
    if (pack->overflow ||
        es_pack_size(pack) - before + kv_bytes > batch->bytes_max - batch->bytes) {
        pack->at = pack->begin + before;
        pack->overflow = false;
        return ES_FULL;
    }
    batch->bytes += (uint32_t)(es_pack_size(pack) - before + kv_bytes);
    batch->operation_count++;
    if (kv != NULL) {
        batch->kvs[batch->kv_count++] = *kv;
        batch->transactions[batch->transaction_count - 1].kv_count++;
    }
    return ES_OK;
}

struct es_bytes batch_operations(const struct batch *batch)
{
    const struct batch_memory *memory = batch->memory;

    return es_bytes_make(memory->operation_region, (uint32_t)es_pack_size(&memory->operations));
}

struct batch_answer *batch_add_answer(struct batch *batch)
{
    struct batch_answer *answer = NULL;

    if (batch->answer_count == BATCH_TRANSACTIONS_MAX) {
        return NULL;
    }
    answer = &batch->answers[batch->answer_count++];
    memset(answer, 0, sizeof *answer);
    return answer;
}
