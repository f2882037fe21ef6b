/* The rules of the ring, one by one: what is placed is taken, in order, whoever
 * dies between two steps and whatever is scribbled into the slots and the tail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/ring.h"
#include "tests/support/prng.h"
#include "tests/support/shared_memory.h"

#define RING_ID UINT64_C(0x1122334455667788)

struct fixture {
    struct es_segment segment;
    struct es_ring ring;
    struct es_ring_reader reader;
};

static void ring_open(struct fixture *f, uint32_t slot_count)
{
    f->segment = shared_memory(es_ring_bytes(slot_count));
    es_ring_format(&f->segment, RING_ID, slot_count);
    assert_int_equal(es_ring_attach(&f->ring, &f->segment, RING_ID, slot_count), ES_OK);
    assert_int_equal(es_ring_reader_attach(&f->reader, &f->segment, RING_ID, slot_count, 0), ES_OK);
}

static void ring_close(struct fixture *f)
{
    es_segment_unmap(&f->segment);
}

static void place(struct fixture *f, uint64_t sequence)
{
    assert_int_equal(es_ring_place(&f->ring, 7, sequence), ES_OK);
}

static void assert_takes(struct fixture *f, uint64_t sequence)
{
    struct es_ticket ticket;

    assert_int_equal(es_ring_take(&f->reader, &ticket), ES_OK);
    assert_int_equal(ticket.lane_index, 7);
    assert_int_equal(ticket.sequence_low, sequence & ES_SLOT_SEQUENCE_MASK);
}

static void assert_nothing_to_take(struct fixture *f)
{
    struct es_ticket ticket = {.position = 99};

    assert_int_equal(es_ring_take(&f->reader, &ticket), ES_EMPTY);
    assert_int_equal(ticket.position, 99);
    assert_false(es_ring_has_ticket(&f->reader));
}

/* Whole laps through the ring, so that later steps start on lap 'laps'. */
static void walk(struct fixture *f, uint32_t laps)
{
    for (uint64_t i = 0; i < (uint64_t)laps * f->ring.slot_count; i++) {
        place(f, i);
        assert_takes(f, i);
        es_ring_free(&f->reader, f->reader.cursor);
    }
}

/* Steps a producer up to the instant after its slot is taken, and leaves it there. */
static void place_and_die(struct fixture *f, uint64_t sequence)
{
    struct es_placement dying = {.lane_index = 7, .sequence = sequence};

    for (int i = 0; i < 100 && !dying.is_placed; i++) {
        assert_int_equal(es_ring_step(&f->ring, &dying), ES_EMPTY);
    }
    assert_true(dying.is_placed);
}

static _Atomic uint64_t *slot(struct fixture *f, uint64_t position)
{
    return &f->ring.file->slots[position % f->ring.slot_count];
}

static void tickets_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    for (uint32_t slot_count = 2; slot_count <= 64; slot_count *= 2) {
        struct fixture f;
        uint64_t placed = 0;
        uint64_t taken = 0;

        ring_open(&f, slot_count);
        for (uint32_t lap = 0; lap < 1000; lap++) {
            for (uint32_t i = 0; i < 1 + lap % slot_count; i++) {
                place(&f, ++placed);
            }
            assert_int_equal(es_ring_depth(&f.reader), placed - taken);
            while (taken < placed) {
                assert_true(es_ring_has_ticket(&f.reader));
                assert_takes(&f, ++taken);
            }
            assert_nothing_to_take(&f);
            es_ring_free(&f.reader, f.reader.cursor);
        }
        assert_int_equal(f.reader.voided_count, 0);
        ring_close(&f);
    }
}

/* A slot is another producer's only when the commit that holds its ticket is durable. */
static void a_taken_slot_is_not_reused_before_it_is_freed(void **state)
{
    struct fixture f;

    (void)state;
    ring_open(&f, 4);
    for (uint64_t i = 1; i <= 4; i++) {
        place(&f, i);
    }
    assert_int_equal(es_ring_place(&f.ring, 7, 5), ES_FULL);
    assert_takes(&f, 1);
    assert_takes(&f, 2);
    assert_int_equal(es_ring_place(&f.ring, 7, 5), ES_FULL);

    es_ring_free(&f.reader, 1);
    place(&f, 5);
    assert_int_equal(es_ring_place(&f.ring, 7, 6), ES_FULL);

    es_ring_free(&f.reader, 99); /* no further than what was taken */
    assert_int_equal(f.reader.freed, 2);
    place(&f, 6);
    for (uint64_t i = 3; i <= 6; i++) {
        assert_takes(&f, i);
    }
    assert_nothing_to_take(&f);
    ring_close(&f);
}

