/*
 * Threads that are none: each pthread_create() of the broker makes a fiber, and one
 * fiber runs until it waits (futex, condition, mutex, join), gives way, or calls disk
 * or store. Which one goes on then is drawn from the seed. Killing the broker's
 * process leaves them all where they stand.
 *
 * Threads. One; the host runs fibers by sim_fiber_step().
 */
#ifndef TESTS_SIMULATION_SIM_FIBER_H
#define TESTS_SIMULATION_SIM_FIBER_H

#include <stdbool.h>
#include <stdint.h>

/* A new fiber of the broker's process. */
void sim_fiber_new(void *(*run)(void *), void *argument);

/* Whether one of them is running, and not the host. */
bool sim_fiber_inside(void);

/* From a fiber: others may go first. */
void sim_fiber_yield(void);

/* Lets one that is ready run to its next stop. False: none is. */
bool sim_fiber_step(void);

/* The earliest time that one of them waits for; INT64_MAX: none. */
int64_t sim_fiber_deadline(void);

/* From a fiber: back to the host for ever. The process is over. */
__attribute__((noreturn)) void sim_fiber_leave(void);

/* Forgets all of them. */
void sim_fiber_end_all(void);

#endif
