/*
 * Ends a client of the torture: SIGTERM asks it to finish what it does. The driver starts
 * it with that signal blocked, so that one which comes before the program hears it waits.
 */
#ifndef TORTURE_ENDING_H
#define TORTURE_ENDING_H

#include <signal.h>

/* Not 0: it is asked to end, or has its own reason. */
extern volatile sig_atomic_t is_stopping;

/* From now on SIGTERM is heard. First thing in main(). */
void ending_listen(void);

#endif
