#include "shm/lane.h"

void es_lane_format(struct es_segment *segment, uint64_t incarnation, uint32_t arena_bytes,
                    uint32_t credit_count)
{
    struct es_lane_file *file = segment->base;
    uint32_t arena_offset = (uint32_t)es_lane_bytes(0, credit_count);

    atomic_store_explicit(&file->layout_id, ES_LAYOUT_ID, memory_order_relaxed);
    atomic_store_explicit(&file->credit_count, credit_count, memory_order_relaxed);
    atomic_store_explicit(&file->incarnation, incarnation, memory_order_relaxed);
    atomic_store_explicit(&file->arena_bytes, arena_bytes, memory_order_relaxed);
    atomic_store_explicit(&file->results_offset, (uint32_t)sizeof *file, memory_order_relaxed);
    atomic_store_explicit(&file->arena_offset, arena_offset, memory_order_relaxed);
    atomic_store_explicit(&file->magic, ES_LANE_MAGIC, memory_order_release);
}

enum es_status es_lane_check(const struct es_segment *segment, uint64_t incarnation,
                             uint32_t arena_bytes, uint32_t credit_count)
{
    const struct es_lane_file *file = segment->base;

    if (arena_bytes < ES_ARENA_BYTES_TINY || arena_bytes > ES_ARENA_BYTES_MAX ||
        arena_bytes % ES_PAGE_BYTES != 0 || credit_count < 1 ||
        credit_count > ES_CREDIT_COUNT_MAX ||
        segment->size != es_lane_bytes(arena_bytes, credit_count)) {
        return ES_E_CORRUPT;
    }
    if (atomic_load_explicit(&file->magic, memory_order_acquire) != ES_LANE_MAGIC) {
        return ES_E_CORRUPT;
    }
    if (atomic_load_explicit(&file->layout_id, memory_order_relaxed) != ES_LAYOUT_ID) {
        return ES_E_VERSION;
    }
    if (atomic_load_explicit(&file->incarnation, memory_order_relaxed) != incarnation ||
        atomic_load_explicit(&file->arena_bytes, memory_order_relaxed) != arena_bytes ||
        atomic_load_explicit(&file->credit_count, memory_order_relaxed) != credit_count) {
        return ES_E_CORRUPT;
    }
    return ES_OK;
}
