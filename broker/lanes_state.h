/*
 * What lanes.c (life of rings and lanes) and lanes_progress.c (how far batches
 * have come with them) share, and nobody else.
 */
#ifndef BROKER_LANES_STATE_H
#define BROKER_LANES_STATE_H

#include "broker/lanes.h"

struct lanes {
    int directory_fd;
    gid_t group;
    struct counters *counters;
    struct es_control_identity identity;
    struct es_segment control_segment;
    struct es_control control;
    uint32_t attach_count; /* in this start: the middle part of incarnations */
    struct lane_ring rings[ES_RING_COUNT_MAX];
    struct lane lanes[ES_LANE_COUNT_MAX];
};

/* The low byte of an incarnation is the lane's index, so that it can be found. */
static inline uint32_t incarnation_index(uint64_t incarnation)
{
    return (uint32_t)(incarnation & 0xFFU);
}

#endif
