/*
 * Which history a start goes on with: an epoch that log, RocksDB and anchor agree on, or a
 * new one. startup_check.c asks before anything is changed, startup.c does it.
 *
 * An epoch is begun in RocksDB first, then in the log, then in the anchor. A start that is
 * cut short in between is one that begins an epoch, and so is the one after it: only then
 * may the three differ.
 *
 * Threads. One.
 */
#ifndef BROKER_STARTUP_EPOCH_H
#define BROKER_STARTUP_EPOCH_H

#include "broker/startup_check.h"

/* Acknowledged events may have been lost, for the machine went down under a broker that did
 * not wait for the disk, or the store is a backup: what comes now is another history. */
bool startup_begins_epoch(const struct data_directory *directory, const struct anchor_state *anchor,
                          const uint8_t *boot_id);

/*
 * ES_E_CORRUPT: log, RocksDB and anchor are not of one history, or the list of epochs is
 * damaged. An anchor of an earlier epoch of this store is older, which is no contradiction.
 */
ES_MUST_USE enum es_status startup_check_epoch(const struct data_directory *directory,
                                               struct store *store,
                                               const struct startup_finding *finding,
                                               const uint8_t *boot_id, char why[DATA_WHY_BYTES]);

#endif
