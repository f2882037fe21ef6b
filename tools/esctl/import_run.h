/*
 * The sending half of an import: lines go to an ordered producer as fast as it
 * takes them, their outcomes come back in order, and the first failure is kept
 * with its line number. import.c reads the lines.
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

/* A line on the way. */
struct import_pending {
    uint64_t line_number;
    uint64_t stream_key; /* 0: a key and no event */
};

struct import_run {
    struct invocation *invocation;
    struct es_producer *producer;
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
                              uint32_t in_flight_max);

/* Sends one line; collects outcomes where there is no room. */
void import_run_send(struct import_run *run, uint64_t line_number, const struct import_line *line);

/* Notes a failure: of data (ES_E_CORRUPT: malformed) or of the file (ES_E_IO). */
void import_run_fail(struct import_run *run, uint64_t line_number, enum es_status status,
                     const char *text);

bool import_run_has_failed(const struct import_run *run);

/* Waits for what is on the way, prints the summary and the error, frees all. */
enum es_exit import_run_finish(struct import_run *run, bool interrupted);

#endif
