/*
 * What a disk with a volatile write cache holds: the sectors that a flush has
 * reached, and in front of them, in order, those written since. It answers reads
 * as the whole, and can tell what would be left of it if the power went now.
 *
 * Threads. One.
 */
#ifndef TESTS_POWER_SECTOR_STORE_H
#define TESTS_POWER_SECTOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SECTOR_BYTES = 512
};

struct sector_store;

/* Zeros, or what is in the file 'image_path' if that is not NULL. NULL: no memory, no file. */
struct sector_store *sector_store_new(uint64_t size_bytes, const char *image_path);
void sector_store_free(struct sector_store *store);

uint64_t sector_store_size(const struct sector_store *store);

/* The bytes as last written; valid until the next write. */
const uint8_t *sector_store_bytes(const struct sector_store *store);

/* Into the cache. False: outside of the disk, or no memory. */
bool sector_store_write(struct sector_store *store, uint64_t offset, const void *bytes,
                        size_t size);

/* Everything written so far is durable. */
void sector_store_flush(struct sector_store *store);

/* What a power cut leaves. */
struct sector_cut {
    unsigned keep_percent;  /* of the sectors in the cache, each at random */
    unsigned stale_percent; /* of those, as an older version of that sector, where there is one */
    uint64_t seed;
};

struct sector_cut_counts {
    uint64_t unsynced; /* sectors in the cache */
    uint64_t kept;
    uint64_t stale;
};

/* Writes the disk as it would be found after a cut into a new sparse file. False: errno. */
bool sector_store_cut(const struct sector_store *store, const struct sector_cut *cut,
                      const char *path, struct sector_cut_counts *ret_counts);

#endif
