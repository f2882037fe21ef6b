/*
 * The inside of a commit log, shared by log.c (files and headers), log_recovery.c
 * (reading) and log_writer.c (writing), and by nobody else.
 */
#ifndef BROKER_LOG_STATE_H
#define BROKER_LOG_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/log.h"
#include "broker/log_format.h"

enum log_file_state {
    LOG_FILE_MISSING, /* or of the wrong size */
    LOG_FILE_UNUSED,  /* never had a header */
    LOG_FILE_SPOILT,  /* had one, and it is not sound any more */
    LOG_FILE_VALID
};

struct log_file {
    struct disk_file *file; /* NULL when missing */
    enum log_file_state state;
    struct log_segment_header header; /* when valid */
};

struct log {
    struct disk *disk;
    enum disk_access access;
    struct log_origin origin;
    struct log_file files[LOG_SEGMENT_COUNT_MAX];
    uint32_t newest;            /* file of the newest valid header; the one being written */
    uint64_t segment_max;       /* highest segment number seen; while writing, the newest's */
    char defect[LOG_WHY_BYTES]; /* what is wrong with the files as such, "" if nothing */
    bool replayed;
    bool writing;    /* between log_begin() and a failure */
    uint64_t offset; /* of the next record in the newest file; the appending thread's own */

    /* Held while a header is written and synced; taken before 'state_lock'. */
    pthread_mutex_t header_lock;
    struct log_point flushed; /* as the newest synced header says; under header_lock */
    struct log_books books;   /* likewise */

    pthread_mutex_t state_lock; /* short: guards what follows, and 'newest' */
    uint64_t last_batch;
    uint64_t durable_batch;
    char why[LOG_WHY_BYTES];

    atomic_bool failed;
};

/* "segment-03". */
void log_file_name(uint32_t index, char ret_name[DISK_NAME_MAX]);

/*
 * Keeps the first failure in words and makes the log refuse everything from
 * then on; returns 'status'.
 */
enum es_status log_fail(struct log *log, enum es_status status, const char *what, uint32_t index);

/*
 * Writes 'header' with the next revision into the next slot of a file's page
 * and syncs it. On ES_OK the file's state and header say so.
 */
ES_MUST_USE enum es_status log_header_write(struct log_file *file,
                                            const struct log_segment_header *header);

#endif
