#include "broker/drain_state.h"
#include "broker/producer_rules.h"

static void answer_errand(struct drain *drain, enum es_status status)
{
    drain->waiting.submission->errand->status = status;
    inbox_answer(drain->config.inbox, drain->waiting.submission);
    drain->waiting.submission = NULL;
}

/* May it be claimed? Then the lane is made. Else the errand is answered. */
static void begin_claim(struct drain *drain, const struct producer_state *state)
{
    struct errand *errand = drain->waiting.submission->errand;
    enum es_status status = ES_OK;

    if (!producer_rules_may_use(state, errand->uid)) {
        answer_errand(drain, ES_E_PERMISSION);
    } else if (errand->owner_lives && !errand->take_over) {
        answer_errand(drain, ES_E_BUSY);
    } else if (sequencer_has_no_space(drain->config.sequencer)) {
        answer_errand(drain, ES_NO_SPACE); /* for a claim is written, however often it is made */
    } else {
        status = errand->make_lane(errand->context, &drain->waiting.claimant);
        if (status != ES_OK) {
            answer_errand(drain, status);
        }
    }
}

enum es_status drain_begin_waiting(struct drain *drain)
{
    struct waiting *waiting = &drain->waiting;
    struct errand *errand = waiting->submission->errand;
    struct cache_entry *entry = NULL;
    const struct lane *owner = NULL;
    enum es_status status =
        heads_producer(drain->config.heads,
                       errand != NULL ? errand->producer : waiting->incoming.producer, &entry);

    if (status == ES_E_CORRUPT) { /* a transaction is judged all the same */
        if (errand != NULL) {
            answer_errand(drain, status);
        }
        return ES_OK;
    }
    if (status != ES_OK) {
        return status;
    }
    owner = lanes_find(drain->config.lanes, producer_state(entry)->owner_incarnation);
    if (owner != NULL) {
        waiting->owner = owner->incarnation;
        waiting->until = owner->reader.consumed + es_lane_backlog(&owner->reader);
        waiting->incoming.owner_lives = lanes_is_in_use(owner);
    }
    if (errand != NULL) {
        errand->owner_incarnation = waiting->owner;
        errand->owner_pid = owner != NULL ? (uint32_t)owner->pid : 0;
        errand->owner_lives = waiting->incoming.owner_lives;
    }
    if (errand != NULL && errand->make_lane != NULL) {
        begin_claim(drain, producer_state(entry));
    }
    return ES_OK;
}

/* ES_FULL: the batch has no room for all of it; the next one goes on. */
static enum es_status empty_owner(struct drain *drain, struct batch *batch)
{
    struct lane *owner = lanes_find(drain->config.lanes, drain->waiting.owner);
    enum es_status status = ES_OK;

    while (status == ES_OK && owner != NULL && owner->reader.consumed < drain->waiting.until) {
        status = drain_take_record(drain, batch, owner);
    }
    return status == ES_EMPTY ? ES_OK : status;
}

/* It is answered when the batch is finished, and with it all that came before. */
static enum es_status note_question(struct batch *batch, struct submission *submission)
{
    if (batch->answer_count >= batch->answer_count_max) {
        return ES_FULL;
    }
    batch_add_answer(batch)->submission = submission;
    return ES_OK;
}

enum es_status drain_go_on_waiting(struct drain *drain, struct batch *batch)
{
    struct waiting *waiting = &drain->waiting;
    struct errand *errand = NULL;
    enum es_status status = ES_OK;

    if (waiting->submission == NULL) {
        return ES_OK;
    }
    status = empty_owner(drain, batch);
    if (status != ES_OK) {
        return status;
    }
    errand = waiting->submission->errand;
    if (errand == NULL) {
        status =
            drain_add(drain, batch, &waiting->incoming); /* where it finds no room, it is held */
        waiting->submission = NULL;
        return status;
    }
    if (errand->make_lane == NULL) {
        status = note_question(batch, waiting->submission);
    } else {
        status =
            producer_rules_claim(drain->config.heads, batch, errand->producer, waiting->claimant,
                                 errand->uid, waiting->submission, &errand->last_number);
    }
    if (status == ES_OK) {
        waiting->submission = NULL;
    }
    return status;
}
