/*
 * esbench suite: every figure of the project's table, each beside the disk alone (floor) and log
 * and store alone (bare store) from the same minute, for machines differ and are noisy. Each
 * measurement runs in a process of its own: none inherits another's threads, handles or memory.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/esbench/bench.h"
#include "tools/esbench/broker_process.h"
#include "tools/esbench/suite_table.h"

#define FLOOR_COUNT 2000      /* or as many as events, where those are fewer */
#define SINGLE_PART 50        /* one at a time: this part of --count is enough for percentiles */
#define STORE_PART 4          /* the bare store: this part */
#define IDLE_NS 5000000000ULL /* how long idleness is watched */
#define STREAMS_FEW 100
#define STREAMS_MANY 10000

typedef int measure_function(const struct bench_options *options, struct measurement *measurement);

struct suite {
    struct bench_options options;   /* of the suite */
    struct measurement *shared;     /* what the measuring process fills */
    struct broker_process *watched; /* whose memory is sampled meanwhile; NULL: nobody's */
    uint64_t memory_bytes_max;
    struct measurement result; /* of the last measurement */
    double floor_us;           /* p50, the last one measured */
    double store_rate;         /* 0: not measured for this row */
};

static void pause_ns(uint64_t duration_ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(duration_ns / 1000000000U),
                                   .tv_nsec = (long)(duration_ns % 1000000000U)};

    (void)nanosleep(&pause, NULL); /* a signal ends it early: the caller looks at it */
}

static int child_end(struct suite *suite, pid_t pid)
{
    int wait_status = 0;

    while (waitpid(pid, &wait_status, WNOHANG) == 0) {
        if (suite->watched != NULL) {
            uint64_t bytes = broker_memory_bytes(suite->watched);

            suite->memory_bytes_max =
                bytes > suite->memory_bytes_max ? bytes : suite->memory_bytes_max;
        }
        if (bench_interrupted) {
            (void)kill(pid, SIGTERM);
        }
        pause_ns(20000000);
    }
    if (!WIFEXITED(wait_status)) {
        return bench_fail(EX_SOFTWARE, "a measurement was killed by signal %d: measure again",
                          WTERMSIG(wait_status));
    }
    return WEXITSTATUS(wait_status);
}

/* Measures in a process of its own; the result is in suite->result. */
static int measure_apart(struct suite *suite, measure_function *measure,
                         const struct bench_options *options)
{
    pid_t pid = -1;
    int code = EX_OK;

    memset(suite->shared, 0, sizeof *suite->shared);
    (void)fflush(NULL);
    pid = fork();
    if (pid < 0) {
        return bench_fail(EX_OSERR, "no process (%s): raise the limit of processes",
                          strerror(errno));
    }
    if (pid == 0) {
        _exit(measure(options, suite->shared));
    }
    code = child_end(suite, pid);
    suite->result = *suite->shared;
    return code;
}

static double p50_us(const struct measurement *measurement)
{
    return (double)histogram_percentile(&measurement->latency, 500000) / 1e3;
}

/* What stands beside the next figure: the disk, and where 'batch' is not 0 the bare store too. */
static int measure_beside(struct suite *suite, const struct bench_options *options, uint32_t batch)
{
    struct bench_options beside = *options;
    int code = EX_OK;

    beside.run_dir = NULL;
    beside.batch = 1;
    beside.count = suite->options.count < FLOOR_COUNT ? suite->options.count : FLOOR_COUNT;
    code = measure_apart(suite, floor_measure, &beside);
    suite->floor_us = p50_us(&suite->result);
    suite->store_rate = 0;
    if (code == EX_OK && batch > 0) {
        beside.batch = batch;
        beside.count = options->count / STORE_PART + 1;
        code = measure_apart(suite, store_measure, &beside);
        suite->store_rate = bench_events_per_second(&suite->result);
    }
    return code;
}

static void add_row(const struct suite *suite, const char *work, double value, const char *unit,
                    enum suite_limit_kind kind, double limit)
{
    const struct suite_row row = {
        .work = work,
        .value = value,
        .unit = unit,
        .kind = kind,
        .limit = limit,
        .floor_us = suite->floor_us,
        .store_rate = suite->store_rate,
    };

