#include <stdlib.h>
#include <string.h>

#include "broker/lanes.h"
#include "broker/request_worker.h"
#include "tests/simulation/sim_broker_state.h"
#include "tests/simulation/sim_fiber.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"

enum {
    QUESTION_BUFFER_BYTES = 8192
};

static void attach(void *context)
{
    struct sim_attach *attach = context;
    const struct lanes_applicant applicant = {.uid = attach->uid,
                                              .pid = attach->pid,
                                              .pid_start_time = 1,
                                              .name = attach->name != NULL ? attach->name : "sim",
                                              .is_producer = attach->name != NULL};

    attach->status = lanes_attach(sim_process.lanes, &applicant, &attach->attachment);
}

static enum es_status make_lane(void *context, uint64_t *ret_incarnation)
{
    struct sim_attach *attaching = context;

    attach(attaching);
    *ret_incarnation = attaching->attachment.incarnation;
    return attaching->status;
}

static enum es_status claim(struct sim_attach *attaching)
{
    struct errand errand = {.producer = es_text_of(attaching->name),
                            .uid = attaching->uid,
                            .make_lane = make_lane,
                            .context = attaching,
                            .take_over = attaching->take_over};
    enum es_status status = inbox_run(sim_process.inbox, &errand);

    attaching->last_number = errand.last_number;
    return status;
}

static void *run_attach(void *context)
{
    struct sim_attach *attaching = context;

    if (attaching->name != NULL) {
        attaching->status = claim(attaching);
    } else {
        enum es_status status = inbox_call(sim_process.inbox, attach, attaching);

        attaching->status = status != ES_OK ? status : attaching->status;
    }
    attaching->done(attaching);
    return NULL;
}

void sim_broker_attach(struct sim_attach *attaching)
{
    sim_fiber_new(run_attach, attaching);
}

struct gone {
    pid_t pid;
    uint32_t lane;
};

static void note_gone(void *context, uint32_t index, uint64_t incarnation, pid_t pid,
                      uint64_t pid_start_time)
{
    (void)pid_start_time;
    if (pid == ((const struct gone *)context)->pid) {
        lanes_owner_gone(sim_process.lanes, index, incarnation);
    }
}

static void owner_gone(void *context)
{
    lanes_visit_owners(sim_process.lanes, note_gone, context);
}

static void *run_owner_gone(void *context)
{
    struct gone *gone = context;
    enum es_status status = inbox_call(sim_process.inbox, owner_gone, gone);

    sim_trace(7, (uint64_t)status);
    if (status == ES_OK && gone->lane != UINT32_MAX) {
        model_lane_over(gone->lane);
    }
    free(gone);
    return NULL;
}

void sim_broker_owner_gone(pid_t pid, uint32_t lane)
{
    enum sim_zone zone = sim_heap_select(ZONE_BROKER);
    struct gone *gone = calloc(1, sizeof *gone);

    gone->pid = pid;
    gone->lane = lane;
    sim_fiber_new(run_owner_gone, gone);
    (void)sim_heap_select(zone);
}

static void *run_submit(void *context)
{
    struct sim_request *request = context;

    struct inbox_transaction transaction = {.bytes = request->transaction,
                                            .size = request->transaction_bytes,
                                            .flags = request->flags,
                                            .uid = request->uid};

    if (request->producer != NULL) {
        transaction.producer = es_text_of(request->producer);
    }
    request->status =
        inbox_submit(sim_process.inbox, &transaction, request->timeout_ns, &request->result);
    request->done(request);
    return NULL;
}

void sim_broker_submit(struct sim_request *request)
{
    sim_fiber_new(run_submit, request);
}

/* As handle() of requests.c does it. */
static enum es_status handle(struct request_worker *worker, const struct es_request *request,
                             struct es_bytes *ret_reply)
{
    enum es_status status = request_reserve(worker, QUESTION_BUFFER_BYTES);

    if (status == ES_OK && request->verb == ES_VERB_PRODUCER) {
        return request_producer(worker, request, ret_reply);
    }
    if (status == ES_OK) {
        status = reader_begin(worker->reader);
    }
    return status == ES_OK ? request_hello(worker, request, ret_reply) : status;
}

static void *run_ask(void *context)
{
    struct sim_question *question = context;
    struct requests_config *config = calloc(1, sizeof *config);
    struct request_worker *worker = calloc(1, sizeof *worker);
    struct es_bytes reply = {NULL, 0};

    config->store = sim_process.startup.store;
    config->inbox = sim_process.inbox;
    config->epoch = sim_process.startup.state.epoch;
    memcpy(config->store_id, sim_process.startup.state.store_id, sizeof config->store_id);
    worker->config = config;
    worker->uid = question->uid;
    sim_broker_must(reader_new(config->store, &worker->reader));
    question->status = handle(worker, &question->request, &reply);
    if (question->status == ES_OK) {
        sim_broker_must(es_reply_read(reply, &question->reply));
    }
    reader_end(worker->reader);
    reader_free(worker->reader);
    question->done(question);
    store_buffer_deinit(&worker->value);
    free(worker->buffer);
    free(worker);
    free(config);
    return NULL;
}

void sim_broker_ask(struct sim_question *question)
{
    sim_fiber_new(run_ask, question);
}
