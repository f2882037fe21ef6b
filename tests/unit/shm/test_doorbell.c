/* Sleeping and waking: whoever announces its sleep is woken by whatever comes after,
 * through a bell, the broker's own word, or a change that came before the sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/doorbell.h"
#include "shm/futex.h"
#include "tests/support/shared_memory.h"

#define RING_COUNT 3u

struct fixture {
    struct es_segment segments[RING_COUNT];
    struct es_ring rings[RING_COUNT];
    const struct es_ring *armed[RING_COUNT];
    struct es_doorbell doorbell;
    uint32_t ring_index;   /* which one a thread is to ring */
    _Atomic bool has_work; /* what the ring is for */
};

static void bells_open(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    for (uint32_t i = 0; i < RING_COUNT; i++) {
        f->segments[i] = shared_memory(es_ring_bytes(2));
        es_ring_format(&f->segments[i], i + 1, 2);
        assert_int_equal(es_ring_attach(&f->rings[i], &f->segments[i], i + 1, 2), ES_OK);
        f->armed[i] = &f->rings[i];
    }
}

static void bells_close(struct fixture *f)
{
    for (uint32_t i = 0; i < RING_COUNT; i++) {
        es_segment_unmap(&f->segments[i]);
    }
}

static uint32_t bell(struct fixture *f, uint32_t index)
{
    return atomic_load(&f->rings[index].file->bell);
}

static void nobody_rings_for_a_broker_that_is_awake(void **state)
{
    struct fixture f;

    (void)state;
    bells_open(&f);
    es_doorbell_ring(&f.rings[0]);
    assert_int_equal(bell(&f, 0), 0);
    es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
    es_doorbell_disarm(&f.doorbell);
    es_doorbell_ring(&f.rings[0]);
    assert_int_equal(bell(&f, 0), 0);
    bells_close(&f);
}

static void a_burst_rings_once(void **state)
{
    struct fixture f;

    (void)state;
    bells_open(&f);
    es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
    for (int i = 0; i < 10; i++) {
        es_doorbell_ring(&f.rings[1]);
    }
    assert_int_equal(bell(&f, 0), 0);
    assert_int_equal(bell(&f, 1), 1);
    assert_int_equal(es_doorbell_sleep(&f.doorbell, ES_DEADLINE_NEVER), ES_OK);
    bells_close(&f);
}

static void what_comes_between_arming_and_sleeping_is_not_slept_through(void **state)
{
    struct fixture f;

    (void)state;
    bells_open(&f);
    for (uint32_t i = 0; i < RING_COUNT; i++) {
        es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
        es_doorbell_ring(&f.rings[i]);
        assert_int_equal(es_doorbell_sleep(&f.doorbell, ES_DEADLINE_NEVER), ES_OK);
        assert_int_equal(atomic_load(&f.rings[i].file->sleeping), 0);
    }
    es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
    es_doorbell_wake(&f.doorbell);
    assert_int_equal(es_doorbell_sleep(&f.doorbell, ES_DEADLINE_NEVER), ES_OK);
    bells_close(&f);
}

static void who_has_called_can_be_told_afterwards(void **state)
{
    struct fixture f;

    (void)state;
    bells_open(&f);
    for (uint32_t i = 0; i < RING_COUNT; i++) {
        es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
        es_doorbell_ring(&f.rings[i]);
        assert_int_equal(es_doorbell_sleep(&f.doorbell, ES_DEADLINE_NEVER), ES_OK);
        for (uint32_t j = 0; j < RING_COUNT; j++) {
            assert_int_equal(es_doorbell_was_called(&f.doorbell, j), i == j);
        }
    }
    bells_close(&f);
}

static void *wake_without_ringing(void *context)
{
    struct fixture *f = context;

    while (!es_futex_wake(&f->rings[1].file->bell, true)) {
        sched_yield();
    }
    return NULL;
}

/* Whoever wakes has called, even where the word is as it was. */
static void a_wake_without_a_ring_can_be_told_afterwards(void **state)
{
    struct fixture f;
    pthread_t thread;

    (void)state;
    bells_open(&f);
    es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
    assert_int_equal(pthread_create(&thread, NULL, wake_without_ringing, &f), 0);
    assert_int_equal(es_doorbell_sleep(&f.doorbell, ES_DEADLINE_NEVER), ES_OK);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(es_doorbell_was_called(&f.doorbell, 1));
    bells_close(&f);
}

static void a_sleep_without_a_bell_ends_with_its_deadline(void **state)
{
    struct fixture f;

    (void)state;
    bells_open(&f);
    es_doorbell_wake(&f.doorbell); /* long ago: its work has been seen */
    es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
    assert_int_equal(es_doorbell_sleep(&f.doorbell, es_deadline_after_ns(1000000)), ES_TIMEOUT);
    es_doorbell_arm(&f.doorbell, f.armed, 0);
    assert_int_equal(es_doorbell_sleep(&f.doorbell, 0), ES_TIMEOUT);
    assert_int_equal(atomic_load(&f.doorbell.is_sleeping), 0);
    bells_close(&f);
}

