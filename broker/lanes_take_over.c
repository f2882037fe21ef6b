#include "broker/lanes_take_over.h"

#include <string.h>
#include <unistd.h>

#include "broker/lanes_state.h"
#include "broker/logger.h"
#include "shm/fault.h"
#include "shm/probe.h"

/* The machine lacks memory or descriptors: what cannot be opened now is not gone. */
static bool lacks_means(enum es_status status)
{
    return status == ES_E_NO_MEMORY || status == ES_E_IO || status == ES_E_LIMIT;
}

/* Records may lie in it that nobody has taken yet. */
static bool has_lanes(const struct es_control *control)
{
    struct es_control_lane entry;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (es_control_lane(control, i, &entry) == ES_OK) {
            return true;
        }
    }
    return false;
}

void lanes_look(int directory_fd, const struct lanes_config *config,
                struct lanes_remains *ret_remains)
{
    struct es_segment segment = ES_SEGMENT_NONE;
    struct es_control control;
    enum es_status status = es_segment_open(directory_fd, LANES_CONTROL_NAME, es_control_bytes(),
                                            geteuid(), LANES_CONTROL_MODE, false, &segment);

    memset(ret_remains, 0, sizeof *ret_remains);
    if (status != ES_OK) {
        ret_remains->is_unreadable = lacks_means(status);
        return;
    }
    status = es_control_attach(&control, &segment);
    if (status == ES_OK) {
        status = es_control_head(&control, &ret_remains->head);
    }
    if (status == ES_OK) {
        const struct es_control_identity *want = &config->identity;
        struct es_control_identity *found = &ret_remains->identity;

        es_control_identity(&control, found);
        ret_remains->is_witness =
            memcmp(found->store_id, want->store_id, sizeof want->store_id) == 0 &&
            memcmp(found->boot_id, want->boot_id, sizeof want->boot_id) == 0;
        ret_remains->is_usable =
            ret_remains->is_witness &&
            (memcmp(&found->geometry, &want->geometry, sizeof want->geometry) == 0 ||
             has_lanes(&control));
    }
    es_segment_unmap(&segment);
}

/* The newest word on a ring: the page, or a batch that the page had not seen. */
static uint64_t cursor_of(const struct es_control_ring *entry, const struct es_last *ahead)
{
    for (uint32_t i = 0; i < ahead->ring_count; i++) {
        if (ahead->rings[i].ring_id == entry->ring_id) {
            return ahead->rings[i].cursor;
        }
    }
    return entry->cursor;
}

static void take_over_ring(struct lanes *lanes, uint32_t index, const struct es_last *ahead)
{
    struct lane_ring *ring = &lanes->rings[index];
    struct es_control_ring entry;
    char name[LANES_FILE_NAME_BYTES];
    uint64_t cursor = 0;
    enum es_status status = es_control_ring(&lanes->control, index, &entry);

    if (status != ES_OK) {
        return;
    }
    lanes_ring_name(entry.uid, name);
    cursor = cursor_of(&entry, ahead);
    ring->segment = ES_SEGMENT_NONE;
    status = es_segment_open(lanes->directory_fd, name,
                             es_ring_bytes(lanes->identity.geometry.slot_count), geteuid(),
                             LANES_RING_MODE, true, &ring->segment);
    if (status == ES_OK) {
        status = es_ring_reader_attach(&ring->reader, &ring->segment, entry.ring_id,
                                       lanes->identity.geometry.slot_count, cursor);
    }
    if (status == ES_OK) {
        status = es_fault_watch(&ring->segment, &ring->fault_index);
    }
    if (lacks_means(status)) {
        es_segment_unmap(&ring->segment);
        lanes->lacking = status;
        return;
    }
    if (status != ES_OK) {
        log_warning("the ring of uid %u is given up, with its lanes: %s", entry.uid,
                    es_status_text(status));
        es_segment_unmap(&ring->segment);
        entry.ring_id = 0;
        es_control_set_ring(&lanes->control, index, &entry);
        return;
    }
    es_control_set_cursor(&lanes->control, index, cursor);
    ES_PROBE(take_over_ring_done);
    ring->is_open = true;
    ring->index = index;
    ring->uid = entry.uid;
    ring->ring_id = entry.ring_id;
    ring->done_cursor = cursor;
}

