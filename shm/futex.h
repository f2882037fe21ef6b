/*
 * Sleeping on a 32-bit word until it changes: the kernel's futex calls with
 * absolute deadlines, and the two small things every waiting loop needs (a
 * clock, a pause). It knows nothing of rings or lanes: doorbell.h and lane.h
 * say which word means what.
 *
 * Deadlines are nanoseconds of CLOCK_MONOTONIC; ES_DEADLINE_NEVER never passes.
 * Threads: any. Every sleep may end early; callers look again.
 */
#ifndef ES_SHM_FUTEX_H
#define ES_SHM_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

#define ES_DEADLINE_NEVER INT64_MAX
#define ES_FUTEX_WORD_COUNT_MAX 20u

/* One word to sleep on: the sleep begins only while '*word' is 'expected'. */
struct es_futex_word {
    const _Atomic uint32_t *word;
    uint32_t expected;
    bool is_shared; /* other processes change it; else only threads of this one */
};

/* The time now, CLOCK_MONOTONIC, in nanoseconds. */
int64_t es_monotonic_ns(void);

/* Now + 'timeout_ns', ES_DEADLINE_NEVER where that would overflow. */
int64_t es_deadline_after_ns(int64_t timeout_ns);

/*
 * Sleeps until one of 'count' words (1..ES_FUTEX_WORD_COUNT_MAX) is woken or no
 * longer holds its expected value, at most until 'deadline_ns'.
 *
 * A kernel without futex_waitv (or a seccomp filter that forbids it) sleeps on
 * words[0] alone, at most 1 ms at a time. A word in memory that is no longer
 * there (a truncated file) is treated the same way.
 *
 * ES_OK: woken, changed, or a signal came: look again.
 * ES_TIMEOUT: the deadline has passed.
 */
ES_MUST_USE enum es_status es_futex_wait(const struct es_futex_word *words, uint32_t count,
                                         int64_t deadline_ns);

/*
 * The same; '*ret_index' is the word that was woken, or 'count' where that is not known: it
 * had changed before, a signal came, or the kernel knows no futex_waitv.
 */
ES_MUST_USE enum es_status es_futex_wait_any(const struct es_futex_word *words, uint32_t count,
                                             int64_t deadline_ns, uint32_t *ret_index);

/* Wakes everybody who sleeps on 'word', and says whether anybody did. About 400 ns
 * even when nobody does. */
bool es_futex_wake(const _Atomic uint32_t *word, bool is_shared);

/* Tells the processor that this is a spinning loop. */
static inline void es_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif
