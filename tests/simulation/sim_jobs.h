/*
 * Runs many seeds in child processes, so that one that fails, or dies, costs nothing
 * but itself and is named.
 *
 * Threads. One; it forks.
 */
#ifndef TESTS_SIMULATION_SIM_JOBS_H
#define TESTS_SIMULATION_SIM_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/sim_faults.h"

struct sim_jobs {
    uint64_t seed;    /* the first; the others follow */
    uint64_t count;   /* UINT64_MAX: as many as 'seconds' allow */
    uint64_t seconds; /* 0: no bound */
    uint32_t jobs;
    const char *bug;
    bool twice;       /* each seed twice, and the traces compared */
    bool stops_early; /* at the first failure */
};

struct sim_jobs_report {
    uint64_t passed;
    uint64_t failed;
    uint64_t first_failed; /* its seed */
    double took_seconds;
    struct sim_counts counts;
};

void sim_jobs_run(const struct sim_jobs *jobs, struct sim_jobs_report *ret_report);

#endif
