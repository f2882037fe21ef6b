/*
 * Somebody who claims a producer's name, from whoever has it: as control.c posts it, but in
 * the one thread of the world. What the claimant is told lies beside the log, so that it
 * outlives the broker as a process that was told would.
 *
 * What survivors must find: who was told owns the name, and was told the last number; what
 * the owner before had published is stored; what it publishes behind that is refused.
 */
#ifndef TESTS_STEPS_CLAIMS_H
#define TESTS_STEPS_CLAIMS_H

#include "tests/steps/world.h"

/* The next round of 'broker' does it. */
void claims_post(struct world *world, struct world_broker *broker);

/* Of a process that died: a claim that no broker has heard of yet is gone. */
void claims_forget(void);

/* The one that was told goes on as the world's next producer. */
struct world_producer *claims_open(struct world *world);

/* On a broker that has started anew; before and behind the work of all others. */
void claims_look(struct world *world, struct world_broker *broker);
void claims_go_on(struct world *world, struct world_broker *broker);

#endif
