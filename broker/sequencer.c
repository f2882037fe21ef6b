#include "broker/sequencer.h"

#include <stdlib.h>
#include <string.h>

#include "broker/producer_rules.h"
#include "broker/sequencer_state.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

static enum es_status load_revision(struct sequencer *sequencer)
{
    struct store_buffer value = {0};
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_revision(&key);
    status = store_get(sequencer->store, NULL, STORE_DEFAULT,
                       (struct store_slice){key.bytes, key.size}, &value);
    if (status == ES_OK) {
        status = es_revision_value_decode(value.bytes, value.size, &sequencer->last_revision);
    } else if (status == ES_NOT_FOUND) {
        status = ES_OK;
    }
    store_buffer_deinit(&value);
    return status;
}

enum es_status sequencer_new(struct store *store, struct heads *heads,
                             struct sequencer **ret_sequencer)
{
    struct sequencer *sequencer = calloc(1, sizeof *sequencer);
    enum es_status status = ES_OK;

    if (sequencer == NULL) {
        return ES_E_NO_MEMORY;
    }
    sequencer->store = store;
    sequencer->heads = heads;
    status = undo_new(&sequencer->undo);
    if (status == ES_OK) {
        status = load_revision(sequencer);
    }
    if (status != ES_OK) {
        sequencer_free(sequencer);
        return status;
    }
    *ret_sequencer = sequencer;
    return ES_OK;
}

void sequencer_free(struct sequencer *sequencer)
{
    if (sequencer != NULL) {
        undo_free(sequencer->undo);
        free(sequencer);
    }
}

void sequencer_set_no_space(struct sequencer *sequencer, bool no_space)
{
    sequencer->no_space = no_space;
}

bool sequencer_has_no_space(const struct sequencer *sequencer)
{
    return sequencer->no_space;
}

/* Nothing but deletions: they make room, so the reserve is for them too. */
static bool only_deletes(const struct incoming *incoming)
{
    struct es_transaction_reader reader;
    struct es_operation operation;
    bool found = true;
    enum es_reason reason =
        es_transaction_read(&reader, incoming->transaction, incoming->transaction_bytes);

    while (reason == ES_REASON_NONE && found) {
        reason = es_transaction_read_operation(&reader, &operation, &found);
        if (reason == ES_REASON_NONE && found && operation.kind != ES_OPERATION_KV_DELETE &&
            operation.kind != ES_OPERATION_SNAPSHOT_DELETE) {
            return false;
        }
    }
    return reason == ES_REASON_NONE;
}

static void judge_order(const struct incoming *incoming, struct verdict *verdict)
{
    if (incoming->order_broken != NULL && (incoming->flags & ES_RECORD_ORDERED) != 0) {
        if ((incoming->flags & ES_RECORD_RESUME) != 0) {
            *incoming->order_broken = false;
        } else if (*incoming->order_broken) {
            sequencer_refuse(verdict, ES_PREVIOUS_FAILED, ES_REASON_PREVIOUS_FAILED);
        }
    }
}

static void judge_space(const struct sequencer *sequencer, const struct incoming *incoming,
                        struct verdict *verdict)
{
    if (verdict->status == ES_OK && sequencer->no_space && !only_deletes(incoming)) {
        sequencer_refuse(verdict, ES_NO_SPACE, ES_REASON_DISK_RESERVE);
    }
}

/* The same of one under a name, which has more rules: a repeat is answered, whatever
 * room there is, by what was said the first time. */
static enum es_status judge_named(struct sequencer *sequencer, struct batch *batch,
                                  const struct incoming *incoming,
                                  struct es_transaction_reader *reader, struct verdict *verdict,
                                  struct es_lane_result *result)
{
    struct producer_verdict named = {.status = ES_OK, .reason = ES_REASON_NONE};
    enum es_reason reason = ES_REASON_NONE;
    enum es_status status = producer_rules_judge_owner(sequencer->heads, incoming, &named);

