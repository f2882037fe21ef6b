/* esctl export: every event with all its fields, then every key, as NDJSON. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/broker_questions.h"
#include "tools/esctl/event_line.h"
#include "tools/esctl/output_file.h"
#include "tools/esctl/progress.h"
#include "tools/esctl/stop_signal.h"

#include <inttypes.h>

struct export_options {
    const char *stream;
    const char *category;
    const char *output;
    uint64_t from_position;
    bool events_only;
};

struct exporting {
    const struct invocation *invocation;
    const struct export_options *given;
    struct line_writer writer;
    struct progress progress;
    uint64_t end_position; /* of the store when the export began */
    uint64_t event_count;
    enum es_status write_status;
};

enum {
    KEY_EVENTS_ONLY = 0x100
};

static const struct argp_option options[] = {
    {"stream", 's', "STREAM", 0, "only the events of this stream", 0},
    {"category", 'c', "CATEGORY", 0,
     "only the events of streams of variant:branch:L0:domain, or beginning so if it ends in *", 0},
    {"from", 'f', "POSITION", 0, "only events from this position on", 0},
    {"output", 'o', "FILE", 0, "write to FILE, which appears when it is whole", 0},
    {"events-only", KEY_EVENTS_ONLY, NULL, 0, "leave out the keys", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct export_options *given = context;

    switch (key) {
    case 's': given->stream = argument; return argument_stream(invocation, argument);
    case 'c': given->category = argument; return argument_category(invocation, argument);
    case 'f':
        return argument_number(invocation, "--from", argument, 1, INT64_MAX, &given->from_position);
    case 'o': given->output = argument; return true;
    default: given->events_only = true; return true;
    }
}

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc = "Writes one JSON object a line: the events in the order of positions, as the store was "
           "when the export began, then the keys of family kv (not with --stream or --category). "
           "`esctl import` reads it.",
    .options = options,
    .take = take,
    .word_count_min = 0,
    .word_count_max = 0,
};

static enum es_status open_reader(const struct exporting *exporting, struct es_reader **ret_reader)
{
    const struct export_options *given = exporting->given;
    struct es_connection *connection = exporting->invocation->connection;

    if (given->stream != NULL) {
        return es_reader_open_stream(connection, given->stream, 0, false, ret_reader);
    }
    return es_reader_open_all(connection, given->category, given->from_position, ret_reader);
}

/* Writes the events up to the end of the store as it was. ES_EMPTY: all of them. */
static enum es_status write_events(struct exporting *exporting, struct es_reader *reader)
{
    struct es_event event;

    for (;;) {
        const enum es_status status = es_reader_next(reader, &event);
        if (status != ES_OK || event.position > exporting->end_position) {
            return status == ES_OK ? ES_EMPTY : status;
        }
        if (event.position < exporting->given->from_position) {
            continue; /* a stream is read from its start */
        }
        exporting->write_status = line_writer_event(&exporting->writer, &event);
        if (exporting->write_status != ES_OK || stop_requested()) {
            return ES_EMPTY;
        }
        exporting->event_count++;
        progress_show(&exporting->progress, exporting->event_count, event.position,
                      exporting->end_position);
    }
}

static bool write_key(void *context, const char *name_space, const char *key, uint64_t revision,
                      const void *value, size_t value_bytes)
{
    struct exporting *exporting = context;

    exporting->write_status =
        line_writer_key(&exporting->writer, name_space, key, revision, value, value_bytes);
    return exporting->write_status == ES_OK && !stop_requested();
}

static enum es_exit tell_failure(const struct exporting *exporting, enum es_status status)
{
    if (status == ES_NOT_FOUND && exporting->given->stream != NULL) {
        invocation_error("there is no stream %s: see `esctl streams`", exporting->given->stream);
        return ES_EXIT_NO;
    }
    return invocation_failed(exporting->invocation, status);
}

/* All lines; a failure is told, but for one of writing, which 'write_status' has. */
static enum es_exit write_lines(struct exporting *exporting)
{
    const struct export_options *given = exporting->given;
    struct es_reader *reader = NULL;
    struct es_store_head head;

    enum es_status status = es_store_head(exporting->invocation->connection, &head);
    if (status == ES_OK) {
        exporting->end_position = head.position;
        status = open_reader(exporting, &reader);
    }
    if (status == ES_OK) {
        status = write_events(exporting, reader);
        progress_clear(&exporting->progress);
        es_reader_close(reader);
    }
    if (status == ES_EMPTY && exporting->write_status == ES_OK && !stop_requested() &&
        !given->events_only && given->stream == NULL && given->category == NULL) {
        status = ask_key_export(exporting->invocation->connection, write_key, exporting);
    }
    return status == ES_OK || status == ES_EMPTY ? ES_EXIT_OK : tell_failure(exporting, status);
}

/* Ends the file the way that belongs to what has happened. */
static enum es_exit end_output(const struct exporting *exporting, struct output_file *file,
                               enum es_exit exit)
{
    if (exit == ES_EXIT_OK && exporting->write_status == ES_E_NO_MEMORY) {
        invocation_error("there is no memory for a line: make some free");
        exit = ES_EXIT_IO;
    }
    if (exit == ES_EXIT_OK && stop_requested()) {
        invocation_error("interrupted after %" PRIu64 " events: run it again",
                         exporting->event_count);
        exit = ES_EXIT_TRY_AGAIN;
    }
    if (exit == ES_EXIT_OK) {
        return output_file_finish(file); /* finds what was not written */
    }
    output_file_abandon(file);
    return exit;
}

enum es_exit verb_export(struct invocation *invocation)
{
    struct export_options given = {0};
    struct exporting exporting = {.invocation = invocation, .given = &given};
    struct output_file file;

    if (!invocation_parse(invocation, &syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    if (given.stream != NULL && given.category != NULL) {
        (void)invocation_usage_error(invocation, "--stream and --category exclude each other");
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit == ES_EXIT_OK) {
        exit = output_file_open(&file, given.output);
    }
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    stop_signal_install(NULL);
    line_writer_init(&exporting.writer, file.stream, true);
    progress_start(&exporting.progress, "exported");
    exporting.progress.is_shown = exporting.progress.is_shown && given.output != NULL;
    exit = end_output(&exporting, &file, write_lines(&exporting));
    line_writer_deinit(&exporting.writer);
    return exit;
}
