#include "tests/simulation/sim_broker.h"

#include <string.h>

#include "broker/lanes_take_over.h"
#include "tests/simulation/sim_broker_state.h"
#include "tests/simulation/sim_clients.h"
#include "tests/simulation/sim_copies.h"
#include "tests/simulation/sim_fiber.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_shared.h"
#include "tests/simulation/sim_store.h"

#define RESERVE_BYTES (UINT64_C(1) << 20)

struct sim_process sim_process;
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

void sim_broker_must(enum es_status status)
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
                                  .counters = &sim_process.counters};

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
        status = batch_new(body_bytes_max, &sim_process.batches[i]);
    }
    sim_broker_must(status);
    model_started(startup);
    memcpy(head.store_hash, startup->end.store_hash, sizeof head.store_hash);
    config.identity.start_number = startup->state.start_number;
    config.identity.epoch = startup->state.epoch;
    sim.transaction_bytes_max = batch_transaction_bytes_max(sim_process.batches[0]);
    config.identity.transaction_bytes_max = sim.transaction_bytes_max;
    return startup->remains.is_usable
               ? lanes_take_over(&config, &head, &startup->ahead, &sim_process.lanes)
               : lanes_new(&config, &head, &sim_process.lanes);
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

    start_status = startup_open(&options, &sim_process.counters, &sim_process.startup, why);
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
    struct startup *startup = &sim_process.startup;
    struct drain_config drain = {.lanes = sim_process.lanes,
                                 .counters = &sim_process.counters,
                                 .record_bytes_max = sim.geometry.record_bytes_max};
    struct flusher_config flusher = {startup->store, startup->log, &sim_process.counters, fail};
    struct witness_config witness = {.anchor = startup->anchor,
                                     .log = startup->log,
                                     .syncs_log = sim.durability == ANCHOR_OS,
                                     .is_at_once = sim.syncs_anchor,
                                     .failed = fail};
    struct scribe_config scribe = {.log = startup->log,
                                   .counters = &sim_process.counters,
                                   .syncs_commits = sim.durability == ANCHOR_FSYNC};
    struct committer_config committer = {.store = startup->store,
                                         .heads = startup->heads,
                                         .lanes = sim_process.lanes,
                                         .publish = publish,
                                         .counters = &sim_process.counters,
                                         .epoch = startup->state.epoch};

    sim_broker_must(commit_loop_new(&sim_process.loop));
    sim_broker_must(inbox_new(commit_loop_wake, sim_process.loop, &sim_process.inbox));
    sim_broker_must(sequencer_new(startup->store, startup->heads, &sim_process.sequencer));
    drain.inbox = sim_process.inbox;
    drain.sequencer = sim_process.sequencer;
    drain.heads = startup->heads;
    sim_broker_must(drain_new(&drain, &sim_process.drain));
    sim_broker_must(flusher_new(&flusher, &sim_process.flusher));
    scribe.log = startup->log;
    scribe.flusher = sim_process.flusher;
    sim_broker_must(scribe_new(&scribe, &sim_process.scribe));
    sim_broker_must(witness_new(&witness, &startup->state, &sim_process.witness));
    committer.inbox = sim_process.inbox;
    committer.flusher = sim_process.flusher;
    committer.scribe = sim_process.scribe;
    committer.witness = sim_process.witness;
    sim_broker_must(committer_new(&committer, &startup->end, &sim_process.committer));
}

/* What control.c finds when it begins: owners that ended while there was no broker. */
static void note_owner(void *context, uint32_t index, uint64_t incarnation, pid_t pid,
                       uint64_t pid_start_time)
{
    (void)context;
    (void)pid_start_time;
    if (!sim_clients_is_alive(pid)) {
        lanes_owner_gone(sim_process.lanes, index, incarnation);
    }
}

/* ---- end --------------------------------------------------------------------- */

/* As broker.c does it. */
static void end_cleanly(void)
{
    const struct history_point *end = NULL;
    struct log_point point;
    enum es_status status = ES_OK;

    inbox_close(sim_process.inbox);
    flusher_wait(sim_process.flusher);
    end = committer_end(sim_process.committer);
    point.batch_number = end->batch_number;
    memcpy(point.store_hash, end->store_hash, sizeof point.store_hash);
    status = log_sync(sim_process.startup.log);
    if (status == ES_OK) {
        status = store_flush_all(sim_process.startup.store);
    }
    if (status == ES_OK) {
        status = log_mark_flushed(sim_process.startup.log, &point);
    }
    if (status == ES_OK) {
        witness_note(sim_process.witness, end->batch_number, end->commit_number, end->position,
                     end->store_hash);
        status = witness_stop_clean(sim_process.witness);
    }
    if (status != ES_OK) {
        fail("a clean end", "");
    }
    model_stopped_cleanly();
    lanes_set_state(sim_process.lanes, ES_BROKER_STOPPED);
    lanes_remove_if_unused(sim_process.lanes);
}

static void take_apart(void)
{
    committer_free(sim_process.committer);
    witness_free(sim_process.witness);
    scribe_free(sim_process.scribe);
    flusher_free(sim_process.flusher);
    drain_free(sim_process.drain);
    sequencer_free(sim_process.sequencer);
    commit_loop_free(sim_process.loop);
    lanes_free(sim_process.lanes);
    for (int i = 0; i < COMMIT_LOOP_BATCHES; i++) {
        batch_free(sim_process.batches[i]);
    }
    startup_close(&sim_process.startup);
}

static void *run(void *context)
{
    (void)context;
    open_store();
    make_commit_path();
    model_serving();
    sim_copies_maybe_make(sim_process.startup.state.epoch);
    lanes_visit_owners(sim_process.lanes, note_owner, NULL);
    is_serving = true;
    commit_loop_run(
        sim_process.loop,
        &(struct commit_loop_config){.drain = sim_process.drain,
                                     .committer = sim_process.committer,
                                     .sequencer = sim_process.sequencer,
                                     .lanes = sim_process.lanes,
                                     .batches = {sim_process.batches[0], sim_process.batches[1]},
                                     .scribe = sim_process.scribe,
                                     .counters = &sim_process.counters,
                                     .disk = sim_process.startup.directory.disk,
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

    memset(&sim_process, 0, sizeof sim_process);
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
        commit_loop_stop(sim_process.loop);
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
