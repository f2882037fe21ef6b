#include "tests/simulation/sim_names.h"

#include <inttypes.h>
#include <string.h>

#include "shm/codec/receipt.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_commits.h"
#include "tests/simulation/sim_model.h"

/* ---- owners -------------------------------------------------------------------- */

void model_claims(uint32_t name)
{
    model.names[name].claims_begun++;
    model.names[name].claims_open++;
}

void model_not_claimed(uint32_t name)
{
    model.names[name].claims_open--;
}

void model_claimed(uint32_t name, uint32_t lane, uint64_t last_number)
{
    struct model_name *entry = &model.names[name];

    commits_read();
    entry->claims_open--;
    model.lanes[lane].start = sim.starts;
    if (model.lanes[lane].incarnation > entry->owner) {
        entry->owner = model.lanes[lane].incarnation;
        entry->owner_lane = lane;
        if (entry->claims_open == 0 && last_number != entry->last_number) {
            sim_violation("a claim was told number %" PRIu64 ", stored is %" PRIu64, last_number,
                          entry->last_number);
        }
    }
    /* Any claim that is still open may be judged after this one, or have been; one that
     * was answered first may have been judged last. */
    model.lanes[lane].claims_begun =
        model.lanes[lane].incarnation < entry->owner ? 0 : entry->claims_begun - entry->claims_open;
}

void model_lane_left(uint32_t lane)
{
    model.lanes[lane].is_left = true;
}

void model_lane_over(uint32_t lane)
{
    model.lanes[lane].is_over = true;
}

/* Who has left is noticed by the next start before it serves. */
void names_process_ended(void)
{
    for (uint32_t i = 0; i < NAME_COUNT; i++) {
        model.names[i].claims_open = 0; /* nobody knows what became of them */
    }
    for (uint32_t i = 0; i < model.lane_count; i++) {
        model.lanes[i].is_over = model.lanes[i].is_over || model.lanes[i].is_left;
    }
}

/* ---- transactions under a name --------------------------------------------------- */

static bool may_be_owned(uint32_t name)
{
    if (model.names[name].claims_open > 0) {
        return true;
    }
    for (uint32_t i = model.lane_count; i > 0; i--) {
        if (model.lanes[i - 1].name == name && !model.lanes[i - 1].is_over) {
            return true;
        }
    }
    return false;
}

/* The lane that certainly owns it, for its claim was answered by this very process. */
static uint32_t owner_of(uint32_t name)
{
    const struct model_name *entry = &model.names[name];

    return names_is_owned(name) && model.lanes[entry->owner_lane].start == sim.starts
               ? entry->owner_lane
               : UINT32_MAX;
}

bool names_is_owned(uint32_t name)
{
    const struct model_name *entry = &model.names[name];

    return entry->owner != 0 && !model.lanes[entry->owner_lane].is_left;
}

void names_sent(struct op *op)
{
    const struct model_name *entry = NULL;

    op->stamp = ++model.stamp;
    if (op->name == OP_UNNAMED) {
        return;
    }
    entry = &model.names[op->name];
    op->was_high = op->number > entry->last_number + 1 && (op->flags & ES_RECORD_ALLOW_GAP) == 0;
    if (op->lane == UINT32_MAX) {
        op->claims_before = entry->claims_begun;
        op->may_be_owned = may_be_owned(op->name);
        op->owned_by = owner_of(op->name);
    }
}

bool names_may_be_busy(const struct op *op)
{
    return op->name != OP_UNNAMED && op->lane == UINT32_MAX &&
           (op->may_be_owned || model.names[op->name].claims_begun != op->claims_before);
}

/* Found in the store for the first time. */
void names_check_stored(const struct op *op)
{
    const struct model_name *entry = &model.names[op->name];
    bool is_spoilt = (sim.spoilt_uids >> (op->uid - SIM_FIRST_UID) & 1U) != 0;

    if (model.is_read_anew) {
        return;
    }
    if (op->lane != UINT32_MAX) {
        if (model.lanes[op->lane].incarnation < entry->owner) {
            sim_violation("operation %u of a former owner is stored after a takeover", op->id);
        }
        if (op->stamp < entry->absent[op->number]) {
            sim_violation("number %" PRIu64 " is stored, though a question behind it said that it "
                          "was not",
                          op->number);
        }
        return;
    }
    if (op->sent_count == 1 && op->owned_by != UINT32_MAX && !is_spoilt &&
        entry->owner_lane == op->owned_by && !model.lanes[op->owned_by].is_left) {
        sim_violation(
            "operation %u came by request and is stored, though a live lane owns its name", op->id);
    }
}

/* ---- questions --------------------------------------------------------------------- */

void names_ask(struct names_question *question, uint32_t name, uint64_t number)
{
    const struct model_name *entry = &model.names[name];

    *question = (struct names_question){.name = name,
                                        .number = number,
                                        .stamp = ++model.stamp,
                                        .last_number = entry->last_number,
                                        .exists = entry->last_number > 0 || entry->owner != 0,
                                        .was_stored = entry->stored[number] != 0};
    for (uint32_t i = op_count; i > 0 && i + 64 > op_count; i--) {
        const struct op *op = &ops[i - 1];

        question->is_raced =
            question->is_raced || (op->name == name && op->number == number && !op->is_stored &&
                                   op->lane != UINT32_MAX && op->flying_count > 0);
    }
}

/* The receipt must be that of the operation's last event. */
static void check_receipt(const struct op *op, struct es_bytes bytes)
{
    struct es_receipt_fields receipt;

    if ((bytes.size == 0) != (op->event_count == 0)) {
        sim_violation("number %" PRIu64 ": a receipt of %u bytes for %u events", op->number,
                      bytes.size, op->event_count);
    }
    if (bytes.size == 0) {
        return;
    }
    if (es_receipt_decode(bytes.data, bytes.size, &receipt) != ES_OK ||
        receipt.position != op->last_position || receipt.commit_number != op->commit_number ||
        memcmp(receipt.event_hash, model.events[op->last_position].hash, ES_HASH_SIZE) != 0) {
        sim_violation("number %" PRIu64 ": the receipt is not that of its last event", op->number);
    }
}

void names_told(const struct names_question *question, const struct es_producer_reply *reply)
{
    struct model_name *entry = &model.names[question->name];
    uint32_t id = entry->stored[question->number];

    if (reply->last_number < question->last_number || reply->last_number > entry->last_number) {
        sim_violation("a question was told last number %" PRIu64 ", it was %" PRIu64
                      " before and %" PRIu64 " behind it",
                      reply->last_number, question->last_number, entry->last_number);
    }
    if (reply->owner_uid != SIM_FIRST_UID + question->name) {
        sim_violation("name %u was said to be user %u's", question->name, reply->owner_uid);
    }
    if (!reply->found) {
        if (question->was_stored) {
            sim_violation("number %" PRIu64 " was stored, and a question did not find it",
                          question->number);
        }
        entry->absent[question->number] = question->stamp;
        sim_kind(question->is_raced ? KIND_QUESTION_RACE : KIND_QUESTION_NONE);
        return;
    }
    if (id == 0) {
        sim_violation("number %" PRIu64 " was said to be stored, and is not", question->number);
    }
    if (reply->result.status != ES_OK || reply->result.commit_number != ops[id - 1].commit_number ||
        (ops[id - 1].event_count > 0 && reply->result.position != ops[id - 1].last_position)) {
        sim_violation("number %" PRIu64 ": the answer is not what was stored", question->number);
    }
    check_receipt(&ops[id - 1], reply->receipt);
    sim_kind(question->is_raced ? KIND_QUESTION_RACE : KIND_QUESTION_FOUND);
}
