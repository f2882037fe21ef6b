/*
 * The anchor: a third, small file beside the log and RocksDB, a witness that
 * can refuse a start but never supplies data. Two checksummed slots are written
 * in turn, so a write that is cut short leaves the one before. It names only
 * commits that are synced; startup.c judges by it.
 *
 * Threads.  One at a time.
 * Durable.  anchor_write() syncs before it returns.
 */
#ifndef EVENTSPINE_ANCHOR_H
#define EVENTSPINE_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/disk.h"
#include "shm/eventspine_status.h"

enum {
    ANCHOR_STORE_ID_BYTES = 16,
    ANCHOR_BOOT_ID_BYTES = 16,
    ANCHOR_HASH_BYTES = 32,
    ANCHOR_FILE_BYTES = 8192
};

enum anchor_durability {
    ANCHOR_FSYNC = 1,
    ANCHOR_OS = 2
};

struct anchor_state {
    uint8_t store_id[ANCHOR_STORE_ID_BYTES];
    uint8_t boot_id[ANCHOR_BOOT_ID_BYTES];
    uint64_t epoch;
    uint64_t start_number; /* starts of the broker on this store, 1 is the first */
    enum anchor_durability durability;
    bool clean; /* stopped cleanly: everything is in RocksDB */
    uint64_t batch_number;
    uint64_t commit_number;
    uint64_t position;
    uint8_t store_hash[ANCHOR_HASH_BYTES];
};

struct anchor;

/* Makes the file with 'state' in it. ES_E_EXISTS: the name is taken. */
ES_MUST_USE enum es_status anchor_create(struct disk *disk, const char *name,
                                         const struct anchor_state *state,
                                         struct anchor **ret_anchor);

/*
 * Opens the file and tells its newest sound slot.
 *
 * ES_NOT_FOUND: no such file. ES_E_CORRUPT: the wrong size, or no sound slot.
 * ES_E_VERSION: a newer format. DISK_READ_ONLY refuses anchor_write().
 */
ES_MUST_USE enum es_status anchor_open(struct disk *disk, const char *name, enum disk_access access,
                                       struct anchor_state *ret_state, struct anchor **ret_anchor);

/* ES_E_IO: the file holds the old or the new state; fail-stop. */
ES_MUST_USE enum es_status anchor_write(struct anchor *anchor, const struct anchor_state *state);

/* NULL is legal. */
void anchor_free(struct anchor *anchor);

#endif
