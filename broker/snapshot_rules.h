/*
 * Saving and deleting snapshots, as operations of a transaction: a snapshot is
 * bound to an event that must be there, and a deletion is spelled out as the
 * keys that it removes, so that the log holds only absolute operations.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_SNAPSHOT_RULES_H
#define BROKER_SNAPSHOT_RULES_H

#include <stdbool.h>

#include "broker/batch.h"
#include "broker/heads.h"
#include "broker/store.h"
#include "shm/codec/transaction.h"

struct snapshot_rules {
    struct store *store;
    struct heads *heads;
    struct batch *batch;
    bool is_first;      /* the batch holds nothing but this transaction */
    bool needs_barrier; /* set with ES_FULL: only the store can tell, and it must be
                           up to date: nothing unapplied, and the transaction is_first */
};

/*
 * ES_FULL: no room in the batch, or see needs_barrier. ES_NOT_FOUND: the stream
 * has no such event. ES_E_*: the store cannot be read.
 */
ES_MUST_USE enum es_status snapshot_rules_save(struct snapshot_rules *rules,
                                               const struct es_snapshot_save_operation *save,
                                               struct es_lane_result *result);

/* Those that the same transaction has saved before are meant too. The number of
 * snapshots deleted goes into result->revision; at most BATCH_OPERATIONS_MAX at a
 * time. ES_NOT_FOUND: there is none. */
ES_MUST_USE enum es_status snapshot_rules_delete(struct snapshot_rules *rules,
                                                 const struct es_snapshot_delete_operation *delete,
                                                 struct es_lane_result *result);

#endif
