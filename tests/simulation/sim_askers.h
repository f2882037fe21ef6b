/*
 * Clients that ask: what became of a number (verb 18), and whether the store goes on
 * from a checkpoint or a receipt (hello). The handlers are the broker's own.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_ASKERS_H
#define TESTS_SIMULATION_SIM_ASKERS_H

#include <stdbool.h>

void sim_askers_begin(void);

/* One asks something. False: none has anything to ask. */
bool sim_askers_step(void);

void sim_askers_broker_ended(void);
bool sim_askers_are_done(void);

#endif
