/*
 * How much of what waits goes into the first batch when nothing is being written.
 *
 * Producers with a bounded number in flight travel in a convoy: all they have is
 * one batch, and while it is written the broker has nothing to do, and while the
 * broker applies it the disk has nothing to do. Taking half of it first breaks
 * the convoy in two, which then take turns. That pays where the work on a batch
 * takes longer than the write of it; on a slow disk it would double the writes.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_PACE_H
#define BROKER_PACE_H

#include <stdint.h>

/* Running means; zero it before use. */
struct pace {
    int64_t write_ns; /* of a batch into the log, with its sync */
    int64_t event_ns; /* of the work on one event: gather, apply, answer */
};

void pace_note_write(struct pace *pace, int64_t took_ns);
void pace_note_work(struct pace *pace, uint32_t event_count, int64_t took_ns);

/* Of 'waiting' transactions, how many the first batch takes: half, or all of them. */
uint32_t pace_first_share(const struct pace *pace, uint32_t waiting);

#endif
