/*
 * Makes a batch into the keys of the store: events, heads, positions, the commit
 * record, categories, keys, snapshots, 'Last'. One function, for the batch that
 * the sequencer has filled and for the one that recovery has read back from the
 * log: what a crash interrupts is therefore done again exactly as it was begun.
 * Everything it writes is absolute, so doing it twice is doing it once.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_APPLY_H
#define BROKER_APPLY_H

#include "broker/batch.h"
#include "broker/store.h"

/*
 * Fills 'writes' with what a closed batch changes; store_apply() is the
 * caller's. ES_E_NO_MEMORY, ES_E_TOO_LARGE, ES_E_CORRUPT: 'writes' is useless.
 */
ES_MUST_USE enum es_status apply_fill(const struct batch *batch, struct store_batch *writes);

/* The same, behind what 'writes' holds already: several batches may be applied as one. */
ES_MUST_USE enum es_status apply_add(const struct batch *batch, struct store_batch *writes);

#endif
