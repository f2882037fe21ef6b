#include "tests/simulation/sim_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/commit_loop.h"
#include "broker/lanes_take_over.h"
#include "broker/request_worker.h"
#include "broker/startup.h"
#include "tests/simulation/sim_clients.h"
#include "tests/simulation/sim_copies.h"
#include "tests/simulation/sim_disks.h"
#include "tests/simulation/sim_fiber.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"
#include "tests/simulation/sim_shared.h"
#include "tests/simulation/sim_store.h"

#define RESERVE_BYTES (UINT64_C(1) << 20)

enum {
    QUESTION_BUFFER_BYTES = 8192
};

/* In the broker's memory, but for what the host asks after its end. */
struct process {
    struct counters counters;
    struct startup startup;
    struct lanes *lanes;
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct batch *batches[COMMIT_LOOP_BATCHES];
    struct drain *drain;
    struct flusher *flusher;
    struct scribe *scribe;
    struct witness *witness;
    struct committer *committer;
    struct commit_loop *loop;
};

static struct process process;
static bool is_serving;
static bool is_stopping;
static void (*show)(const struct startup *startup); /* of a process that only tries */
static enum es_status start_status;
static char why[DATA_WHY_BYTES];

bool sim_broker_is_serving(void)
{
    return is_serving && !is_stopping && sim.end == SIM_RUNNING;
}

bool sim_broker_has_served(void)
{
    return is_serving;
}

enum es_status sim_broker_start_status(void)
{
    return start_status;
}

const char *sim_broker_why(void)
{
    return why;
}

void sim_broker_ends(enum sim_end end)
{
    sim.end = end;
    sim_trace(6, end);
    sim_fiber_leave();
}

static void fail(const char *what, const char *reason)
{
    (void)what;
    (void)reason;
    sim_broker_ends(SIM_FAILED);
}

static void must(enum es_status status)
{
    if (status != ES_OK) {
        fail("assembling", "");
    }
}

/* ---- start ------------------------------------------------------------------- */

static struct lanes_config lanes_config_of(const uint8_t *store_id, const uint8_t *boot_id)
{
    struct lanes_config config = {.directory_fd = SIM_SHARED_DIRECTORY,
                                  .group = ES_GROUP_NONE,
                                  .counters = &process.counters};

    memcpy(config.identity.store_id, store_id, sizeof config.identity.store_id);
    memcpy(config.identity.boot_id, boot_id, sizeof config.identity.boot_id);
    config.identity.geometry = sim.geometry;
    config.identity.durability =
        sim.durability == ANCHOR_FSYNC ? ES_DURABILITY_FSYNC : ES_DURABILITY_OS;
    config.identity.broker_pid = 1;
    return config;
}

static void look(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains)
{
    struct lanes_config config = lanes_config_of(store_id, boot_id);

    (void)context;
    lanes_look(SIM_SHARED_DIRECTORY, &config, ret_remains);
}

static enum es_status take_over(void *context, const struct startup *startup)
{
    struct lanes_config config = lanes_config_of(startup->state.store_id, startup->boot_id);
    struct es_control_head head = {.batch_number = startup->end.batch_number,
                                   .commit_number = startup->end.commit_number,
                                   .durable_position = startup->end.position};
    uint64_t body_bytes_max = log_body_bytes_max(&log_origin(startup->log)->geometry);
    enum es_status status = ES_OK;

    (void)context;
    for (int i = 0; i < COMMIT_LOOP_BATCHES && status == ES_OK; i++) {
        status = batch_new(body_bytes_max, &process.batches[i]);
    }
    must(status);
    model_started(startup);
    memcpy(head.store_hash, startup->end.store_hash, sizeof head.store_hash);
    config.identity.start_number = startup->state.start_number;
    config.identity.epoch = startup->state.epoch;
    config.identity.transaction_bytes_max = batch_transaction_bytes_max(process.batches[0]);
    return startup->remains.is_usable
               ? lanes_take_over(&config, &head, &startup->ahead, &process.lanes)
               : lanes_new(&config, &head, &process.lanes);
}

