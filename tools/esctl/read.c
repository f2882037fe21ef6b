/* esctl read: a stream by sequence, or the whole store by position. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/event_line.h"

#include <inttypes.h>

struct read_options {
    const char *from;
    const char *count;
    const char *category;
    bool all;
    bool backwards;
    uint64_t from_number; /* of 'from'; 0: not given */
    uint64_t count_max;
};

static const struct argp_option options[] = {
    {"all", 'a', NULL, 0, "read every stream, in the order of positions", 0},
    {"from", 'f', "N", 0, "begin at this sequence, with --all at this position", 0},
    {"count", 'n', "N", 0, "read no more than N events", 0},
    {"backwards", 'b', NULL, 0, "from the last sequence, or --from, towards the first", 0},
    {"category", 'c', "CATEGORY", 0,
     "with --all: only streams of variant:branch:L0:domain, or beginning so if it ends in *", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct read_options *given = context;

    switch (key) {
    case 'a': given->all = true; return true;
    case 'b': given->backwards = true; return true;
    case 'f':
        given->from = argument;
        return argument_number(invocation, "--from", argument, 1, INT64_MAX, &given->from_number);
    case 'n':
        return argument_number(invocation, "--count", argument, 0, INT64_MAX, &given->count_max);
    default: given->category = argument; return argument_category(invocation, argument);
    }
}

static const struct verb_syntax syntax = {
    .words_doc = "STREAM\n--all",
    .doc = "Prints events, one a line: of one stream in the order of sequences, or of all. --from "
           "is inclusive. A stream or sequence that is not there: exit 1.",
    .options = options,
    .take = take,
    .word_count_min = 0,
    .word_count_max = 1,
};

static bool check(const struct invocation *invocation, const struct read_options *given)
{
    const bool has_stream = invocation->word_count == 1;

    if (has_stream == given->all) {
        return invocation_usage_error(invocation, "either STREAM or --all is wanted");
    }
    if (has_stream && !argument_stream(invocation, invocation->words[0])) {
        return false;
    }
    if (given->all && given->backwards) {
        return invocation_usage_error(invocation, "--backwards goes with a STREAM");
    }
    if (given->category != NULL && !given->all) {
        return invocation_usage_error(invocation, "--category goes with --all");
    }
    return true;
}

static enum es_exit tell_missing(const struct invocation *invocation,
                                 const struct read_options *given)
{
    if (given->from_number > 0) {
        invocation_error("%s has no sequence %" PRIu64 ": see `esctl head %s`",
                         invocation->words[0], given->from_number, invocation->words[0]);
    } else {
        invocation_error("there is no stream %s: see `esctl streams`", invocation->words[0]);
    }
    return ES_EXIT_NO;
}

/* Prints what the reader gives, up to the count. */
static enum es_exit print_events(const struct invocation *invocation,
                                 const struct read_options *given, struct es_reader *reader)
{
    struct line_writer writer;
    struct es_event event;
    enum es_status status = ES_OK;
    uint64_t count = 0;

    line_writer_init(&writer, stdout, invocation->json);
    for (; count < given->count_max && status == ES_OK; count++) {
        status = es_reader_next(reader, &event);
        if (status != ES_OK) {
            break;
        }
        status = line_writer_event(&writer, &event);
        if (status != ES_OK) {
            line_writer_deinit(&writer);
            return ES_EXIT_IO; /* main.c says why */
        }
    }
    line_writer_deinit(&writer);
    if (status == ES_OK || status == ES_EMPTY) {
        return ES_EXIT_OK;
    }
    return status == ES_NOT_FOUND ? tell_missing(invocation, given)
                                  : invocation_failed(invocation, status);
}

enum es_exit verb_read(struct invocation *invocation)
{
    struct read_options given = {.count_max = UINT64_MAX};
    struct es_reader *reader = NULL;
    enum es_status status = ES_OK;

    if (!invocation_parse(invocation, &syntax, &given) || !check(invocation, &given)) {
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    if (given.all) {
        status =
            es_reader_open_all(invocation->connection, given.category, given.from_number, &reader);
    } else {
        status = es_reader_open_stream(invocation->connection, invocation->words[0],
                                       given.from_number, given.backwards, &reader);
    }
    if (status != ES_OK) {
        return status == ES_NOT_FOUND ? tell_missing(invocation, &given)
                                      : invocation_failed(invocation, status);
    }
    exit = print_events(invocation, &given, reader);
    es_reader_close(reader);
    return exit;
}
