/*
 * The producers: each is a process with a lane and its user's ring, takes one small
 * step after the other, and can die between any two of them. Some write under a name,
 * which two of them want to have.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_PRODUCERS_H
#define TESTS_SIMULATION_SIM_PRODUCERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

void sim_producers_begin(void);

/* One of them takes a step; any number names one. False: it had nothing to do. */
bool sim_producers_step(uint32_t which);

/* The broker may notice that one has ended. */
bool sim_producers_note_gone(void);

/* One dies, or writes into its ring what it should not. */
void sim_producers_fault(void);

void sim_producers_broker_ended(bool machine);
bool sim_producers_is_alive(pid_t pid);
bool sim_producers_are_done(void);

#endif
