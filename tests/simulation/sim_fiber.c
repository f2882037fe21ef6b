#undef _FORTIFY_SOURCE /* its longjmp() knows of one stack only */
#define _FORTIFY_SOURCE 0

#include "tests/simulation/sim_fiber.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "shm/futex.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_heap.h"

enum {
    FIBERS_MAX = 96,
    STACK_BYTES = 256 * 1024,
    GUARD_BYTES = 4096
};

struct fiber {
    jmp_buf idle;    /* at the bottom of its stack, to begin anew */
    jmp_buf context; /* where it stopped */
    uint8_t *stack;
    void *(*run)(void *);
    void *argument;
    bool is_used;
    bool is_begun;
    bool is_ready;
    bool is_late; /* the wait ended by its deadline */
    const void *waits[ES_FUTEX_WORD_COUNT_MAX];
    uint32_t wait_count;
    int64_t deadline_ns;
    enum sim_zone zone;
};

static struct fiber fibers[FIBERS_MAX];
static uint32_t fiber_end; /* none is used from here on */
static struct fiber *current;
static jmp_buf host;
static ucontext_t host_once;
static struct fiber *newborn;

static bool wake(const void *address);

/* ---- switching ------------------------------------------------------------- */

static void to_host(void)
{
    if (_setjmp(current->context) == 0) {
        _longjmp(host, 1);
    }
}

/* The bottom of every stack: entered once, left for its idle point, and from then on
 * every fiber of this slot begins by a jump to it. */
static void bottom(void)
{
    struct fiber *fiber = newborn;

    if (_setjmp(fiber->idle) == 0) {
        swapcontext(&(ucontext_t){.uc_link = NULL}, &host_once);
    }
    current->run(current->argument);
    current->is_used = false;
    (void)wake(current); /* who joins it */
    _longjmp(host, 1);
}

static void make_stack(struct fiber *fiber)
{
    ucontext_t context;
    uint8_t *stack = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE) != 0) {
        perror("simulation: stack");
        abort();
    }
    fiber->stack = stack + GUARD_BYTES;
    (void)getcontext(&context);
    context.uc_stack.ss_sp = fiber->stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = NULL;
    makecontext(&context, bottom, 0);
    newborn = fiber;
    (void)swapcontext(&host_once, &context);
}

static struct fiber *find_free(void)
{
    for (uint32_t i = 0; i < FIBERS_MAX; i++) {
        if (!fibers[i].is_used) {
            fiber_end = i >= fiber_end ? i + 1 : fiber_end;
            return &fibers[i];
        }
    }
    (void)fprintf(stderr, "simulation: too many fibers\n");
    abort();
}

static struct fiber *fiber_begin(void *(*run)(void *), void *argument)
{
    struct fiber *fiber = find_free();

    if (fiber->stack == NULL) {
        make_stack(fiber);
    }
    fiber->run = run;
    fiber->argument = argument;
    fiber->is_used = true;
    fiber->is_begun = false;
    fiber->is_ready = true;
    fiber->wait_count = 0;
    fiber->deadline_ns = INT64_MAX;
    fiber->zone = ZONE_BROKER;
    return fiber;
}

void sim_fiber_new(void *(*run)(void *), void *argument)
{
    (void)fiber_begin(run, argument);
}

bool sim_fiber_inside(void)
{
    return current != NULL;
}

static void resume(struct fiber *fiber)
{
    enum sim_zone zone = sim_heap_select(fiber->zone);

    current = fiber;
    if (_setjmp(host) == 0) {
        if (fiber->is_begun) {
            _longjmp(fiber->context, 1);
        }
        fiber->is_begun = true;
        _longjmp(fiber->idle, 1);
    }
    current->zone = sim_heap_select(zone);
    current = NULL;
}

static void wake_late(void)
{
    for (uint32_t i = 0; i < fiber_end; i++) {
        struct fiber *fiber = &fibers[i];

        if (fiber->is_used && !fiber->is_ready && fiber->deadline_ns <= sim.now_ns) {
            fiber->is_ready = true;
            fiber->is_late = true;
        }
    }
}

bool sim_fiber_step(void)
{
    uint32_t ready[FIBERS_MAX];
    uint32_t count = 0;
    uint32_t chosen = 0;

    wake_late();
    for (uint32_t i = 0; i < fiber_end; i++) {
        if (fibers[i].is_used && fibers[i].is_ready) {
            ready[count++] = i;
        }
    }
    if (count == 0) {
        return false;
    }
    chosen = ready[count == 1 ? 0 : sim_below(count)];
    sim_trace(1, chosen);
    resume(&fibers[chosen]);
    return true;
}

