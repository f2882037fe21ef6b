#include <string.h>

#include "broker/expectation.h"
#include "broker/sequencer_state.h"
#include "broker/snapshot_rules.h"
#include "shm/codec/stream_key.h"

/* The events of one append; the expectation of its head holds already. */
static enum es_status append_events(struct sequencer *sequencer, struct batch *batch,
                                    struct es_transaction_reader *reader,
                                    const struct es_append_operation *append,
                                    struct cache_entry *entry, struct verdict *verdict)
{
    struct es_append_event input;
    bool found = true;

    while (verdict->status == ES_OK && !verdict->batch_full) {
        struct es_event_fields event = {.stream = append->parts};
        const uint8_t *hash = NULL;
        enum es_status status = ES_OK;
        enum es_reason reason = es_transaction_read_event(reader, &input, &found);

        if (reason != ES_REASON_NONE) {
            sequencer_refuse(verdict, ES_REJECTED, reason);
            break;
        }
        if (!found) {
            break;
        }
        event.tick = input.tick;
        event.type = input.type;
        event.payload = input.payload;
        status = batch_append_event(batch, sequencer->undo, entry, &event, &hash);
        if (status == ES_FULL) {
            verdict->batch_full = true;
        } else if (status != ES_OK) {
            return status;
        } else if (input.expected_hash != NULL &&
                   memcmp(input.expected_hash, hash, ES_HASH_SIZE) != 0) {
            sequencer_refuse(verdict, ES_CONFLICT, ES_REASON_EVENT_HASH_DIFFERS);
        }
    }
    return ES_OK;
}

static enum es_status add_append(struct sequencer *sequencer, struct batch *batch,
                                 struct es_transaction_reader *reader,
                                 const struct es_append_operation *append, struct verdict *verdict,
                                 struct es_lane_result *result)
{
    struct cache_entry *entry = NULL;
    struct cache_entry *category = NULL;
    enum es_reason reason = ES_REASON_NONE;
    enum es_status status = heads_stream(sequencer->heads, append->stream, &entry);

    if (status == ES_OK && stream_state(entry)->run_batch == 0) { /* else it was readable */
        status = heads_category(sequencer->heads, es_stream_category(append->stream), &category);
    }
    if (status != ES_OK) {
        return status;
    }
    reason = expectation_of_stream(append, stream_state(entry));
    if (reason != ES_REASON_NONE) {
        sequencer_refuse(verdict, ES_CONFLICT, reason);
    } else {
        status = append_events(sequencer, batch, reader, append, entry, verdict);
    }
    verdict->stream = entry;
    sequencer_tell_stream(result, stream_state(entry));
    return status;
}

/* The commit record's entry for a key; its texts live as long as the batch. */
static struct es_commit_kv commit_kv_of(const struct cache_entry *entry, const struct es_log_kv *kv,
                                        enum es_commit_kv_op op)
{
    /* The cache's key is the family, then "K:", namespace, ":" and key. */
    const char *name_space = (const char *)entry->key + 3;
    struct es_commit_kv commit = {
        .op = op,
        .name_space = es_text_make(name_space, kv->name_space.size),
        .key = es_text_make(name_space + kv->name_space.size + 1, kv->key.size),
        .revision = kv->value.revision,
    };

    if (op == ES_COMMIT_KV_PUT) {
        memcpy(commit.value_hash, kv->value.value_hash, ES_HASH_SIZE);
    }
    return commit;
}

static enum es_status add_kv(struct sequencer *sequencer, struct batch *batch,
                             const struct es_kv_operation *kv, bool is_put, struct verdict *verdict,
                             struct es_lane_result *result)
{
    struct cache_entry *entry = NULL;
    struct es_log_operation operation = {.kind = is_put ? ES_LOG_KV_PUT : ES_LOG_KV_DELETE};
    struct es_commit_kv commit;
    uint8_t value_hash[ES_HASH_SIZE];
    enum es_reason reason = ES_REASON_NONE;
    enum es_status status =
        heads_key(sequencer->heads, kv->family, kv->name_space, kv->key, &entry);

    if (status != ES_OK) {
        return status;
    }
    reason = expectation_of_key(&kv->expect, !is_put, key_state(entry));
    if (reason != ES_REASON_NONE) {
        verdict->key = entry;
        sequencer_refuse(verdict,
                         reason == ES_REASON_KEY_MISSING && kv->expect.kind == ES_EXPECTED_ANY
                             ? ES_NOT_FOUND
                             : ES_CONFLICT,
                         reason);
        return ES_OK;
    }
    status = undo_save(sequencer->undo, entry);
    if (status != ES_OK) {
        return status;
    }
    es_hash(kv->value.data, kv->value.size, value_hash);
    operation.as.kv = (struct es_log_kv){
        .family = kv->family,
        .name_space = kv->name_space,
        .key = kv->key,
        .value = {sequencer->last_revision + 1, value_hash, kv->value},
    };
    commit = commit_kv_of(entry, &operation.as.kv, is_put ? ES_COMMIT_KV_PUT : ES_COMMIT_KV_DELETE);
    status = batch_add_operation(batch, &operation, kv->family == ES_KV_TRUTH ? &commit : NULL);
    if (status == ES_FULL) {
        verdict->batch_full = true;
        return ES_OK;
    }
    sequencer->last_revision++;
    batch->last_revision = sequencer->last_revision;
    key_state(entry)->revision = is_put ? sequencer->last_revision : 0;
    entry->changed_batch = batch->number;
    result->revision = sequencer->last_revision;
    return status;
}

static enum es_status add_operation(struct sequencer *sequencer, struct batch *batch,
                                    struct es_transaction_reader *reader,
                                    const struct es_operation *operation, struct verdict *verdict,
                                    struct es_lane_result *result)
{
    struct snapshot_rules rules = {.store = sequencer->store,
                                   .heads = sequencer->heads,
                                   .batch = batch,
                                   .is_first = verdict->is_first};
    enum es_status status = ES_OK;

    switch (operation->kind) {
    case ES_OPERATION_APPEND:
        return add_append(sequencer, batch, reader, &operation->as.append, verdict, result);
    case ES_OPERATION_KV_PUT:
        return add_kv(sequencer, batch, &operation->as.kv, true, verdict, result);
    case ES_OPERATION_KV_DELETE:
        return add_kv(sequencer, batch, &operation->as.kv, false, verdict, result);
    case ES_OPERATION_SNAPSHOT_SAVE:
        status = snapshot_rules_save(&rules, &operation->as.snapshot_save, result);
        break;
    case ES_OPERATION_SNAPSHOT_DELETE:
        status = snapshot_rules_delete(&rules, &operation->as.snapshot_delete, result);
        break;
    }
    if (status == ES_FULL) {
        verdict->batch_full = true;
        verdict->needs_barrier = rules.needs_barrier;
        return ES_OK;
    }
    if (status == ES_NOT_FOUND) {
        sequencer_refuse(verdict, ES_NOT_FOUND, ES_REASON_SNAPSHOT_EVENT);
        return ES_OK;
    }
    return status;
}

enum es_status sequencer_add_operations(struct sequencer *sequencer, struct batch *batch,
                                        struct es_transaction_reader *reader,
                                        struct verdict *verdict, struct es_lane_result *result)
{
    for (uint32_t index = 0; verdict->status == ES_OK && !verdict->batch_full; index++) {
        struct es_operation operation;
        bool found = false;
        enum es_reason reason = es_transaction_read_operation(reader, &operation, &found);
        enum es_status status = ES_OK;

        result->operation_index = index;
        verdict->stream = NULL;
        if (reason != ES_REASON_NONE) {
            sequencer_refuse(verdict, ES_REJECTED, reason);
        } else if (!found) {
            break;
        } else {
            status = add_operation(sequencer, batch, reader, &operation, verdict, result);
        }
        if (status == ES_E_CORRUPT) { /* damage where it leads costs no other its service */
            sequencer_refuse(verdict, ES_REJECTED, ES_REASON_DAMAGE);
            status = ES_OK;
        }
        if (status != ES_OK) {
            return status;
        }
    }
    return ES_OK;
}
