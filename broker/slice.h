/*
 * How long the calling thread may run before others have their turn.
 *
 * The commit thread and the scribe run for some tens of microseconds and then wait for
 * the disk; everybody waits for them. Linux schedules by deadline, and a thread's
 * deadline is one slice (about 3 ms) ahead, so that beside programs which compute, each
 * of these short turns may wait for such a slice to end. Who asks for a shorter slice is
 * given no more of the processor, but it sooner: sched_runtime of sched_setattr(2), for
 * ordinary threads since Linux 6.12, without privilege. Older kernels ignore it.
 */
#ifndef BROKER_SLICE_H
#define BROKER_SLICE_H

/* For the calling thread, from now on. */
void slice_shorten(void);

#endif
