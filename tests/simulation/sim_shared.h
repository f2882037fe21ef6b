/*
 * Shared memory without a file system: the files of segment.h, by name, in memory
 * that outlives the broker, and that is gone with the machine.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_SHARED_H
#define TESTS_SIMULATION_SIM_SHARED_H

#include <stdbool.h>

#define SIM_SHARED_DIRECTORY 90000 /* its descriptor; files have greater ones */

/* All files are gone, and all mappings: a new seed, or a reboot. */
void sim_shared_clear(void);

/* The broker's process is gone, and its mappings. */
void sim_shared_drop_broker(void);

/* The next creations fail for want of space, or do again. */
void sim_shared_set_full(bool is_full);

#endif