    suite_table_row(&row, suite->options.json);
}

static int single(struct suite *suite, const char *durability, double limit_us, double floor_factor,
                  const char *work)
{
    struct bench_options options = suite->options;
    int code = EX_OK;

    options.durability = durability;
    options.count = options.count / SINGLE_PART + 1;
    options.producers = 1;
    options.in_flight = 1;
    code = measure_beside(suite, &options, 0);
    if (code == EX_OK) {
        code = measure_apart(suite, append_measure, &options);
    }
    if (code == EX_OK) {
        add_row(suite, work, p50_us(&suite->result), "us", SUITE_AT_MOST,
                limit_us + floor_factor * suite->floor_us);
    }
    return code;
}

static int throughput(struct suite *suite, uint32_t producers, uint32_t batch, uint32_t streams,
                      const char *work)
{
    struct bench_options options = suite->options;
    int code = EX_OK;

    options.producers = producers;
    options.in_flight = 64;
    options.streams = streams;
    code = measure_beside(suite, &options, batch);
    if (code == EX_OK) {
        code = measure_apart(suite, append_measure, &options);
    }
    if (code == EX_OK) {
        add_row(suite, work, bench_events_per_second(&suite->result), "events/s", SUITE_AT_LEAST,
                0.75 * suite->store_rate);
    }
    return code;
}

/* esctl import, with the time that the whole program takes. */
static int import_measure(const struct bench_options *options, struct measurement *measurement)
{
    char program[TEMPORARY_PATH_BYTES];
    uint64_t begin_ns = bench_now_ns();
    int wait_status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

        broker_program("esctl", program, sizeof program);
        if (null_fd >= 0) {
            (void)dup2(null_fd, STDOUT_FILENO);
        }
        execlp(program, "esctl", "--run", options->run_dir, "--json", "import", options->sample,
               (char *)NULL);
        _exit(EX_UNAVAILABLE);
    }
    if (pid < 0 || waitpid(pid, &wait_status, 0) != pid || !WIFEXITED(wait_status) ||
        WEXITSTATUS(wait_status) != 0) {
        return bench_fail(EX_DATAERR, "esctl import %s failed: try it by hand", options->sample);
    }
    measurement->elapsed_ns = bench_now_ns() - begin_ns;
    return EX_OK;
}

static int import_sample(struct suite *suite)
{
    struct bench_options options = suite->options;
    struct broker_process broker;
    int code = EX_OK;

    if (options.sample == NULL) {
        return EX_OK;
    }
    code = measure_beside(suite, &options, 0);
    if (code != EX_OK) {
        return code;
    }
    code = broker_prepare(&options, &broker);
    if (code == EX_OK) {
        code = broker_start(&options, &broker);
    }
    if (code == EX_OK) {
        options.run_dir = broker.run_dir;
        code = measure_apart(suite, import_measure, &options);
    }
    if (code == EX_OK) {
        add_row(suite, "import of the sample", (double)suite->result.elapsed_ns / 1e9, "s",
                SUITE_AT_MOST, 1);
        code = broker_stop(&broker, SIGTERM);
    }
    broker_remove(&broker);
    return code;
}

static int fill(struct suite *suite, const struct broker_process *broker, uint32_t streams)
{
    struct bench_options options = suite->options;

    options.run_dir = broker->run_dir;
    options.producers = 4;
    options.in_flight = 64;
    options.streams = streams;
    options.warmup = 0;
    return measure_apart(suite, append_measure, &options);
}

static void watch_idle(const struct suite *suite, const struct broker_process *broker)
{
    uint64_t begin_ns = bench_now_ns();
    uint64_t cpu_ns = broker_cpu_ns(broker);

    pause_ns(IDLE_NS);
    cpu_ns = broker_cpu_ns(broker) - cpu_ns;
    add_row(suite, "idle broker", 100.0 * (double)cpu_ns / (double)(bench_now_ns() - begin_ns),
            "% of a core", SUITE_AT_MOST, 1);
}

