/* Waiting for an answer: it ends with the answer, the deadline or the interrupt, and
 * a wake that is due is never lost. No sleep here has a bound but the wake itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "shm/futex.h"
#include "tests/support/one_lane.h"

static void a_wait_ends_with_its_deadline(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 1);
    assert_int_equal(es_lane_wait(&f.writer, 1, 0, NULL, 0), ES_TIMEOUT);
    assert_int_equal(es_lane_wait(&f.writer, 1, es_deadline_after_ns(1000000), NULL, 0),
                     ES_TIMEOUT);
    assert_int_equal(atomic_load(&f.writer.file->waiting), 0);
    assert_int_equal(f.writer.late_count, 0);
    assert_int_equal(es_lane_wait(&f.writer, 2, ES_DEADLINE_NEVER, NULL, 0), ES_E_INVALID);
    one_lane_assert_next(&f, 1, 1);
    one_lane_answer(&f, 1);
    assert_int_equal(es_lane_wait(&f.writer, 1, 0, NULL, 0), ES_OK);
    one_lane_close(&f);
}

static void an_interrupt_before_the_wait_is_not_lost(void **state)
{
    struct one_lane f;
    _Atomic uint32_t interrupt = 7;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 1);
    es_lane_interrupt(&interrupt);
    assert_int_equal(es_lane_wait(&f.writer, 1, ES_DEADLINE_NEVER, &interrupt, 7), ES_INTERRUPTED);
    f.writer.spin_count = 0;
    assert_int_equal(es_lane_wait(&f.writer, 1, ES_DEADLINE_NEVER, &interrupt, 7), ES_INTERRUPTED);
    one_lane_close(&f);
}

struct interrupted {
    struct one_lane lane;
    _Atomic uint32_t word;
};

static void *interrupt_when_waiting(void *context)
{
    struct interrupted *i = context;

    while (atomic_load(&i->lane.writer.file->waiting) == 0) {
        es_cpu_relax();
    }
    es_lane_interrupt(&i->word);
    return NULL;
}

static void an_interrupt_ends_a_wait_that_sleeps(void **state)
{
    struct interrupted i = {.word = 0};
    pthread_t thread;

    (void)state;
    for (int round = 0; round < 50; round++) {
        uint32_t expected = atomic_load(&i.word);

        one_lane_open(&i.lane, 4);
        one_lane_publish(&i.lane, 1);
        i.lane.writer.sleep_ns_max = INT64_MAX; /* only the interrupt can end it */
        assert_int_equal(pthread_create(&thread, NULL, interrupt_when_waiting, &i), 0);
        assert_int_equal(es_lane_wait(&i.lane.writer, 1, ES_DEADLINE_NEVER, &i.word, expected),
                         ES_INTERRUPTED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        one_lane_close(&i.lane);
    }
}

static void *answer_when_waiting(void *context)
{
    struct one_lane *f = context;

    while (atomic_load(&f->writer.file->waiting) == 0) {
        es_cpu_relax();
    }
    one_lane_answer(f, 1);
    return NULL;
}

static void an_ack_wakes_the_wait_that_sleeps(void **state)
{
    struct one_lane f;
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 50; i++) {
        one_lane_open(&f, 4);
        one_lane_publish(&f, 1);
        one_lane_assert_next(&f, 1, 1);
        f.writer.sleep_ns_max = INT64_MAX; /* only the wake can end it */
        assert_int_equal(pthread_create(&thread, NULL, answer_when_waiting, &f), 0);
        assert_int_equal(es_lane_wait(&f.writer, 1, ES_DEADLINE_NEVER, NULL, 0), ES_OK);
        assert_int_equal(pthread_join(thread, NULL), 0);
        one_lane_assert_collects(&f, 1);
        one_lane_close(&f);
    }
}

/* A restarted broker wakes every lane, though nothing is newly acked. A producer that
 * is about to sleep, but does not sleep yet, must still be woken by the next ack. */
static void a_wake_that_finds_nobody_asleep_does_not_cancel_the_next(void **state)
{
    struct one_lane f;

    (void)state;
    one_lane_open(&f, 4);
    one_lane_publish(&f, 1);
    atomic_store(&f.writer.file->waiting, 5); /* announced; not in the kernel yet */
    es_lane_wake(&f.reader);
    assert_int_equal(atomic_load(&f.writer.file->waiting), 5);
    one_lane_attach_reader(&f, 0, 0, ES_OK);
    assert_int_equal(atomic_load(&f.writer.file->waiting), 5);
    one_lane_close(&f);
}

/* ---- swept: no ticket, no bell, nothing between the two but the lane ------ */

#define SWEPT_COUNT 20000u

static uint32_t swept_size(uint64_t sequence)
{
    return 1 + (uint32_t)(sequence * 7 % ONE_LANE_PAYLOAD_BYTES_MAX);
}

static void *publish_all(void *context)
{
    struct one_lane *f = context;
    void *payload;
    uint64_t sequence;

    for (uint64_t i = 1; i <= SWEPT_COUNT; i++) {
        struct es_lane_result result;

        while (es_lane_claim(&f->writer, swept_size(i), &payload) != ES_OK) {
            if (es_lane_wait(&f->writer, f->writer.collected + 1, ES_DEADLINE_NEVER, NULL, 0) !=
                    ES_OK ||
                es_lane_collect(&f->writer, &result) != ES_OK ||
                result.position != result.sequence * 10) {
                return NULL;
            }
        }
        one_lane_pattern(payload, swept_size(i), i);
        if (es_lane_publish(&f->writer, swept_size(i), ES_RECORD_ORDERED, &sequence) != ES_OK) {
            return NULL;
        }
    }
    return f;
}

/* The sweep finds records by 'published' alone: under the thread sanitizer this shows
 * that it orders them, without the ticket that usually does so too. */
static void published_alone_makes_a_record_whole(void **state)
{
    struct one_lane f;
    pthread_t thread;
    void *finished = NULL;
    uint64_t next = 1;

    (void)state;
    one_lane_open(&f, 4);
    assert_int_equal(pthread_create(&thread, NULL, publish_all, &f), 0);
    while (next <= SWEPT_COUNT) {
        if (es_lane_backlog(&f.reader) == 0) {
            (void)sched_yield();
            continue;
        }
        one_lane_assert_next(&f, next, swept_size(next));
        one_lane_answer(&f, next);
        next++;
    }
    assert_int_equal(pthread_join(thread, &finished), 0);
    assert_ptr_equal(finished, &f);
    assert_int_equal(f.writer.late_count, 0);
    one_lane_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_with_its_deadline),
        cmocka_unit_test(an_interrupt_before_the_wait_is_not_lost),
        cmocka_unit_test(an_interrupt_ends_a_wait_that_sleeps),
        cmocka_unit_test(a_wake_that_finds_nobody_asleep_does_not_cancel_the_next),
        cmocka_unit_test(an_ack_wakes_the_wait_that_sleeps),
        cmocka_unit_test(published_alone_makes_a_record_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