static enum es_status show_and_end(void *context, const struct startup *startup)
{
    (void)context;
    show(startup);
    sim_broker_ends(SIM_KILLED);
}

static void open_store(void)
{
    const struct startup_options options = {
        .data_path = "data",
        .durability = sim.durability,
        .geometry = {.segment_count = sim.segment_count, .segment_bytes = LOG_SEGMENT_BYTES_MIN},
        .look = look,
        .take_over = show == NULL ? take_over : show_and_end,
    };

    start_status = startup_open(&options, &process.counters, &process.startup, why);
    if (start_status != ES_OK) {
        sim_broker_ends(SIM_NOT_STARTED);
    }
}

static void publish(void *context, const struct publication *publication)
{
    (void)context;
    model_published(publication);
}

static void make_commit_path(void)
{
    struct startup *startup = &process.startup;
    struct drain_config drain = {.lanes = process.lanes,
                                 .counters = &process.counters,
                                 .record_bytes_max = sim.geometry.record_bytes_max};
    struct flusher_config flusher = {startup->store, startup->log, &process.counters, fail};
    struct witness_config witness = {.anchor = startup->anchor,
                                     .log = startup->log,
                                     .syncs_log = sim.durability == ANCHOR_OS,
                                     .is_at_once = sim.syncs_anchor,
                                     .failed = fail};
    struct scribe_config scribe = {.log = startup->log,
                                   .counters = &process.counters,
                                   .syncs_commits = sim.durability == ANCHOR_FSYNC};
    struct committer_config committer = {.store = startup->store,
                                         .heads = startup->heads,
                                         .lanes = process.lanes,
                                         .publish = publish,
                                         .counters = &process.counters,
                                         .epoch = startup->state.epoch};

    must(commit_loop_new(&process.loop));
    must(inbox_new(commit_loop_wake, process.loop, &process.inbox));
    must(sequencer_new(startup->store, startup->heads, &process.sequencer));
    drain.inbox = process.inbox;
    drain.sequencer = process.sequencer;
    drain.heads = startup->heads;
    must(drain_new(&drain, &process.drain));
    must(flusher_new(&flusher, &process.flusher));
    scribe.log = startup->log;
    scribe.flusher = process.flusher;
    must(scribe_new(&scribe, &process.scribe));
    must(witness_new(&witness, &startup->state, &process.witness));
    committer.inbox = process.inbox;
    committer.flusher = process.flusher;
    committer.scribe = process.scribe;
    committer.witness = process.witness;
    must(committer_new(&committer, &startup->end, &process.committer));
}

/* What control.c finds when it begins: owners that ended while there was no broker. */
static void note_owner(void *context, uint32_t index, uint64_t incarnation, pid_t pid,
                       uint64_t pid_start_time)
{
    (void)context;
    (void)pid_start_time;
    if (!sim_clients_is_alive(pid)) {
        lanes_owner_gone(process.lanes, index, incarnation);
    }
}

/* ---- end --------------------------------------------------------------------- */

/* As broker.c does it. */
static void end_cleanly(void)
{
    const struct history_point *end = NULL;
    struct log_point point;
    enum es_status status = ES_OK;

    inbox_close(process.inbox);
    flusher_wait(process.flusher);
    end = committer_end(process.committer);
    point.batch_number = end->batch_number;
    memcpy(point.store_hash, end->store_hash, sizeof point.store_hash);
    status = log_sync(process.startup.log);
    if (status == ES_OK) {
        status = store_flush_all(process.startup.store);
    }
    if (status == ES_OK) {
        status = log_mark_flushed(process.startup.log, &point);
    }
    if (status == ES_OK) {
        witness_note(process.witness, end->batch_number, end->commit_number, end->position,
                     end->store_hash);
        status = witness_stop_clean(process.witness);
    }
    if (status != ES_OK) {
        fail("a clean end", "");
    }
    model_stopped_cleanly();
    lanes_set_state(process.lanes, ES_BROKER_STOPPED);
    lanes_remove_if_unused(process.lanes);
}

