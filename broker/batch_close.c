#include "broker/batch_close.h"

#include <assert.h>
#include <string.h>

#include "broker/batch_state.h"

/* The chain of positions in each category, and which run is its last. */
static enum es_status close_categories(struct batch *batch, struct heads *heads)
{
    struct cache_entry *entry = NULL;

    for (uint32_t i = 0; i < batch->run_count; i++) {
        struct batch_run *run = &batch->runs[i];
        struct es_text category = es_text_make((const char *)run->stream->key, run->category_bytes);
        struct category_state *state = NULL;
        enum es_status status = ES_OK;

        if (entry == NULL ||
            !es_text_equal(category, es_text_make((const char *)entry->key, entry->key_bytes))) {
            status = heads_category(heads, category, &entry);
        }
        if (status != ES_OK) {
            return status;
        }
        state = category_state(entry);
        run->previous_in_category = state->last_position;
        run->last_of_category = true;
        if (state->run_batch == batch->number) {
            batch->runs[state->run_index].last_of_category = false;
        }
        state->last_position = run->first_position + batch->commit_runs[i].count - 1;
        state->run_index = i;
        state->run_batch = batch->number;
        entry->changed_batch = batch->number;
    }
    return ES_OK;
}

/* Keeps the heads as this batch leaves them: the next one moves them on before
 * this one is applied. */
static void close_heads(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->run_count; i++) {
        struct batch_run *run = &batch->runs[i];
        const struct stream_state *state = stream_state(run->stream);

        run->last_of_stream = state->run_batch == batch->number && state->run_index == i;
        if (run->last_of_stream) {
            run->head = state->head;
        }
    }
}

enum es_status batch_resolve(struct batch *batch, struct heads *heads)
{
    close_heads(batch);
    return close_categories(batch, heads);
}

static enum es_status encode_record(struct batch *batch)
{
    struct es_hash_state hashes;
    struct es_commit_record record = {
        .commit_number = batch->commit_number,
        .first_position = batch->first_position,
        .count = batch->event_count,
        .time_us = batch->time_us,
        .transactions = batch->transactions,
        .runs = batch->commit_runs,
        .kvs = batch->kvs,
        .transaction_count = batch->transaction_count,
    };
    uint32_t size = 0;
    enum es_status status = ES_OK;

    es_events_hash_begin(&hashes);
    for (uint32_t i = 0; i < batch->event_count; i++) {
        es_events_hash_add(&hashes, batch->events[i].hash);
    }
    es_events_hash_end(&hashes, record.events_hash);
    memcpy(record.previous_store_hash, batch->previous_store_hash, ES_HASH_SIZE);
    status = es_commit_encode(&record, batch->memory->record, batch->memory->record_capacity, &size,
                              batch->store_hash);
    if (status == ES_OK) {
        batch->record = es_bytes_make(batch->memory->record, size);
    }
    return status;
}

static void complete_answers(struct batch *batch, uint64_t epoch)
{
    for (uint32_t i = 0; i < batch->answer_count; i++) {
        struct es_lane_result *result = &batch->answers[i].result;

        if (batch->answers[i].stored) {
            result->commit_number = batch->commit_number;
            result->time_us = batch->time_us;
            result->epoch = epoch;
            memcpy(result->store_hash, batch->store_hash, ES_HASH_SIZE);
        }
    }
}

/* Everything of the body that is not envelopes or operations. */
static enum es_status encode_frame(struct batch *batch)
{
    struct batch_memory *memory = batch->memory;
    struct es_pack pack;
    uint32_t size = 0;
    enum es_status status = ES_OK;

    es_pack_init(&pack, memory->begin, memory->record_capacity);
    es_log_body_begin(&pack, batch->record, batch->event_count);
    status = es_pack_finish(&pack, &memory->begin_bytes);
    if (status != ES_OK) {
        return status;
    }
    es_pack_init(&pack, memory->operations_header, sizeof memory->operations_header);
    es_log_body_operations(&pack, batch->operation_count);
    memory->operations_header_bytes = (uint32_t)es_pack_size(&pack);

    batch->progress.batch_number = batch->number;
    batch->progress.commit_number = batch->commit_number;
    status = es_last_encode(&batch->progress, memory->last, sizeof memory->last, &size);
    if (status == ES_OK) {
        batch->last = es_bytes_make(memory->last, size);
        batch->operations = batch_operations(batch);
    }
    return status;
}

/* Owners and last numbers as this batch leaves them. Their room is reserved. */
static void close_producers(struct batch *batch)
{
    struct es_pack *pack = &batch->memory->operations;

    for (uint32_t i = 0; i < batch->producer_count; i++) {
        struct cache_entry *entry = batch->producers[i];
        const struct producer_state *state = producer_state(entry);
        struct es_log_operation operation = {.kind = ES_LOG_PRODUCER};

        operation.as.producer = (struct es_log_producer){
            .producer = es_text_make((const char *)entry->key, entry->key_bytes),
            .value = {state->owner_incarnation, state->last_number, state->owner_uid},
        };
        es_log_body_operation(pack, &operation);
    }
    assert(!pack->overflow);
    batch->operation_count += batch->producer_count;
}

enum es_status batch_close(struct batch *batch, struct heads *heads, uint64_t commit_number,
                           uint64_t time_us, uint64_t epoch)
{
    enum es_status status = ES_OK;
    bool has_commit = batch_has_commit(batch);

    batch->record = es_bytes_make(NULL, 0);
    if (has_commit) {
        batch->commit_number = commit_number;
        batch->time_us = time_us;
        close_producers(batch);
        status = batch_resolve(batch, heads);
        if (status == ES_OK) {
            status = encode_record(batch);
        }
        complete_answers(batch, epoch);
    }
    if (status == ES_OK) {
        status = encode_frame(batch);
    }
    return status;
}

int batch_body(const struct batch *batch, struct iovec ret_parts[LOG_BODY_PARTS_MAX])
{
    struct batch_memory *memory = batch->memory;

    ret_parts[0] = (struct iovec){memory->begin, memory->begin_bytes};
    ret_parts[1] = (struct iovec){memory->envelopes, memory->envelope_bytes};
    ret_parts[2] = (struct iovec){memory->operations_header, memory->operations_header_bytes};
    ret_parts[3] = (struct iovec){memory->operation_region, batch->operations.size};
    ret_parts[4] = (struct iovec){memory->last, batch->last.size};
    return 5;
}
