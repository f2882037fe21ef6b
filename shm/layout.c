#include "shm/layout.h"

#include "shm/control.h"
#include "shm/lane.h"
#include "shm/ring.h"

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

enum es_status es_geometry_make(uint64_t slot_count, uint64_t arena_bytes,
                                struct es_geometry *ret_geometry)
{
    uint32_t credit_count = (uint32_t)(slot_count / 16);
    uint32_t lane_count;

    if (!is_power_of_two(slot_count) || slot_count < ES_SLOT_COUNT_MIN ||
        slot_count > ES_SLOT_COUNT_MAX) {
        return ES_E_INVALID;
    }
    if (arena_bytes < ES_ARENA_BYTES_MIN || arena_bytes > ES_ARENA_BYTES_MAX ||
        arena_bytes % ES_PAGE_BYTES != 0) {
        return ES_E_INVALID;
    }
    if (credit_count < 1) {
        credit_count = 1;
    }
    if (credit_count > ES_CREDIT_COUNT_MAX) {
        credit_count = ES_CREDIT_COUNT_MAX;
    }
    lane_count = (uint32_t)slot_count / credit_count;
    if (lane_count > ES_LANE_COUNT_MAX) {
        lane_count = ES_LANE_COUNT_MAX;
    }
    *ret_geometry = (struct es_geometry){
        .slot_count = (uint32_t)slot_count,
        .lane_count = lane_count,
        .credit_count = credit_count,
        .record_bytes_max = (uint32_t)arena_bytes / 8,
        .payload_bytes_max = (uint32_t)arena_bytes / 8 - ES_RECORD_HEADER_BYTES,
        .arena_bytes = (uint32_t)arena_bytes,
    };
    return ES_OK;
}

static size_t round_up_to_page(size_t size)
{
    return (size + ES_PAGE_BYTES - 1) / ES_PAGE_BYTES * ES_PAGE_BYTES;
}

size_t es_control_bytes(void)
{
    return round_up_to_page(sizeof(struct es_control_file));
}

size_t es_ring_bytes(uint32_t slot_count)
{
    return sizeof(struct es_ring_file) + round_up_to_page(sizeof(uint64_t) * slot_count);
}

size_t es_lane_bytes(uint32_t arena_bytes, uint32_t credit_count)
{
    return sizeof(struct es_lane_file) +
           round_up_to_page(sizeof(struct es_lane_result) * credit_count) + arena_bytes;
}
