/*
 * The run directory: the sockets, the lock that keeps it to one broker, and the
 * directory of the shared memory that belongs to it.
 *
 * Threads. One.
 */
#ifndef BROKER_RUN_DIRECTORY_H
#define BROKER_RUN_DIRECTORY_H

#include "broker/data_directory.h"
#include "broker/options.h"
#include "shm/segment.h"

enum {
    SOCKET_PATH_BYTES_MAX = 108
}; /* sun_path, with its NUL */

struct run_directory {
    int fd;
    int lock_fd;
    int segments_fd; /* of the directory with the shared memory */
    char segments_path[ES_SEGMENT_PATH_BYTES_MAX];
    char requests_path[SOCKET_PATH_BYTES_MAX];
    char events_path[SOCKET_PATH_BYTES_MAX];
    char control_path[SOCKET_PATH_BYTES_MAX];
};

/*
 * Makes the directory if it is the default one or its parent exists, checks and
 * locks it. 'why' gets a sentence with the way out on failure.
 *
 * ES_E_BUSY: another broker has it. ES_E_TOO_LARGE: a socket's path would be too
 * long. ES_E_PERMISSION, ES_NOT_FOUND, ES_E_IO.
 */
ES_MUST_USE enum es_status run_directory_open(const struct options *options,
                                              struct run_directory *ret_directory,
                                              char why[DATA_WHY_BYTES]);

/* Also removes the directory of the shared memory, if it is another and empty. */
void run_directory_close(struct run_directory *directory);

#endif
