/*
 * A broker of our own: started from the esbroker beside this program, on a store in a temporary
 * directory, stopped and removed with everything it left. It ends with us, whatever happens to us.
 */
#ifndef EVENTSPINE_TOOLS_ESBENCH_BROKER_PROCESS_H
#define EVENTSPINE_TOOLS_ESBENCH_BROKER_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "tools/esbench/bench.h"
#include "tools/esbench/temporary.h"

struct broker_process {
    pid_t pid;                       /* 0: not running */
    int output_fd;                   /* its stdout; -1: not running */
    uint64_t start_ns;               /* from exec to its "ready" line, the last time it started */
    char root[TEMPORARY_PATH_BYTES]; /* holds data and log.txt; empty: nothing to remove */
    char run_dir[TEMPORARY_PATH_BYTES]; /* in memory where there is /dev/shm */
};

/* Makes the directories. Call broker_remove() whatever this returns. */
int broker_prepare(const struct bench_options *options, struct broker_process *broker);

/* Starts it and waits for its "ready" line, at most a minute. */
int broker_start(const struct bench_options *options, struct broker_process *broker);

/* Ends it with this signal and waits: SIGTERM must lead to exit code 0, SIGKILL is a crash. */
int broker_stop(struct broker_process *broker, int signal_number);

/* Kills it if it runs, and removes its directories. */
void broker_remove(struct broker_process *broker);

/* A program of ours: beside this one, else through PATH. 'path' has 'capacity' bytes. */
void broker_program(const char *name, char *path, size_t capacity);

/* Processor time of all its threads so far; 0 where /proc does not tell. */
uint64_t broker_cpu_ns(const struct broker_process *broker);

/* RssAnon + RssShmem; 0 where /proc does not tell. */
uint64_t broker_memory_bytes(const struct broker_process *broker);

#endif
