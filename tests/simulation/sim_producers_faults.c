#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"
#include "tests/simulation/sim_producers_state.h"

void producer_kill(struct producer *producer)
{
    static const enum sim_fault placing[] = {FAULT_PRODUCER_PLACE_TAIL, FAULT_PRODUCER_PLACE_SLOT,
                                             FAULT_PRODUCER_PLACE_CLAIM, FAULT_PRODUCER_PLACE_MOVE};

    if (!producer->is_alive || producer->at < AT_LEISURE || !producer->is_mapped) {
        return;
    }
    switch (producer->at) {
    case AT_CLAIMED: sim_fault(FAULT_PRODUCER_WRITING); break;
    case AT_PLACED: sim_fault(FAULT_PRODUCER_PLACED); break;
    case AT_PUBLISHED:
        sim_fault(producer->placement.at == ES_PLACE_TAIL && sim_one_in(2)
                      ? FAULT_PRODUCER_PUBLISHED
                      : placing[producer->placement.at]);
        break;
    default:
        if (producer->writer.published == producer->writer.collected && sim_one_in(2)) {
            es_lane_close(&producer->writer);
            model_lane_over(producer->lane);
            sim_fault(FAULT_PRODUCER_CLOSED);
        } else {
            sim_fault(FAULT_PRODUCER_WAITING);
        }
        break;
    }
    producer_die(producer, FATE_ORPHAN);
}

/* A process of the ring's user writes where it can: words of the ring alone, for what
 * it does to its own lane is its own harm. */
void producer_spoil_ring(const struct producer *producer)
{
    struct es_ring_file *file = NULL;
    uint64_t tail = 0;
    uint64_t position = 0;
    _Atomic uint64_t *slot = NULL;

    if (!producer->is_alive || producer->at < AT_LEISURE || !producer->is_mapped) {
        return;
    }
    file = producer->ring.file;
    tail = atomic_load(&file->tail);
    position = tail - 1 - sim_below(producer->ring.slot_count / 2);
    slot = &file->slots[position & (producer->ring.slot_count - 1)];
    switch (sim_below(3)) {
    case 0: /* one that waits, or one that was taken a moment ago */
        if (position < tail) {
            atomic_store(slot, es_slot_empty(position >> producer->ring.lap_shift));
            sim_fault(FAULT_TICKET_ERASED);
        }
        break;
    case 1: /* any lane, any number, on a lap that is now or was once */
        atomic_store(slot, es_slot_full((position >> producer->ring.lap_shift) - sim_below(2),
                                        (uint32_t)sim_below(ES_LANE_COUNT_MAX), sim_below(64)));
        sim_fault(FAULT_TICKET_FORGED);
        break;
    default:
        atomic_store(&file->tail,
                     tail + sim_below(2 * producer->ring.slot_count) - producer->ring.slot_count);
        sim_fault(FAULT_TAIL_SPOILT);
        break;
    }
    sim.spoilt_uids |= UINT64_C(1) << (producer->uid - SIM_FIRST_UID);
}
