/* A broker that dies and attaches again: it frees what it had not freed, raises the
 * tail, takes nothing twice, and refuses a ring that is ahead of its own cursor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/support/dies_writing.h"
#include "tests/support/one_ring.h"

static void restart(struct one_ring *f, uint64_t cursor, enum es_status expected)
{
    assert_int_equal(
        es_ring_reader_attach(&f->reader, &f->segment, ONE_RING_ID, f->ring.slot_count, cursor),
        expected);
}

/* Killed after the control page has the cursor and before (or while) it frees: the
 * next broker frees the rest, and takes nothing twice. */
static void a_restart_frees_what_was_taken_before_the_cursor(void **state)
{
    (void)state;
    for (uint64_t freed = 0; freed <= 5; freed++) {
        struct one_ring f;
        uint64_t before;

        one_ring_open(&f, 8);
        one_ring_walk(&f, 3);
        before = f.reader.cursor;
        for (uint64_t i = 1; i <= 7; i++) {
            one_ring_place(&f, i);
        }
        for (uint64_t i = 1; i <= 6; i++) {
            one_ring_assert_takes(&f, i);
        }
        es_ring_free(&f.reader, before + freed);

        restart(&f, before + 5, ES_OK); /* 6 was taken, but its batch was not written */
        one_ring_assert_takes(&f, 6);
        one_ring_assert_takes(&f, 7);
        one_ring_assert_nothing_to_take(&f);
        es_ring_free(&f.reader, f.reader.cursor);
        one_ring_walk(&f, 3);
        assert_int_equal(f.reader.voided_count, 0);
        one_ring_close(&f);
    }
}

/* The producer died before it moved the tail, the broker before it raised it. */
static void a_restart_raises_a_tail_that_nobody_is_left_to_move(void **state)
{
    struct one_ring f;
    uint64_t cursor;

    (void)state;
    one_ring_open(&f, 2);
    one_ring_walk(&f, 1);
    one_ring_place_and_die(&f, 1);
    one_ring_assert_takes(&f, 1);
    cursor = f.reader.cursor;
    assert_int_equal(atomic_load(&f.ring.file->tail), cursor - 1);

    restart(&f, cursor, ES_OK);
    assert_int_equal(atomic_load(&f.ring.file->tail), cursor);
    one_ring_walk(&f, 4);
    one_ring_close(&f);
}

/* Freed slots ahead of the cursor were committed by a broker whose store was newer
 * than this one: going on would commit their lanes' next records over a hole. */
static void a_cursor_behind_freed_slots_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t behind = 1; behind <= 20; behind++) {
        struct one_ring f;
        struct es_ring_reader untouched;
        uint8_t *before = test_malloc(es_ring_bytes(8));

        one_ring_open(&f, 8);
        one_ring_walk(&f, 4);
        untouched = f.reader;
        memcpy(before, f.segment.base, f.segment.size);
        restart(&f, f.reader.cursor - behind, ES_REGRESSED);
        assert_memory_equal(before, f.segment.base, f.segment.size);
        assert_memory_equal(&untouched, &f.reader, sizeof untouched);
        restart(&f, f.reader.cursor, ES_OK);
        test_free(before);
        one_ring_close(&f);
    }
}

static void a_restart_keeps_tickets_that_wait(void **state)
{
    struct one_ring f;

    (void)state;
    one_ring_open(&f, 8);
    one_ring_walk(&f, 2);
    for (uint64_t i = 1; i <= 8; i++) {
        one_ring_place(&f, i);
    }
    restart(&f, f.reader.cursor, ES_OK);
    for (uint64_t i = 1; i <= 8; i++) {
        one_ring_assert_takes(&f, i);
    }
    one_ring_assert_nothing_to_take(&f);
    one_ring_close(&f);
}

/* ---- killed inside es_ring_free() ----------------------------------------- */

static void free_all(void *context)
{
    struct one_ring *f = context;

    es_ring_free(&f->reader, f->reader.cursor);
}

static void the_tail_is_raised_before_any_slot_is_freed(void **state)
{
    struct one_ring f;
    uint64_t cursor;

    (void)state;
    one_ring_open(&f, 4);
    one_ring_walk(&f, 2);
    one_ring_place_and_die(&f, 1);
    one_ring_assert_takes(&f, 1);
    cursor = f.reader.cursor;

    /* the slots cannot be written: what was done before them? */
    dies_writing((uint8_t *)f.segment.base + ES_PAGE_BYTES, ES_PAGE_BYTES, free_all, &f);
    assert_int_equal(atomic_load(&f.ring.file->tail), cursor);
    assert_int_equal(atomic_load(one_ring_slot(&f, cursor - 1)), es_slot_full(2, 7, 1));

    /* and the other way round: the tail cannot be written, so no slot is freed */
    atomic_store(&f.ring.file->tail, cursor - 1);
    dies_writing(f.segment.base, ES_PAGE_BYTES, free_all, &f);
    assert_int_equal(atomic_load(one_ring_slot(&f, cursor - 1)), es_slot_full(2, 7, 1));
    one_ring_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_frees_what_was_taken_before_the_cursor),
        cmocka_unit_test(a_restart_raises_a_tail_that_nobody_is_left_to_move),
        cmocka_unit_test(a_cursor_behind_freed_slots_is_refused_and_changes_nothing),
        cmocka_unit_test(a_restart_keeps_tickets_that_wait),
        cmocka_unit_test(the_tail_is_raised_before_any_slot_is_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
