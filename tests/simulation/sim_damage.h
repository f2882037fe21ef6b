/*
 * Bits that flip in the log, the anchor or the store while the broker is away. What
 * comes of it is tried on copies: the start refuses and has changed nothing, or what it
 * serves is the history, complete, to the last byte. Then everything is as it was.
 *
 * Threads. One: the host.
 */
#ifndef TESTS_SIMULATION_SIM_DAMAGE_H
#define TESTS_SIMULATION_SIM_DAMAGE_H

/* Between two processes of the broker. */
void sim_damage_try(void);

#endif
