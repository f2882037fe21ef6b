#include "broker/snapshot_rules.h"

#include <string.h>
#include <time.h>

#include "shm/codec/stream_key.h"

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

/* The hash of an event of this very batch; false: it is not in it. */
static bool find_in_batch(const struct batch *batch, const struct cache_entry *entry,
                          uint64_t sequence, uint8_t ret_hash[ES_HASH_SIZE])
{
    for (uint32_t i = 0; i < batch->run_count; i++) {
        const struct es_commit_run *run = &batch->commit_runs[i];

        if (batch->runs[i].stream == entry && sequence >= run->first_sequence &&
            sequence - run->first_sequence < run->count) {
            uint64_t index = batch->runs[i].first_event + (sequence - run->first_sequence);

            memcpy(ret_hash, batch->events[index].hash, ES_HASH_SIZE);
            return true;
        }
    }
    return false;
}

static enum es_status find_in_store(struct snapshot_rules *rules, struct es_text stream,
                                    uint64_t sequence, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct store_buffer value = {0};
    struct es_event_view view;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_event(stream, sequence, &key);
    status = store_get(rules->store, NULL, STORE_EVENTS, (struct store_slice){key.bytes, key.size},
                       &value);
    if (status == ES_OK) {
        status = es_envelope_decode(value.bytes, value.size, &view);
    }
    if (status == ES_OK) {
        memcpy(ret_hash, view.hash, ES_HASH_SIZE);
    }
    store_buffer_deinit(&value);
    return status;
}

static enum es_status find_event_hash(struct snapshot_rules *rules, struct es_text stream,
                                      uint64_t sequence, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct cache_entry *entry = NULL;
    enum es_status status = heads_stream(rules->heads, stream, &entry);
    const struct stream_state *state = NULL;

    if (status != ES_OK) {
        return status;
    }
    state = stream_state(entry);
    if (!state->exists || sequence < state->head.first_sequence ||
        sequence > state->head.last_sequence) {
        return ES_NOT_FOUND;
    }
    if (sequence == state->head.last_sequence) {
        memcpy(ret_hash, state->head.last_hash, ES_HASH_SIZE);
        return ES_OK;
    }
    if (find_in_batch(rules->batch, entry, sequence, ret_hash)) {
        return ES_OK;
    }
    status = find_in_store(rules, stream, sequence, ret_hash);
    if (status == ES_NOT_FOUND && heads_applied(rules->heads) + 1 < rules->batch->number) {
        rules->needs_barrier = true;
        return ES_FULL;
    }
    return status;
}

enum es_status snapshot_rules_save(struct snapshot_rules *rules,
                                   const struct es_snapshot_save_operation *save,
                                   struct es_lane_result *result)
{
    struct es_log_operation operation = {.kind = ES_LOG_SNAPSHOT_PUT};
    uint8_t event_hash[ES_HASH_SIZE];
    uint8_t state_hash[ES_HASH_SIZE];
    enum es_status status = find_event_hash(rules, save->stream, save->sequence, event_hash);

    if (status != ES_OK) {
        return status;
    }
    es_hash(save->state.data, save->state.size, state_hash);
    operation.as.snapshot = (struct es_log_snapshot){
        .stream = save->stream,
        .value = {.tick = save->tick,
                  .sequence = save->sequence,
                  .event_hash = event_hash,
                  .projection = save->projection,
                  .version = save->version,
                  .created_us = now_us(),
                  .state_hash = state_hash,
                  .state = save->state},
    };
    status = batch_add_operation(rules->batch, &operation, NULL);
    /* Where the transaction has appended an event, the answer is that event's. */
    if (status == ES_OK && result->position == 0) {
        result->stream_sequence = save->sequence;
        result->tick = save->tick;
        result->time_us = operation.as.snapshot.value.created_us;
        memcpy(result->hash, event_hash, ES_HASH_SIZE);
    }
    return status;
}

