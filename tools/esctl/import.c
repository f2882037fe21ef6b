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

static const struct argp_option options[] = {
    {"batch", 'b', "N", 0,
     "have no more than N lines on the way at a time (default: as many as the broker allows)", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    uint64_t *in_flight_max = context;

    (void)key;
    return argument_number(invocation, "--batch", argument, 1, IMPORT_IN_FLIGHT_MAX, in_flight_max);
}

static const struct verb_syntax syntax = {
    .words_doc = "FILE|-",
    .doc = "Appends the events, and puts the keys, of NDJSON lines as `esctl export` writes them. "
           "A line has stream, type, payload or payload_base64, and may have tick (0 if it is "
           "missing), sequence, previous_hash and hash, which must come out equal, and position "
           "and time, which are not used: the store has its own. The first malformed or refused "
           "line ends the import: exit 65, everything before it is committed, nothing after it.",
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
        if (status == ES_EMPTY || status == ES_INTERRUPTED) {
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

static enum es_exit import_file(struct invocation *invocation, uint64_t in_flight_max)
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
        exit = import_run_start(&run, invocation, (uint32_t)in_flight_max);
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
    uint64_t in_flight_max = 0;

    if (!invocation_parse(invocation, &syntax, &in_flight_max)) {
        return ES_EXIT_USAGE;
    }
    return import_file(invocation, in_flight_max);
}
