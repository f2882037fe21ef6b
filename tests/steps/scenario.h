/*
 * What is stepped: one situation, and one thing that a producer or the broker does
 * in it. Each begins with a world of its own.
 */
#ifndef TESTS_STEPS_SCENARIO_H
#define TESTS_STEPS_SCENARIO_H

#include "tests/steps/world.h"

struct scenario {
    const char *name;
    bool kills_broker; /* else producer 0 */
    bool makes_files;  /* files come and go: looked for after each system call */
    uint32_t slot_count;
    uint32_t producer_count;
    void (*set_up)(struct world *world);
    void (*run)(struct world *world); /* stepped; a change of private memory is lost */
    /* What another process does meanwhile: after this instruction, or, where that is
     * 0, at the first change of shared memory. NULL: nothing. */
    void (*meanwhile)(struct world *world);
    uint64_t meanwhile_after;
};

/* The next after 'scenario', the first after NULL, NULL after the last. */
const struct scenario *scenario_after(const struct scenario *scenario);

#endif
