/*
 * esctl import: NDJSON lines through the ring, many in flight, in order. The first
 * line that is malformed or refused ends it: what came before is committed, and
 * nothing after it, because the producer is ordered: the broker refuses
 * everything behind a refusal. import_line.h reads the lines.
 */
#include "tools/esctl/import_run.h"

#include "tools/esctl/arguments.h"
#include "tools/esctl/input_file.h"
#include "tools/esctl/stop_signal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEY_PRODUCER = 0x100,
    KEY_TAKE_OVER
};

static const struct argp_option options[] = {
    {"batch", 'b', "N", 0,
     "have no more than N lines on the way at a time (default: as many as the broker allows)", 0},
    {"producer", KEY_PRODUCER, "NAME", 0,
     "store each line once: the same command again goes on where the store is", 0},
    {"take-over", KEY_TAKE_OVER, NULL, 0, "take the name from a living owner", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct import_options *given = context;

    switch (key) {
    case KEY_PRODUCER: given->producer = argument; return argument_producer(invocation, argument);
    case KEY_TAKE_OVER: given->take_over = true; return true;
    default:
        return argument_number(invocation, "--batch", argument, 1, IMPORT_IN_FLIGHT_MAX,
                               &given->in_flight_max);
    }
}

static const struct verb_syntax syntax = {
    .words_doc = "FILE|-",
    .doc = "Appends the events, and puts the keys, of NDJSON lines as `esctl export` writes them. "
           "A line has stream, type, payload or payload_base64, and may have tick (0 if it is "
           "missing), sequence, previous_hash and hash, which must come out equal, and position "
           "and time, which are not used: the store has its own. The first malformed or refused "
           "line ends the import: exit 65, everything before it is committed, nothing after it. "
           "With --producer the lines are numbered (blank ones apart), and the number is stored "
           "with each: after whatever has ended an import, the same command does the rest, and "
           "once more it does nothing. A name is for one file.",
    .options = options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

/* Reads lines and sends them until the end or the first failure. */
static void send_lines(struct import_run *run, int descriptor, uint64_t file_size)
{
    struct line_reader reader;
    struct import_line line;
    char error[PAYLOAD_ERROR_SIZE];
    char *text = NULL;
    size_t size = 0;
    uint64_t byte_count = 0;

    line_reader_init(&reader, descriptor);
    while (!import_run_has_failed(run) && !stop_requested()) {
        enum es_status status = line_reader_next(&reader, &text, &size);
        if (status == ES_EMPTY) {
            import_run_end_of_file(run, reader.line_number);
            break;
        }
        if (status == ES_INTERRUPTED) {
            break;
        }
        if (status == ES_E_IO) {
            import_run_fail(run, reader.line_number + 1, ES_E_IO, strerror(errno));
            break;
        }
        if (status != ES_OK) {
            import_run_fail(run, reader.line_number, ES_E_CORRUPT, "longer than 32 MiB");
            break;
        }
        byte_count += size + 1;
        if (strspn(text, " \t\r") >= size) {
            continue; /* a blank line says nothing */
        }
        if (import_run_has_line(run)) {
            continue;
        }
        status = import_parser_read(&run->parser, text, size, &line, error);
        if (status != ES_OK) {
            import_run_fail(run, reader.line_number, ES_E_CORRUPT,
                            status == ES_E_CORRUPT ? error : es_status_text(status));
            break;
        }
        import_run_send(run, reader.line_number, &line);
        progress_show(&run->progress, run->event_count, byte_count, file_size);
    }
    line_reader_deinit(&reader);
}

static enum es_exit import_file(struct invocation *invocation, const struct import_options *given)
{
    struct import_run run;
    struct stat found;
    int descriptor = -1;

    enum es_exit exit = input_file_open(invocation->words[0], &descriptor);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    exit = invocation_connect(invocation);
    if (exit == ES_EXIT_OK) {
        exit = import_run_start(&run, invocation, given);
    }
    if (exit == ES_EXIT_OK) {
        stop_signal_install(NULL);
        const bool sized = fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode);
        send_lines(&run, descriptor, sized ? (uint64_t)found.st_size : 0);
        exit = import_run_finish(&run, stop_requested());
    }
    (void)close(descriptor);
    return exit;
}

enum es_exit verb_import(struct invocation *invocation)
{
    struct import_options given = {0};

    if (!invocation_parse(invocation, &syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    if (given.take_over && given.producer == NULL) {
        (void)invocation_usage_error(invocation, "--take-over needs --producer");
        return ES_EXIT_USAGE;
    }
    return import_file(invocation, &given);
}
