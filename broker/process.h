/*
 * Which process it was: a PID together with the time the process started, for a
 * PID alone is reused. Unreadable is not dead: /proc may hide other users. And which
 * run of the machine it is.
 *
 * Threads. Any.
 */
#ifndef BROKER_PROCESS_H
#define BROKER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/eventspine_status.h"

enum {
    PROCESS_BOOT_ID_BYTES = 16
};

/* Clock ticks after boot (field 22 of /proc/PID/stat); 0: cannot be read. */
uint64_t process_start_time(pid_t pid);

/*
 * A descriptor that becomes readable when the process ends, or -1: then it has
 * ended already, if '*ret_gone', or it cannot be watched. 'start_time' 0 is unknown.
 */
int process_watch(pid_t pid, uint64_t start_time, bool *ret_gone);

/*
 * The same for the process that has connected 'socket': from the kernel's own
 * knowledge of the peer where it tells (SO_PEERPIDFD, Linux 6.5), which no reuse of
 * a PID can mislead, else as process_watch().
 */
int process_watch_peer(int socket, pid_t pid, uint64_t start_time, bool *ret_gone);

/* The random id that the kernel gives to each boot. ES_E_IO: /proc does not tell. */
ES_MUST_USE enum es_status process_boot_id(uint8_t ret_boot_id[PROCESS_BOOT_ID_BYTES]);

#endif
