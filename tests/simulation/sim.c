#include "tests/simulation/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct sim sim;

uint64_t sim_below(uint64_t bound)
{
    return prng_below(&sim.random, bound);
}

bool sim_one_in(uint64_t bound)
{
    return sim_below(bound) == 0;
}

void sim_trace(uint64_t what, uint64_t value)
{
    uint64_t mixed = (sim.trace ^ (value * 64 + what)) * UINT64_C(0x9e3779b97f4a7c15);

    sim.trace = mixed ^ (mixed >> 29);
}

void sim_violation(const char *format, ...)
{
    va_list arguments;

    (void)fprintf(stderr, "seed 0x%016" PRIx64 ": ", sim.seed);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\n");
    exit(1);
}
