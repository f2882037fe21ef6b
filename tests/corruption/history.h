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

#include "broker/reader.h"
#include "broker/store.h"

struct history_entry {
    enum store_family family;
    uint32_t key_at; /* in 'keys' */
    uint32_t key_bytes;
    uint64_t digest;      /* of the value */
    uint64_t event_count; /* of the stream whose head it is; else 0 */
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
    COMPARISON_WHAT_BYTES = 512,
    HISTORY_FAMILY_COUNT = 7
};

/* What is compared entry by entry. */
extern const enum store_family history_families[HISTORY_FAMILY_COUNT];

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

uint64_t history_digest_of_event(const struct reader_event *event);
uint64_t history_digest_of_value(struct store_slice value);

/* The stream whose head the entry is; empty: it is another key. */
struct es_text history_stream_of(const struct history *history, const struct history_entry *entry);

/* ---- Comparing ------------------------------------------------------------- */

/*
 * What is read is divided into units, numbered from 0: some positions, some sequences of a
 * stream, some keys, a family in key order. What a unit finds does not depend on the others.
 */
uint32_t history_unit_count(const struct history *history);

/* The unit that reads a position of all, or a sequence of a stream. False: no such stream. One
 * of positions goes on behind an error, so it finds each of several damages. */
uint32_t history_unit_of_position(uint64_t position);
bool history_unit_is_of_positions(const struct history *history, uint32_t unit);
bool history_unit_of_sequence(const struct history *history, struct es_text stream,
                              uint64_t sequence, uint32_t *ret_unit);

/* From this unit on it is keys and families. */
uint32_t history_first_key_unit(const struct history *history);

struct history_observer {
    void *context;
    /* False: the unit is left out. NULL: none is. */
    bool (*wants)(void *context, uint32_t unit);
    /* NULL: nobody asks. */
    void (*ended)(void *context, uint32_t unit, const struct comparison *found);
    bool is_cold;  /* nothing is kept from one unit to the next */
    bool gives_up; /* after some hundred errors in events no more of them are read */
};

/*
 * Reads a store in all the ways a broker does: by position, by stream, key by key,
 * and in key order; 'ret_comparison' tells how it differs from 'history'. 'observer' may be NULL:
 * everything is read, and it gives up.
 */
void history_compare(const struct history *history, struct store *store,
                     const struct history_observer *observer, struct comparison *ret_comparison);

/* What verify finds in it. */
uint64_t history_verify(const struct history *history, struct store *store);

#endif
