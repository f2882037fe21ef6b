/*
 * Bugs that are planted on purpose, to see that the simulation finds them: the
 * negative controls. Each breaks one rule of the broker at a call that the linker can
 * redirect; the product's own code is as it is.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_BUGS_H
#define TESTS_SIMULATION_SIM_BUGS_H

#include <stdbool.h>

/* Names, ended by NULL. */
extern const char *const sim_bugs[];

/* Before each seed: 'name' is planted, "" for none. */
void sim_bugs_plant(const char *name);

/* "unsynced tail trusted": this write or sync of a replay is left out. */
bool sim_bugs_skip_disk(void);

/* "restored as if it was no copy": the mark of a backup is not seen. */
bool sim_bugs_hide_backup(void);

#endif
