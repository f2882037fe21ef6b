#include "broker/lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "broker/lanes_state.h"
#include "broker/logger.h"
#include "shm/fault.h"
#include "shm/probe.h"

enum {
    ATTACH_COUNT_MAX = (1 << 24) - 1, /* what fits between start number and index */
    LANES_KEPT = 64 /* of ES_LANE_COUNT_MAX: an equal share for each user who can be there */
};

/* A random number other than 0, which means "none". */
static uint64_t random_id(void)
{
    uint64_t id = 0;

    while (id == 0) {
        if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id) {
            id = 0;
        }
    }
    return id;
}

struct lanes *lanes_allocate(const struct lanes_config *config)
{
    struct lanes *lanes = calloc(1, sizeof *lanes);

    if (lanes != NULL) {
        lanes->directory_fd = config->directory_fd;
        lanes->group = config->group;
        lanes->counters = config->counters;
        lanes->identity = config->identity;
        lanes->control_segment = ES_SEGMENT_NONE;
    }
    return lanes;
}

enum es_status lanes_new(const struct lanes_config *config, const struct es_control_head *head,
                         struct lanes **ret_lanes)
{
    struct lanes *lanes = lanes_allocate(config);
    enum es_status status = ES_OK;

    if (lanes == NULL) {
        return ES_E_NO_MEMORY;
    }
    lanes->identity.ring_id = random_id();
    status = es_segment_create(config->directory_fd, LANES_CONTROL_NAME, es_control_bytes(),
                               LANES_CONTROL_MODE, ES_GROUP_NONE, &lanes->control_segment);
    if (status != ES_OK) {
        lanes_free(lanes);
        return status;
    }
    es_control_format(&lanes->control, &lanes->control_segment, &lanes->identity, head);
    ES_PROBE(memory_page_made);
    *ret_lanes = lanes;
    return ES_OK;
}

void lanes_free(struct lanes *lanes)
{
    if (lanes == NULL) {
        return;
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (lanes->lanes[i].is_open) {
            es_fault_forget(lanes->lanes[i].fault_index);
            es_segment_unmap(&lanes->lanes[i].segment);
        }
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].is_open) {
            es_fault_forget(lanes->rings[i].fault_index);
            es_segment_unmap(&lanes->rings[i].segment);
        }
    }
    es_segment_unmap(&lanes->control_segment);
    free(lanes);
}

void lanes_set_state(struct lanes *lanes, enum es_broker_state state)
{
    es_control_set_state(&lanes->control, state);
}

/* ---- handing out --------------------------------------------------------- */

static enum es_status make_ring(struct lanes *lanes, uint32_t index, uint32_t uid)
{
    struct lane_ring *ring = &lanes->rings[index];
    uint32_t slot_count = lanes->identity.geometry.slot_count;
    struct es_control_ring entry = {.ring_id = random_id(), .cursor = 0, .uid = uid};
    char name[LANES_FILE_NAME_BYTES];
    enum es_status status = ES_OK;

    memset(ring, 0, sizeof *ring);
    ring->segment = ES_SEGMENT_NONE;
    lanes_ring_name(uid, name);
    status = es_segment_create(lanes->directory_fd, name, es_ring_bytes(slot_count),
                               LANES_RING_MODE, ES_GROUP_NONE, &ring->segment);
    if (status != ES_OK) {
        return status;
    }
    es_ring_format(&ring->segment, entry.ring_id, slot_count);
    ES_PROBE(attach_ring_made);
    status = es_ring_reader_attach(&ring->reader, &ring->segment, entry.ring_id, slot_count, 0);
    if (status == ES_OK) {
        status = es_fault_watch(&ring->segment, &ring->fault_index);
    }
    if (status != ES_OK) {
        es_segment_unmap(&ring->segment);
        return status;
    }
    ring->is_open = true;
    ring->index = index;
    ring->uid = uid;
    ring->ring_id = entry.ring_id;
    es_control_set_ring(&lanes->control, index, &entry);
    return ES_OK;
}