/* A producer dies between its two compare-and-swaps: the ticket counts, and the
 * next producer gets past it, whether the broker has been there or not. */
static void a_producer_that_dies_before_it_moves_the_tail_stops_nobody(void **state)
{
    (void)state;
    for (int broker_was_there = 0; broker_was_there < 2; broker_was_there++) {
        struct fixture f;

        ring_open(&f, 2);
        walk(&f, 3);
        place_and_die(&f, 1);
        if (broker_was_there) {
            assert_takes(&f, 1);
            es_ring_free(&f.reader, f.reader.cursor);
        }
        place(&f, 2);
        if (!broker_was_there) {
            assert_takes(&f, 1);
        }
        assert_takes(&f, 2);
        assert_nothing_to_take(&f);
        ring_close(&f);
    }
}

/* The rule that a wedged ring taught: a slot of a newer lap means "done", not
 * "full". Here the tail stays behind slots that were freed long ago, as a broker
 * that frees first, or a hostile neighbour, would leave it. */
static void a_tail_behind_freed_slots_is_helped_forward(void **state)
{
    (void)state;
    for (uint32_t behind = 1; behind <= 64; behind++) {
        struct fixture f;

        ring_open(&f, 8);
        walk(&f, 20);
        atomic_store(&f.ring.file->tail, f.reader.cursor - behind);
        place(&f, 1);
        assert_takes(&f, 1);
        ring_close(&f);
    }
}

static void a_tail_that_lies_is_put_back_by_the_broker(void **state)
{
    static const uint64_t lies[] = {9, 10, 1000, 100000, UINT64_C(1) << 40};

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct fixture f;

        ring_open(&f, 8);
        walk(&f, 5);
        atomic_store(&f.ring.file->tail, f.reader.cursor + lies[i]);
        assert_int_equal(es_ring_place(&f.ring, 7, 1), ES_FULL);
        assert_true(es_ring_has_ticket(&f.reader)); /* the broker must not sleep on it */
        assert_int_equal(es_ring_take(&f.reader, &(struct es_ticket){0}), ES_EMPTY);
        assert_false(es_ring_has_ticket(&f.reader));
        place(&f, 1);
        assert_takes(&f, 1);
        ring_close(&f);
    }
}

/* Anybody of the uid may write EMPTY over a neighbour's ticket. Its record is found
 * by the sweep; the tickets behind it must not wait for it. */
static void an_erased_ticket_is_skipped_and_its_position_freed(void **state)
{
    struct fixture f;

    (void)state;
    ring_open(&f, 8);
    walk(&f, 2);
    for (uint64_t i = 1; i <= 5; i++) {
        place(&f, i);
    }
    atomic_store(slot(&f, f.reader.cursor), es_slot_empty(2));
    atomic_store(slot(&f, f.reader.cursor + 2), es_slot_empty(2));
    assert_takes(&f, 2);
    assert_takes(&f, 4);
    assert_takes(&f, 5);
    assert_nothing_to_take(&f);
    assert_int_equal(f.reader.voided_count, 2);
    es_ring_free(&f.reader, f.reader.cursor);
    walk(&f, 3);
    ring_close(&f);
}

