#include "tests/simulation/sim_run.h"

#include <string.h>

#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_bugs.h"
#include "tests/simulation/sim_claims.h"
#include "tests/simulation/sim_clients.h"
#include "tests/simulation/sim_copies.h"
#include "tests/simulation/sim_damage.h"
#include "tests/simulation/sim_disks.h"
#include "tests/simulation/sim_fiber.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_shared.h"
#include "tests/simulation/sim_store.h"

enum {
    OPERATIONS_MIN = 200,
    HEAVY_OPERATIONS_MIN = 600, /* or the log does not go round */
    FAULTS_MIN = 4,
    STEPS_MAX = 400000, /* of one seed: more means that something does not go on */
    QUIET_STEPS_MAX = 100000
};

static void make_world(uint64_t seed, const char *bug)
{
    memset(&sim, 0, sizeof sim);
    sim.seed = seed;
    sim_bugs_plant(bug);
    sim_heap_reset(ZONE_WORLD);
    sim_heap_reset(ZONE_BROKER);
    prng_seed(&sim.random, seed);
    sim.now_ns = INT64_C(1000000000000);
    sim.wall_us = INT64_C(1700000000000000);
    prng_fill(&sim.random, sim.boot_id, sizeof sim.boot_id);
    sim.durability = sim_one_in(5) ? ANCHOR_OS : ANCHOR_FSYNC;
    sim.syncs_anchor = sim.durability == ANCHOR_FSYNC && sim_one_in(8);
    sim.is_heavy = sim_one_in(12);
    sim.segment_count = 3 + (uint32_t)sim_below(2);
    sim.free_bytes = UINT64_C(1) << 40;
    if (es_geometry_make(sim_one_in(2) ? 64 : 32, ES_ARENA_BYTES_MIN, &sim.geometry) != ES_OK) {
        sim_violation("no geometry");
    }
    sim_shared_clear();
    sim_disks_make();
    sim_store_make();
    sim_copies_clear();
    claims_clear();
    model_clear();
    ops_clear();
    sim_clients_begin();
}

/* The process is over, in one way or another: what is left of it, and of the machine. */
static void bury(void)
{
    bool machine = sim.end == SIM_MACHINE_DOWN;

    model_process_ended(machine);
    sim_broker_bury();
    sim_clients_broker_ended(machine);
    if (machine) {
        sim_disks_power_cut();
        sim_shared_clear();
        prng_fill(&sim.random, sim.boot_id, sizeof sim.boot_id);
    }
    sim.now_ns += (int64_t)sim_below(1000000000);
}

/* It ends by itself only where a call has failed. */
static void check_end(void)
{
    if (sim.has_failed) {
        sim.counts.refusals_to_start += sim.end == SIM_NOT_STARTED;
    } else if (sim.end == SIM_NOT_STARTED) {
        sim_violation("the broker does not start (%d): %s", (int)sim_broker_start_status(),
                      sim_broker_why());
    } else if (sim.end == SIM_FAILED) {
        sim_violation("the broker stopped by itself, though no call had failed");
    }
}

static void step_time(void)
{
    int64_t deadline = sim_fiber_deadline();

    if (deadline == INT64_MAX) {
        sim.now_ns += 1000000;
    } else if (deadline > sim.now_ns) {
        sim.now_ns = deadline;
    }
}

/* What goes wrong around everybody, for a while or once. */
static void disturb(void)
{
    switch (sim_below(4)) {
    case 0:
        sim.wall_us -= (int64_t)sim_below(INT64_C(3600000000));
        sim_fault(FAULT_CLOCK_BACK);
        break;
    case 1:
        sim.wall_us += (int64_t)sim_below(INT64_C(86400000000));
        sim.now_ns += (int64_t)sim_below(INT64_C(60000000000));
        sim_fault(FAULT_CLOCK_AHEAD);
        break;
    case 2:
        sim.free_bytes = sim_below(1000);
        sim.may_lack_space = true;
        for (uint32_t i = 0; i < op_count; i++) {
            ops[i].sees_no_space =
                ops[i].sees_no_space || ops[i].fate == FATE_OPEN || ops[i].fate == FATE_ORPHAN;
        }
        sim_fault(FAULT_BELOW_RESERVE);
        break;
    default:
        sim_shared_set_full(true);
        sim_fault(FAULT_SHARED_FULL);
        break;
    }
}

