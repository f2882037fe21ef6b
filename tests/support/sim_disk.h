/*
 * A disk in memory for tests (broker/disk.h), which does what real ones do at
 * their worst: of what was not synced, each 512-byte sector survives a power cut
 * or does not, by itself; a chosen call fails. One seed replays everything.
 *
 * Threads. One at a time.
 */
#ifndef TESTS_SUPPORT_SIM_DISK_H
#define TESTS_SUPPORT_SIM_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "broker/disk.h"

enum {
    SIM_SECTOR_BYTES = 512,
    SIM_FILES_MAX = 32
};

/* Never fails: a test without memory may abort. Freed with disk_free(). */
struct disk *sim_disk_new(uint64_t seed);

/* Another disk with the same files, everything synced; for trying what-ifs. */
struct disk *sim_disk_copy(struct disk *disk, uint64_t seed);

/*
 * The power fails and comes back: each unsynced sector keeps its new bytes with
 * 'keep_percent', else its old ones; names that were not synced may be gone.
 * Files that are still open are only good for closing.
 */
void sim_disk_power_cut(struct disk *disk, unsigned keep_percent);

/*
 * The 'call'th fallible call from now (1 is the next) fails once, with
 * ES_E_IO and 'reason' as errno. A write that fails has changed any of its
 * sectors; a sync that fails has synced any of them, and forgotten the others.
 */
void sim_disk_fail_at(struct disk *disk, uint64_t call, int reason);

/* Fallible calls so far. */
uint64_t sim_disk_calls(const struct disk *disk);

/* Number of disk_sync() calls so far. */
uint64_t sim_disk_syncs(const struct disk *disk);

/* The present bytes of a file, to be damaged by hand; NULL: no such file. */
uint8_t *sim_disk_bytes(struct disk *disk, const char *name, size_t *ret_size);

/* Gives a file another size, filled with zeros where it grows. */
void sim_disk_resize(struct disk *disk, const char *name, size_t size);

#endif
