/*
 * The disks of the simulated machine: one for the anchor, one for the log, and what
 * the data directory says of them. Every call of disk.h passes sim_point().
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_DISKS_H
#define TESTS_SIMULATION_SIM_DISKS_H

#include "broker/disk.h"

struct sim_disks {
    struct disk *anchor;
    struct disk *log;
    bool has_log;     /* the directory */
    bool is_creating; /* the mark of a creation that was not ended */
    bool is_backup;   /* the mark of a backup that no start has served */
};

extern struct sim_disks sim_disks;

/* New and empty ones, in the world's memory. */
void sim_disks_make(void);

/* What a power cut leaves. */
void sim_disks_power_cut(void);

/* Copies with everything synced, to try things on; and back to the originals. */
void sim_disks_set_aside(struct sim_disks *ret_originals);
void sim_disks_put_back(const struct sim_disks *originals);

/* Copies with everything synced, to be kept; and for good in place of what there is. */
void sim_disks_copy(struct sim_disks *ret_copy);
void sim_disks_replace(const struct sim_disks *copy);

/* Calls that would have changed something, so far. */
uint64_t sim_disks_changes(void);

#endif