static void take_apart(void)
{
    committer_free(process.committer);
    witness_free(process.witness);
    scribe_free(process.scribe);
    flusher_free(process.flusher);
    drain_free(process.drain);
    sequencer_free(process.sequencer);
    commit_loop_free(process.loop);
    lanes_free(process.lanes);
    for (int i = 0; i < COMMIT_LOOP_BATCHES; i++) {
        batch_free(process.batches[i]);
    }
    startup_close(&process.startup);
}

static void *run(void *context)
{
    (void)context;
    open_store();
    make_commit_path();
    model_serving();
    sim_copies_maybe_make(process.startup.state.epoch);
    lanes_visit_owners(process.lanes, note_owner, NULL);
    is_serving = true;
    commit_loop_run(process.loop, &(struct commit_loop_config){
                                      .drain = process.drain,
                                      .committer = process.committer,
                                      .sequencer = process.sequencer,
                                      .lanes = process.lanes,
                                      .batches = {process.batches[0], process.batches[1]},
                                      .scribe = process.scribe,
                                      .counters = &process.counters,
                                      .disk = process.startup.directory.disk,
                                      .reserve_bytes = RESERVE_BYTES,
                                      .failed = fail});
    end_cleanly();
    take_apart();
    sim_broker_ends(SIM_STOPPED);
}

/* ---- from outside ------------------------------------------------------------ */

static void begin(void)
{
    enum sim_zone zone = sim_heap_select(ZONE_BROKER);

    memset(&process, 0, sizeof process);
    is_serving = false;
    is_stopping = false;
    why[0] = '\0';
    start_status = ES_OK;
    sim.end = SIM_RUNNING;
    sim.has_failed = false;
    sim_fiber_new(run, NULL);
    (void)sim_heap_select(zone);
}

void sim_broker_start(void)
{
    show = NULL;
    sim.starts++;
    begin();
}

void sim_broker_try(void (*found)(const struct startup *startup))
{
    show = found;
    begin();
}

void sim_broker_stop(void)
{
    if (sim_broker_is_serving()) {
        is_stopping = true;
        commit_loop_stop(process.loop);
    }
}

void sim_broker_bury(void)
{
    sim_fiber_end_all();
    sim_shared_drop_broker();
    sim_store_lose_unflushed();
    sim_heap_reset(ZONE_BROKER);
    is_serving = false;
}

static void attach(void *context)
{
    struct sim_attach *attach = context;
    const struct lanes_applicant applicant = {.uid = attach->uid,
                                              .pid = attach->pid,
                                              .pid_start_time = 1,
                                              .name = attach->name != NULL ? attach->name : "sim",
                                              .is_producer = attach->name != NULL};

    attach->status = lanes_attach(process.lanes, &applicant, &attach->attachment);
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
    enum es_status status = inbox_run(process.inbox, &errand);

    attaching->last_number = errand.last_number;
    return status;
}

static void *run_attach(void *context)
{
    struct sim_attach *attaching = context;

    if (attaching->name != NULL) {
        attaching->status = claim(attaching);
    } else {
        enum es_status status = inbox_call(process.inbox, attach, attaching);

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
        lanes_owner_gone(process.lanes, index, incarnation);
    }
}

static void owner_gone(void *context)
{
    lanes_visit_owners(process.lanes, note_gone, context);
}

static void *run_owner_gone(void *context)
{
    struct gone *gone = context;
    enum es_status status = inbox_call(process.inbox, owner_gone, gone);

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
        inbox_submit(process.inbox, &transaction, request->timeout_ns, &request->result);
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

    config->store = process.startup.store;
    config->inbox = process.inbox;
    config->epoch = process.startup.state.epoch;
    memcpy(config->store_id, process.startup.state.store_id, sizeof config->store_id);
    worker->config = config;
    worker->uid = question->uid;
    must(reader_new(config->store, &worker->reader));
    question->status = handle(worker, &question->request, &reply);
    if (question->status == ES_OK) {
        must(es_reply_read(reply, &question->reply));
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
