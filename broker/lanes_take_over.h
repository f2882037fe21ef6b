/*
 * The shared memory of a former broker: what its control page bears witness of, and its
 * rings and lanes, from which this broker goes on. Lanes are doubted here as ever: what
 * cannot be believed is given up, with its producer, and not asserted on.
 *
 * Threads. The one that starts, before all others.
 */
#ifndef BROKER_LANES_TAKE_OVER_H
#define BROKER_LANES_TAKE_OVER_H

#include "broker/lanes.h"

/* What a former broker has left in the segment directory. */
struct lanes_remains {
    bool is_unreadable; /* for want of memory or descriptors: nobody knows what it says */
    bool is_witness;    /* same store, boot and layout: what its head says was durable */
    bool is_usable;     /* besides, its geometry is the wanted one, or lanes are in use */
    struct es_control_identity identity;
    struct es_control_head head;
};

/* Looks at the control page of a former broker and changes no byte. */
void lanes_look(int directory_fd, const struct lanes_config *config,
                struct lanes_remains *ret_remains);

/*
 * Takes over what a former broker left; the geometry of 'config' must be that of the
 * remains, whatever was wanted. 'ahead' holds, for each ring and lane
 * that batches after remains->head have touched, how far they came. Lanes and
 * rings that cannot be believed are given up and logged; the others go on.
 */
ES_MUST_USE enum es_status lanes_take_over(const struct lanes_config *config,
                                           const struct es_control_head *head,
                                           const struct es_last *ahead, struct lanes **ret_lanes);

#endif