/* A place for one more ring; where all are taken, that of a user who has gone. */
static uint32_t find_ring_place(struct lanes *lanes)
{
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (!lanes->rings[i].is_open) {
            return i;
        }
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].lane_count == 0) {
            char name[LANES_FILE_NAME_BYTES];

            lanes_ring_name(lanes->rings[i].uid, name);
            lanes_give_up_ring(lanes, &lanes->rings[i]);
            if (es_segment_remove(lanes->directory_fd, name) == ES_E_IO) {
                log_warning("cannot remove %s from shared memory: %s", name, strerror(errno));
            }
            return i;
        }
    }
    return ES_RING_COUNT_MAX;
}

static enum es_status find_or_make_ring(struct lanes *lanes, uint32_t uid,
                                        struct lane_ring **ret_ring)
{
    uint32_t place = ES_RING_COUNT_MAX;
    enum es_status status = ES_OK;

    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        if (lanes->rings[i].is_open && lanes->rings[i].uid == uid &&
            !lanes_ring_is_gone(&lanes->rings[i])) {
            /* what another process of this user may have spoilt, or the new one is locked out */
            es_ring_format(&lanes->rings[i].segment, lanes->rings[i].ring_id,
                           lanes->identity.geometry.slot_count);
            *ret_ring = &lanes->rings[i];
            return ES_OK;
        }
    }
    place = find_ring_place(lanes);
    if (place == ES_RING_COUNT_MAX) {
        return ES_E_LIMIT;
    }
    status = make_ring(lanes, place, uid);
    if (status == ES_OK) {
        *ret_ring = &lanes->rings[place];
    }
    return status;
}

void lanes_fill_lane(struct lanes *lanes, uint32_t index, const struct es_control_lane *entry)
{
    struct lane *lane = &lanes->lanes[index];

    lane->is_open = true;
    lane->index = index;
    lane->uid = entry->uid;
    lane->pid = (pid_t)entry->pid;
    lane->pid_start_time = entry->pid_start_time;
    lane->incarnation = entry->incarnation;
    lane->ring = &lanes->rings[entry->ring_index];
    lane->done_sequence = entry->last_sequence;
    lane->done_offset = entry->next_offset;
    memcpy(lane->name, entry->producer, sizeof lane->name);
    lane->name_bytes = (uint32_t)strlen(lane->name);
    lane->is_producer = entry->is_producer;
    lane->ring->lane_count++;
    counter_set(&lanes->counters->lanes_attached,
                counter_get(&lanes->counters->lanes_attached) + 1);
}

static enum es_status make_lane(struct lanes *lanes, const struct es_control_lane *entry,
                                uint32_t index)
{
    const struct es_geometry *geometry = &lanes->identity.geometry;
    struct lane *lane = &lanes->lanes[index];
    char name[LANES_FILE_NAME_BYTES];
    enum es_status status = ES_OK;

    memset(lane, 0, sizeof *lane);
    lane->segment = ES_SEGMENT_NONE;
    lanes_lane_name(index, name);
    status = es_segment_create(lanes->directory_fd, name,
                               es_lane_bytes(geometry->arena_bytes, geometry->credit_count),
                               LANES_LANE_MODE, ES_GROUP_NONE, &lane->segment);
    if (status != ES_OK) {
        return status;
    }
    es_lane_format(&lane->segment, entry->incarnation, geometry->arena_bytes,
                   geometry->credit_count);
    ES_PROBE(attach_lane_made);
    status = es_lane_reader_attach(&lane->reader, &lane->segment, entry->incarnation,
                                   geometry->arena_bytes, geometry->credit_count, 0, 0);
    if (status == ES_OK) {
        status = es_fault_watch(&lane->segment, &lane->fault_index);
    }
    if (status != ES_OK) {
        es_segment_unmap(&lane->segment);
        return status;
    }
    lanes_fill_lane(lanes, index, entry);
    es_control_set_lane(&lanes->control, index, entry);
    ES_PROBE(attach_entry_set);
    return ES_OK;
}

static enum es_status duplicate_descriptors(struct lanes *lanes, const struct lane *lane,
                                            struct lanes_attachment *attachment)
{
    enum es_status status = es_segment_reopen_readonly(
        lanes->directory_fd, LANES_CONTROL_NAME, &lanes->control_segment, &attachment->control_fd);

