#include "tests/support/one_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/shared_memory.h"

void one_ring_open(struct one_ring *f, uint32_t slot_count)
{
    f->segment = shared_memory(es_ring_bytes(slot_count));
    es_ring_format(&f->segment, ONE_RING_ID, slot_count);
    assert_int_equal(es_ring_attach(&f->ring, &f->segment, ONE_RING_ID, slot_count), ES_OK);
    assert_int_equal(es_ring_reader_attach(&f->reader, &f->segment, ONE_RING_ID, slot_count, 0),
                     ES_OK);
}

void one_ring_close(struct one_ring *f)
{
    es_segment_unmap(&f->segment);
}

void one_ring_place(struct one_ring *f, uint64_t sequence)
{
    assert_int_equal(es_ring_place(&f->ring, 7, sequence), ES_OK);
}

void one_ring_assert_takes(struct one_ring *f, uint64_t sequence)
{
    struct es_ticket ticket;

    assert_int_equal(es_ring_take(&f->reader, &ticket), ES_OK);
    assert_int_equal(ticket.lane_index, 7);
    assert_int_equal(ticket.sequence_low, sequence & ES_SLOT_SEQUENCE_MASK);
}

void one_ring_assert_nothing_to_take(struct one_ring *f)
{
    struct es_ticket ticket = {.position = 99};

    assert_int_equal(es_ring_take(&f->reader, &ticket), ES_EMPTY);
    assert_int_equal(ticket.position, 99);
    assert_false(es_ring_has_ticket(&f->reader));
}

void one_ring_walk(struct one_ring *f, uint32_t laps)
{
    for (uint64_t i = 0; i < (uint64_t)laps * f->ring.slot_count; i++) {
        one_ring_place(f, i);
        one_ring_assert_takes(f, i);
        es_ring_free(&f->reader, f->reader.cursor);
    }
}

void one_ring_place_and_die(struct one_ring *f, uint64_t sequence)
{
    struct es_placement dying = {.lane_index = 7, .sequence = sequence};

    for (int i = 0; i < 100 && !dying.is_placed; i++) {
        assert_int_equal(es_ring_step(&f->ring, &dying), ES_EMPTY);
    }
    assert_true(dying.is_placed);
}

_Atomic uint64_t *one_ring_slot(struct one_ring *f, uint64_t position)
{
    return &f->ring.file->slots[position % f->ring.slot_count];
}
