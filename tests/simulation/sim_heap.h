/*
 * The memory of the simulated processes: malloc() and its kin, replaced at link
 * time. A killed broker leaves everything it had allocated behind, so its heap is
 * thrown away as a whole; so is the world's (disks, store) after each seed. Both
 * are used again from their beginning, which also makes them fast.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_HEAP_H
#define TESTS_SIMULATION_SIM_HEAP_H

enum sim_zone {
    ZONE_HOST,   /* the test's own: the real malloc() */
    ZONE_WORLD,  /* what survives a process */
    ZONE_BROKER, /* what does not */
    ZONE_COUNT
};

/* Where malloc() allocates from now on; returns where it did. free() and realloc()
 * know by themselves where a block belongs. */
enum sim_zone sim_heap_select(enum sim_zone zone);

/* Frees everything in it. */
void sim_heap_reset(enum sim_zone zone);

#endif
