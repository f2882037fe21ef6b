#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/lanes_state.h"
#include "broker/logger.h"
#include "shm/fault.h"
#include "shm/probe.h"

void lanes_evict(struct lanes *lanes, struct lane *lane)
{
    log_warning("lane %u of pid %ld (uid %u, %s) is cut off: %s", lane->index, (long)lane->pid,
                lane->uid, lane->name,
                lane->reader.evicted_why != NULL ? lane->reader.evicted_why : "unknown");
    counter_add(&lanes->counters->lanes_evicted, 1);
    ES_PROBE(lane_evicted);
}

void lanes_give_up_ring(struct lanes *lanes, struct lane_ring *ring)
{
    struct es_control_ring entry = {.ring_id = 0};

    assert(ring->lane_count == 0);
    es_control_set_ring(&lanes->control, ring->index, &entry);
    es_fault_forget(ring->fault_index);
    es_segment_unmap(&ring->segment);
    ring->is_open = false;
}

bool lanes_ring_is_gone(const struct lane_ring *ring)
{
    struct stat about;

    return es_fault_was_hit(ring->fault_index) || fstat(ring->segment.fd, &about) != 0 ||
           about.st_size != (off_t)ring->segment.size;
}

void lanes_check_faults(struct lanes *lanes)
{
    bool is_gone[ES_RING_COUNT_MAX] = {false};

    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        struct lane_ring *ring = &lanes->rings[i];

        is_gone[i] = ring->is_open && lanes_ring_is_gone(ring);
        if (is_gone[i] && ring->lane_count == 0) {
            log_warning("the ring of uid %u is given up: its memory was taken away", ring->uid);
            lanes_give_up_ring(lanes, ring);
        }
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        struct lane *lane = &lanes->lanes[i];

        if (lane->is_open && lane->reader.evicted_why == NULL &&
            (es_fault_was_hit(lane->fault_index) || is_gone[lane->ring->index])) {
            es_lane_evict(&lane->reader, "its memory was taken away");
            lanes_evict(lanes, lane);
        }
    }
}

/* Nothing will come any more, and everything that came is answered. */
static bool is_finished(const struct lane *lane)
{
    bool is_over =
        lane->reader.evicted_why != NULL || lane->owner_gone || es_lane_is_closed(&lane->reader);

    return is_over && lane->reader.acked == lane->reader.consumed &&
           es_lane_backlog(&lane->reader) == 0;
}

static void release(struct lanes *lanes, struct lane *lane)
{
    char name[LANES_FILE_NAME_BYTES];

    lanes_close_entry(lanes, lane->index);
    ES_PROBE(tidy_entry_closed);
    lanes_lane_name(lane->index, name);
    es_fault_forget(lane->fault_index);
    es_segment_unmap(&lane->segment);
    if (es_segment_remove(lanes->directory_fd, name) == ES_E_IO) {
        log_warning("cannot remove %s from shared memory: %s", name, strerror(errno));
    }
    if (lane->ring->lane == lane) {
        lane->ring->has_ticket = false; /* for a number that may be another's soon */
        lane->ring->lane = NULL;
    }
    lane->ring->lane_count--;
    lane->is_open = false;
    ES_PROBE(tidy_lane_free);
    counter_set(&lanes->counters->lanes_attached,
                counter_get(&lanes->counters->lanes_attached) - 1);
}

void lanes_tidy(struct lanes *lanes)
{
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        struct lane *lane = &lanes->lanes[i];

        if (lane->is_open && is_finished(lane)) {
            release(lanes, lane);
        }
    }
}

void lanes_remove_if_unused(struct lanes *lanes)
{
    char name[LANES_FILE_NAME_BYTES];
    enum es_status status = ES_OK;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (lanes->lanes[i].is_open) {
            return;
        }
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].is_open) {
            lanes_ring_name(lanes->rings[i].uid, name);
            status = es_segment_remove(lanes->directory_fd, name);
        }
    }
    if (status != ES_E_IO) {
        status = es_segment_remove(lanes->directory_fd, LANES_CONTROL_NAME);
    }
    if (status == ES_E_IO) {
        log_warning("cannot remove unused shared memory: %s", strerror(errno));
    }
}
