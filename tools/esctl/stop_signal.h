/*
 * SIGINT and SIGTERM as a wish to stop: the verb ends its work in order. A second
 * one ends the program at once. One thread installs it, once.
 */
#ifndef ESCTL_STOP_SIGNAL_H
#define ESCTL_STOP_SIGNAL_H

#include <eventspine.h>

/* From now on a signal sets stop_requested() and, if 'connection' is not NULL,
 * ends its waits with ES_INTERRUPTED. */
void stop_signal_install(struct es_connection *connection);

bool stop_requested(void);

/*
 * Waits until 'descriptor' can be read, or has an end or an error to tell. False:
 * a stop was requested, before or meanwhile; no signal slips in between the look
 * and the wait.
 */
bool stop_wait_readable(int descriptor);

#endif