static void take_over_lane(struct lanes *lanes, uint32_t index, const struct es_last *ahead)
{
    const struct es_geometry *geometry = &lanes->identity.geometry;
    struct lane *lane = &lanes->lanes[index];
    struct es_control_lane entry;
    char name[LANES_FILE_NAME_BYTES];
    enum es_status status = es_control_lane(&lanes->control, index, &entry);

    if (status != ES_OK) {
        return;
    }
    for (uint32_t i = 0; i < ahead->lane_count; i++) {
        if (ahead->lanes[i].incarnation == entry.incarnation) {
            entry.last_sequence = ahead->lanes[i].last_sequence;
            entry.next_offset = (uint32_t)ahead->lanes[i].next_offset;
        }
    }
    lanes_lane_name(index, name);
    lane->segment = ES_SEGMENT_NONE;
    if (entry.ring_index >= ES_RING_COUNT_MAX || !lanes->rings[entry.ring_index].is_open) {
        status = ES_NOT_FOUND;
    } else {
        status = es_segment_open(lanes->directory_fd, name,
                                 es_lane_bytes(geometry->arena_bytes, geometry->credit_count),
                                 geteuid(), LANES_LANE_MODE, true, &lane->segment);
    }
    if (status == ES_OK) {
        status = es_lane_reader_attach(&lane->reader, &lane->segment, entry.incarnation,
                                       geometry->arena_bytes, geometry->credit_count,
                                       entry.last_sequence, entry.next_offset);
    }
    if (status == ES_OK) {
        status = es_fault_watch(&lane->segment, &lane->fault_index);
    }
    if (lacks_means(status)) {
        es_segment_unmap(&lane->segment);
        lanes->lacking = status;
        return;
    }
    if (status != ES_OK) {
        log_warning("lane %u of pid %u (uid %u) is given up: %s", index, entry.pid, entry.uid,
                    es_status_text(status));
        es_segment_unmap(&lane->segment);
        lanes_close_entry(lanes, index);
        return;
    }
    es_control_advance_lane(&lanes->control, index, entry.last_sequence, entry.next_offset);
    ES_PROBE(take_over_lane_done);
    lanes_fill_lane(lanes, index, &entry);
    lane->order_broken = es_lane_order_was_broken(&lane->reader);
    /* A named lane that nobody ever heard of would keep the name for ever. Its owner may hear of
     * it this very moment: then nothing is taken from it any more, and it attaches anew. */
    if (entry.is_producer && lanes_is_unheard(lane)) {
        es_lane_evict(&lane->reader, "its owner never heard of it");
    }
}

enum es_status lanes_take_over(const struct lanes_config *config,
                               const struct es_control_head *head, const struct es_last *ahead,
                               struct lanes **ret_lanes)
{
    struct lanes *lanes = lanes_allocate(config);
    struct es_control_identity before;
    enum es_status status = ES_OK;

    if (lanes == NULL) {
        return ES_E_NO_MEMORY;
    }
    status = es_segment_open(config->directory_fd, LANES_CONTROL_NAME, es_control_bytes(),
                             geteuid(), LANES_CONTROL_MODE, true, &lanes->control_segment);
    if (status == ES_OK) {
        status = es_control_attach(&lanes->control, &lanes->control_segment);
    }
    if (status != ES_OK) {
        lanes_free(lanes);
        return status;
    }
    es_control_identity(&lanes->control, &before);
    lanes->identity.ring_id = before.ring_id;
    es_control_take_over(&lanes->control, &lanes->identity);
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        take_over_ring(lanes, i, ahead);
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        take_over_lane(lanes, i, ahead);
    }
    if (lanes->lacking != ES_OK) { /* the next start may have the means: nothing is given up */
        status = lanes->lacking;
        lanes_free(lanes);
        return status;
    }
    es_control_set_head(&lanes->control, head);
    *ret_lanes = lanes;
    return ES_OK;
}
