#include "broker/producer_rules.h"

#include <string.h>
#include <unistd.h>

#include "broker/first_result.h"
#include "shm/lane.h"

static void refuse(struct producer_verdict *verdict, enum es_status status, enum es_reason reason)
{
    verdict->status = status;
    verdict->reason = reason;
}

bool producer_rules_may_use(const struct producer_state *state, uint32_t uid)
{
    return !state->exists || state->owner_uid == uid || uid == 0 || uid == geteuid();
}

enum es_status producer_rules_judge_owner(struct heads *heads, const struct incoming *incoming,
                                          struct producer_verdict *verdict)
{
    const struct producer_state *state = NULL;
    enum es_status status = heads_producer(heads, incoming->producer, &verdict->entry);

    if (status == ES_E_CORRUPT) {
        refuse(verdict, ES_E_CORRUPT, ES_REASON_DAMAGE);
        return ES_OK;
    }
    if (status != ES_OK) {
        return status;
    }
    state = producer_state(verdict->entry);
    if (incoming->lane != NULL || incoming->incarnation != 0) {
        if (!state->exists || state->owner_incarnation != incoming->incarnation) {
            refuse(verdict, ES_FENCED, ES_REASON_PRODUCER_FENCED);
        }
    } else if (!producer_rules_may_use(state, incoming->uid)) {
        refuse(verdict, ES_E_PERMISSION, ES_REASON_NONE);
    } else if (incoming->owner_lives) {
        refuse(verdict, ES_E_BUSY, ES_REASON_NONE);
    }
    return ES_OK;
}

/* A number at or below the last one. */
static enum es_status judge_repeat(struct store *store, struct heads *heads,
                                   const struct incoming *incoming, uint64_t number,
                                   struct producer_verdict *verdict)
{
    struct first_result first;
    enum es_status status = ES_OK;

    if (verdict->entry->changed_batch > heads_applied(heads)) {
        return ES_FULL;
    }
    status = first_result_find(store, NULL, incoming->producer, number, &first);
    if (status == ES_NOT_FOUND) {
        refuse(verdict, ES_REJECTED, ES_REASON_PRODUCER_SKIPPED);
        return ES_OK;
    }
    if (status == ES_E_CORRUPT) {
        refuse(verdict, ES_E_CORRUPT, ES_REASON_DAMAGE);
        return ES_OK;
    }
    if (status != ES_OK) {
        return status;
    }
    if (memcmp(first.content_hash, verdict->content_hash, ES_CONTENT_HASH_SIZE) != 0) {
        refuse(verdict, ES_REJECTED, ES_REASON_PRODUCER_CONTENT);
        return ES_OK;
    }
    verdict->is_repeat = true;
    verdict->result = first.result;
    return ES_OK;
}

enum es_status producer_rules_judge_number(struct store *store, struct heads *heads,
                                           const struct incoming *incoming,
                                           const struct es_transaction_reader *reader,
                                           struct producer_verdict *verdict)
{
    uint64_t last = producer_state(verdict->entry)->last_number;
    uint64_t number = reader->producer_sequence;

    if (number == 0) {
        refuse(verdict, ES_REJECTED, ES_REASON_PRODUCER_NUMBER);
        return ES_OK;
    }
    es_transaction_content_hash(reader, verdict->content_hash);
    if (number <= last) {
        return judge_repeat(store, heads, incoming, number, verdict);
    }
    if (number - last > 1 && (incoming->flags & ES_RECORD_ALLOW_GAP) == 0) {
        refuse(verdict, ES_REJECTED, ES_REASON_PRODUCER_GAP);
    }
    return ES_OK;
}

enum es_status producer_rules_claim(struct heads *heads, struct batch *batch,
                                    struct es_text producer, uint64_t incarnation, uint32_t uid,
                                    struct submission *submission, uint64_t *ret_last_number)
{
    struct cache_entry *entry = NULL;
    struct producer_state *state = NULL;
    struct batch_answer *slot = NULL;
    enum es_status status = heads_producer(heads, producer, &entry);

    if (status != ES_OK) {
        return status;
    }
    if (batch->answer_count >= batch->answer_count_max) {
        return ES_FULL;
    }
    status = batch_begin_transaction(batch, uid);
    if (status == ES_OK) {
        status = batch_reserve_producer(batch, producer);
    }
    if (status != ES_OK) {
        return status;
    }
    state = producer_state(entry);
    if (!state->exists) {
        state->exists = true;
        state->owner_uid = uid;
    }
    state->owner_incarnation = incarnation;
    batch_touch_producer(batch, entry);
    slot = batch_add_answer(batch);
    slot->submission = submission;
    slot->stored = true;
    *ret_last_number = state->last_number;
    return ES_OK;
}