static void *ring_when_sleeping(void *context)
{
    struct fixture *f = context;

    while (atomic_load(&f->doorbell.is_sleeping) == 0) {
        es_cpu_relax();
    }
    atomic_store(&f->has_work, true);
    if (f->ring_index < RING_COUNT) {
        es_doorbell_ring(&f->rings[f->ring_index]);
    } else {
        es_doorbell_wake(&f->doorbell);
    }
    return NULL;
}

static void every_bell_and_the_brokers_own_word_wake(void **state)
{
    struct fixture f;
    pthread_t thread;

    (void)state;
    bells_open(&f);
    for (uint32_t i = 0; i < 50 * (RING_COUNT + 1); i++) {
        f.ring_index = i % (RING_COUNT + 1);
        atomic_store(&f.has_work, false);
        assert_int_equal(pthread_create(&thread, NULL, ring_when_sleeping, &f), 0);
        es_doorbell_arm(&f.doorbell, f.armed, RING_COUNT);
        if (atomic_load(&f.has_work)) { /* whoever arms looks once more before it sleeps */
            es_doorbell_disarm(&f.doorbell);
        } else {
            assert_int_equal(es_doorbell_sleep(&f.doorbell, ES_DEADLINE_NEVER), ES_OK);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    bells_close(&f);
}

/* ---- futex.h itself ------------------------------------------------------ */

static void a_word_that_has_changed_is_not_slept_on(void **state)
{
    _Atomic uint32_t mine = 1;
    _Atomic uint32_t other = 2;
    const struct es_futex_word both[] = {{&mine, 1, false}, {&other, 3, true}};
    const struct es_futex_word one = {&mine, 0, false};

    (void)state;
    assert_int_equal(es_futex_wait(both, 2, ES_DEADLINE_NEVER), ES_OK);
    assert_int_equal(es_futex_wait(&one, 1, ES_DEADLINE_NEVER), ES_OK);
    assert_false(es_futex_wake(&mine, false));
}

static void deadlines_do_not_overflow(void **state)
{
    (void)state;
    assert_int_equal(es_deadline_after_ns(INT64_MAX), ES_DEADLINE_NEVER);
    assert_int_equal(es_deadline_after_ns(INT64_MAX - 1), ES_DEADLINE_NEVER);
    assert_true(es_deadline_after_ns(0) <= es_monotonic_ns());
}

/* A word whose page is gone must not turn the sleep into a spin, nor into a failure. */
static void a_word_that_is_gone_shortens_the_sleep(void **state)
{
    _Atomic uint32_t mine = 1;
    struct es_segment gone = shared_memory(ES_PAGE_BYTES);
    const struct es_futex_word words[] = {{&mine, 1, false}, {gone.base, 0, true}};

    (void)state;
    assert_int_equal(mprotect(gone.base, gone.size, PROT_NONE), 0);
    assert_int_equal(es_futex_wait(words, 2, ES_DEADLINE_NEVER), ES_OK);
    assert_int_equal(es_futex_wait(words, 2, 0), ES_TIMEOUT);
    es_segment_unmap(&gone);
}

/* Makes futex_waitv fail with 'error', as an old kernel or a container would. */
static int forbid_futex_waitv(uint32_t error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child: exit code 0 if sleeping on several words works without the call. */
static int sleeps_without_waitv(uint32_t error)
{
    _Atomic uint32_t mine = 1;
    _Atomic uint32_t other = 2;
    const struct es_futex_word words[] = {{&mine, 1, false}, {&other, 2, true}};

    if (!forbid_futex_waitv(error)) {
        return 2;
    }
    for (int i = 0; i < 3; i++) {
        if (es_futex_wait(words, 2, ES_DEADLINE_NEVER) != ES_OK ||
            es_futex_wait(words, 2, 0) != ES_TIMEOUT) {
            return 3;
        }
    }
    atomic_store(&mine, 5);
    return es_futex_wait(words, 2, ES_DEADLINE_NEVER) == ES_OK ? 0 : 4;
}

static void a_kernel_without_futex_waitv_sleeps_in_short_pieces(void **state)
{
    static const uint32_t errors[] = {ENOSYS, EPERM};

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        int status = 0;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            _exit(sleeps_without_waitv(errors[i]));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_rings_for_a_broker_that_is_awake),
        cmocka_unit_test(a_burst_rings_once),
        cmocka_unit_test(what_comes_between_arming_and_sleeping_is_not_slept_through),
        cmocka_unit_test(who_has_called_can_be_told_afterwards),
        cmocka_unit_test(a_wake_without_a_ring_can_be_told_afterwards),
        cmocka_unit_test(a_sleep_without_a_bell_ends_with_its_deadline),
        cmocka_unit_test(every_bell_and_the_brokers_own_word_wake),
        cmocka_unit_test(a_word_that_has_changed_is_not_slept_on),
        cmocka_unit_test(deadlines_do_not_overflow),
        cmocka_unit_test(a_word_that_is_gone_shortens_the_sleep),
        cmocka_unit_test(a_kernel_without_futex_waitv_sleeps_in_short_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
