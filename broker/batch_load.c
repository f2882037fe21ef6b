#include "broker/batch_load.h"

#include <assert.h>
#include <string.h>

#include "broker/batch_close.h"
#include "shm/codec/chain.h"

/* A body on its way into a batch. */
struct loading {
    struct batch *batch;
    struct heads *heads;
    struct es_log_body body;
    struct es_commit_view commit;
    const uint8_t *bytes;
    struct es_hash_state events_hash;
    const char *why;
};

static enum es_status corrupt(struct loading *loading, const char *why)
{
    loading->why = why;
    return ES_E_CORRUPT;
}

/* One event: its envelope must be of the run's stream and follow the one before. */
static enum es_status load_event(struct loading *loading, struct cache_entry *entry,
                                 uint64_t sequence, bool linked)
{
    struct batch *batch = loading->batch;
    struct stream_state *state = stream_state(entry);
    struct batch_event *event = &batch->events[batch->event_count];
    struct es_bytes envelope = {.data = NULL};
    struct es_event_view view;
    char text[ES_STREAM_SIZE_MAX];
    uint32_t text_bytes = 0;
    struct es_bytes previous = es_bytes_make(state->head.last_hash, ES_HASH_SIZE);

    if (!es_log_body_next_envelope(&loading->body, &envelope) ||
        es_envelope_decode(envelope.data, envelope.size, &view) != ES_OK) {
        return corrupt(loading, "an event of it cannot be read");
    }
    text_bytes = es_stream_format(&view.event.stream, text);
    if (!es_text_equal(es_text_make(text, text_bytes),
                       es_text_make((const char *)entry->key, entry->key_bytes))) {
        return corrupt(loading, "an event of it belongs to another stream");
    }
    if (sequence == 1) {
        previous.size = 0;
    }
    if (linked && es_chain_verify_link(&view, sequence, previous) != ES_OK) {
        return corrupt(loading, "an event of it does not follow its predecessor");
    }
    es_events_hash_add(&loading->events_hash, view.hash);
    memcpy(event->hash, view.hash, ES_HASH_SIZE);
    event->offset = (uint32_t)(envelope.data - loading->bytes);
    event->size = envelope.size;
    event->run_index = batch->run_count;
    memcpy(state->head.last_hash, view.hash, ES_HASH_SIZE);
    state->head.last_sequence = sequence;
    state->head.last_tick = view.event.tick;
    state->head.last_position = batch->first_position + batch->event_count;
    batch->event_count++;
    return ES_OK;
}

static enum es_status load_run(struct loading *loading, const struct es_commit_run *commit)
{
    struct batch *batch = loading->batch;
    struct batch_run *run = &batch->runs[batch->run_count];
    struct cache_entry *entry = NULL;
    struct stream_state *state = NULL;
    bool linked = false;
    enum es_status status = heads_stream(loading->heads, commit->stream, &entry);

    if (status != ES_OK) {
        return status;
    }
    if (batch->run_count == BATCH_EVENTS_MAX ||
        commit->count > BATCH_EVENTS_MAX - batch->event_count) {
        return corrupt(loading, "it holds more events than a batch can");
    }
    state = stream_state(entry);
    /* The store may be ahead of the log's beginning: then the head is already a
     * later one, and only the links inside the run can be checked. */
    linked = state->exists ? state->head.last_sequence + 1 == commit->first_sequence
                           : commit->first_sequence == 1;
    if (!linked && state->head.last_sequence < commit->first_sequence) {
        return corrupt(loading, "a stream does not continue where it ended");
    }
    if (!state->exists) {
        state->exists = true;
        state->head.first_sequence = 1;
    }
    *run = (struct batch_run){
        .stream = entry,
        .category_bytes = es_stream_category(commit->stream).size,
        .first_event = batch->event_count,
        .first_position = batch->first_position + batch->event_count,
    };
    batch->commit_runs[batch->run_count] = *commit;
    batch->commit_runs[batch->run_count].stream =
        es_text_make((const char *)entry->key, entry->key_bytes);
    for (uint64_t i = 0; status == ES_OK && i < commit->count; i++) {
        status = load_event(loading, entry, commit->first_sequence + i, linked || i > 0);
    }
    state->run_index = batch->run_count;
    state->run_batch = batch->number;
    entry->changed_batch = batch->number;
    batch->run_count++;
    return status;
}