static void calm_down(void)
{
    sim.free_bytes = UINT64_C(1) << 40; /* the broker notices sooner or later */
    sim_shared_set_full(false);
}

/* The broker runs, clients act, time passes: whichever comes. */
static void step(void)
{
    uint64_t choice = sim_below(100);

    if (!sim.is_checking && sim_one_in(2000)) {
        disturb();
    } else if (sim_one_in(300)) {
        calm_down();
    }
    if (choice < 45) {
        if (!sim_fiber_step() && !sim_clients_step()) {
            step_time();
        }
    } else if (choice < 98) {
        if (!sim_clients_step() && !sim_fiber_step()) {
            step_time();
        }
    } else if (!sim.is_checking && sim_one_in(6)) {
        sim_clients_fault();
    } else {
        sim.now_ns += (int64_t)sim_below(3000000);
    }
}

static void start(void)
{
    sim_faults_arm();
    sim_broker_start();
}

static bool has_had_enough(void)
{
    uint64_t operations_min = sim.is_heavy ? HEAVY_OPERATIONS_MIN : OPERATIONS_MIN;

    return (sim.counts.operations >= operations_min && sim_faults_struck() >= FAULTS_MIN) ||
           op_count == OPS_MAX;
}

/* Kills between two calls happen here; those at a call in sim_point(). */
static void maybe_kill(void)
{
    if (sim.end == SIM_RUNNING && sim_one_in(4000)) {
        bool machine = sim_one_in(3);

        sim_fault(machine ? FAULT_MACHINE_BETWEEN : FAULT_KILL_BETWEEN);
        sim.end = machine ? SIM_MACHINE_DOWN : SIM_KILLED;
    } else if (sim_broker_is_serving() && sim_one_in(6000)) {
        sim_fault(FAULT_CLEAN_STOP);
        sim_broker_stop();
    }
}

static void live(void)
{
    start();
    for (uint64_t steps = 0; !has_had_enough(); steps++) {
        if (steps == STEPS_MAX) {
            sim_violation("no end is in sight");
        }
        step();
        maybe_kill();
        if (sim.end != SIM_RUNNING) {
            bool machine = sim.end == SIM_MACHINE_DOWN;

            check_end();
            bury();
            if (machine) {
                sim_copies_maybe_restore();
            }
            if (sim_one_in(8)) {
                sim_damage_try();
            }
            start();
        }
    }
}

/* No more faults: whatever waits for an answer gets it. */
static void heal(void)
{
    sim.is_checking = true;
    sim_faults_disarm();
    calm_down();
    for (uint64_t steps = 0; !sim_broker_is_serving() || !sim_clients_are_done(); steps++) {
        if (steps == QUIET_STEPS_MAX) {
            sim_violation("somebody waits for ever");
        }
        step();
        if (sim.end != SIM_RUNNING) {
            check_end();
            bury();
            sim_broker_start();
        }
    }
}

static void stop(void)
{
    sim_broker_stop();
    for (uint64_t steps = 0; sim.end == SIM_RUNNING; steps++) {
        if (steps == QUIET_STEPS_MAX) {
            sim_violation("the broker does not stop");
        }
        step();
    }
    if (sim.end != SIM_STOPPED) {
        sim_violation("the broker did not stop cleanly");
    }
    bury();
}

void sim_run_seed(uint64_t seed, const char *bug)
{
    make_world(seed, bug);
    live();
    heal();
    stop();
    model_check_all();
    sim.counts.seeds = 1;
    sim.counts.traces = sim.trace;
}