    sequencer_refuse(verdict, named.status, named.reason);
    if (status != ES_OK || verdict->status != ES_OK) {
        return status;
    }
    judge_order(incoming, verdict);
    if (verdict->status != ES_OK) {
        return ES_OK;
    }
    reason = es_transaction_read(reader, incoming->transaction, incoming->transaction_bytes);
    if (reason != ES_REASON_NONE) {
        sequencer_refuse(verdict, ES_REJECTED, reason);
        return ES_OK;
    }
    status =
        producer_rules_judge_number(sequencer->store, sequencer->heads, incoming, reader, &named);
    if (status == ES_FULL) {
        verdict->needs_barrier = true;
        return ES_OK;
    }
    sequencer_refuse(verdict, named.status, named.reason);
    if (status != ES_OK || verdict->status != ES_OK) {
        return status;
    }
    verdict->is_repeat = named.is_repeat;
    if (named.is_repeat) {
        *result = named.result;
        return ES_OK;
    }
    judge_space(sequencer, incoming, verdict);
    if (verdict->status == ES_OK) {
        struct es_text producer =
            es_text_make((const char *)named.entry->key, named.entry->key_bytes);

        verdict->producer = named.entry;
        status = batch_begin_named(batch, incoming->uid, producer, reader->producer_sequence,
                                   named.content_hash);
        verdict->batch_full = status == ES_FULL;
    }
    return status == ES_FULL ? ES_OK : status;
}

/* What can be said of a transaction before its operations are looked at. */
static void judge_envelope(const struct sequencer *sequencer, const struct incoming *incoming,
                           struct es_transaction_reader *reader, struct verdict *verdict)
{
    enum es_reason reason = ES_REASON_NONE;

    judge_order(incoming, verdict);
    judge_space(sequencer, incoming, verdict);
    if (verdict->status != ES_OK) {
        return;
    }
    reason = es_transaction_read(reader, incoming->transaction, incoming->transaction_bytes);
    if (reason == ES_REASON_NONE && reader->producer_sequence != 0) {
        reason = ES_REASON_PRODUCER_UNNAMED;
    }
    if (reason != ES_REASON_NONE) {
        sequencer_refuse(verdict, ES_REJECTED, reason);
    }
}

/* Also in the answer: it tells the stream or key of the failing operation as it
 * is without what the operations before it had done. */
static void take_back(struct sequencer *sequencer, struct batch *batch,
                      const struct batch_mark *mark, const struct verdict *verdict,
                      struct es_lane_result *result)
{
    uint32_t operation_index = result->operation_index;

    batch_rollback(batch, mark);
    undo_rollback(sequencer->undo);
    memset(result, 0, sizeof *result);
    result->operation_index = operation_index;
    if (verdict->stream != NULL) {
        sequencer_tell_stream(result, stream_state(verdict->stream));
    }
    if (verdict->key != NULL) {
        result->revision = key_state(verdict->key)->revision;
    }
}

/* The transaction is in the batch: the number is used, and the answer holds what can
 * be told again for ever, no less and no more. */
static void accept_named(struct batch *batch, const struct batch_mark *mark,
                         const struct incoming *incoming, uint64_t number, struct verdict *verdict,
                         struct es_lane_result *result)
{
    struct producer_state *state = producer_state(verdict->producer);

    if (!state->exists) {
        state->exists = true;
        state->owner_uid = incoming->uid;
    }
    state->last_number = number;
    batch_touch_producer(batch, verdict->producer);
    memset(result, 0, sizeof *result);
    if (batch->event_count > mark->event_count) {
        const struct batch_event *event = &batch->events[batch->event_count - 1];

        sequencer_tell_stream(result, stream_state(batch->runs[event->run_index].stream));
    }
    if (batch->kv_count > mark->kv_count) {
        result->revision = batch->kvs[batch->kv_count - 1].revision;
    }
}

