/*
 * When a heartbeat is due and what it says. It sends nothing and reads no
 * clock: publisher.c does both.
 *
 *   at once                a commit that touched several categories, a subscriber
 *   100 ms after           the first commit that no heartbeat has told yet
 *   100, 200, 400 ms after a subscriber connected, for the first may have come
 *                          before its subscription
 *   1 s after              the heartbeat before, whatever happened
 *
 * Times are nanoseconds of one monotonic clock. Threads: the owner locks.
 */
#ifndef BROKER_HEARTBEAT_H
#define BROKER_HEARTBEAT_H

#include "broker/category_changes.h"

enum {
    HEARTBEAT_REPEATS = 3
};

struct heartbeat {
    struct es_heartbeat next; /* what the next one says; 'number' counts from 1 */
    struct category_changes changes;
    uint64_t commit_due_ns; /* UINT64_MAX: no commit is untold */
    uint64_t idle_due_ns;
    uint64_t repeat_due_ns[HEARTBEAT_REPEATS]; /* UINT64_MAX: none */
};

/* 'identity' gives store id, epoch, start number, head position and store hash. */
void heartbeat_init(struct heartbeat *heartbeat, const struct es_heartbeat *identity,
                    uint64_t now_ns);

/*
 * The store is at 'head_position' now; what changed is in heartbeat->changes
 * already. An older head than known changes nothing but the time.
 */
void heartbeat_commit(struct heartbeat *heartbeat, uint64_t head_position,
                      const uint8_t *store_hash, bool at_once, uint64_t now_ns);

void heartbeat_subscribed(struct heartbeat *heartbeat, uint64_t now_ns);

/* When the next one is due; now or earlier means send it. */
uint64_t heartbeat_due_ns(const struct heartbeat *heartbeat);

/*
 * Writes the message and takes it for sent: the next one has the next number
 * and tells what changes from now on.
 */
void heartbeat_take(struct heartbeat *heartbeat, uint64_t now_ns, struct es_pack *pack);

#endif
