/*
 * Lets the commit log go round: when a segment is begun, everything before it is
 * flushed from RocksDB's memory into synced files, in the background, and the
 * log is told, so that the oldest segment's file may be used again.
 *
 * Threads. flusher_begin(): the commit thread. flusher_wait(): any. One of its own.
 */
#ifndef BROKER_FLUSHER_H
#define BROKER_FLUSHER_H

#include "broker/counters.h"
#include "broker/log.h"
#include "broker/store.h"

struct flusher;

struct flusher_config {
    struct store *store; /* these outlive it */
    struct log *log;
    struct counters *counters;
    void (*failed)(const char *what, const char *why); /* fail-stop; does not return */
};

ES_MUST_USE enum es_status flusher_new(const struct flusher_config *config,
                                       struct flusher **ret_flusher);

/* Waits for what was begun, then ends the thread. NULL is fine. */
void flusher_free(struct flusher *flusher);

/*
 * Everything up to 'point' is applied and nothing beyond it: has it flushed, and
 * returns at once unless an earlier flush is still on its way.
 */
ES_MUST_USE enum es_status flusher_begin(struct flusher *flusher, const struct log_point *point);

/* Waits until nothing is on its way. */
void flusher_wait(struct flusher *flusher);

#endif