    if (status != ES_OK) {
        return status;
    }
    attachment->ring_fd = fcntl(lane->ring->segment.fd, F_DUPFD_CLOEXEC, 0);
    attachment->lane_fd = fcntl(lane->segment.fd, F_DUPFD_CLOEXEC, 0);
    if (attachment->ring_fd >= 0 && attachment->lane_fd >= 0) {
        return ES_OK;
    }
    close(attachment->control_fd);
    if (attachment->ring_fd >= 0) {
        close(attachment->ring_fd);
    }
    if (attachment->lane_fd >= 0) {
        close(attachment->lane_fd);
    }
    return ES_E_IO;
}

/* Where several users may produce, the last lanes are for those who have few. */
static bool has_its_share(const struct lanes *lanes, const struct lane_ring *ring)
{
    uint32_t open_count = 0;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        open_count += lanes->lanes[i].is_open;
    }
    return lanes->group != ES_GROUP_NONE && ES_LANE_COUNT_MAX - open_count <= LANES_KEPT &&
           ring->lane_count >= LANES_KEPT / ES_RING_COUNT_MAX;
}

enum es_status lanes_attach(struct lanes *lanes, const struct lanes_applicant *applicant,
                            struct lanes_attachment *ret_attachment)
{
    struct lane_ring *ring = NULL;
    struct es_control_lane entry = {.uid = applicant->uid,
                                    .pid = (uint32_t)applicant->pid,
                                    .pid_start_time = applicant->pid_start_time,
                                    .is_producer = applicant->is_producer};
    struct lanes_attachment attachment = {.control_fd = -1, .ring_fd = -1, .lane_fd = -1};
    uint32_t index = 0;
    enum es_status status = ES_OK;

    lanes_tidy(lanes); /* what was closed a moment ago is free */
    status = find_or_make_ring(lanes, applicant->uid, &ring);
    if (status != ES_OK) {
        return status;
    }
    while (index < ES_LANE_COUNT_MAX && lanes->lanes[index].is_open) {
        index++;
    }
    if (index == ES_LANE_COUNT_MAX || ring->lane_count >= lanes->identity.geometry.lane_count ||
        lanes->attach_count == ATTACH_COUNT_MAX || has_its_share(lanes, ring)) {
        return ES_E_LIMIT;
    }
    lanes->attach_count++;
    entry.incarnation =
        lanes->identity.start_number << 32 | (uint64_t)lanes->attach_count << 8 | index;
    entry.ring_index = ring->index;
    snprintf(entry.producer, sizeof entry.producer, "%s", applicant->name);
    status = make_lane(lanes, &entry, index);
    if (status != ES_OK) {
        return status;
    }
    status = duplicate_descriptors(lanes, &lanes->lanes[index], &attachment);
    if (status != ES_OK) {
        lanes->lanes[index].owner_gone = true; /* lanes_tidy() takes it back */
        return status;
    }
    attachment.lane_index = index;
    attachment.incarnation = entry.incarnation;
    attachment.ring_index = ring->index;
    *ret_attachment = attachment;
    return ES_OK;
}

void lanes_visit_owners(struct lanes *lanes, lanes_owner_fn visit, void *context)
{
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        const struct lane *lane = &lanes->lanes[i];

        if (lane->is_open) {
            visit(context, i, lane->incarnation, lane->pid, lane->pid_start_time);
        }
    }
}

void lanes_owner_gone(struct lanes *lanes, uint32_t index, uint64_t incarnation)
{
    struct lane *lane = lanes_lane(lanes, index);

    if (lane != NULL && lane->incarnation == incarnation) {
        lane->owner_gone = true;
    }
}

void lanes_owner_hung_up(struct lanes *lanes, uint32_t index, uint64_t incarnation)
{
    struct lane *lane = lanes_lane(lanes, index);

    /* Whoever maps it after all must not be read beside the name's next owner. */
    if (lane != NULL && lane->incarnation == incarnation && lanes_is_unheard(lane)) {
        es_lane_evict(&lane->reader, "its owner never heard of it");
    }
}
