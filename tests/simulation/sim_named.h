/*
 * Requests under a name, as `esctl append --producer NAME:NUMBER` sends them: of names
 * that lanes claim too, and of one that none ever does. New numbers, numbers again,
 * numbers that are another's, gaps, and names that are another user's.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_NAMED_H
#define TESTS_SIMULATION_SIM_NAMED_H

#include <stdbool.h>

#include "tests/simulation/sim_ops.h"

/* One to be sent; NULL: OPS_MAX. */
struct op *sim_named_choose(void);

/* It was answered; 'was_stored' before it was sent. */
void sim_named_count(const struct op *op, bool was_stored, const struct es_lane_result *result);

#endif
