#include "shm/ring.h"

#include "shm/probe.h"

/* ---- slot words and positions -------------------------------------------- */

uint64_t es_slot_empty(uint64_t lap)
{
    return lap << ES_SLOT_LAP_SHIFT;
}

uint64_t es_slot_full(uint64_t lap, uint32_t lane_index, uint64_t sequence)
{
    return lap << ES_SLOT_LAP_SHIFT | ES_SLOT_FULL | (uint64_t)lane_index << ES_SLOT_LANE_SHIFT |
           (sequence & ES_SLOT_SEQUENCE_MASK);
}

static bool slot_is_full(uint64_t slot)
{
    return (slot & ES_SLOT_FULL) != 0;
}

/* How many laps 'slot' is ahead of 'lap': below 0 is older. Laps have 40 bits and
 * wrap, so the difference is taken in the upper 40 bits of a signed word. */
static int64_t slot_laps_ahead(uint64_t slot, uint64_t lap)
{
    uint64_t difference = (slot >> ES_SLOT_LAP_SHIFT) - lap;

    return (int64_t)(difference << ES_SLOT_LAP_SHIFT) / (INT64_C(1) << ES_SLOT_LAP_SHIFT);
}

static _Atomic uint64_t *slot_at(const struct es_ring *ring, uint64_t position)
{
    return &ring->file->slots[position & (ring->slot_count - 1)];
}

static uint64_t lap_of(const struct es_ring *ring, uint64_t position)
{
    return position >> ring->lap_shift;
}

/* ---- both sides ---------------------------------------------------------- */

void es_ring_format(struct es_segment *segment, uint64_t ring_id, uint32_t slot_count)
{
    struct es_ring_file *file = segment->base;

    atomic_store_explicit(&file->layout_id, ES_LAYOUT_ID, memory_order_relaxed);
    atomic_store_explicit(&file->slot_count, slot_count, memory_order_relaxed);
    atomic_store_explicit(&file->ring_id, ring_id, memory_order_relaxed);
    atomic_store_explicit(&file->magic, ES_RING_MAGIC, memory_order_release);
}

enum es_status es_ring_attach(struct es_ring *ring, const struct es_segment *segment,
                              uint64_t ring_id, uint32_t slot_count)
{
    struct es_ring_file *file = segment->base;
    uint32_t lap_shift = 0;

    if (slot_count < ES_SLOT_COUNT_MIN || slot_count > ES_SLOT_COUNT_MAX ||
        (slot_count & (slot_count - 1)) != 0 || segment->size != es_ring_bytes(slot_count)) {
        return ES_E_CORRUPT;
    }
    if (atomic_load_explicit(&file->magic, memory_order_acquire) != ES_RING_MAGIC) {
        return ES_E_CORRUPT;
    }
    if (atomic_load_explicit(&file->layout_id, memory_order_relaxed) != ES_LAYOUT_ID) {
        return ES_E_VERSION;
    }
    if (atomic_load_explicit(&file->ring_id, memory_order_relaxed) != ring_id ||
        atomic_load_explicit(&file->slot_count, memory_order_relaxed) != slot_count) {
        return ES_E_CORRUPT;
    }
    while (1u << lap_shift < slot_count) {
        lap_shift++;
    }
    *ring = (struct es_ring){.file = file, .slot_count = slot_count, .lap_shift = lap_shift};
    return ES_OK;
}

/* ---- producers ----------------------------------------------------------- */

enum es_status es_ring_step(struct es_ring *ring, struct es_placement *placement)
{
    uint64_t position = placement->position;
    uint64_t lap = lap_of(ring, position);
    uint64_t slot;

