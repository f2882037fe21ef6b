#include "tests/simulation/sim_named.h"

#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"

enum {
    LOOKED_AT_MAX = 64 /* of the operations, for one to be sent again */
};

/* What was not answered, or was: for the number leads to the first answer for ever. */
static bool may_ask_again(const struct op *op, uint32_t name)
{
    return op->name == name && !op->is_mistake && !op->is_foreign && op->flying_count == 0 &&
           !op->is_chosen &&
           (op->fate == FATE_UNKNOWN || op->fate == FATE_ORPHAN ||
            (op->fate == FATE_ANSWERED && op->status == ES_OK && op->is_stored));
}

static struct op *choose_again(uint32_t name)
{
    uint32_t first = op_count == 0 ? 0 : (uint32_t)sim_below(op_count);

    for (uint32_t i = 0; i < LOOKED_AT_MAX && i < op_count; i++) {
        struct op *op = &ops[(first + i) % op_count];

        if (may_ask_again(op, name)) {
            return op;
        }
    }
    return NULL;
}

static struct op *choose_new(uint32_t name)
{
    const struct model_name *entry = &model.names[name];
    bool is_foreign = (entry->last_number > 0 || entry->owner != 0) && sim_one_in(12);
    struct op *op = op_new(SIM_FIRST_UID + (is_foreign ? (name + 1) % NAME_COUNT : name));

    if (op == NULL) {
        return NULL;
    }
    op->name = name;
    op->number = entry->last_number + 1;
    op->is_foreign = is_foreign;
    if (is_foreign) {
        return op;
    }
    if (entry->last_number > 0 && sim_one_in(16)) {
        op->number = 1 + sim_below(entry->last_number);
        op->is_mistake = true;
    } else if (sim_one_in(16)) {
        op->number += 1 + sim_below(3); /* unless others have come so far by then */
    } else if (sim_one_in(16)) {
        op->number += 1 + sim_below(3);
        op->flags = ES_RECORD_ALLOW_GAP;
    }
    return op;
}

/* Seldom one that a lane has: all that it is told is that. */
static uint32_t choose_name(void)
{
    uint32_t name = (uint32_t)sim_below(NAME_COUNT);

    return names_is_owned(name) && !sim_one_in(4) ? NAME_COUNT - 1 : name;
}

struct op *sim_named_choose(void)
{
    uint32_t name = choose_name();
    struct op *op = sim_one_in(4) ? choose_again(name) : NULL;

    op = op != NULL ? op : choose_new(name);
    if (op != NULL) {
        op->flags &= ES_RECORD_ALLOW_GAP;
        op->lane = UINT32_MAX;
    }
    return op;
}

void sim_named_count(const struct op *op, bool was_stored, const struct es_lane_result *result)
{
    switch (result->status) {
    case ES_OK:
        sim_kind(was_stored                               ? KIND_NAMED_AGAIN
                 : (op->flags & ES_RECORD_ALLOW_GAP) != 0 ? KIND_NAMED_GAP
                                                          : KIND_NAMED_STORED);
        break;
    case ES_E_BUSY: sim_kind(KIND_NAMED_BUSY); break;
    case ES_E_PERMISSION: sim_kind(KIND_NAMED_STRANGER); break;
    case ES_REJECTED:
        if (!op->is_malformed) {
            sim_kind(KIND_NAMED_HIGH);
        }
        break;
    default: break;
    }
}
