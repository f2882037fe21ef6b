/*
 * Keeps the anchor near the truth: at most ANCHOR_DELAY_NS after a commit it
 * names the newest synced batch. With durability 'os' it is also what syncs the
 * log, once a second, before the anchor. Told to be at once (--anchor sync), it
 * writes the anchor before witness_note() returns, and so before the ack.
 *
 * Threads. witness_note(), witness_stop(): the commit thread. One of its own.
 */
#ifndef BROKER_WITNESS_H
#define BROKER_WITNESS_H

#include <stdbool.h>

#include "broker/anchor.h"
#include "broker/log.h"

struct witness;

struct witness_config {
    struct anchor *anchor; /* outlive it */
    struct log *log;
    bool syncs_log;                                    /* durability os */
    bool is_at_once;                                   /* --anchor sync; not with syncs_log */
    void (*failed)(const char *what, const char *why); /* fail-stop; does not return */
};

/* 'state' is what the anchor holds by now. */
ES_MUST_USE enum es_status witness_new(const struct witness_config *config,
                                       const struct anchor_state *state,
                                       struct witness **ret_witness);

/* The newest commit, which is synced unless syncs_log: batch, commit, position and store hash
 * of 'state' count. */
void witness_note(struct witness *witness, uint64_t batch_number, uint64_t commit_number,
                  uint64_t position, const uint8_t *store_hash);

/* Ends the thread and writes the last word: a clean stop at what was noted last. */
ES_MUST_USE enum es_status witness_stop_clean(struct witness *witness);

/* Ends the thread if need be, and writes nothing. NULL is fine. */
void witness_free(struct witness *witness);

#endif
