/*
 * The clients: producers, each in a process of its own with a lane and its user's
 * ring, that can die between any two of their steps, and whoever sends requests.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_CLIENTS_H
#define TESTS_SIMULATION_SIM_CLIENTS_H

#include <stdbool.h>
#include <sys/types.h>

void sim_clients_begin(void);

/* One of them takes a step. False: it had nothing to do. */
bool sim_clients_step(void);

/* One of the faults that strike clients and rings. */
void sim_clients_fault(void);

/* The broker's process has ended; with 'machine', everybody's. */
void sim_clients_broker_ended(bool machine);

/* Whether this process lives. */
bool sim_clients_is_alive(pid_t pid);

/* Nobody waits for anything, and nobody will ask for more. */
bool sim_clients_are_done(void);

#endif
