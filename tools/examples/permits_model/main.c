/*
 * A consumer with a read model in a process of its own: it follows a broker from
 * the start, keeps its model (model.h) with the position it belongs to in a file
 * (state.h), and prints the model as a table when it is told to stop.
 *
 * Standard output is a protocol for whoever started it: one line 'resumed at N' or
 * 'started', then 'applied N' each time the model has caught up and is saved.
 */
#include <argp.h>
#include <errno.h>
#include <eventspine.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tools/examples/permits_model/model.h"
#include "tools/examples/permits_model/state.h"

#define SAVE_EVERY_EVENTS 1000
#define SETTLE_NS 20000000u /* so long without another event is "caught up" */

const char *argp_program_version = "permits_model (eventspine " ES_VERSION_TEXT ")";

struct options {
    const char *run_dir;
    const char *state_path;
    uint64_t until_position; /* 0: until told to stop */
};

static struct es_connection *interrupted_by_signal;

static void on_signal(int number)
{
    (void)number;
    es_connection_interrupt(interrupted_by_signal);
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'r': options->run_dir = text; return 0;
    case 's': options->state_path = text; return 0;
    case 'u': options->until_position = strtoull(text, NULL, 10); return 0;
    case ARGP_KEY_END:
        if (options->state_path == NULL) {
            argp_error(state, "--state says where the model is kept");
        }
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static int failed(const struct es_connection *connection, const char *what, enum es_status status)
{
    fprintf(stderr, "permits_model: %s: %s: %s\n", what, es_status_text(status),
            es_connection_error(connection));
    return status == ES_E_UNREACHABLE ? EX_UNAVAILABLE : EX_SOFTWARE;
}

static bool save(const char *path, const struct model *model)
{
    if (state_save(path, model) != STATE_OK) {
        fprintf(stderr, "permits_model: %s cannot be written: %s\n", path, strerror(errno));
        return false;
    }
    printf("applied %" PRIu64 "\n", model->position);
    fflush(stdout);
    return true;
}

static int out_of_memory(void)
{
    fputs("permits_model: out of memory\n", stderr);
    return EX_OSERR;
}

/* Applies events until told to stop; what is unsaved then is saved. */
static int follow(struct es_connection *connection, struct es_consumer *consumer,
                  const struct options *options, struct model *model)
{
    uint64_t unsaved = 0;

    for (;;) {
        struct es_consumer_state state;
        struct es_event event;
        enum es_status status =
            es_consumer_next(consumer, unsaved > 0 ? SETTLE_NS : ES_FOREVER, &event);

        if (status == ES_OK) {
            if (!model_apply(model, event.stream, event.type, event.tick, event.position)) {
                return out_of_memory();
            }
            unsaved++;
        } else if (status != ES_TIMEOUT && status != ES_INTERRUPTED) {
            return failed(connection, "the events cannot be followed", status);
        }
        if (unsaved > 0 && (status != ES_OK || unsaved >= SAVE_EVERY_EVENTS ||
                            model->position == options->until_position)) {
            es_consumer_state(consumer, &state);
            model->epoch = state.epoch;
            if (!save(options->state_path, model)) {
                return EX_IOERR;
            }
            unsaved = 0;
        }
        if (status == ES_INTERRUPTED ||
            (options->until_position > 0 && model->position >= options->until_position)) {
            return EX_OK;
        }
    }
}

static int run(const struct options *options, struct model *model)
{
    struct es_connection_options connection_options = {.run_dir = options->run_dir};
    struct es_consumer_options from = {.from_position = model->position + 1, .epoch = model->epoch};
    struct sigaction action = {.sa_handler = on_signal};
    struct es_connection *connection = NULL;
    struct es_consumer *consumer = NULL;
    enum es_status status = es_connection_open(&connection_options, &connection);
    int exit_code;

    if (status != ES_OK) {
        fprintf(stderr, "permits_model: %s\n", es_status_text(status));
        return EX_UNAVAILABLE;
    }
    interrupted_by_signal = connection;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    status = es_consumer_open(connection, &from, &consumer);
    if (status == ES_OK) {
        exit_code = follow(connection, consumer, options, model);
        es_consumer_close(consumer);
    } else {
        exit_code = failed(connection, "no consumer", status);
    }
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    es_connection_close(connection);
    return exit_code;
}

int main(int argument_count, char **arguments)
{
    static const struct argp_option known[] = {
        {"run", 'r', "DIR", 0, "run directory of the broker", 0},
        {"state", 's', "FILE", 0, "where the model is kept with its position", 0},
        {"until", 'u', "POSITION", 0, "stop once this position is applied", 0},
        {0},
    };
    static const struct argp argp = {
        known, parse_option,
        NULL,  "Follows an Eventspine broker and keeps a table of how far its cases have come.",
        NULL,  NULL,
        NULL};
    struct options options = {0};
    struct model model;
    enum state_result loaded;
    int exit_code = EX_DATAERR;

    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argument_count, arguments, 0, NULL, &options);
    model_init(&model);
    loaded = state_load(options.state_path, &model);
    if (loaded == STATE_OK) {
        printf("resumed at %" PRIu64 "\n", model.position);
    } else if (loaded == STATE_NONE) {
        puts("started");
    }
    fflush(stdout);
    if (loaded == STATE_E_DAMAGED || loaded == STATE_E_IO) {
        fprintf(stderr, "permits_model: %s cannot be read: remove it to start over\n",
                options.state_path);
    } else {
        exit_code = run(&options, &model);
    }
    if (exit_code == EX_OK) {
        model_print(&model, stdout);
    }
    model_deinit(&model);
    return exit_code;
}
