/*
 * esbench: measures a broker, and what stands beside it: the disk alone (floor) and log and store
 * alone (store). main.c reads the command line, one file a verb measures, report.c prints.
 *
 * A measuring function returns an exit code of sysexits.h and has said on stderr what went wrong:
 * its caller only passes the code on. Nothing here is used by several threads.
 */
#ifndef EVENTSPINE_TOOLS_ESBENCH_BENCH_H
#define EVENTSPINE_TOOLS_ESBENCH_BENCH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sysexits.h>

#include <eventspine_status.h>

#include "tools/esbench/histogram.h"

#define BENCH_PRODUCERS_MAX 128
#define BENCH_IN_FLIGHT_MAX 256
#define BENCH_STREAMS_MAX 100000000U
#define BENCH_SIZE_MAX (1U << 20)
#define BENCH_BATCH_MAX 4096

struct bench_options {
    const char *run_dir;    /* of the broker to measure; NULL: start one of our own */
    const char *directory;  /* where temporary stores and files go; never NULL */
    const char *durability; /* "fsync" or "os", of our own broker */
    const char *sample;     /* NDJSON to import in the suite; NULL: leave that row out */
    uint64_t count;         /* events, in all */
    uint64_t warmup;        /* events before the clock starts, in all */
    uint64_t timeout_ns;    /* for each answer of the broker */
    uint32_t streams;
    uint32_t producers;  /* processes */
    uint32_t in_flight;  /* of each producer */
    uint32_t size_bytes; /* of each payload */
    uint32_t batch;      /* events in one log record (store, floor) */
    bool json;
};

struct measurement {
    uint64_t events;
    uint64_t elapsed_ns;
    uint64_t encode_ns;       /* store: encoding and hashing, not part of elapsed_ns */
    struct histogram latency; /* nanoseconds; empty where a verb has no latency */
};

/* Set by SIGINT and SIGTERM: every loop ends soon, temporary directories are removed. */
extern volatile sig_atomic_t bench_interrupted;

/* Monotonic, in nanoseconds. */
uint64_t bench_now_ns(void);

/* Prints "esbench: " and the text: what happened, and the way out. Returns 'exit_code'. */
__attribute__((format(printf, 2, 3))) int bench_fail(int exit_code, const char *format, ...);

/* The exit code for a failed call of the library. */
int bench_exit_code(enum es_status status);

double bench_events_per_second(const struct measurement *measurement);

/* One verb each. 'ret_measurement' is zeroed by the caller and filled on EX_OK. */
int append_measure(const struct bench_options *options, struct measurement *ret_measurement);
int floor_measure(const struct bench_options *options, struct measurement *ret_measurement);
int store_measure(const struct bench_options *options, struct measurement *ret_measurement);
int read_measure(const struct bench_options *options, struct measurement *ret_measurement);

/* Runs them all and prints the table. */
int suite_run(const struct bench_options *options);

/* Prints one measurement on stdout, for people or as one JSON object. */
void report_print(const char *verb, const struct bench_options *options,
                  const struct measurement *measurement);

/* 1234567 as "1,234,567" into 'text' of at least 27 bytes; returns it. */
const char *report_number(uint64_t number, char *text);

#endif
