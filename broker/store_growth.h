/*
 * Remembers, for the prefixes of event keys used last, the highest sequence
 * known to be there: so the rule that keys only grow (store.h) costs RocksDB no
 * read for streams written lately. It only remembers: whoever asks finds out
 * what is not known.
 *
 * Sound.    A prefix is compared in full, never by its hash alone. What one
 *           batch has taught stays until the next one begins.
 * Bounded.  GROWTH_PREFIXES_MAX prefixes, and those of one batch.
 * Threads.  The applying thread alone.
 */
#ifndef BROKER_STORE_GROWTH_H
#define BROKER_STORE_GROWTH_H

#include <stdint.h>

#include "broker/store.h"

enum {
    GROWTH_PREFIXES_MAX = 32768
};

struct store_growth;

/* 'seed' is random: nobody shall choose names that fall together. */
ES_MUST_USE enum es_status store_growth_new(uint64_t seed, struct store_growth **ret_growth);
void store_growth_free(struct store_growth *growth);

/* A batch begins: prefixes not used in it may make room from now on. */
void store_growth_begin(struct store_growth *growth);

/*
 * ES_OK: 'sequence' is above the highest of 'prefix', and is the highest now.
 * ES_E_EXISTS: it is not above. ES_EMPTY: the prefix is not known here; find the
 * highest, store_growth_learn() it, ask again.
 */
ES_MUST_USE enum es_status store_growth_raise(struct store_growth *growth,
                                              struct store_slice prefix, uint64_t sequence);

/* 'highest' of a prefix that is not known yet; 0 when it has no key. */
ES_MUST_USE enum es_status store_growth_learn(struct store_growth *growth,
                                              struct store_slice prefix, uint64_t highest);

/* Forgets everything: what was raised was not written. */
void store_growth_clear(struct store_growth *growth);

#endif
