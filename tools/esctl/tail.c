/* esctl tail: what is committed, as it happens, joined to history without a gap. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/event_line.h"
#include "tools/esctl/stop_signal.h"

#include <inttypes.h>

struct tail_options {
    const char *category;
    uint64_t from_position;
    uint64_t count_max;
};

static const struct argp_option options[] = {
    {"category", 'c', "CATEGORY", 0,
     "only streams of variant:branch:L0:domain, or beginning so if it ends in *", 0},
    {"from", 'f', "POSITION", 0, "begin with what is stored from there on", 0},
    {"count", 'n', "N", 0, "end after N events", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct tail_options *given = context;

    switch (key) {
    case 'c': given->category = argument; return argument_category(invocation, argument);
    case 'f':
        return argument_number(invocation, "--from", argument, 1, INT64_MAX, &given->from_position);
    default:
        return argument_number(invocation, "--count", argument, 0, INT64_MAX, &given->count_max);
    }
}

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc = "Prints each event when it is committed, each once and in the order of positions. Ends "
           "after --count events, or with 0 on SIGINT and SIGTERM.",
    .options = options,
    .take = take,
    .word_count_min = 0,
    .word_count_max = 0,
};

/* The next event, however long it takes: --timeout is for answers, not for events. */
static enum es_status next_event(struct es_consumer *consumer, struct es_event *ret_event)
{
    enum es_status status = ES_TIMEOUT;

    while (status == ES_TIMEOUT && !stop_requested()) {
        status = es_consumer_next(consumer, ES_FOREVER, ret_event);
    }
    return stop_requested() ? ES_INTERRUPTED : status;
}

static enum es_exit follow(const struct invocation *invocation, const struct tail_options *given,
                           struct es_consumer *consumer)
{
    struct line_writer writer;
    struct es_event event;
    enum es_exit exit = ES_EXIT_OK;

    line_writer_init(&writer, stdout, invocation->json);
    for (uint64_t count = 0; count < given->count_max; count++) {
        const enum es_status status = next_event(consumer, &event);
        if (status == ES_INTERRUPTED) {
            break;
        }
        if (status != ES_OK) {
            exit = invocation_failed(invocation, status);
            break;
        }
        if (line_writer_event(&writer, &event) != ES_OK || fflush(stdout) != 0) {
            exit = ES_EXIT_IO; /* main.c says why */
            break;
        }
    }
    line_writer_deinit(&writer);
    return exit;
}

enum es_exit verb_tail(struct invocation *invocation)
{
    struct tail_options given = {.from_position = ES_LIVE, .count_max = UINT64_MAX};
    struct es_consumer *consumer = NULL;

    if (!invocation_parse(invocation, &syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    stop_signal_install(invocation->connection);
    const struct es_consumer_options consumer_options = {.filter = given.category,
                                                         .from_position = given.from_position};
    const enum es_status status =
        es_consumer_open(invocation->connection, &consumer_options, &consumer);
    if (status == ES_REGRESSED) {
        invocation_error("the store does not reach position %" PRIu64 " yet: see `esctl head`",
                         given.from_position - 1);
        return ES_EXIT_NO;
    }
    if (status != ES_OK) {
        return stop_requested() ? ES_EXIT_OK : invocation_failed(invocation, status);
    }
    exit = follow(invocation, &given, consumer);
    es_consumer_close(consumer);
    return exit;
}
