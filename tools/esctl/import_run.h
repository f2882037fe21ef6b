/*
 * The sending half of an import: lines go to an ordered producer as fast as it
 * takes them, their outcomes come back in order, and the first failure is kept
 * with its line number. import.c reads the lines.
 *
 * With a producer's name each line that is not blank has a number, 1, 2, 3 ..., which
 * the file alone decides: not how many are sent at a time, nor where an earlier import
 * has ended. Lines up to the last number are there. The last of them is sent again, so
 * that another file under the same name is found out.
 *
 * A failure found while reading (a malformed line) may be overtaken by one of an
 * earlier line that is still on its way: the smaller line number wins.
 * One thread.
 */
#ifndef ESCTL_IMPORT_RUN_H
#define ESCTL_IMPORT_RUN_H

#include "tools/esctl/esctl.h"
#include "tools/esctl/import_line.h"
#include "tools/esctl/line_reader.h"
#include "tools/esctl/progress.h"
#include "tools/esctl/stream_count.h"

#define IMPORT_IN_FLIGHT_MAX 4096 /* lines on the way; the broker allows fewer */
#define IMPORT_ERROR_SIZE 512

struct import_options {
    uint64_t in_flight_max; /* 0: as many as the broker allows */
    const char *producer;   /* NULL: none */
    bool take_over;
};

/* A line on the way. */
struct import_pending {
    uint64_t line_number;
    uint64_t stream_key; /* 0: a key and no event */
    bool is_repeat;      /* stored by an earlier import */
};

struct import_run {
    struct invocation *invocation;
    struct es_producer *producer;
    const char *name; /* of the producer; NULL: none */
    uint64_t number;  /* of the line read last: so many were not blank */
    uint64_t stored;  /* the last number before this import */
    struct import_parser parser;
    struct progress progress;

    struct import_pending pending[IMPORT_IN_FLIGHT_MAX]; /* a queue */
    size_t pending_first;
    size_t pending_count;

    uint64_t event_count; /* committed */
    uint64_t key_count;
    uint64_t last_line;     /* the last one committed; 0: none */
    uint64_t last_position; /* of the last event committed */
    struct stream_count streams;
    bool had_store_fields; /* positions, times or revisions stood in the file */

    enum es_status failure; /* ES_OK: none so far */
    uint64_t failed_line;
    char error[IMPORT_ERROR_SIZE];
};

/* Attaches a producer. ES_EXIT_OK, or the error has been printed. */
enum es_exit import_run_start(struct import_run *run, struct invocation *invocation,
                              const struct import_options *options);

/* Counts a line. True: it is stored, and need not be looked at. */
bool import_run_has_line(struct import_run *run);

/* The file is read to its end. Fails if more lines are stored than it has. */
void import_run_end_of_file(struct import_run *run, uint64_t last_line_number);

/* Sends one line; collects outcomes where there is no room. */
void import_run_send(struct import_run *run, uint64_t line_number, const struct import_line *line);

/* Notes a failure: of data (ES_E_CORRUPT: malformed) or of the file (ES_E_IO). */
void import_run_fail(struct import_run *run, uint64_t line_number, enum es_status status,
                     const char *text);

bool import_run_has_failed(const struct import_run *run);

/* Waits for what is on the way, prints the summary and the error, frees all. */
enum es_exit import_run_finish(struct import_run *run, bool interrupted);

#endif