    switch (placement->at) {
    case ES_PLACE_TAIL:
        placement->position =
            atomic_load_explicit(&ring->file->tail, memory_order_acquire); /* [R3] */
        placement->at = ES_PLACE_SLOT;
        return ES_EMPTY;
    case ES_PLACE_SLOT:
        slot = atomic_load_explicit(slot_at(ring, position), memory_order_acquire); /* [R2] */
        if (slot == es_slot_empty(lap)) {
            placement->at = ES_PLACE_CLAIM;
        } else if (slot_laps_ahead(slot, lap) >= 0) {
            placement->at = ES_PLACE_MOVE; /* this position is done: help */
        } else {
            placement->at = ES_PLACE_TAIL; /* full, or the tail lies */
        }
        return ES_EMPTY;
    case ES_PLACE_CLAIM:
        slot = es_slot_empty(lap);
        placement->is_placed = atomic_compare_exchange_strong_explicit(
            slot_at(ring, position), &slot,
            es_slot_full(lap, placement->lane_index, placement->sequence), memory_order_seq_cst,
            memory_order_relaxed); /* [R1] [D1] */
        placement->at = placement->is_placed ? ES_PLACE_MOVE : ES_PLACE_SLOT;
        ES_PROBE(ticket_claimed);
        return ES_EMPTY;
    case ES_PLACE_MOVE:
    default:
        /* failing means that somebody else moved it */
        (void)atomic_compare_exchange_strong_explicit(&ring->file->tail, &position, position + 1,
                                                      memory_order_release, memory_order_relaxed);
        ES_PROBE(tail_moved);
        placement->at = ES_PLACE_TAIL;
        return placement->is_placed ? ES_OK : ES_EMPTY;
    }
}

enum es_status es_ring_place(struct es_ring *ring, uint32_t lane_index, uint64_t sequence)
{
    struct es_placement placement = {.lane_index = lane_index, .sequence = sequence};

    for (uint32_t i = 0; i < ES_RING_STEP_COUNT_MAX; i++) {
        if (es_ring_step(ring, &placement) == ES_OK) {
            return ES_OK;
        }
    }
    return placement.is_placed ? ES_OK : ES_FULL;
}

/* ---- the broker ---------------------------------------------------------- */

/* Raises the tail to 'position', below which every position is done. */
static void tail_raise(struct es_ring *ring, uint64_t position)
{
    uint64_t tail = atomic_load_explicit(&ring->file->tail, memory_order_acquire);

    /* each failure is a producer's step forward, of which a lap holds so many, or a lie */
    for (uint32_t i = 0; i < ring->slot_count && (int64_t)(tail - position) < 0; i++) {
        if (atomic_compare_exchange_strong_explicit(&ring->file->tail, &tail, position,
                                                    memory_order_release,
                                                    memory_order_acquire)) { /* [R3] */
            return;
        }
    }
}

/* How far the tail is beyond the cursor; above slot_count: it is behind, or lies. */
static uint64_t tail_ahead(const struct es_ring_reader *reader, uint64_t *ret_tail)
{
    *ret_tail = atomic_load_explicit(&reader->ring.file->tail, memory_order_acquire);
    return *ret_tail - reader->cursor;
}

/* Puts back a tail that cannot be. Below the cursor all is done, and from there
 * on producers help it to where it belongs. */
static void tail_repair(struct es_ring_reader *reader, uint64_t tail)
{
    (void)atomic_compare_exchange_strong_explicit(&reader->ring.file->tail, &tail, reader->cursor,
                                                  memory_order_release, memory_order_relaxed);
}

/* Empties what was taken before the cursor and not freed; damage becomes empty too. */
static void slots_repair(struct es_ring_reader *reader)
{
    for (uint32_t i = 0; i < reader->ring.slot_count; i++) {
        uint64_t position = reader->cursor + i;
        uint64_t lap = lap_of(&reader->ring, position);
        _Atomic uint64_t *place = slot_at(&reader->ring, position);
        uint64_t slot = atomic_load_explicit(place, memory_order_acquire);

        if (slot_laps_ahead(slot, lap) < 0) {
            (void)atomic_compare_exchange_strong_explicit(place, &slot, es_slot_empty(lap),
                                                          memory_order_release,
                                                          memory_order_relaxed); /* [R2] */
        }
    }
}

enum es_status es_ring_reader_attach(struct es_ring_reader *reader,
                                     const struct es_segment *segment, uint64_t ring_id,
                                     uint32_t slot_count, uint64_t cursor)
{
    struct es_ring_reader attached = {.cursor = cursor, .freed = cursor};
    enum es_status status = es_ring_attach(&attached.ring, segment, ring_id, slot_count);

    if (status != ES_OK) {
        return status;
    }
    for (uint32_t i = 0; i < slot_count; i++) {
        uint64_t position = cursor + i;
        uint64_t slot =
            atomic_load_explicit(slot_at(&attached.ring, position), memory_order_acquire);

        if (slot_laps_ahead(slot, lap_of(&attached.ring, position)) > 0) {
            return ES_REGRESSED;
        }
    }
    tail_raise(&attached.ring, cursor);
    slots_repair(&attached);
    ES_PROBE(ring_slots_repaired);
    *reader = attached;
    return ES_OK;
}

