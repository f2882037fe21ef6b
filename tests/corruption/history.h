/*
 * Everything that can be read out of a store, so short that thousands can be
 * compared: of each event, head, key and record a digest, by position or key.
 *
 * Threads. One.
 */
#ifndef TESTS_CORRUPTION_HISTORY_H
#define TESTS_CORRUPTION_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/store.h"

struct history_entry {
    enum store_family family;
    uint32_t key_at; /* in 'keys' */
    uint32_t key_bytes;
    uint64_t digest; /* of the value */
};

struct history {
    uint64_t event_count;
    uint64_t *events; /* digests, by position - 1 */
    struct history_entry *entries;
    uint32_t entry_count;
    uint32_t entry_capacity;
    uint8_t *keys;
    uint32_t keys_bytes;
    uint32_t keys_capacity;
    uint8_t store_id[16];
};

enum {
    COMPARISON_WHAT_BYTES = 512
};

/* How a store differs from a history. */
struct comparison {
    uint64_t errors;                  /* reads that failed and said where */
    uint64_t missing;                 /* not there, and nobody said so */
    uint64_t wrong;                   /* other bytes, or events that never were */
    uint64_t mute;                    /* errors that do not say where */
    char what[COMPARISON_WHAT_BYTES]; /* the first that is not merely an error */
};

/* Into a file and back, for another process. */
bool history_save(const struct history *history, const char *path);
bool history_load(struct history *history, const char *path);

/* Reads a sound store. False: it is not; 'why' tells. */
bool history_record(struct history *history, struct store *store, const char **ret_why);

/*
 * Reads a store in all the ways a broker does: by position, by stream, key by key,
 * and in key order; 'ret_comparison' tells how it differs from 'history'.
 */
void history_compare(const struct history *history, struct store *store,
                     struct comparison *ret_comparison);

/* What verify finds in it. */
uint64_t history_verify(const struct history *history, struct store *store);

#endif