static bool is_meant(const struct es_snapshot_delete_operation *delete, uint64_t tick,
                     struct es_text projection)
{
    return (delete->every_tick || delete->tick == tick) &&
           (delete->every_projection || es_text_equal(delete->projection, projection));
}

static enum es_status delete_one(struct snapshot_rules *rules,
                                 const struct es_log_operation *operation, uint64_t *ret_deleted)
{
    enum es_status status = batch_add_operation(rules->batch, operation, NULL);

    *ret_deleted += status == ES_OK;
    return status;
}

/* What the transaction itself has saved so far: the store does not know it yet. */
static enum es_status delete_own(struct snapshot_rules *rules,
                                 const struct es_snapshot_delete_operation *delete,
                                 uint64_t *ret_deleted)
{
    struct es_bytes own = batch_operations(rules->batch);
    struct es_log_body body = {.operations_left = rules->batch->operation_count};
    struct es_log_operation operation;
    enum es_status status = ES_OK;

    es_unpack_init(&body.operations, own.data, own.size);
    while (status == ES_OK && es_log_body_next_operation(&body, &operation)) {
        const struct es_log_snapshot *saved = &operation.as.snapshot;

        if (operation.kind == ES_LOG_SNAPSHOT_PUT && es_text_equal(saved->stream, delete->stream) &&
            is_meant(delete, saved->value.tick, saved->value.projection)) {
            operation.kind = ES_LOG_SNAPSHOT_DELETE;
            status = delete_one(rules, &operation, ret_deleted);
        }
    }
    return status;
}

static enum es_status delete_found(struct snapshot_rules *rules,
                                   const struct es_snapshot_delete_operation *delete,
                                   struct store_iterator *iterator, uint64_t *ret_deleted)
{
    store_iterator_seek_first(iterator);
    for (; store_iterator_valid(iterator); store_iterator_next(iterator)) {
        struct store_slice key = store_iterator_key(iterator);
        struct es_log_operation operation = {.kind = ES_LOG_SNAPSHOT_DELETE};
        struct es_log_snapshot *snapshot = &operation.as.snapshot;
        enum es_status status = es_key_snapshot_parse(
            es_bytes_make(key.bytes, (uint32_t)key.size), &snapshot->stream, &snapshot->value.tick,
            &snapshot->value.sequence, &snapshot->value.projection);

        if (status != ES_OK) {
            return status;
        }
        if (!is_meant(delete, snapshot->value.tick, snapshot->value.projection)) {
            continue;
        }
        status = delete_one(rules, &operation, ret_deleted);
        if (status != ES_OK) {
            return status;
        }
    }
    return store_iterator_status(iterator);
}

enum es_status snapshot_rules_delete(struct snapshot_rules *rules,
                                     const struct es_snapshot_delete_operation *delete,
                                     struct es_lane_result *result)
{
    struct es_key prefix;
    uint8_t end[ES_KEY_SIZE_MAX];
    struct store_range range;
    struct store_iterator *iterator = NULL;
    uint64_t deleted = 0;
    enum es_status status = ES_OK;

    if (!rules->is_first || heads_applied(rules->heads) + 1 < rules->batch->number) {
        rules->needs_barrier = true;
        return ES_FULL;
    }
    es_key_snapshot_prefix(delete->stream, &prefix);
    range.first = (struct store_slice){prefix.bytes, prefix.size};
    range.end = (struct store_slice){end, store_prefix_end(range.first, end)};
    status = store_iterator_new(rules->store, NULL, STORE_SNAPSHOTS, &range, &iterator);
    if (status != ES_OK) {
        return status;
    }
    status = delete_found(rules, delete, iterator, &deleted);
    store_iterator_free(iterator);
    if (status == ES_OK) {
        status = delete_own(rules, delete, &deleted);
    }
    if (status == ES_FULL && deleted > 0) {
        status = ES_OK; /* the caller asks again for the rest */
    }
    if (status == ES_OK && deleted == 0) {
        status = ES_NOT_FOUND;
    }
    result->revision = deleted;
    return status;
}