/* One filled store: start after kill -9, reading, idleness, start after a clean stop. */
static int lifetime(struct suite *suite, struct broker_process *broker)
{
    struct bench_options options = suite->options;
    int code = broker_start(&options, broker);

    suite->store_rate = 0;
    if (code == EX_OK) {
        code = fill(suite, broker, STREAMS_FEW);
    }
    if (code == EX_OK) {
        code = broker_stop(broker, SIGKILL);
    }
    if (code == EX_OK) {
        code = broker_start(&options, broker);
    }
    if (code == EX_OK) {
        add_row(suite, "start after kill -9", (double)broker->start_ns / 1e9, "s", SUITE_AT_MOST,
                1.5);
        options.run_dir = broker->run_dir;
        code = measure_apart(suite, read_measure, &options);
    }
    if (code == EX_OK) {
        add_row(suite, "read all from the start, hashes checked",
                bench_events_per_second(&suite->result), "events/s", SUITE_AT_LEAST, 200000);
        watch_idle(suite, broker);
        code = broker_stop(broker, SIGTERM);
    }
    if (code == EX_OK) {
        options.run_dir = NULL;
        code = broker_start(&options, broker);
    }
    if (code == EX_OK) {
        add_row(suite, "start after a clean stop", (double)broker->start_ns / 1e9, "s",
                SUITE_AT_MOST, 0.5);
        code = broker_stop(broker, SIGTERM);
    }
    return code;
}

static int memory(struct suite *suite, struct broker_process *broker)
{
    int code = broker_start(&suite->options, broker);

    if (code == EX_OK) {
        suite->watched = broker;
        suite->memory_bytes_max = 0;
        code = fill(suite, broker, (uint32_t)suite->options.count);
        suite->watched = NULL;
    }
    if (code == EX_OK) {
        add_row(suite, "largest own memory, 4 lanes, a stream for each event",
                (double)suite->memory_bytes_max / 1e6, "MB", SUITE_AT_MOST, 300);
        code = broker_stop(broker, SIGTERM);
    }
    return code;
}

static int with_broker(struct suite *suite,
                       int (*run)(struct suite *suite, struct broker_process *broker))
{
    struct broker_process broker;
    int code = broker_prepare(&suite->options, &broker);

    if (code == EX_OK) {
        code = run(suite, &broker);
    }
    broker_remove(&broker);
    return code;
}

static int run_all(struct suite *suite)
{
    int code = single(suite, "fsync", 35, 1, "1 producer, one at a time, p50");

    if (code == EX_OK) {
        code = throughput(suite, 1, 64, STREAMS_FEW, "1 producer, 64 in flight, 100 streams");
    }
    if (code == EX_OK) {
        code = throughput(suite, 4, 256, STREAMS_FEW, "4 producers, 64 in flight, 100 streams");
    }
    if (code == EX_OK) {
        code = throughput(suite, 1, 64, STREAMS_MANY, "1 producer, 64 in flight, 10,000 streams");
    }
    if (code == EX_OK) {
        code = throughput(suite, 4, 256, STREAMS_MANY, "4 producers, 64 in flight, 10,000 streams");
    }
    if (code == EX_OK) {
        code = single(suite, "os", 25, 0, "durability os, 1 producer, one at a time, p50");
    }
    if (code == EX_OK) {
        code = import_sample(suite);
    }
    if (code == EX_OK) {
        code = with_broker(suite, lifetime);
    }
    if (code == EX_OK) {
        code = with_broker(suite, memory);
    }
    return code;
}

int suite_run(const struct bench_options *options)
{
    struct suite suite = {.options = *options};
    int code = EX_OK;

    suite.shared =
        mmap(NULL, sizeof *suite.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (suite.shared == MAP_FAILED) {
        return bench_fail(EX_OSERR, "no shared memory (%s): free some", strerror(errno));
    }
    suite_table_head(options);
    code = run_all(&suite);
    (void)munmap(suite.shared, sizeof *suite.shared);
    return code;
}
