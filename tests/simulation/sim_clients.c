#include "tests/simulation/sim_clients.h"

#include <string.h>

#include "tests/simulation/sim.h"
#include "tests/simulation/sim_askers.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_named.h"
#include "tests/simulation/sim_producers.h"

enum {
    PRODUCERS = 5, /* so often is one of them asked */
    REQUESTS = 6,
    ASKING = 1
};

struct requester {
    bool is_busy;
    bool was_stored; /* before it was sent */
    struct op *op;
    struct sim_request request;
    uint8_t transaction[OP_BYTES_MAX];
};

static struct requester requesters[REQUESTS];

void sim_clients_begin(void)
{
    memset(requesters, 0, sizeof requesters);
    sim_askers_begin();
    sim_producers_begin();
}

bool sim_clients_is_alive(pid_t pid)
{
    return sim_producers_is_alive(pid);
}

/* ---- requests -------------------------------------------------------------------- */

static void answered(struct sim_request *request)
{
    struct requester *requester = request->context;
    struct op *op = requester->op;

    requester->is_busy = false;
    switch (request->status) {
    case ES_OK:
        model_answered(op, &request->result);
        if (op->name != OP_UNNAMED) {
            sim_named_count(op, requester->was_stored, &request->result);
        }
        /* What was sent before may have been stored all the same. */
        if (request->result.status == ES_E_BUSY && op->sent_count > 1 && op->status == ES_E_BUSY) {
            op->fate = FATE_UNKNOWN;
        }
        break;
    case ES_NOT_SERVING:
    case ES_FULL:
        if (op->is_stored && op->sent_count == 1) {
            sim_violation("operation %u was not taken and is stored", op->id);
        }
        model_unanswered(op, op->sent_count == 1 ? FATE_UNSENT : FATE_UNKNOWN);
        break;
    case ES_E_UNKNOWN:
        model_unanswered(op, FATE_UNKNOWN);
        sim_fault(FAULT_REQUEST_TIMEOUT);
        break;
    default: sim_violation("a request ended with %d", (int)request->status);
    }
}

static void submit(struct requester *requester, struct op *op)
{
    uint32_t bytes = op_encode(op, requester->transaction);

    if (bytes > sim.transaction_bytes_max) { /* the library knows that from hello */
        op->fate = op->sent_count == 0 ? FATE_UNSENT : op->fate;
        return;
    }
    requester->op = op;
    requester->is_busy = true;
    requester->was_stored = op->is_stored;
    requester->request = (struct sim_request){
        .transaction = requester->transaction,
        .transaction_bytes = bytes,
        .flags = op->flags,
        .uid = op->uid,
        .producer = op->name == OP_UNNAMED ? NULL : op_name(op->name),
        .timeout_ns = sim_one_in(10) ? 1000000 : UINT64_C(1) << 50,
        .done = answered,
        .context = requester,
    };
    model_sent(op);
    sim_broker_submit(&requester->request);
}

static bool step_requester(struct requester *requester)
{
    struct op *op = NULL;

    if (requester->is_busy || sim.is_checking || !sim_broker_is_serving()) {
        return false;
    }
    op = sim_one_in(5) ? sim_named_choose() : op_new(SIM_FIRST_UID + (uint32_t)sim_below(3));
    if (op == NULL) {
        return false;
    }
    submit(requester, op);
    return true;
}

/* ---- all together ----------------------------------------------------------------- */

bool sim_clients_step(void)
{
    uint32_t which = (uint32_t)sim_below(PRODUCERS + REQUESTS + ASKING);

    sim_trace(21, which);
    for (uint32_t tries = 0; tries < PRODUCERS + REQUESTS + ASKING; tries++) {
        bool did = which < PRODUCERS              ? sim_producers_step(which)
                   : which < PRODUCERS + REQUESTS ? step_requester(&requesters[which - PRODUCERS])
                                                  : sim_askers_step();

        if (did) {
            return true;
        }
        which = (which + 1) % (PRODUCERS + REQUESTS + ASKING);
    }
    return sim_producers_note_gone();
}

void sim_clients_broker_ended(bool machine)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (requesters[i].is_busy) {
            requesters[i].is_busy = false;
            model_unanswered(requesters[i].op, FATE_UNKNOWN);
        }
    }
    sim_askers_broker_ended();
    sim_producers_broker_ended(machine);
}

bool sim_clients_are_done(void)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (requesters[i].is_busy) {
            return false;
        }
    }
    return sim_askers_are_done() && sim_producers_are_done();
}

/* ---- faults ----------------------------------------------------------------------- */

/* The same twice, as a client does that had no answer: only one can be what it expects. */
static void submit_twice(void)
{
    struct requester *first = &requesters[0];
    struct requester *second = &requesters[1];
    struct op *op = NULL;

    if (first->is_busy || second->is_busy || !sim_broker_is_serving()) {
        return;
    }
    op = op_new(SIM_FIRST_UID);
    if (op == NULL) {
        return;
    }
    op_expect_once(op);
    submit(first, op);
    submit(second, op);
    sim_fault(FAULT_REQUEST_TWICE);
}

void sim_clients_fault(void)
{
    if (sim_one_in(8)) {
        submit_twice();
    } else {
        sim_producers_fault();
    }
}
