/*
 * esbench read: reads the store from its first position through the library, which recomputes every
 * hash and checks every link, as any program would. Without --run it fills its own store first.
 */
#include <inttypes.h>

#include <eventspine.h>

#include "tools/esbench/bench.h"
#include "tools/esbench/broker_process.h"

/* Reads up to options->count events; fewer are there where the store ends before. */
static int read_events(const struct bench_options *options, struct es_connection *connection,
                       struct measurement *ret_measurement)
{
    struct es_reader *reader = NULL;
    enum es_status status = es_reader_open_all(connection, NULL, 1, &reader);
    uint64_t begin_ns = bench_now_ns();
    uint64_t events = 0;

    while (status == ES_OK && events < options->count && !bench_interrupted) {
        struct es_event event;

        status = es_reader_next(reader, &event);
        if (status == ES_OK) {
            events++;
        }
    }
    ret_measurement->elapsed_ns = bench_now_ns() - begin_ns;
    ret_measurement->events = events;
    es_reader_close(reader);
    if (bench_interrupted) {
        return bench_fail(EX_TEMPFAIL, "interrupted: measure again");
    }
    if (status != ES_OK && status != ES_EMPTY) {
        return bench_fail(bench_exit_code(status),
                          "reading stopped after %" PRIu64 " events (%s): %s", events,
                          es_status_text(status), es_connection_error(connection));
    }
    if (events == 0) {
        return bench_fail(1, "the store is empty: append to it first");
    }
    return EX_OK;
}

static int read_through(const struct bench_options *options, const char *run_dir,
                        struct measurement *ret_measurement)
{
    struct es_connection_options connection_options = {
        .run_dir = run_dir,
        .client_name = "esbench",
        .timeout_ns = options->timeout_ns,
    };
    struct es_connection *connection = NULL;
    enum es_status status = es_connection_open(&connection_options, &connection);
    int code = EX_OK;

    if (status != ES_OK) {
        return bench_fail(bench_exit_code(status),
                          "cannot use %s as a run directory (%s): "
                          "name a shorter one with --run",
                          run_dir, es_status_text(status));
    }
    code = read_events(options, connection, ret_measurement);
    es_connection_close(connection);
    return code;
}

int read_measure(const struct bench_options *options, struct measurement *ret_measurement)
{
    static struct measurement filling;
    struct bench_options fill_options = *options;
    struct broker_process broker;
    int code = EX_OK;

    if (options->run_dir != NULL) {
        return read_through(options, options->run_dir, ret_measurement);
    }
    code = broker_prepare(options, &broker);
    if (code == EX_OK) {
        code = broker_start(options, &broker);
    }
    if (code == EX_OK) {
        fill_options.run_dir = broker.run_dir;
        fill_options.warmup = 0;
        fill_options.in_flight = BENCH_IN_FLIGHT_MAX;
        code = append_measure(&fill_options, &filling);
    }
    if (code == EX_OK) {
        code = read_through(options, broker.run_dir, ret_measurement);
    }
    if (code == EX_OK) {
        code = broker_stop(&broker, SIGTERM);
    }
    broker_remove(&broker);
    return code;
}
