#include "tests/simulation/sim_faults.h"

#include <string.h>

#include "tests/simulation/sim.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_fiber.h"

enum {
    CALLS_TO_FAULT_MAX = 400,
    HEAVY_CALLS_TO_FAULT_MAX = 6000, /* one process must see the log go round */
    YIELD_ONE_IN = 3
};

static uint64_t calls_left; /* 0: none is armed */
static enum sim_end death;  /* what sim_kill() ends */

static const char *const words[] = {
#define SIM_FAULT_WORDS(name, text) [FAULT_##name] = text,
    SIM_FAULTS(SIM_FAULT_WORDS)
#undef SIM_FAULT_WORDS
};

static const char *const kind_words[] = {
#define SIM_KIND_WORDS(name, text) [KIND_##name] = text,
    SIM_KINDS(SIM_KIND_WORDS)
#undef SIM_KIND_WORDS
};

const char *sim_kind_words(enum sim_kind kind)
{
    return kind_words[kind];
}

void sim_kind(enum sim_kind kind)
{
    sim.counts.kinds[kind]++;
    sim_trace(8, kind);
}

const char *sim_fault_words(enum sim_fault fault)
{
    return words[fault];
}

void sim_counts_add(struct sim_counts *sum, const struct sim_counts *more)
{
    uint64_t *to = (uint64_t *)(void *)sum;
    const uint64_t *from = (const uint64_t *)(const void *)more;

    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
}

void sim_fault(enum sim_fault fault)
{
    sim.counts.faults[fault]++;
    sim_trace(4, fault);
}

uint64_t sim_faults_struck(void)
{
    uint64_t struck = 0;

    for (int i = 0; i < FAULT_COUNT; i++) {
        struck += sim.counts.faults[i];
    }
    return struck;
}

void sim_faults_arm(void)
{
    uint64_t calls_max = sim.is_heavy ? HEAVY_CALLS_TO_FAULT_MAX : CALLS_TO_FAULT_MAX;

    calls_left = sim.is_checking ? 0 : 1 + sim_below(sim_one_in(3) ? 80 : calls_max);
}

void sim_faults_disarm(void)
{
    calls_left = 0;
}

void sim_kill(void)
{
    sim_broker_ends(death);
}

static bool is_store(enum sim_call call)
{
    return call >= CALL_STORE_READ;
}

/* The process or the machine dies here: before the call, after it, or in its middle. */
static enum sim_verdict die(enum sim_call call)
{
    bool is_machine = sim_one_in(3);
    enum sim_fault fault = is_machine            ? FAULT_MACHINE_AT_CALL
                           : call == CALL_SHARED ? FAULT_KILL_AT_SHARED
                           : is_store(call)      ? FAULT_KILL_AT_STORE
                                                 : FAULT_KILL_AT_DISK;

    death = is_machine ? SIM_MACHINE_DOWN : SIM_KILLED;
    if (!sim_broker_is_serving()) {
        sim_fault(FAULT_KILL_IN_START);
    }
    if (call == CALL_WRITE && sim_one_in(2)) {
        sim_fault(is_machine ? FAULT_MACHINE_TORN : FAULT_KILL_TORN);
        return VERDICT_TEAR;
    }
    sim_fault(fault);
    if (sim_one_in(2)) {
        sim_kill();
    }
    return VERDICT_KILL_AFTER;
}

static enum sim_verdict fail(enum sim_call call)
{
    sim.has_failed = sim.has_failed || (call != CALL_CHANGE && call != CALL_SHARED);
    switch (call) {
    case CALL_WRITE:
        if (sim_one_in(2)) {
            sim_fault(FAULT_WRITE_ENOSPC);
            return VERDICT_NO_SPACE;
        }
        sim_fault(FAULT_WRITE_EIO);
        return VERDICT_FAIL;
    case CALL_SYNC: sim_fault(FAULT_SYNC_EIO); return VERDICT_FAIL;
    case CALL_READ: sim_fault(FAULT_READ_EIO); return VERDICT_FAIL;
    case CALL_STORE_READ: sim_fault(FAULT_GET_EIO); return VERDICT_FAIL;
    case CALL_STORE_APPLY: sim_fault(FAULT_APPLY_EIO); return VERDICT_FAIL;
    case CALL_STORE_FLUSH: sim_fault(FAULT_FLUSH_EIO); return VERDICT_FAIL;
    default: return die(call);
    }
}

enum sim_verdict sim_point(enum sim_call call)
{
    if (!sim_fiber_inside()) {
        return VERDICT_GO;
    }
    sim_trace(5, call);
    if (call != CALL_READ && call != CALL_STORE_READ && sim_one_in(YIELD_ONE_IN)) {
        sim_fiber_yield();
    }
    if (calls_left == 0 || --calls_left > 0) {
        return VERDICT_GO;
    }
    return sim_one_in(3) ? fail(call) : die(call);
}
