/*
 * One seed: makes a world, lets it live until enough was asked for and enough has
 * gone wrong, then heals it and sees that everything is answered and in its place.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_RUN_H
#define TESTS_SIMULATION_SIM_RUN_H

#include <stdint.h>

#include "tests/simulation/sim.h"

/* Returns only if every promise was kept; see sim_violation(). What happened is in
 * sim.counts, and its trace in sim.trace. 'bug' is "" or one of sim_bugs.h. */
void sim_run_seed(uint64_t seed, const char *bug);

#endif
