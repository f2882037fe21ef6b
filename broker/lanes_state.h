/*
 * What lanes.c (making rings and lanes), lanes_take_over.c (finding those of a former
 * broker), lanes_progress.c (how far batches have come with them) and lanes_tidy.c
 * (taking them back) share, and nobody else.
 */
#ifndef BROKER_LANES_STATE_H
#define BROKER_LANES_STATE_H

#include <stdio.h>

#include "broker/lanes.h"

struct lanes {
    int directory_fd;
    gid_t group;
    struct counters *counters;
    struct es_control_identity identity;
    struct es_segment control_segment;
    struct es_control control;
    enum es_status lacking; /* not ES_OK: something there could not be taken over now */
    uint32_t attach_count;  /* in this start: the middle part of incarnations */
    struct lane_ring rings[ES_RING_COUNT_MAX];
    struct lane lanes[ES_LANE_COUNT_MAX];
};

#define LANES_CONTROL_NAME "control"

enum {
    LANES_FILE_NAME_BYTES = 32,
    LANES_RING_MODE = 0600, /* of the files */
    LANES_LANE_MODE = 0600,
    LANES_CONTROL_MODE = 0600
};

/* As 'config' says, without a ring or lane. NULL: not enough memory. */
struct lanes *lanes_allocate(const struct lanes_config *config);

/* Nothing tells that its owner ever heard of it. */
static inline bool lanes_is_unheard(const struct lane *lane)
{
    return !es_lane_is_attached(&lane->reader) && lane->reader.consumed == 0 &&
           es_lane_backlog(&lane->reader) == 0;
}

/* The lane is open, as the control page's entry says; its segment and reader are the
 * caller's to fill in. */
void lanes_fill_lane(struct lanes *lanes, uint32_t index, const struct es_control_lane *entry);

static inline void lanes_ring_name(uint32_t uid, char ret_name[LANES_FILE_NAME_BYTES])
{
    snprintf(ret_name, LANES_FILE_NAME_BYTES, "ring-%u", uid);
}

static inline void lanes_lane_name(uint32_t index, char ret_name[LANES_FILE_NAME_BYTES])
{
    snprintf(ret_name, LANES_FILE_NAME_BYTES, "lane-%u", index);
}

/* The control page knows the lane no more. */
static inline void lanes_close_entry(struct lanes *lanes, uint32_t index)
{
    struct es_control_lane entry = {.incarnation = 0};

    es_control_set_lane(&lanes->control, index, &entry);
}

/* Forgets a ring without lanes; the next producer of its user gets a new one. A
 * batch that has touched it may still be on its way. */
void lanes_give_up_ring(struct lanes *lanes, struct lane_ring *ring);

/* Its memory was taken away, in part or whole: its lanes are cut off, and the next
 * producer of its user gets another ring. */
bool lanes_ring_is_gone(const struct lane_ring *ring);

/* The low byte of an incarnation is the lane's index, so that it can be found. */
static inline uint32_t incarnation_index(uint64_t incarnation)
{
    return (uint32_t)(incarnation & 0xFFU);
}

#endif
