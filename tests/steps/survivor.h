/*
 * Who is left after a kill, and what must hold for them. Each runs in a child of
 * its own over a copy of what the kill has left, and ends it: with 0 when every
 * promise was kept, else with a sentence and 1.
 *
 *   progress   whoever lives gets everything answered, and goes on
 *   no loss    what was published whole is stored, what was answered OK is there
 *   no repeat  nothing is stored twice, nothing refused is stored, nothing half
 */
#ifndef TESTS_STEPS_SURVIVOR_H
#define TESTS_STEPS_SURVIVOR_H

#include "tests/steps/image.h"

/* The broker was killed: a new one over the same memory, and all producers. */
void survivor_new_broker(const struct image *image);

/* Producer 0 was killed: the same broker goes on, with the others. */
void survivor_same_broker(const struct image *image);

/* Producer 0 was killed, and the broker with it. */
void survivor_new_broker_without_producer(const struct image *image);

#endif
