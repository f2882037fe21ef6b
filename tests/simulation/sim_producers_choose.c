#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_producers_state.h"

/* Somebody else may have found out meanwhile; what is known needs no second sending. */
static bool is_open_question(const struct producer *producer, const struct op *op)
{
    return op->name == producer->name && !op->is_mistake && !op->is_foreign &&
           op->flying_count == 0 && !op->is_chosen &&
           (op->fate == FATE_UNKNOWN || op->fate == FATE_ORPHAN);
}

/* Under a name, what was not answered is sent again with its number, in order. */
static struct op *send_again(struct producer *producer)
{
    /* A former owner knows nothing of what its successor has left open. */
    if (model.names[producer->name].owner != producer->attach.attachment.incarnation) {
        return NULL;
    }
    for (; producer->again_at < op_count; producer->again_at++) {
        struct op *op = &ops[producer->again_at];

        if (is_open_question(producer, op) && op->number <= producer->next_number) {
            producer->again_at++;
            sim_fault(FAULT_NUMBER_AGAIN);
            return op;
        }
    }
    if (producer->last_number > 0 && sim_one_in(12)) {
        uint32_t id = model.names[producer->name].stored[1 + sim_below(producer->last_number)];

        if (id != 0 && ops[id - 1].fate == FATE_ANSWERED && ops[id - 1].flying_count == 0 &&
            !ops[id - 1].is_chosen) {
            sim_fault(FAULT_NUMBER_AGAIN);
            return &ops[id - 1];
        }
    }
    return NULL;
}

static struct op *new_numbered(struct producer *producer)
{
    struct op *op = op_new(producer->uid);

    if (op == NULL) {
        return NULL;
    }
    op->name = producer->name;
    op->number = producer->next_number;
    if (producer->last_number > 0 && sim_one_in(30)) {
        op->number = 1 + sim_below(producer->last_number);
        op->is_mistake = true;
        sim_fault(FAULT_NUMBER_MISUSED);
    } else if (sim_one_in(40)) {
        op->number += 1 + sim_below(3);
        op->is_mistake = true; /* a gap that is not allowed */
        sim_fault(FAULT_NUMBER_MISUSED);
    } else if (sim_one_in(40)) {
        op->number += 1 + sim_below(3);
        op->flags = ES_RECORD_ALLOW_GAP;
    }
    return op;
}

static struct op *choose_named(struct producer *producer)
{
    bool begins_row = producer->must_resume;
    struct op *op = NULL;

    if (begins_row) {
        if (producer->writer.published != producer->writer.collected) {
            return NULL; /* the rest of the row is refused too */
        }
        producer->must_resume = false;
        producer->next_number = producer->last_number + 1;
    }
    op = send_again(producer);
    op = op != NULL ? op : new_numbered(producer);
    if (op != NULL) {
        op->flags &= ES_RECORD_ALLOW_GAP;
        op->flags |= ES_RECORD_ORDERED | (begins_row ? ES_RECORD_RESUME : 0);
        if (!op->is_mistake && op->number >= producer->next_number) {
            producer->next_number = op->number + 1;
        }
    }
    return op;
}

static struct op *choose_unnamed(struct producer *producer)
{
    struct op *op = op_new(producer->uid);

    if (op != NULL) {
        op->flags = producer->is_ordered ? ES_RECORD_ORDERED : 0;
        op->flags |= producer->is_ordered && sim_one_in(4) ? ES_RECORD_RESUME : 0;
    }
    return op;
}

struct op *producer_choose(struct producer *producer)
{
    return producer->name == OP_UNNAMED ? choose_unnamed(producer) : choose_named(producer);
}
