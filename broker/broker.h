/*
 * Runs a broker: has its parts made (broker_parts.h), serves, and ends in the order
 * that loses nothing.
 *
 * Threads. broker_run(): the main thread, which becomes the control thread.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "broker/options.h"

/*
 * Serves until SIGTERM or SIGINT. Returns the exit code of the program (sysexits.h,
 * docs/recovery.md): 0 a clean end, 65 damage, 69 to 75 as the manual says; why is
 * on stderr.
 */
int broker_run(const struct options *options);

#endif
