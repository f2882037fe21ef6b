/*
 * The clock, and what else is random in a system: both from the seed.
 */
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "broker/process.h"
#include "tests/simulation/sim.h"

enum {
    LOOK_NS = 20000, /* what a look at the clock takes: waiting by looking must end */
    US_PER_SECOND = 1000000
};

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int64_t us = 0;

    sim.now_ns += LOOK_NS;
    if (clock == CLOCK_MONOTONIC) {
        ret_now->tv_sec = (time_t)(sim.now_ns / 1000000000);
        ret_now->tv_nsec = (long)(sim.now_ns % 1000000000);
        return 0;
    }
    us = sim.now_ns / 1000 + sim.wall_us;
    ret_now->tv_sec = (time_t)(us / US_PER_SECOND);
    ret_now->tv_nsec = (long)(us % US_PER_SECOND * 1000);
    return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
    (void)flags;
    prng_fill(&sim.random, bytes, size);
    return (ssize_t)size;
}

enum es_status __wrap_process_boot_id(uint8_t ret_boot_id[PROCESS_BOOT_ID_BYTES]);
enum es_status __wrap_process_boot_id(uint8_t ret_boot_id[PROCESS_BOOT_ID_BYTES])
{
    memcpy(ret_boot_id, sim.boot_id, PROCESS_BOOT_ID_BYTES);
    return ES_OK;
}
