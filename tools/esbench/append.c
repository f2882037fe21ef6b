/*
 * esbench append: producers, each a process of its own, append through the ring; every event's way
 * from the call to the known outcome is counted. The producers are forked before this process opens
 * any handle, for a handle does not survive a fork; they count into shared anonymous memory.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eventspine.h>

#include "tools/esbench/bench.h"
#include "tools/esbench/broker_process.h"
#include "tools/esbench/load.h"

/* What one producer leaves for the parent. */
struct share {
    uint64_t begin_ns;
    uint64_t end_ns;
    struct histogram latency;
    char message[512]; /* why it failed */
};

struct producer {
    const struct bench_options *options;
    const char *run_dir;
    uint32_t index;
    struct share *share;
    struct load load;
    struct es_connection *connection;
    struct es_producer *handle;
    uint64_t started_ns[BENCH_IN_FLIGHT_MAX]; /* of those in flight, by number of submission */
};

static int producer_failed(struct producer *producer, const char *doing, enum es_status status)
{
    const char *why = producer->connection == NULL ? "" : es_connection_error(producer->connection);

    (void)snprintf(producer->share->message, sizeof producer->share->message,
                   "producer %u cannot %s (%s): %s", producer->index, doing, es_status_text(status),
                   why[0] == '\0' ? "see the broker's log" : why);
    return bench_exit_code(status);
}

/* Submits the event with this number of ours; producers take turns through the streams. */
static enum es_status submit(struct producer *producer, uint64_t number)
{
    uint64_t global = number * producer->options->producers + producer->index;
    char stream[LOAD_STREAM_BYTES_MAX];
    struct es_event_input event = {
        .tick = number,
        .type = LOAD_TYPE,
        .payload = load_payload(&producer->load, global),
        .payload_bytes = producer->load.size_bytes,
        .expected_hash = NULL,
    };
    uint64_t ticket = 0;

    load_stream(&producer->load, global, stream);
    return es_producer_submit(producer->handle, stream, NULL, &event, 1, &ticket);
}

/* Appends 'count' events from number 'first' on, never more than in_flight at once. 'latency' NULL
 * counts nothing. */
static int produce(struct producer *producer, uint64_t first, uint64_t count,
                   struct histogram *latency)
{
    uint32_t in_flight = producer->options->in_flight;
    struct es_outcome outcomes[BENCH_IN_FLIGHT_MAX];
    uint64_t sent = 0;
    uint64_t done = 0;

    assert(in_flight > 0);
    while (done < count) {
        enum es_status status = ES_OK;
        uint64_t now_ns = 0;
        size_t taken = 0;

        while (sent < count && sent - done < in_flight) {
            producer->started_ns[sent % in_flight] = bench_now_ns();
            status = submit(producer, first + sent);
            if (status != ES_OK) {
                break;
            }
            sent++;
        }
        if (status != ES_OK && (status != ES_FULL || sent == done)) {
            return producer_failed(producer, "append", status);
        }
        status = es_producer_poll(producer->handle, outcomes, in_flight,
                                  producer->options->timeout_ns, &taken);
        if (status != ES_OK) {
            return producer_failed(producer, "learn an outcome", status);
        }
        now_ns = bench_now_ns();
        for (size_t i = 0; i < taken; i++) {
            if (outcomes[i].status != ES_OK) {
                return producer_failed(producer, "append", outcomes[i].status);
            }
            if (latency != NULL) {
                histogram_add(latency, now_ns - producer->started_ns[done % in_flight]);
            }
            done++;
        }
    }
    return EX_OK;
}

/* This producer's part of a number of events. */
static uint64_t part_of(uint64_t count, uint32_t producers, uint32_t index)
{
    return count / producers + (index < count % producers ? 1 : 0);
}

static int producer_open(struct producer *producer)
{
    const struct bench_options *options = producer->options;
    struct es_connection_options connection_options = {
        .run_dir = producer->run_dir,
        .client_name = "esbench",
        .timeout_ns = options->timeout_ns,
    };
    struct es_producer_options producer_options = {.in_flight_max = options->in_flight};
    enum es_status status = ES_OK;

    if (!load_init(&producer->load, options->size_bytes, options->streams)) {
        return producer_failed(producer, "allocate its payloads", ES_E_NO_MEMORY);
    }
    status = es_connection_open(&connection_options, &producer->connection);
    if (status != ES_OK) {
        return producer_failed(producer, "use the run directory", status);
    }
    status = es_producer_open(producer->connection, &producer_options, &producer->handle);
    if (status != ES_OK) {
        return producer_failed(producer, "attach to the broker", status);
    }
    return EX_OK;
}

/* The whole life of a producer process: attach, warm up, say so, wait for the start, measure. */
static int producer_main(struct producer *producer, int ready_fd, int start_fd)
{
    const struct bench_options *options = producer->options;
    uint64_t warmup = part_of(options->warmup, options->producers, producer->index);
    uint64_t count = part_of(options->count, options->producers, producer->index);
    char byte = 0;
    int code = producer_open(producer);

    if (code == EX_OK) {
        code = produce(producer, 0, warmup, NULL);
    }
    if (write(ready_fd, &byte, 1) != 1) {
        code = EX_SOFTWARE;
    }
    /* Ends when the parent closes its side, whether to start us or because it is gone. */
    while (read(start_fd, &byte, 1) < 0 && errno == EINTR) {
    }
    if (code == EX_OK) {
        producer->share->begin_ns = bench_now_ns();
        code = produce(producer, warmup, count, &producer->share->latency);
        producer->share->end_ns = bench_now_ns();
    }
    es_producer_close(producer->handle);
    es_connection_close(producer->connection);
    load_deinit(&producer->load);
    return code;
}

