#include "broker/lanes.h"

#include <assert.h>
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
    LANES_KEPT = 64, /* of ES_LANE_COUNT_MAX: an equal share for each user who can be there */
    RING_MODE = 0600,
    LANE_MODE = 0600,
    CONTROL_MODE = 0600
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
                                            geteuid(), CONTROL_MODE, false, &segment);

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

static struct lanes *allocate(const struct lanes_config *config)
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
    struct lanes *lanes = allocate(config);
    enum es_status status = ES_OK;

    if (lanes == NULL) {
        return ES_E_NO_MEMORY;
    }
    lanes->identity.ring_id = random_id();
    status = es_segment_create(config->directory_fd, LANES_CONTROL_NAME, es_control_bytes(),
                               CONTROL_MODE, ES_GROUP_NONE, &lanes->control_segment);
    if (status != ES_OK) {
        lanes_free(lanes);
        return status;
    }
    es_control_format(&lanes->control, &lanes->control_segment, &lanes->identity, head);
    ES_PROBE(memory_page_made);
    *ret_lanes = lanes;
    return ES_OK;
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
                             RING_MODE, true, &ring->segment);
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

static void fill_lane(struct lanes *lanes, uint32_t index, const struct es_control_lane *entry)
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
                                 geteuid(), LANE_MODE, true, &lane->segment);
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
    fill_lane(lanes, index, &entry);
    lane->order_broken = es_lane_order_was_broken(&lane->reader);
    /* A named lane that nobody ever heard of would keep the name for ever. */
    lane->owner_gone = entry.is_producer && !es_lane_is_attached(&lane->reader) &&
                       entry.last_sequence == 0 && es_lane_backlog(&lane->reader) == 0;
}

enum es_status lanes_take_over(const struct lanes_config *config,
                               const struct es_control_head *head, const struct es_last *ahead,
                               struct lanes **ret_lanes)
{
    struct lanes *lanes = allocate(config);
    struct es_control_identity before;
    enum es_status status = ES_OK;

    if (lanes == NULL) {
        return ES_E_NO_MEMORY;
    }
    status = es_segment_open(config->directory_fd, LANES_CONTROL_NAME, es_control_bytes(),
                             geteuid(), CONTROL_MODE, true, &lanes->control_segment);
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
    status = es_segment_create(lanes->directory_fd, name, es_ring_bytes(slot_count), RING_MODE,
                               ES_GROUP_NONE, &ring->segment);
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
                               LANE_MODE, ES_GROUP_NONE, &lane->segment);
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
    fill_lane(lanes, index, entry);
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
