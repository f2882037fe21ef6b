/*
 * The simulation: the whole core of a broker, its clients and its machine in one
 * thread, driven by one 64-bit seed. What is real: startup, log, drain, sequencer,
 * committer, commit loop, scribe, flusher, witness, inbox, lanes, rings, doorbell.
 * What is made up, below them: threads (sim_fiber.c), memory (sim_heap.c), clock and
 * randomness (sim_clock.c), disks (sim_disks.c), store (sim_store.c), shared memory
 * (sim_shared.c). The linker puts them in place (-Wl,--wrap), so that the product
 * has no test code in it.
 *
 * This file holds the state of the world that all of them share.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_H
#define TESTS_SIMULATION_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/anchor.h"
#include "broker/store.h"
#include "shm/layout.h"
#include "tests/simulation/sim_faults.h"
#include "tests/support/prng.h"

enum {
    SIM_FIRST_UID = 100 /* of the clients; the others follow */
};

/* How the broker's process ended. */
enum sim_end {
    SIM_RUNNING,
    SIM_KILLED,       /* at any call, or between two */
    SIM_MACHINE_DOWN, /* and everything with it */
    SIM_FAILED,       /* it stopped by itself at a failed write */
    SIM_NOT_STARTED,  /* it refused to start, or could not */
    SIM_STOPPED       /* cleanly */
};

struct sim {
    uint64_t seed;
    struct prng random;
    uint64_t trace;  /* of everything that happened */
    int64_t now_ns;  /* CLOCK_MONOTONIC */
    int64_t wall_us; /* what CLOCK_REALTIME adds to it; jumps */
    uint8_t boot_id[ANCHOR_BOOT_ID_BYTES];

    enum anchor_durability durability;
    bool syncs_anchor; /* before each answer */
    struct es_geometry geometry;
    uint32_t transaction_bytes_max; /* as the broker tells it, since its first start */
    uint32_t segment_count;
    bool is_heavy;        /* large payloads: the log goes round */
    uint64_t free_bytes;  /* on the simulated disk */
    bool may_lack_space;  /* the broker may refuse for want of space */
    uint64_t spoilt_uids; /* a bit for each user whose ring was written to by force */

    enum sim_end end; /* of the process that ran last */
    bool has_failed;  /* a call of this process was made to fail */
    bool is_checking; /* no more faults: everything must be answered and found */
    uint64_t starts;
    struct sim_counts counts;
};

extern struct sim sim;

/* A number below 'bound', which is at least 1. */
uint64_t sim_below(uint64_t bound);
bool sim_one_in(uint64_t bound);

/* Something happened: part of the trace that must be the same for the same seed. */
void sim_trace(uint64_t what, uint64_t value);

/* A promise is broken: says so with the seed, and ends the process with status 1. */
__attribute__((noreturn, format(printf, 1, 2))) void sim_violation(const char *format, ...);

#endif