struct crew {
    pid_t pids[BENCH_PRODUCERS_MAX];
    struct share *shares;
    uint32_t count;
    int ready_fds[2];
    int start_fds[2];
};

static void close_end(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static int crew_fork(const struct bench_options *options, const char *run_dir, struct crew *crew)
{
    (void)fflush(NULL);
    for (uint32_t i = 0; i < options->producers; i++) {
        crew->pids[i] = fork();
        if (crew->pids[i] < 0) {
            return bench_fail(EX_OSERR, "no process (%s): use fewer --producers", strerror(errno));
        }
        if (crew->pids[i] == 0) {
            struct producer producer = {
                .options = options, .run_dir = run_dir, .index = i, .share = &crew->shares[i]};
            close_end(&crew->ready_fds[0]);
            close_end(&crew->start_fds[1]);
            _exit(producer_main(&producer, crew->ready_fds[1], crew->start_fds[0]));
        }
        crew->count++;
    }
    close_end(&crew->ready_fds[1]);
    close_end(&crew->start_fds[0]);
    return EX_OK;
}

/* Waits until every producer has attached and warmed up, or one of them can no longer say so. */
static void crew_await_ready(struct crew *crew)
{
    uint32_t ready = 0;

    while (ready < crew->count && !bench_interrupted) {
        struct pollfd poll_fd = {.fd = crew->ready_fds[0], .events = POLLIN, .revents = 0};
        char bytes[BENCH_PRODUCERS_MAX];
        ssize_t got = 0;

        if (poll(&poll_fd, 1, 1000) <= 0) {
            continue;
        }
        got = read(crew->ready_fds[0], bytes, crew->count - ready);
        if (got <= 0) {
            return; /* the last one is gone */
        }
        ready += (uint32_t)got;
    }
}

/* Waits for all to end; the first failure is told and returned. */
static int crew_await_end(struct crew *crew)
{
    int code = EX_OK;

    for (uint32_t i = 0; i < crew->count; i++) {
        int wait_status = 0;

        while (waitpid(crew->pids[i], &wait_status, 0) < 0 && errno == EINTR) {
            (void)kill(crew->pids[i], SIGTERM); /* we were asked to end */
        }
        if (code != EX_OK || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EX_OK)) {
            continue;
        }
        if (WIFEXITED(wait_status)) {
            code = bench_fail(WEXITSTATUS(wait_status), "%s", crew->shares[i].message);
        } else {
            code = bench_fail(EX_TEMPFAIL, "producer %u was killed by signal %d: measure again", i,
                              WTERMSIG(wait_status));
        }
    }
    return code;
}

static void crew_collect(const struct crew *crew, struct measurement *ret_measurement)
{
    uint64_t begin_ns = UINT64_MAX;
    uint64_t end_ns = 0;

    for (uint32_t i = 0; i < crew->count; i++) {
        const struct share *share = &crew->shares[i];

        begin_ns = share->begin_ns < begin_ns ? share->begin_ns : begin_ns;
        end_ns = share->end_ns > end_ns ? share->end_ns : end_ns;
        histogram_merge(&ret_measurement->latency, &share->latency);
    }
    ret_measurement->elapsed_ns = end_ns - begin_ns;
    ret_measurement->events = ret_measurement->latency.count;
}

static int append_through(const struct bench_options *options, const char *run_dir,
                          struct measurement *ret_measurement)
{
    struct crew crew = {.ready_fds = {-1, -1}, .start_fds = {-1, -1}};
    size_t share_bytes = sizeof *crew.shares * options->producers;
    int code = EX_OK;

    crew.shares =
        mmap(NULL, share_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (crew.shares == MAP_FAILED) {
        return bench_fail(EX_OSERR, "no shared memory (%s): use fewer --producers",
                          strerror(errno));
    }
    if (pipe2(crew.ready_fds, O_CLOEXEC) != 0 || pipe2(crew.start_fds, O_CLOEXEC) != 0) {
        code = bench_fail(EX_OSERR, "no pipe (%s): raise the limit of open files", strerror(errno));
    }
    if (code == EX_OK) {
        code = crew_fork(options, run_dir, &crew);
    }
    if (code == EX_OK) {
        crew_await_ready(&crew);
    }
    for (int i = 0; i < 2; i++) {
        close_end(&crew.start_fds[i]);
        close_end(&crew.ready_fds[i]);
    }
    int end_code = crew_await_end(&crew);
    if (code == EX_OK) {
        code = end_code;
    }
    if (code == EX_OK) {
        crew_collect(&crew, ret_measurement);
    }
    (void)munmap(crew.shares, share_bytes);
    return code;
}

int append_measure(const struct bench_options *options, struct measurement *ret_measurement)
{
    struct broker_process broker;
    int code = EX_OK;

    if (options->run_dir != NULL) {
        return append_through(options, options->run_dir, ret_measurement);
    }
    code = broker_prepare(options, &broker);
    if (code == EX_OK) {
        code = broker_start(options, &broker);
    }
    if (code == EX_OK) {
        code = append_through(options, broker.run_dir, ret_measurement);
    }
    if (code == EX_OK) {
        code = broker_stop(&broker, SIGTERM);
    }
    broker_remove(&broker);
    return code;
}
