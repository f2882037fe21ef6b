/*
 * A store that the broker's own sequencer and apply have built, what verify says
 * of it, and what a test changes in a copy of it.
 */
#ifndef TESTS_SUPPORT_VERIFY_FIXTURE_H
#define TESTS_SUPPORT_VERIFY_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/verify.h"
#include "tests/support/store_builder.h"

#define NO_BUDGET UINT64_C(0)
#define ALL_BUDGET (UINT64_MAX / 2)

enum {
    FINDINGS_MAX = 1000
};

struct verify_fixture {
    struct store_builder builder;
    struct verify_progress total;
    uint64_t slices;
    struct verify_finding first; /* kind 0: none yet */
    char first_stream[64];
    char first_message[512];
    bool prints;
    /* what to tamper with */
    enum store_family family;
    size_t entry; /* counted within the family */
    size_t at;    /* entries of the family met so far */
    size_t byte;  /* to flip; SIZE_MAX: leave the entry out */
    bool tampered;
    bool may_pass; /* nothing says what these bytes were */
    uint8_t value[1 << 16];
    uint8_t forged_hash[ES_HASH_SIZE];
};

int verify_set_up(void **state);
int verify_tear_down(void **state);

/* Two categories, streams of one event and of hundreds, keys, snapshots. */
void verify_build(struct store_builder *builder);

/* A verify_found_fn; 'context' is a struct verify_fixture. */
void verify_note(void *context, const struct verify_finding *finding);

/* Verifies the whole store in slices, and returns how much was found. */
uint64_t verify_store(struct verify_fixture *f, struct store *store, uint64_t budget_ns,
                      uint32_t findings_max);

#endif