int64_t sim_fiber_deadline(void)
{
    int64_t earliest = INT64_MAX;

    for (uint32_t i = 0; i < fiber_end; i++) {
        if (fibers[i].is_used && fibers[i].deadline_ns < earliest) {
            earliest = fibers[i].deadline_ns;
        }
    }
    return earliest;
}

void sim_fiber_yield(void)
{
    to_host();
}

void sim_fiber_leave(void)
{
    _longjmp(host, 1);
}

void sim_fiber_end_all(void)
{
    for (uint32_t i = 0; i < fiber_end; i++) {
        fibers[i].is_used = false;
    }
    fiber_end = 0;
}

/* ---- waiting --------------------------------------------------------------- */

/* Waits until one of the addresses is woken, or the deadline. False: the deadline. */
static bool wait_for(const void *const *addresses, uint32_t count, int64_t deadline_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        current->waits[i] = addresses[i];
    }
    current->wait_count = count;
    current->deadline_ns = deadline_ns;
    current->is_ready = false;
    current->is_late = false;
    to_host();
    current->wait_count = 0;
    current->deadline_ns = INT64_MAX;
    return !current->is_late;
}

static bool wake(const void *address)
{
    bool any = false;

    for (uint32_t i = 0; i < fiber_end; i++) {
        struct fiber *fiber = &fibers[i];

        for (uint32_t at = 0; fiber->is_used && at < fiber->wait_count; at++) {
            if (fiber->waits[at] == address) {
                fiber->is_ready = true;
                any = true;
            }
        }
    }
    return any;
}

enum es_status __wrap_es_futex_wait_any(const struct es_futex_word *words, uint32_t count,
                                        int64_t deadline_ns, uint32_t *ret_index);
enum es_status __wrap_es_futex_wait_any(const struct es_futex_word *words, uint32_t count,
                                        int64_t deadline_ns, uint32_t *ret_index)
{
    *ret_index = count;
    return es_futex_wait(words, count, deadline_ns);
}

enum es_status __wrap_es_futex_wait(const struct es_futex_word *words, uint32_t count,
                                    int64_t deadline_ns);
enum es_status __wrap_es_futex_wait(const struct es_futex_word *words, uint32_t count,
                                    int64_t deadline_ns)
{
    const void *addresses[ES_FUTEX_WORD_COUNT_MAX];

    for (uint32_t i = 0; i < count; i++) {
        addresses[i] = (const void *)words[i].word;
        if (atomic_load(words[i].word) != words[i].expected) {
            return ES_OK;
        }
    }
    return wait_for(addresses, count, deadline_ns) ? ES_OK : ES_TIMEOUT;
}

bool __wrap_es_futex_wake(const _Atomic uint32_t *word, bool is_shared);
bool __wrap_es_futex_wake(const _Atomic uint32_t *word, bool is_shared)
{
    (void)is_shared;
    return wake((const void *)word);
}

int __wrap_sched_yield(void);
int __wrap_sched_yield(void)
{
    sim_fiber_yield();
    return 0;
}

/* ---- pthreads -------------------------------------------------------------- */

/* What a mutex is here; laid over pthread_mutex_t. */
struct fiber_mutex {
    uint32_t is_locked;
};

static struct fiber_mutex *mutex_of(pthread_mutex_t *mutex)
{
    return (struct fiber_mutex *)(void *)mutex;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    (void)attributes;
    *thread = (pthread_t)(fiber_begin(run, argument) - fibers);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret_result);
int __wrap_pthread_join(pthread_t thread, void **ret_result)
{
    const void *address = &fibers[thread];

    (void)ret_result;
    while (fibers[thread].is_used) {
        (void)wait_for(&address, 1, INT64_MAX);
    }
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    (void)name;
    return 0;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    (void)attributes;
    mutex_of(mutex)->is_locked = 0;
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    const void *address = mutex;

    while (mutex_of(mutex)->is_locked != 0) {
        (void)wait_for(&address, 1, INT64_MAX);
    }
    mutex_of(mutex)->is_locked = 1;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    mutex_of(mutex)->is_locked = 0;
    (void)wake(mutex);
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    (void)condition;
    (void)attributes;
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition);
int __wrap_pthread_cond_destroy(pthread_cond_t *condition)
{
    (void)condition;
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    (void)wake(condition);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    (void)wake(condition);
    return 0;
}

static int wait_for_condition(pthread_cond_t *condition, pthread_mutex_t *mutex,
                              int64_t deadline_ns)
{
    const void *address = condition;
    bool is_woken = false;

    (void)__wrap_pthread_mutex_unlock(mutex);
    is_woken = wait_for(&address, 1, deadline_ns);
    (void)__wrap_pthread_mutex_lock(mutex);
    return is_woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    return wait_for_condition(condition, mutex, INT64_MAX);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    return wait_for_condition(condition, mutex,
                              (int64_t)until->tv_sec * 1000000000 + until->tv_nsec);
}