static bool is_order_broken(const struct incoming *incoming)
{
    return incoming->order_broken != NULL && *incoming->order_broken;
}

static void answer(struct batch_answer *slot, const struct incoming *incoming,
                   const struct es_lane_result *result, const struct verdict *verdict)
{
    slot->lane = incoming->lane;
    slot->submission = incoming->submission;
    slot->stored = verdict->status == ES_OK && !verdict->is_repeat;
    slot->result = *result;
    slot->result.sequence = incoming->lane_sequence;
    slot->result.status = (int32_t)verdict->status;
    slot->result.reason = (uint32_t)verdict->reason;
    if (verdict->status == ES_OK) {
        slot->result.operation_index = 0;
    } else if (incoming->order_broken != NULL && (incoming->flags & ES_RECORD_ORDERED) != 0) {
        *incoming->order_broken = true;
    }
    slot->result.order = (verdict->was_broken ? ES_LANE_ORDER_WAS_BROKEN : 0) |
                         (is_order_broken(incoming) ? ES_LANE_ORDER_IS_BROKEN : 0);
}

/* Judges what comes before the operations, and begins the transaction if it stands. */
static enum es_status begin(struct sequencer *sequencer, struct batch *batch,
                            const struct incoming *incoming, struct es_transaction_reader *reader,
                            struct verdict *verdict, struct es_lane_result *result)
{
    enum es_status status = ES_OK;

    if (incoming->producer.size > 0) {
        return judge_named(sequencer, batch, incoming, reader, verdict, result);
    }
    judge_envelope(sequencer, incoming, reader, verdict);
    if (verdict->status == ES_OK) {
        status = batch_begin_transaction(batch, incoming->uid);
        verdict->batch_full = status == ES_FULL;
    }
    return status == ES_FULL ? ES_OK : status;
}

static bool is_to_be_stored(const struct verdict *verdict)
{
    return verdict->status == ES_OK && !verdict->is_repeat && !verdict->batch_full &&
           !verdict->needs_barrier;
}

enum es_status sequencer_add(struct sequencer *sequencer, struct batch *batch,
                             const struct incoming *incoming)
{
    struct es_transaction_reader reader;
    struct verdict verdict = {.status = ES_OK,
                              .reason = ES_REASON_NONE,
                              .is_first = !batch_has_commit(batch),
                              .was_broken = is_order_broken(incoming)};
    struct es_lane_result result = {.sequence = 0};
    struct batch_mark mark;
    uint64_t revision = sequencer->last_revision;
    enum es_status status = ES_OK;

    if (batch->answer_count >= batch->answer_count_max) {
        return ES_FULL;
    }
    batch_mark(batch, &mark);
    undo_begin(sequencer->undo);
    status = begin(sequencer, batch, incoming, &reader, &verdict, &result);
    if (status == ES_OK && is_to_be_stored(&verdict)) {
        status = sequencer_add_operations(sequencer, batch, &reader, &verdict, &result);
    }
    if (status != ES_OK) {
        return status;
    }
    if (verdict.batch_full || verdict.status != ES_OK) {
        take_back(sequencer, batch, &mark, &verdict, &result);
        sequencer->last_revision = revision;
    } else if (verdict.producer != NULL) {
        accept_named(batch, &mark, incoming, reader.producer_sequence, &verdict, &result);
    }
    if (verdict.needs_barrier || (verdict.batch_full && !verdict.is_first)) {
        if (incoming->order_broken != NULL) {
            *incoming->order_broken = verdict.was_broken; /* it will be judged again */
        }
        return ES_FULL;
    }
    if (verdict.batch_full) {
        sequencer_refuse(&verdict, ES_REJECTED, ES_REASON_BATCH_LIMIT);
    }
    answer(batch_add_answer(batch), incoming, &result, &verdict);
    return ES_OK;
}
