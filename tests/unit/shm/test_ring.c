/* The rules of the ring, one by one: what is placed is taken, in order, whoever
 * dies between two steps and whatever is scribbled into the slots and the tail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/one_ring.h"
#include "tests/support/prng.h"

static void tickets_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    for (uint32_t slot_count = 2; slot_count <= 64; slot_count *= 2) {
        struct one_ring f;
        uint64_t placed = 0;
        uint64_t taken = 0;

        one_ring_open(&f, slot_count);
        for (uint32_t lap = 0; lap < 1000; lap++) {
            for (uint32_t i = 0; i < 1 + lap % slot_count; i++) {
                one_ring_place(&f, ++placed);
            }
            assert_int_equal(es_ring_depth(&f.reader), placed - taken);
            while (taken < placed) {
                assert_true(es_ring_has_ticket(&f.reader));
                one_ring_assert_takes(&f, ++taken);
            }
            one_ring_assert_nothing_to_take(&f);
            es_ring_free(&f.reader, f.reader.cursor);
        }
        assert_int_equal(f.reader.voided_count, 0);
        one_ring_close(&f);
    }
}

/* A slot is another producer's only when the commit that holds its ticket is durable. */
static void a_taken_slot_is_not_reused_before_it_is_freed(void **state)
{
    struct one_ring f;

    (void)state;
    one_ring_open(&f, 4);
    for (uint64_t i = 1; i <= 4; i++) {
        one_ring_place(&f, i);
    }
    assert_int_equal(es_ring_place(&f.ring, 7, 5), ES_FULL);
    one_ring_assert_takes(&f, 1);
    one_ring_assert_takes(&f, 2);
    assert_int_equal(es_ring_place(&f.ring, 7, 5), ES_FULL);

    es_ring_free(&f.reader, 1);
    one_ring_place(&f, 5);
    assert_int_equal(es_ring_place(&f.ring, 7, 6), ES_FULL);

    es_ring_free(&f.reader, 99); /* no further than what was taken */
    assert_int_equal(f.reader.freed, 2);
    one_ring_place(&f, 6);
    for (uint64_t i = 3; i <= 6; i++) {
        one_ring_assert_takes(&f, i);
    }
    one_ring_assert_nothing_to_take(&f);
    one_ring_close(&f);
}

/* A producer dies between its two compare-and-swaps: the ticket counts, and the
 * next producer gets past it, whether the broker has been there or not. */
static void a_producer_that_dies_before_it_moves_the_tail_stops_nobody(void **state)
{
    (void)state;
    for (int broker_was_there = 0; broker_was_there < 2; broker_was_there++) {
        struct one_ring f;

        one_ring_open(&f, 2);
        one_ring_walk(&f, 3);
        one_ring_place_and_die(&f, 1);
        if (broker_was_there) {
            one_ring_assert_takes(&f, 1);
            es_ring_free(&f.reader, f.reader.cursor);
        }
        one_ring_place(&f, 2);
        if (!broker_was_there) {
            one_ring_assert_takes(&f, 1);
        }
        one_ring_assert_takes(&f, 2);
        one_ring_assert_nothing_to_take(&f);
        one_ring_close(&f);
    }
}

/* The rule that a wedged ring taught: a slot of a newer lap means "done", not
 * "full". Here the tail stays behind slots that were freed long ago, as a broker
 * that frees first, or a hostile neighbour, would leave it. */
static void a_tail_behind_freed_slots_is_helped_forward(void **state)
{
    (void)state;
    for (uint32_t behind = 1; behind <= 64; behind++) {
        struct one_ring f;

        one_ring_open(&f, 8);
        one_ring_walk(&f, 20);
        atomic_store(&f.ring.file->tail, f.reader.cursor - behind);
        one_ring_place(&f, 1);
        one_ring_assert_takes(&f, 1);
        one_ring_close(&f);
    }
}

static void a_tail_that_lies_is_put_back_by_the_broker(void **state)
{
    static const uint64_t lies[] = {9, 10, 1000, 100000, UINT64_C(1) << 40};

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct one_ring f;

        one_ring_open(&f, 8);
        one_ring_walk(&f, 5);
        atomic_store(&f.ring.file->tail, f.reader.cursor + lies[i]);
        assert_int_equal(es_ring_place(&f.ring, 7, 1), ES_FULL);
        assert_true(es_ring_has_ticket(&f.reader)); /* the broker must not sleep on it */
        assert_int_equal(es_ring_take(&f.reader, &(struct es_ticket){0}), ES_EMPTY);
        assert_false(es_ring_has_ticket(&f.reader));
        one_ring_place(&f, 1);
        one_ring_assert_takes(&f, 1);
        one_ring_close(&f);
    }
}

/* Anybody of the uid may write EMPTY over a neighbour's ticket. Its record is found
 * by the sweep; the tickets behind it must not wait for it. */