static void a_forged_slot_of_any_other_lap_is_skipped_and_repaired(void **state)
{
    const uint64_t laps[] = {0, 1, 3, 4, 1000, ES_SLOT_LAP_MASK, ES_SLOT_LAP_MASK / 2};

    (void)state;
    for (size_t i = 0; i < sizeof laps / sizeof laps[0]; i++) {
        for (int is_full = 0; is_full < 2; is_full++) {
            struct fixture f;

            ring_open(&f, 4);
            walk(&f, 2);
            atomic_store(slot(&f, f.reader.cursor),
                         is_full ? es_slot_full(laps[i], 3, 3) : es_slot_empty(laps[i]));
            assert_true(es_ring_has_ticket(&f.reader));
            assert_int_equal(es_ring_take(&f.reader, &(struct es_ticket){0}), ES_EMPTY);
            assert_int_equal(f.reader.voided_count, 1);
            es_ring_free(&f.reader, f.reader.cursor);
            assert_false(es_ring_has_ticket(&f.reader));
            for (uint64_t j = 1; j <= 4; j++) {
                place(&f, j);
            }
            for (uint64_t j = 1; j <= 4; j++) {
                assert_takes(&f, j);
            }
            ring_close(&f);
        }
    }
}

/* Forty bits of laps run out after years; what follows is lap 0 again. */
static void laps_wrap_around(void **state)
{
    (void)state;
    for (uint32_t slot_count = 2; slot_count <= 64; slot_count *= 2) {
        struct fixture f;
        uint64_t lap = ES_SLOT_LAP_MASK - 2;

        ring_open(&f, slot_count);
        for (uint32_t i = 0; i < slot_count; i++) {
            atomic_store(&f.ring.file->slots[i], es_slot_empty(lap));
        }
        atomic_store(&f.ring.file->tail, lap * slot_count);
        assert_int_equal(
            es_ring_reader_attach(&f.reader, &f.segment, RING_ID, slot_count, lap * slot_count),
            ES_OK);
        walk(&f, 3);
        place_and_die(&f, 1);
        assert_takes(&f, 1);
        es_ring_free(&f.reader, f.reader.cursor);
        walk(&f, 3);
        assert_int_equal(f.reader.voided_count, 0);
        ring_close(&f);
    }
}

static void a_ticket_names_the_one_sequence_that_can_be_in_flight(void **state)
{
    (void)state;
    for (uint64_t consumed = 0x7f00; consumed < 0x18100; consumed += 0x55) {
        for (uint64_t ahead = 1; ahead <= 256; ahead++) {
            uint32_t low = (uint32_t)((consumed + ahead) & ES_SLOT_SEQUENCE_MASK);

            assert_int_equal(es_ticket_sequence(consumed, 256, low), consumed + ahead);
            assert_int_equal(es_ticket_sequence(consumed, (uint32_t)ahead - 1, low), 0);
        }
    }
    assert_int_equal(es_ticket_sequence(5, 256, 5), 0); /* replayed */
    assert_int_equal(es_ticket_sequence(5, 256, 4), 0); /* older */
    assert_int_equal(es_ticket_sequence(5, 256, 5 + 257), 0);
    assert_int_equal(es_ticket_sequence(5, 256, UINT32_MAX), 0);
}

static void another_ring_or_size_or_layout_is_not_attached_to(void **state)
{
    struct fixture f;
    struct es_ring ring = {.slot_count = 77};
    struct es_segment cut;

    (void)state;
    ring_open(&f, 8);
    cut = f.segment;
    cut.size -= ES_PAGE_BYTES;
    assert_int_equal(es_ring_attach(&ring, &cut, RING_ID, 8), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID + 1, 8), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID, 4), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID, 7), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID, 0), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID, 1u << 21), ES_E_CORRUPT);
    atomic_store(&f.ring.file->layout_id, ES_LAYOUT_ID + 1);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID, 8), ES_E_VERSION);
    atomic_store(&f.ring.file->magic, ES_LANE_MAGIC);
    assert_int_equal(es_ring_attach(&ring, &f.segment, RING_ID, 8), ES_E_CORRUPT);
    assert_int_equal(es_ring_reader_attach(&f.reader, &f.segment, RING_ID, 8, 0), ES_E_CORRUPT);
    assert_int_equal(ring.slot_count, 77);
    ring_close(&f);
}

/* ---- restart ------------------------------------------------------------- */

static void restart(struct fixture *f, uint64_t cursor, enum es_status expected)
{
    assert_int_equal(
        es_ring_reader_attach(&f->reader, &f->segment, RING_ID, f->ring.slot_count, cursor),
        expected);
}