/* Marks the position at the cursor as done, so that no producer can place there
 * any more. False: a producer was faster, or the slot changed again: look again. */
static bool position_void(struct es_ring_reader *reader, uint64_t slot)
{
    uint64_t lap = lap_of(&reader->ring, reader->cursor);

    if (!atomic_compare_exchange_strong_explicit(slot_at(&reader->ring, reader->cursor), &slot,
                                                 es_slot_full(lap, 0, 0), memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        return false;
    }
    reader->cursor++;
    reader->voided_count++;
    return true;
}

/* All slots are taken and none is freed: what the cursor points at is its own past. */
static bool is_a_lap_ahead(const struct es_ring_reader *reader)
{
    return reader->cursor - reader->freed >= reader->ring.slot_count;
}

enum es_status es_ring_take(struct es_ring_reader *reader, struct es_ticket *ret_ticket)
{
    for (uint32_t i = 0; i <= reader->ring.slot_count && !is_a_lap_ahead(reader); i++) {
        uint64_t lap = lap_of(&reader->ring, reader->cursor);
        uint64_t slot = atomic_load_explicit(slot_at(&reader->ring, reader->cursor),
                                             memory_order_seq_cst); /* [R1] [D1] */

        if (slot_is_full(slot) && slot_laps_ahead(slot, lap) == 0) {
            *ret_ticket = (struct es_ticket){
                .position = reader->cursor,
                .lane_index = (uint32_t)(slot >> ES_SLOT_LANE_SHIFT) & (ES_LANE_COUNT_MAX - 1),
                .sequence_low = (uint32_t)(slot & ES_SLOT_SEQUENCE_MASK),
            };
            reader->cursor++;
            return ES_OK;
        }
        if (slot == es_slot_empty(lap)) {
            uint64_t tail;
            uint64_t ahead = tail_ahead(reader, &tail);

            if (ahead == 0) {
                return ES_EMPTY;
            }
            if (ahead > reader->ring.slot_count) {
                tail_repair(reader, tail);
                return ES_EMPTY;
            }
            /* producers are past this position: its ticket was erased */
        }
        (void)position_void(reader, slot);
    }
    return ES_EMPTY;
}

bool es_ring_has_ticket(const struct es_ring_reader *reader)
{
    uint64_t lap = lap_of(&reader->ring, reader->cursor);
    uint64_t slot = atomic_load_explicit(slot_at(&reader->ring, reader->cursor),
                                         memory_order_seq_cst); /* [D1] */
    uint64_t tail;

    if (is_a_lap_ahead(reader)) {
        return false;
    }
    return slot != es_slot_empty(lap) || tail_ahead(reader, &tail) != 0;
}

void es_ring_free(struct es_ring_reader *reader, uint64_t cursor)
{
    if ((int64_t)(reader->cursor - cursor) < 0) {
        cursor = reader->cursor;
    }
    if ((int64_t)(cursor - reader->freed) <= 0) {
        return;
    }
    tail_raise(&reader->ring, cursor);
    for (; reader->freed != cursor; reader->freed++) {
        uint64_t lap = lap_of(&reader->ring, reader->freed);

        atomic_store_explicit(slot_at(&reader->ring, reader->freed), es_slot_empty(lap + 1),
                              memory_order_release); /* [R2] */
        ES_PROBE(slot_freed);
    }
}

uint32_t es_ring_depth(const struct es_ring_reader *reader)
{
    uint64_t tail;
    uint64_t ahead = tail_ahead(reader, &tail);

    return ahead > reader->ring.slot_count ? 0 : (uint32_t)ahead;
}

uint64_t es_ticket_sequence(uint64_t consumed, uint32_t credit_count, uint32_t sequence_low)
{
    uint64_t ahead = (sequence_low - consumed) & ES_SLOT_SEQUENCE_MASK;

    return ahead >= 1 && ahead <= credit_count ? consumed + ahead : 0;
}
