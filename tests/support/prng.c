#include "tests/support/prng.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void prng_begin(struct prng *prng, const char *name)
{
    const char *wanted = getenv("ES_SEED");
    uint64_t seed = 1;

    if (wanted != NULL) {
        seed = strtoull(wanted, NULL, 0);
    } else if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = 1;
    }
    printf("%s: ES_SEED=0x%016" PRIx64 "\n", name, seed);
    (void)fflush(stdout); /* a child that dies must not print it again */
    prng_seed(prng, seed);
}

void prng_seed(struct prng *prng, uint64_t seed)
{
    prng->state = seed;
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t z = prng->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    return prng_next(prng) % bound;
}

bool prng_one_in(struct prng *prng, uint64_t bound)
{
    return prng_below(prng, bound) == 0;
}

void prng_fill(struct prng *prng, void *bytes, size_t size)
{
    uint8_t *to = bytes;

    while (size > 0) {
        uint64_t word = prng_next(prng);
        size_t part = size < sizeof word ? size : sizeof word;

        memcpy(to, &word, part);
        to += part;
        size -= part;
    }
}