/* Killed after the control page has the cursor and before (or while) it frees: the
 * next broker frees the rest, and takes nothing twice. */
static void a_restart_frees_what_was_taken_before_the_cursor(void **state)
{
    (void)state;
    for (uint64_t freed = 0; freed <= 5; freed++) {
        struct fixture f;
        uint64_t before;

        ring_open(&f, 8);
        walk(&f, 3);
        before = f.reader.cursor;
        for (uint64_t i = 1; i <= 7; i++) {
            place(&f, i);
        }
        for (uint64_t i = 1; i <= 6; i++) {
            assert_takes(&f, i);
        }
        es_ring_free(&f.reader, before + freed);

        restart(&f, before + 5, ES_OK); /* 6 was taken, but its batch was not written */
        assert_takes(&f, 6);
        assert_takes(&f, 7);
        assert_nothing_to_take(&f);
        es_ring_free(&f.reader, f.reader.cursor);
        walk(&f, 3);
        assert_int_equal(f.reader.voided_count, 0);
        ring_close(&f);
    }
}

/* The producer died before it moved the tail, the broker before it raised it. */
static void a_restart_raises_a_tail_that_nobody_is_left_to_move(void **state)
{
    struct fixture f;
    uint64_t cursor;

    (void)state;
    ring_open(&f, 2);
    walk(&f, 1);
    place_and_die(&f, 1);
    assert_takes(&f, 1);
    cursor = f.reader.cursor;
    assert_int_equal(atomic_load(&f.ring.file->tail), cursor - 1);

    restart(&f, cursor, ES_OK);
    assert_int_equal(atomic_load(&f.ring.file->tail), cursor);
    walk(&f, 4);
    ring_close(&f);
}

/* Freed slots ahead of the cursor were committed by a broker whose store was newer
 * than this one: going on would commit their lanes' next records over a hole. */
static void a_cursor_behind_freed_slots_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t behind = 1; behind <= 20; behind++) {
        struct fixture f;
        struct es_ring_reader untouched;
        uint8_t *before = test_malloc(es_ring_bytes(8));

        ring_open(&f, 8);
        walk(&f, 4);
        untouched = f.reader;
        memcpy(before, f.segment.base, f.segment.size);
        restart(&f, f.reader.cursor - behind, ES_REGRESSED);
        assert_memory_equal(before, f.segment.base, f.segment.size);
        assert_memory_equal(&untouched, &f.reader, sizeof untouched);
        restart(&f, f.reader.cursor, ES_OK);
        test_free(before);
        ring_close(&f);
    }
}

static void a_restart_keeps_tickets_that_wait(void **state)
{
    struct fixture f;

    (void)state;
    ring_open(&f, 8);
    walk(&f, 2);
    for (uint64_t i = 1; i <= 8; i++) {
        place(&f, i);
    }
    restart(&f, f.reader.cursor, ES_OK);
    for (uint64_t i = 1; i <= 8; i++) {
        assert_takes(&f, i);
    }
    assert_nothing_to_take(&f);
    ring_close(&f);
}

/* ---- killed inside es_ring_free() ----------------------------------------- */

/* Runs es_ring_free() in a child that may write only a part of the file, so that
 * the child dies at its first store to the rest. */
