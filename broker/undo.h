/*
 * Takes back what a transaction did to the sequencer's memory when one of its
 * operations fails: each cache value that it changed is saved before its first
 * change, and put back in reverse. batch.h takes back the rest.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_UNDO_H
#define BROKER_UNDO_H

#include <stdint.h>

#include "broker/cache.h"

struct undo;

ES_MUST_USE enum es_status undo_new(struct undo **ret_undo);
void undo_free(struct undo *undo);

/* A transaction begins: what was saved before is final. */
void undo_begin(struct undo *undo);

/* Call it before every change of an entry's value; only the first one saves.
 * ES_E_NO_MEMORY: nothing was saved; change nothing. */
ES_MUST_USE enum es_status undo_save(struct undo *undo, struct cache_entry *entry);

/* Puts back every value saved since undo_begin(). */
void undo_rollback(struct undo *undo);

#endif
