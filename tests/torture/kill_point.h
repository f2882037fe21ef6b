/*
 * Ends this process at a probe (shm/probe.h) with SIGKILL, as if somebody outside
 * had hit that very instruction. The probe's nop is replaced by a trap; the hits
 * before the wanted one cost a signal each, everything else runs as it is.
 */
#ifndef TORTURE_KILL_POINT_H
#define TORTURE_KILL_POINT_H

#include <stdbool.h>
#include <stdint.h>

/* At the 'nth' hit from now on, counting from 1, wherever the compiler has put the probe.
 * Once in a process. False: this program has no such probe, or its code cannot be changed. */
bool kill_point_arm(const char *probe, uint32_t nth);

/* The same, but only the thread that comes there ends: it waits for ever. */
bool kill_point_arm_hold(const char *probe, uint32_t nth);

#endif