static enum es_status load_runs(struct loading *loading)
{
    struct es_commit_walk walk;
    struct es_commit_transaction transaction;
    struct es_commit_run run;
    uint64_t first_position = 0;
    uint8_t events_hash[ES_HASH_SIZE];

    es_events_hash_begin(&loading->events_hash);
    es_commit_walk_begin(&loading->commit, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        loading->batch->named_count += transaction.producer.size > 0 ? 1 : 0;
        while (es_commit_walk_run(&walk, &run, &first_position)) {
            enum es_status status = load_run(loading, &run);

            if (status != ES_OK) {
                return status;
            }
        }
    }
    es_events_hash_end(&loading->events_hash, events_hash);
    if (memcmp(events_hash, loading->commit.events_hash, ES_HASH_SIZE) != 0 ||
        loading->batch->event_count != loading->body.envelope_count) {
        return corrupt(loading, "its events are not those of its commit record");
    }
    return ES_OK;
}

static enum es_status load_commit(struct loading *loading, const struct history_point *point)
{
    struct batch *batch = loading->batch;
    struct es_commit_view *commit = &loading->commit;
    enum es_status status = ES_OK;

    if (loading->body.commit.size == 0) {
        if (loading->body.envelope_count > 0 || loading->body.operation_count > 0) {
            return corrupt(loading, "it has contents but no commit record");
        }
        return ES_OK;
    }
    status = es_commit_decode(loading->body.commit.data, loading->body.commit.size, commit);
    if (status == ES_E_VERSION) {
        return status;
    }
    if (status != ES_OK || es_commit_verify_hash(commit) != ES_OK) {
        return corrupt(loading, "its commit record is damaged");
    }
    if (memcmp(commit->previous_store_hash, point->store_hash, ES_HASH_SIZE) != 0 ||
        commit->commit_number != point->commit_number + 1 ||
        commit->first_position != point->position + 1) {
        return corrupt(loading, "its commit record does not continue the history");
    }
    batch->commit_number = commit->commit_number;
    batch->time_us = commit->time_us;
    memcpy(batch->store_hash, commit->store_hash, ES_HASH_SIZE);
    return load_runs(loading);
}

static void load_operations(struct loading *loading)
{
    struct batch *batch = loading->batch;
    struct es_log_operation operation;

    batch->operation_count = loading->body.operation_count;
    batch->operations =
        es_bytes_make(loading->body.operations.at,
                      (uint32_t)(loading->body.operations.end - loading->body.operations.at));
    while (es_log_body_next_operation(&loading->body, &operation)) {
        bool is_kv = operation.kind == ES_LOG_KV_PUT || operation.kind == ES_LOG_KV_DELETE;

        if (is_kv && operation.as.kv.value.revision > batch->last_revision) {
            batch->last_revision = operation.as.kv.value.revision;
        }
    }
}

enum es_status batch_load(struct batch *batch, struct heads *heads, const uint8_t *body,
                          size_t body_bytes, struct history_point *point, struct es_last *ret_last,
                          const char **ret_why)
{
    struct loading loading = {.batch = batch, .heads = heads, .bytes = body};
    enum es_status status = es_log_body_decode(body, body_bytes, &loading.body);

    batch_begin(batch, point->batch_number + 1, point->position + 1, point->store_hash);
    batch->envelopes = body;
    if (status != ES_OK) {
        *ret_why = "its body is malformed";
        return status;
    }
    status = es_last_decode(loading.body.last.data, loading.body.last.size, ret_last);
    if (status == ES_OK && ret_last->batch_number != batch->number) {
        status = corrupt(&loading, "it is another batch than its header says");
    }
    if (status == ES_OK) {
        status = load_commit(&loading, point);
    }
    if (status != ES_OK) {
        *ret_why = loading.why != NULL ? loading.why : es_status_text(status);
        return status;
    }
    load_operations(&loading);
    batch->record = loading.body.commit;
    batch->last = loading.body.last;
    status = batch_resolve(batch, heads);
    if (status != ES_OK) {
        *ret_why = es_status_text(status);
        return status;
    }
    point->batch_number = batch->number;
    point->position = batch->first_position + batch->event_count - 1;
    if (batch->commit_number != 0) {
        point->commit_number = batch->commit_number;
        point->time_us = batch->time_us;
    }
    memcpy(point->store_hash, batch->store_hash, ES_HASH_SIZE);
    return ES_OK;
}
