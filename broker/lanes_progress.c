#include <assert.h>

#include "broker/lanes_state.h"

struct lane_ring *lanes_ring(struct lanes *lanes, uint32_t index)
{
    assert(index < ES_RING_COUNT_MAX);
    return lanes->rings[index].is_open ? &lanes->rings[index] : NULL;
}

struct lane *lanes_lane(struct lanes *lanes, uint32_t index)
{
    return index < ES_LANE_COUNT_MAX && lanes->lanes[index].is_open ? &lanes->lanes[index] : NULL;
}

struct lane *lanes_find(struct lanes *lanes, uint64_t incarnation)
{
    struct lane *lane = &lanes->lanes[incarnation_index(incarnation)];

    return lane->is_open && lane->incarnation == incarnation ? lane : NULL;
}

bool lanes_is_in_use(const struct lane *lane)
{
    return lane->reader.evicted_why == NULL && !lane->owner_gone &&
           !es_lane_is_closed(&lane->reader);
}

/* NULL: it was given up meanwhile, and nobody needs to know how far it had come. */
static struct lane_ring *ring_of(struct lanes *lanes, uint64_t ring_id)
{
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].is_open && lanes->rings[i].ring_id == ring_id) {
            return &lanes->rings[i];
        }
    }
    return NULL;
}

/* A lane stays open until everything taken from it is answered, so a batch
 * always finds its lanes again. */
static struct lane *lane_of(struct lanes *lanes, uint64_t incarnation)
{
    struct lane *lane = &lanes->lanes[incarnation_index(incarnation)];

    assert(lane->is_open);
    assert(lane->incarnation == incarnation);
    return lane;
}

void lanes_fill_last(struct lanes *lanes, uint64_t batch_number, struct es_last *ret_last)
{
    ret_last->ring_count = 0;
    ret_last->lane_count = 0;
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = &lanes->rings[i];

        if (ring->is_open && ring->touched_batch == batch_number) {
            ret_last->rings[ret_last->ring_count++] =
                (struct es_last_ring){ring->ring_id, ring->done_cursor};
        }
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        const struct lane *lane = &lanes->lanes[i];

        if (lane->is_open && lane->touched_batch == batch_number) {
            ret_last->lanes[ret_last->lane_count++] =
                (struct es_last_lane){lane->incarnation, lane->done_sequence, lane->done_offset};
        }
    }
}

void lanes_advance(struct lanes *lanes, const struct es_last *last,
                   const struct es_control_head *head)
{
    for (uint32_t i = 0; i < last->ring_count; i++) {
        const struct lane_ring *ring = ring_of(lanes, last->rings[i].ring_id);

        if (ring != NULL) {
            es_control_set_cursor(&lanes->control, ring->index, last->rings[i].cursor);
        }
    }
    for (uint32_t i = 0; i < last->lane_count; i++) {
        const struct lane *lane = lane_of(lanes, last->lanes[i].incarnation);

        es_control_advance_lane(&lanes->control, lane->index, last->lanes[i].last_sequence,
                                (uint32_t)last->lanes[i].next_offset);
    }
    es_control_set_head(&lanes->control, head);
}

enum es_status lanes_head(const struct lanes *lanes, struct es_control_head *ret_head)
{
    return es_control_head(&lanes->control, ret_head);
}

void lanes_free_slots(struct lanes *lanes, const struct es_last *last)
{
    for (uint32_t i = 0; i < last->ring_count; i++) {
        struct lane_ring *ring = ring_of(lanes, last->rings[i].ring_id);

        if (ring != NULL) {
            es_ring_free(&ring->reader, last->rings[i].cursor);
        }
    }
}

void lanes_acknowledge(struct lanes *lanes, const struct es_last *last)
{
    for (uint32_t i = 0; i < last->lane_count; i++) {
        es_lane_ack(&lane_of(lanes, last->lanes[i].incarnation)->reader,
                    last->lanes[i].last_sequence);
    }
    for (uint32_t i = 0; i < last->lane_count; i++) {
        es_lane_wake(&lane_of(lanes, last->lanes[i].incarnation)->reader);
    }
}

uint64_t lanes_backlog(struct lanes *lanes)
{
    uint64_t backlog = 0;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (lanes->lanes[i].is_open) {
            backlog += es_lane_backlog(&lanes->lanes[i].reader);
        }
    }
    return backlog;
}
