/*
 * Copies of the whole store, as a backup is one: made where a start has brought log,
 * store and anchor to one point, and put in place of what a dead machine has left. The
 * start on it finds the mark of a backup and begins a new epoch. How backup.c and
 * restore.c move files is not seen here.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_COPIES_H
#define TESTS_SIMULATION_SIM_COPIES_H

#include <stdint.h>

void sim_copies_clear(void);

/* Where a start is over, and nothing has come yet: sometimes makes one. */
void sim_copies_maybe_make(uint64_t epoch);

/* The machine is down: sometimes puts one in place. */
void sim_copies_maybe_restore(void);

#endif