static void free_until_it_touches(struct fixture *f, size_t offset, size_t size)
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka and the sanitizers would report it */
        if (mprotect((uint8_t *)f->segment.base + offset, size, PROT_READ) == 0) {
            es_ring_free(&f->reader, f->reader.cursor);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void the_tail_is_raised_before_any_slot_is_freed(void **state)
{
    struct fixture f;
    uint64_t cursor;

    (void)state;
    ring_open(&f, 4);
    walk(&f, 2);
    place_and_die(&f, 1);
    assert_takes(&f, 1);
    cursor = f.reader.cursor;

    /* the slots cannot be written: what was done before them? */
    free_until_it_touches(&f, ES_PAGE_BYTES, ES_PAGE_BYTES);
    assert_int_equal(atomic_load(&f.ring.file->tail), cursor);
    assert_int_equal(atomic_load(slot(&f, cursor - 1)), es_slot_full(2, 7, 1));

    /* and the other way round: the tail cannot be written, so no slot is freed */
    atomic_store(&f.ring.file->tail, cursor - 1);
    free_until_it_touches(&f, 0, ES_PAGE_BYTES);
    assert_int_equal(atomic_load(slot(&f, cursor - 1)), es_slot_full(2, 7, 1));
    ring_close(&f);
}

/* ---- anything written anywhere ------------------------------------------- */

static void scribble(struct fixture *f, struct prng *prng)
{
    uint32_t slot_count = f->ring.slot_count;
    uint64_t near_lap = f->reader.cursor / slot_count + prng_below(prng, 5) - 2;
    _Atomic uint64_t *word =
        prng_one_in(prng, 3) ? &f->ring.file->tail : slot(f, prng_below(prng, slot_count));

    switch (prng_below(prng, 4)) {
    case 0: atomic_store(word, prng_next(prng)); break;
    case 1: atomic_store(word, es_slot_empty(near_lap)); break;
    case 2: atomic_store(word, es_slot_full(near_lap, 3, prng_next(prng))); break;
    default: atomic_store(word, f->reader.cursor + prng_below(prng, 9) - 4); break;
    }
}

/* Scribbles over slots and tail while tickets are placed and taken. When it stops,
 * each spoiled slot may turn one producer away when its turn comes; the broker's
 * next look repairs it, and no ticket that was placed since is lost. */
static void a_ring_survives_any_scribbling(void **state)
{
    struct prng prng;

    (void)state;
    prng_begin(&prng, "a_ring_survives_any_scribbling");
    for (int round = 0; round < 20000; round++) {
        struct fixture f;
        struct es_ticket ticket;

        ring_open(&f, 2u << prng_below(&prng, 4));
        for (int i = 0; i < 40; i++) {
            switch (prng_below(&prng, 4)) {
            case 0: es_ring_free(&f.reader, f.reader.cursor); break;
            case 1: (void)!es_ring_place(&f.ring, 7, prng_next(&prng)); break;
            case 2: (void)!es_ring_take(&f.reader, &ticket); break;
            default: scribble(&f, &prng); break;
            }
        }
        for (uint32_t i = 0; i < 2 * f.ring.slot_count; i++) {
            while (es_ring_take(&f.reader, &ticket) == ES_OK) {
                es_ring_free(&f.reader, f.reader.cursor);
            }
            es_ring_free(&f.reader, f.reader.cursor);
            if (es_ring_place(&f.ring, 7, i) == ES_OK) {
                assert_takes(&f, i);
            } else {
                assert_true(es_ring_has_ticket(&f.reader)); /* the broker is not asleep */
            }
        }
        walk(&f, 2);
        assert_nothing_to_take(&f);
        restart(&f, f.reader.cursor, ES_OK);
        walk(&f, 1);
        ring_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tickets_come_out_in_the_order_they_went_in),
        cmocka_unit_test(a_taken_slot_is_not_reused_before_it_is_freed),
        cmocka_unit_test(a_producer_that_dies_before_it_moves_the_tail_stops_nobody),
        cmocka_unit_test(a_tail_behind_freed_slots_is_helped_forward),
        cmocka_unit_test(a_tail_that_lies_is_put_back_by_the_broker),
        cmocka_unit_test(an_erased_ticket_is_skipped_and_its_position_freed),
        cmocka_unit_test(a_forged_slot_of_any_other_lap_is_skipped_and_repaired),
        cmocka_unit_test(laps_wrap_around),
        cmocka_unit_test(a_ticket_names_the_one_sequence_that_can_be_in_flight),
        cmocka_unit_test(another_ring_or_size_or_layout_is_not_attached_to),
        cmocka_unit_test(a_restart_frees_what_was_taken_before_the_cursor),
        cmocka_unit_test(a_restart_raises_a_tail_that_nobody_is_left_to_move),
        cmocka_unit_test(a_cursor_behind_freed_slots_is_refused_and_changes_nothing),
        cmocka_unit_test(a_restart_keeps_tickets_that_wait),
        cmocka_unit_test(the_tail_is_raised_before_any_slot_is_freed),
        cmocka_unit_test(a_ring_survives_any_scribbling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
