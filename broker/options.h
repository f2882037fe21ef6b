/*
 * The settings of a broker, from the command line. What they mean is in
 * tools/man/esbroker.1; here they are only read and bounded.
 */
#ifndef BROKER_OPTIONS_H
#define BROKER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/logger.h"
#include "shm/layout.h"

enum {
    OPTIONS_PATH_BYTES_MAX = 4096
};

struct options {
    char data_path[OPTIONS_PATH_BYTES_MAX];
    char run_path[OPTIONS_PATH_BYTES_MAX];
    bool run_is_default; /* then the broker makes the directory */
    bool syncs_commits;  /* durability fsync */
    bool syncs_anchor;   /* the anchor too, before the answer */
    bool in_memory;      /* store memory */
    bool group_given;
    gid_t group;
    struct es_geometry geometry;
    uint64_t segment_bytes; /* of the commit log of a new store */
    uint64_t reserve_bytes;
    enum logger_level log_level;
};

/* Reads the arguments; on a mistake prints it and exits with 64, and for --help
 * and --version with 0. */
void options_parse(int argc, char **argv, struct options *ret_options);

#endif
