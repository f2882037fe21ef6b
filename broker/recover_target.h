/*
 * The inside of a recovery's new store, shared by recover_target.c (commits, log and
 * anchor) and recover_rest.c (what is in no commit). Nobody else includes it.
 */
#ifndef BROKER_RECOVER_TARGET_H
#define BROKER_RECOVER_TARGET_H

#include "broker/recover_state.h"
#include "broker/verify.h"

struct recover_target {
    struct recover_source *source;
    int fd; /* of recovered/ */
    struct store *store;
    struct counters counters;
    struct heads *heads;
    struct batch *batch;
    struct store_batch *writes;
    struct history_point end;
    uint8_t genesis[ES_HASH_SIZE];
    uint64_t last_revision;
    uint64_t unflushed_bytes;
};

/*
 * Raises 'last_revision' to the highest that was ever given out, as far as anything
 * tells of it, and beyond it where changes are lost: none is given out twice.
 */
ES_MUST_USE enum es_status recover_target_know_revisions(struct recover_target *target,
                                                         const struct recover_finding *finding);

/*
 * Copies snapshots, checkpoints, producers and read models as far as they fit the
 * history that is kept, and writes who the store is.
 */
ES_MUST_USE enum es_status recover_target_copy_rest(struct recover_target *target,
                                                    struct recover_finding *finding);

/* A verify_found_fn: 'context' is a 'why' of DATA_WHY_BYTES. */
void recover_target_finding(void *context, const struct verify_finding *finding);

#endif
