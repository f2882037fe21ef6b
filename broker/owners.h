/*
 * Whose each lane is: the processes that own them, watched by their pidfds until they
 * end; then the commit thread is told.
 *
 * Death.   A process is known to have ended by its pidfd alone. One that cannot be
 *          watched is not dead: its lane is kept until it is closed.
 * Hung up. Whoever lives and ends its connection may have never heard of its lane, for
 *          want of descriptors, or of patience: the commit thread looks.
 * Told.    Nothing else tells of an end once the descriptor is closed: what the inbox has
 *          no room for is said again.
 * Threads. The control thread alone.
 */
#ifndef BROKER_OWNERS_H
#define BROKER_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/inbox.h"
#include "broker/lanes.h"

/* What of an owner the commit thread is still to hear. */
enum owner_news {
    OWNER_NO_NEWS = 0,
    OWNER_HUNG_UP,
    OWNER_ENDED
};

/* By lane index. */
struct owners {
    struct lanes *lanes;
    struct inbox *inbox;
    int epoll_fd;
    uint64_t event_kind;                      /* above the index in their events' data */
    int pidfds[ES_LANE_COUNT_MAX];            /* -1: not watched */
    uint64_t incarnations[ES_LANE_COUNT_MAX]; /* of the lanes as they were handed out last */
    enum owner_news untold[ES_LANE_COUNT_MAX];
    uint32_t untold_count;
};

/* 'epoll_fd' and what 'lanes' and 'inbox' point to outlive it. Events of owners have
 * 'event_kind' in the upper half of their data, the lane's index in the lower. */
void owners_init(struct owners *owners, struct lanes *lanes, struct inbox *inbox, int epoll_fd,
                 uint32_t event_kind);

/* Closes the descriptors. */
void owners_deinit(struct owners *owners);

/* Watches the owners of lanes that were taken over. The commit thread does not run yet. */
void owners_find(struct owners *owners);

/* A lane was handed out; 'pidfd' is the owners' now. -1: the process cannot be watched. */
void owners_add(struct owners *owners, uint32_t index, uint64_t incarnation, int pidfd);

/* The same, of an owner that is gone already. */
void owners_add_ended(struct owners *owners, uint32_t index, uint64_t incarnation);

/* An event of the lane's owner. */
void owners_hear(struct owners *owners, uint32_t index);

/* The connection that the lane was handed out over has been ended by its other side;
 * owners_tell() says so. */
void owners_hang_up(struct owners *owners, uint32_t index, uint64_t incarnation);

/* Looks for ends that were not heard yet: an event of this very round, or none at all
 * where a takeover has just found them. True: there were some. */
bool owners_find_ended(struct owners *owners);

/* Says who hung up, and again what the inbox did not take. True: there is more, for a
 * later time. */
bool owners_tell(struct owners *owners);

#endif
