/*
 * The broker itself, as a child process with directories of its own, for tests of
 * the library against what it will meet. Needs ES_BUILD_DIR, which ctest sets.
 */
#ifndef TESTS_SUPPORT_REAL_BROKER_H
#define TESTS_SUPPORT_REAL_BROKER_H

#include <sys/types.h>

#include "tests/support/temp_directory.h"

struct real_broker {
    char run_dir[TEMP_DIRECTORY_BYTES_MAX];
    char data_dir[TEMP_DIRECTORY_BYTES_MAX];
    pid_t pid; /* 0: not running */
};

/* Makes the directories and starts it; waits until it is ready. */
void real_broker_open(struct real_broker *broker);

/* Starts it again in the same directories. */
void real_broker_start(struct real_broker *broker);

/* Ends it with this signal, and waits for its end. */
void real_broker_end(struct real_broker *broker, int signal_number);

/* Stops it as it stands, until a SIGCONT; returns once every thread of it has stopped. */
void real_broker_pause(struct real_broker *broker);

/* Ends it if need be, and removes the directories. */
void real_broker_close(struct real_broker *broker);

#endif
