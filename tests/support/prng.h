/*
 * Random numbers for tests: splitmix64, seeded once per test and printed, so
 * that any failure can be run again: ES_SEED=0x... ctest ...
 */
#ifndef TESTS_SUPPORT_PRNG_H
#define TESTS_SUPPORT_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

/* Seeds from ES_SEED, or from the kernel, and prints the seed beside 'name'. */
void prng_begin(struct prng *prng, const char *name);

/* Seeds with exactly this. */
void prng_seed(struct prng *prng, uint64_t seed);

uint64_t prng_next(struct prng *prng);

/* 0 .. bound - 1; 'bound' at least 1. */
uint64_t prng_below(struct prng *prng, uint64_t bound);

/* True once in 'bound' times. */
bool prng_one_in(struct prng *prng, uint64_t bound);

void prng_fill(struct prng *prng, void *bytes, size_t size);

#endif
