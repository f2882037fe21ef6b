/*
 * The steps of a commit, as the calls that make them: which were made in which order, and
 * where the broker dies. A test that includes this has the calls of log, store, control
 * page, ring and lanes replaced (es_wrap() of tests/CMakeLists.txt): each is made until
 * the broker is dead.
 */
#ifndef TESTS_SUPPORT_COMMIT_STEPS_H
#define TESTS_SUPPORT_COMMIT_STEPS_H

#include <stdbool.h>
#include <stdint.h>

enum commit_step {
    COMMIT_APPEND,
    COMMIT_SYNC,
    COMMIT_APPLY,
    COMMIT_CURSOR,
    COMMIT_ADVANCE,
    COMMIT_HEAD,
    COMMIT_FREE,
    COMMIT_ACK,
    COMMIT_WAKE,
    COMMIT_STEPS,
    COMMIT_NO_STEP
};

struct commit_watch {
    enum commit_step calls[64];
    uint32_t count;
    enum commit_step broken; /* this step, and everything after it, does not happen */
    bool is_broken;
    bool goes_on; /* only that one call fails */
};

extern struct commit_watch commit_watch;

/* Forgets the calls; the broker lives, until it comes to 'broken'. */
void commit_watch_reset(enum commit_step broken);

#endif
