#include "shm/futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define FALLBACK_SLEEP_NS_MAX INT64_C(1000000)

/* Set once a call of futex_waitv said that there is none. */
static _Atomic bool waitv_is_missing;

int64_t es_monotonic_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

int64_t es_deadline_after_ns(int64_t timeout_ns)
{
    int64_t now_ns = es_monotonic_ns();

    return timeout_ns >= ES_DEADLINE_NEVER - now_ns ? ES_DEADLINE_NEVER : now_ns + timeout_ns;
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                             .tv_nsec = (long)(ns % NS_PER_SECOND)};
}

/* FUTEX_WAIT_BITSET takes the same absolute deadline as futex_waitv. 0 or errno. */
static int wait_one(const struct es_futex_word *word, int64_t deadline_ns)
{
    struct timespec deadline = timespec_of(deadline_ns);
    int operation = FUTEX_WAIT_BITSET | (word->is_shared ? 0 : FUTEX_PRIVATE_FLAG);
    long result =
        syscall(SYS_futex, (const void *)word->word, operation, word->expected,
                deadline_ns == ES_DEADLINE_NEVER ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);

    return result < 0 ? errno : 0;
}

static int wait_many(const struct es_futex_word *words, uint32_t count, int64_t deadline_ns,
                     uint32_t *ret_index)
{
    struct futex_waitv waiters[ES_FUTEX_WORD_COUNT_MAX];
    struct timespec deadline = timespec_of(deadline_ns);
    long result;

    for (uint32_t i = 0; i < count; i++) {
        waiters[i] = (struct futex_waitv){
            .val = words[i].expected,
            .uaddr = (uintptr_t)words[i].word,
            .flags = FUTEX_32 | (words[i].is_shared ? 0u : (uint32_t)FUTEX_PRIVATE_FLAG),
        };
    }
    result = syscall(SYS_futex_waitv, waiters, count, 0,
                     deadline_ns == ES_DEADLINE_NEVER ? NULL : &deadline, CLOCK_MONOTONIC);
    if (result >= 0) {
        *ret_index = (uint32_t)result;
    }
    return result < 0 ? errno : 0;
}

/* The other words may change without being noticed here, so the sleep is short. */
static enum es_status wait_first_briefly(const struct es_futex_word *words, int64_t deadline_ns)
{
    int64_t soon_ns = es_deadline_after_ns(FALLBACK_SLEEP_NS_MAX);
    bool is_last = deadline_ns <= soon_ns;
    int error = wait_one(&words[0], is_last ? deadline_ns : soon_ns);

    return is_last && error == ETIMEDOUT ? ES_TIMEOUT : ES_OK;
}

enum es_status es_futex_wait_any(const struct es_futex_word *words, uint32_t count,
                                 int64_t deadline_ns, uint32_t *ret_index)
{
    int error;

    *ret_index = count;
    if (count > 1 && atomic_load_explicit(&waitv_is_missing, memory_order_relaxed)) {
        return wait_first_briefly(words, deadline_ns);
    }
    error = count == 1 ? wait_one(&words[0], deadline_ns)
                       : wait_many(words, count, deadline_ns, ret_index);
    switch (error) {
    case ETIMEDOUT: return ES_TIMEOUT;
    case 0:
    case EAGAIN: /* a word had changed already */
    case EINTR: return ES_OK;
    case ENOSYS:
    case EPERM: atomic_store_explicit(&waitv_is_missing, true, memory_order_relaxed); break;
    default: break; /* a word whose page is gone (EFAULT) */
    }
    return wait_first_briefly(words, deadline_ns);
}

enum es_status es_futex_wait(const struct es_futex_word *words, uint32_t count, int64_t deadline_ns)
{
    uint32_t index;

    return es_futex_wait_any(words, count, deadline_ns, &index);
}

bool es_futex_wake(const _Atomic uint32_t *word, bool is_shared)
{
    int operation = FUTEX_WAKE | (is_shared ? 0 : FUTEX_PRIVATE_FLAG);

    return syscall(SYS_futex, (const void *)word, operation, INT_MAX, NULL, NULL, 0) > 0;
}
