#include "tests/simulation/sim_askers.h"

#include <inttypes.h>
#include <string.h>

#include "broker/epochs.h"
#include "shm/codec/receipt.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_claims.h"
#include "tests/simulation/sim_commits.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"
#include "tests/simulation/sim_store.h"

enum {
    ASKERS = 3,
    BEYOND = 1000 /* positions ahead of everything */
};

struct asker {
    bool is_busy;
    struct sim_question question;
    struct names_question about; /* of a number */
    enum es_status expected;     /* of a checkpoint or receipt */
    uint8_t receipt[ES_RECEIPT_SIZE_MAX];
};

static struct asker askers[ASKERS];

void sim_askers_begin(void)
{
    memset(askers, 0, sizeof askers);
}

void sim_askers_broker_ended(void)
{
    sim_askers_begin();
}

bool sim_askers_are_done(void)
{
    for (int i = 0; i < ASKERS; i++) {
        if (askers[i].is_busy) {
            return false;
        }
    }
    return true;
}

/* The broker stops, or a read was made to fail: then there is no answer. */
static bool is_no_answer(enum es_status status)
{
    return status == ES_NOT_SERVING || status == ES_FULL || (status == ES_E_IO && sim.has_failed);
}

/* ---- numbers ---------------------------------------------------------------------- */

static void told_number(struct sim_question *question)
{
    struct asker *asker = question->context;
    struct es_producer_reply reply;

    asker->is_busy = false;
    if (is_no_answer(question->status)) {
        return;
    }
    commits_read();
    if (question->status == ES_NOT_FOUND) {
        if (asker->about.exists) {
            sim_violation("name %u is in use, and a question did not find it", asker->about.name);
        }
        return;
    }
    if (question->status != ES_OK) {
        sim_violation("a question for a number was answered %d", (int)question->status);
    }
    es_producer_reply_read(&question->reply.rest, &reply);
    names_told(&asker->about, &reply);
}

/* Most of all one that somebody has just sent. */
static uint64_t choose_number(uint32_t name)
{
    for (uint32_t i = op_count; i > 0 && i + 16 > op_count; i--) {
        const struct op *op = &ops[i - 1];

        if (op->name == name && op->lane != UINT32_MAX && op->flying_count > 0 && sim_one_in(2)) {
            return op->number;
        }
    }
    return 1 + sim_below(model.names[name].last_number + 2);
}

static void ask_number(struct asker *asker)
{
    uint32_t name = (uint32_t)sim_below(NAME_COUNT);

    names_ask(&asker->about, name, choose_number(name));
    asker->question = (struct sim_question){
        .request = {.verb = ES_VERB_PRODUCER,
                    .as.producer = {.name = es_text_of(op_name(name)),
                                    .number = asker->about.number}},
        .done = told_number,
        .context = asker,
    };
}

/* ---- checkpoints and receipts ----------------------------------------------------- */

/* Of more epochs than the list has room for, some are forgotten: those with a position last. */
static bool is_forgotten(uint64_t epoch)
{
    struct es_epochs epochs;
    uint64_t end = 0;
    uint32_t empty_count = 0;

    if (epochs_load(sim_store_contents(), NULL, &epochs) != ES_OK ||
        epochs.count < ES_EPOCH_COUNT_MAX ||
        epochs_find_end(&epochs, epoch, 0, &end) != ES_NOT_FOUND) {
        return false;
    }
    for (uint32_t i = 0; i + 1 < epochs.count; i++) {
        empty_count += epochs.entries[i].first_position == epochs.entries[i + 1].first_position;
    }
    return empty_count == 0 || !claims_have_position(epoch);
}

static void told_claim(struct sim_question *question)
{
    struct asker *asker = question->context;

    asker->is_busy = false;
    if (is_no_answer(question->status)) {
        return;
    }
    if (question->status != asker->expected &&
        !(question->status == ES_DIVERGED && is_forgotten(question->request.as.hello.epoch))) {
        sim_violation("a checkpoint or receipt of epoch %016" PRIx64 " position %" PRIu64
                      " was answered %d and not %d",
                      question->request.as.hello.epoch, question->request.as.hello.position,
                      (int)question->status, (int)asker->expected);
    }
    sim_kind(question->status == ES_OK          ? KIND_CLAIM_HELD
             : question->status == ES_REGRESSED ? KIND_CLAIM_REGRESSED
                                                : KIND_CLAIM_DIVERGED);
}

/* What an append's answer tells, as a receipt; now and then with something changed. */
static void make_receipt(struct asker *asker, const struct op *op)
{
    struct es_receipt_fields fields = {.epoch = op->result.epoch,
                                       .sequence = op->result.stream_sequence,
                                       .position = op->result.position,
                                       .commit_number = op->result.commit_number};
    uint32_t last = 0;
    uint32_t size = 0;

    for (uint32_t i = 0; i < op->part_count; i++) {
        last = op->parts[i].kind == PART_APPEND ? i : last;
    }
    fields.stream = op_stream(op->parts[last].target);
    memcpy(fields.store_id, model.store_id, ES_STORE_ID_SIZE);
    memcpy(fields.event_hash, op->result.hash, ES_HASH_SIZE);
    memcpy(fields.store_hash, op->result.store_hash, ES_HASH_SIZE);
    if (sim_one_in(8)) {
        (sim_one_in(2) ? fields.event_hash : fields.store_hash)[sim_below(ES_HASH_SIZE)] ^= 1;
        asker->expected = asker->expected == ES_OK ? ES_DIVERGED : asker->expected;
    }
    if (es_receipt_encode(&fields, asker->receipt, sizeof asker->receipt, &size) != ES_OK) {
        sim_violation("a receipt has no room");
    }
    asker->question.request.as.hello.receipt = es_bytes_make(asker->receipt, size);
}

/* What somebody was told at some time, in whatever history. */
static bool ask_claim(struct asker *asker)
{
    const struct op *op = op_count == 0 ? NULL : &ops[sim_below(op_count)];
    struct es_request_hello *hello = &asker->question.request.as.hello;

    if (op == NULL || op->fate != FATE_ANSWERED || op->status != ES_OK || op->event_count == 0) {
        return false;
    }
    asker->question = (struct sim_question){
        .request = {.verb = ES_VERB_HELLO}, .done = told_claim, .context = asker};
    hello->epoch = op->result.epoch;
    hello->position = op->result.position;
    memcpy(hello->store_id, model.store_id, ES_STORE_ID_SIZE);
    asker->expected = claims_judge(hello->epoch, hello->position);
    if (sim_one_in(2)) {
        make_receipt(asker, op);
        return true;
    }
    hello->has_checkpoint = true;
    if (sim_one_in(20)) {
        hello->store_id[0] ^= 1;
        asker->expected = ES_DIVERGED;
    } else if (sim_one_in(20)) {
        hello->position = model.position + BEYOND;
        asker->expected = asker->expected == ES_OK ? ES_REGRESSED : asker->expected;
    }
    return true;
}

bool sim_askers_step(void)
{
    struct asker *asker = &askers[sim_below(ASKERS)];

    if (asker->is_busy || sim.is_checking || !sim_broker_is_serving()) {
        return false;
    }
    if (sim_one_in(2) || !ask_claim(asker)) {
        ask_number(asker);
    }
    asker->is_busy = true;
    sim_broker_ask(&asker->question);
    return true;
}