static void an_erased_ticket_is_skipped_and_its_position_freed(void **state)
{
    struct one_ring f;

    (void)state;
    one_ring_open(&f, 8);
    one_ring_walk(&f, 2);
    for (uint64_t i = 1; i <= 5; i++) {
        one_ring_place(&f, i);
    }
    atomic_store(one_ring_slot(&f, f.reader.cursor), es_slot_empty(2));
    atomic_store(one_ring_slot(&f, f.reader.cursor + 2), es_slot_empty(2));
    one_ring_assert_takes(&f, 2);
    one_ring_assert_takes(&f, 4);
    one_ring_assert_takes(&f, 5);
    one_ring_assert_nothing_to_take(&f);
    assert_int_equal(f.reader.voided_count, 2);
    es_ring_free(&f.reader, f.reader.cursor);
    one_ring_walk(&f, 3);
    one_ring_close(&f);
}

static void a_forged_slot_of_any_other_lap_is_skipped_and_repaired(void **state)
{
    const uint64_t laps[] = {0, 1, 3, 4, 1000, ES_SLOT_LAP_MASK, ES_SLOT_LAP_MASK / 2};

    (void)state;
    for (size_t i = 0; i < sizeof laps / sizeof laps[0]; i++) {
        for (int is_full = 0; is_full < 2; is_full++) {
            struct one_ring f;

            one_ring_open(&f, 4);
            one_ring_walk(&f, 2);
            atomic_store(one_ring_slot(&f, f.reader.cursor),
                         is_full ? es_slot_full(laps[i], 3, 3) : es_slot_empty(laps[i]));
            assert_true(es_ring_has_ticket(&f.reader));
            assert_int_equal(es_ring_take(&f.reader, &(struct es_ticket){0}), ES_EMPTY);
            assert_int_equal(f.reader.voided_count, 1);
            es_ring_free(&f.reader, f.reader.cursor);
            assert_false(es_ring_has_ticket(&f.reader));
            for (uint64_t j = 1; j <= 4; j++) {
                one_ring_place(&f, j);
            }
            for (uint64_t j = 1; j <= 4; j++) {
                one_ring_assert_takes(&f, j);
            }
            one_ring_close(&f);
        }
    }
}

/* Forty bits of laps run out after years; what follows is lap 0 again. */
static void laps_wrap_around(void **state)
{
    (void)state;
    for (uint32_t slot_count = 2; slot_count <= 64; slot_count *= 2) {
        struct one_ring f;
        uint64_t lap = ES_SLOT_LAP_MASK - 2;

        one_ring_open(&f, slot_count);
        for (uint32_t i = 0; i < slot_count; i++) {
            atomic_store(&f.ring.file->slots[i], es_slot_empty(lap));
        }
        atomic_store(&f.ring.file->tail, lap * slot_count);
        assert_int_equal(
            es_ring_reader_attach(&f.reader, &f.segment, ONE_RING_ID, slot_count, lap * slot_count),
            ES_OK);
        one_ring_walk(&f, 3);
        one_ring_place_and_die(&f, 1);
        one_ring_assert_takes(&f, 1);
        es_ring_free(&f.reader, f.reader.cursor);
        one_ring_walk(&f, 3);
        assert_int_equal(f.reader.voided_count, 0);
        one_ring_close(&f);
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
    struct one_ring f;
    struct es_ring ring = {.slot_count = 77};
    struct es_segment cut;

    (void)state;
    one_ring_open(&f, 8);
    cut = f.segment;
    cut.size -= ES_PAGE_BYTES;
    assert_int_equal(es_ring_attach(&ring, &cut, ONE_RING_ID, 8), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID + 1, 8), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID, 4), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID, 7), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID, 0), ES_E_CORRUPT);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID, 1u << 21), ES_E_CORRUPT);
    atomic_store(&f.ring.file->layout_id, ES_LAYOUT_ID + 1);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID, 8), ES_E_VERSION);
    atomic_store(&f.ring.file->magic, ES_LANE_MAGIC);
    assert_int_equal(es_ring_attach(&ring, &f.segment, ONE_RING_ID, 8), ES_E_CORRUPT);
    assert_int_equal(es_ring_reader_attach(&f.reader, &f.segment, ONE_RING_ID, 8, 0), ES_E_CORRUPT);
    assert_int_equal(ring.slot_count, 77);
    one_ring_close(&f);
}

static void restart(struct one_ring *f, uint64_t cursor, enum es_status expected)
{
    assert_int_equal(
        es_ring_reader_attach(&f->reader, &f->segment, ONE_RING_ID, f->ring.slot_count, cursor),
        expected);
}

static void scribble(struct one_ring *f, struct prng *prng)
{
    uint32_t slot_count = f->ring.slot_count;
    uint64_t near_lap = f->reader.cursor / slot_count + prng_below(prng, 5) - 2;
    _Atomic uint64_t *word =
        prng_one_in(prng, 3) ? &f->ring.file->tail : one_ring_slot(f, prng_below(prng, slot_count));

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
    for (int round = 0; round < 8000; round++) {
        struct one_ring f;
        struct es_ticket ticket;

        one_ring_open(&f, 2u << prng_below(&prng, 4));
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
                one_ring_assert_takes(&f, i);
            } else {
                assert_true(es_ring_has_ticket(&f.reader)); /* the broker is not asleep */
            }
        }
        one_ring_walk(&f, 2);
        one_ring_assert_nothing_to_take(&f);
        restart(&f, f.reader.cursor, ES_OK);
        one_ring_walk(&f, 1);
        one_ring_close(&f);
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
        cmocka_unit_test(a_ring_survives_any_scribbling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
