/*
 * The part of the start that changes the store: what the log holds beyond it is applied,
 * several records at a time (docs/adr/0017), and flushed. startup_check.c has judged the
 * same records before; startup.c begins the new segment afterwards.
 *
 * Threads. One.
 */
#ifndef BROKER_STARTUP_REPLAY_H
#define BROKER_STARTUP_REPLAY_H

#include "broker/startup_check.h"

/*
 * Applies the records after startup->end, moves that on, and notes in startup->ahead
 * what batches beyond the control page say of rings and lanes. Store, log and heads
 * are open. 'checked': what the check has found; NULL for a new store, whose log is empty.
 *
 * ES_E_CORRUPT: a record does not continue the history, or they are not those that were
 * checked. Other statuses and 'why' as of startup_open().
 */
ES_MUST_USE enum es_status startup_replay(struct startup *startup,
                                          const struct startup_finding *checked,
                                          char why[DATA_WHY_BYTES]);

#endif
