/* esbench: the command line, the verbs' table, and what all files share. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

#include <argp.h> /* wants limits.h */

#include <linux/magic.h>

#include "tools/esbench/bench.h"

volatile sig_atomic_t bench_interrupted;

enum option_key {
    OPTION_RUN = 'r',
    OPTION_JSON = 'j',
    OPTION_PRODUCERS = 'p',
    OPTION_IN_FLIGHT = 'w',
    OPTION_COUNT = 'n',
    OPTION_SIZE = 's',
    OPTION_STREAMS = 'S',
    OPTION_DURABILITY = 'D',
    OPTION_WARMUP = 'u',
    OPTION_DIRECTORY = 'd',
    OPTION_BATCH = 'b',
    OPTION_TIMEOUT = 't',
    OPTION_SAMPLE = 'i',
};

/* A verb, its defaults, and the options that mean something to it. */
struct verb {
    const char *name;
    const char *options; /* keys of enum option_key */
    uint64_t count;      /* default of --count */
    uint32_t batch;      /* default of --batch */
    int (*measure)(const struct bench_options *options, struct measurement *ret_measurement);
};

static const struct verb verbs[] = {
    {"append", "rjpwnsSDudt", 100000, 1, append_measure},
    {"floor", "jnsdb", 2000, 1, floor_measure},
    {"store", "jnsSDdb", 100000, 64, store_measure},
    {"read", "rjnsSDdtp", 1000000, 1, read_measure},
    {"suite", "jnsdti", 1000000, 64, NULL},
};

static const struct argp_option argp_options[] = {
    {"run", OPTION_RUN, "DIR", 0,
     "Measure the broker of this run directory instead of one started "
     "for the purpose (append, read)",
     1},
    {"json", OPTION_JSON, NULL, 0, "Print JSON, one object a line", 1},
    {"producers", OPTION_PRODUCERS, "P", 0, "Producers, each a process (default 1)", 2},
    {"in-flight", OPTION_IN_FLIGHT, "W", 0,
     "Events each producer has in flight at most (default 1)", 2},
    {"count", OPTION_COUNT, "N", 0, "Events, in all", 2},
    {"size", OPTION_SIZE, "B", 0, "Bytes of each payload (default 256)", 2},
    {"streams", OPTION_STREAMS, "S", 0, "Streams to spread them over (default 100)", 2},
    {"batch", OPTION_BATCH, "N", 0, "Events in one log record (store: 64, floor: 1)", 2},
    {"warmup", OPTION_WARMUP, "N", 0,
     "Events before the clock starts (default a tenth of --count, at most 1000)", 2},
    {"durability", OPTION_DURABILITY, "fsync|os", 0,
     "Of the broker or log started for the purpose "
     "(default fsync)",
     3},
    {"directory", OPTION_DIRECTORY, "DIR", 0,
     "Where temporary stores go: the disk to measure "
     "(default $TMPDIR, else /var/tmp)",
     3},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "For each answer of the broker (default 5)", 3},
    {"import", OPTION_SAMPLE, "FILE", 0, "NDJSON events that suite measures esctl import with", 3},
    {0},
};

static const char argp_text[] =
    "Measures an Eventspine broker, and beside it the disk and the store alone.\v"
    "append  producers append through shared memory: rate, and latency from call to outcome\n"
    "floor   pwrite and fdatasync of the same bytes: what the disk alone takes\n"
    "store   log and store fed by one thread: no ring, no publisher\n"
    "read    read everything through the library, hashes checked\n"
    "suite   all of them and more, as one Markdown table; takes minutes\n"
    "\n"
    "Exit codes: 0 done, 64 usage, 65 damaged data, 69 no broker, 73 cannot create, 74 I/O error, "
    "75 try again.";

struct command_line {
    struct bench_options options;
    const struct verb *verb;
    char given[32]; /* keys of the options that were given */
    size_t given_count;
    bool has_count;
    bool has_batch;
    bool has_warmup;
};

uint64_t bench_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int bench_fail(int exit_code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)fprintf(stderr, "esbench: ");
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
    va_end(arguments);
    return exit_code;
}

int bench_exit_code(enum es_status status)
{
    switch (status) {
    case ES_E_UNREACHABLE:
    case ES_NOT_SERVING: return EX_UNAVAILABLE;
    case ES_E_INVALID:
    case ES_E_TOO_LARGE: return EX_USAGE;
    case ES_E_CORRUPT:
    case ES_REJECTED: return EX_DATAERR;
    case ES_TIMEOUT:
    case ES_E_UNKNOWN:
    case ES_E_BUSY:
    case ES_E_LIMIT: return EX_TEMPFAIL;
    default: return EX_IOERR;
    }
}

double bench_events_per_second(const struct measurement *measurement)
{
    if (measurement->elapsed_ns == 0) {
        return 0;
    }
    return (double)measurement->events * 1e9 / (double)measurement->elapsed_ns;
}

static void on_signal(int signal_number)
{
    (void)signal_number;
    bench_interrupted = 1;
}

/* A number in full, from 'minimum' to 'maximum'; anything else ends the program with its usage. */
static uint64_t parse_number(struct argp_state *state, const char *name, const char *text,
                             uint64_t minimum, uint64_t maximum)
{
    char *end = NULL;
    uint64_t number = 0;

    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < minimum ||
        number > maximum) {
        argp_error(state, "--%s %s is not a number from %" PRIu64 " to %" PRIu64 ": correct it",
                   name, text, minimum, maximum);
    }
    return number;
}

static void parse_verb(struct argp_state *state, struct command_line *line, const char *text)
{
    if (line->verb != NULL) {
        argp_error(state, "one verb at a time, and %s comes after %s: leave one out", text,
                   line->verb->name);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, text) == 0) {
            line->verb = &verbs[i];
            return;
        }
    }
    argp_error(state, "no verb %s: use append, floor, store, read or suite", text);
}

static const char *option_name(char key)
{
    const struct argp_option *option = argp_options;

    while (option->key != key && option->name != NULL) {
        option++;
    }
    return option->name;
}

/* Fills in what depends on the verb, and refuses options that mean nothing to it. */
static void finish(struct argp_state *state, struct command_line *line)
{
    struct bench_options *options = &line->options;

    if (line->verb == NULL) {
        argp_error(state, "no verb: use append, floor, store, read or suite");
        return;
    }
    for (size_t i = 0; i < line->given_count; i++) {
        if (strchr(line->verb->options, line->given[i]) == NULL) {
            argp_error(state, "--%s means nothing to %s: leave it out", option_name(line->given[i]),
                       line->verb->name);
        }
        if (line->given[i] == OPTION_DURABILITY && options->run_dir != NULL) {
            argp_error(state, "--durability is the setting of the broker behind --run: "
                              "leave one of them out");
        }
    }
    if (!line->has_count) {
        options->count = line->verb->count;
    }
    if (!line->has_batch) {
        options->batch = line->verb->batch;
    }
    if (!line->has_warmup) {
        options->warmup = options->count / 10 < 1000 ? options->count / 10 : 1000;
    }
    if (options->producers > options->count) {
        argp_error(state, "more --producers than --count events: make --count larger");
    }
}

static void parse_load(int key, char *argument, struct argp_state *state)
{
    struct command_line *line = state->input;
    struct bench_options *options = &line->options;

    switch (key) {
    case OPTION_PRODUCERS:
        options->producers =
            (uint32_t)parse_number(state, "producers", argument, 1, BENCH_PRODUCERS_MAX);
        break;
    case OPTION_IN_FLIGHT:
        options->in_flight =
            (uint32_t)parse_number(state, "in-flight", argument, 1, BENCH_IN_FLIGHT_MAX);
        break;
    case OPTION_COUNT:
        options->count = parse_number(state, "count", argument, 1, UINT32_MAX);
        line->has_count = true;
        break;
    case OPTION_SIZE:
        options->size_bytes = (uint32_t)parse_number(state, "size", argument, 0, BENCH_SIZE_MAX);
        break;
    case OPTION_STREAMS:
        options->streams = (uint32_t)parse_number(state, "streams", argument, 1, BENCH_STREAMS_MAX);
        break;
    case OPTION_BATCH:
        options->batch = (uint32_t)parse_number(state, "batch", argument, 1, BENCH_BATCH_MAX);
        line->has_batch = true;
        break;
    case OPTION_WARMUP:
        options->warmup = parse_number(state, "warmup", argument, 0, UINT32_MAX);
        line->has_warmup = true;
        break;
    default: break;
    }
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct command_line *line = state->input;
    struct bench_options *options = &line->options;

    switch (key) {
    case OPTION_RUN: options->run_dir = argument; break;
    case OPTION_JSON: options->json = true; break;
    case OPTION_DIRECTORY: options->directory = argument; break;
    case OPTION_SAMPLE: options->sample = argument; break;
    case OPTION_TIMEOUT:
        options->timeout_ns = parse_number(state, "timeout", argument, 1, 86400) * 1000000000U;
        break;
    case OPTION_DURABILITY:
        if (strcmp(argument, "fsync") != 0 && strcmp(argument, "os") != 0) {
            argp_error(state, "--durability %s: use fsync or os", argument);
        }
        options->durability = argument;
        break;
    case OPTION_PRODUCERS:
    case OPTION_IN_FLIGHT:
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_STREAMS:
    case OPTION_BATCH:
    case OPTION_WARMUP: parse_load(key, argument, state); break;
    case ARGP_KEY_ARG: parse_verb(state, line, argument); return 0;
    case ARGP_KEY_END: finish(state, line); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
    if (line->given_count < sizeof line->given) {
        line->given[line->given_count++] = (char)key;
    }
    return 0;
}

/* A sync that costs nothing makes every figure look better than it is. */
static void warn_about_tmpfs(const struct bench_options *options)
{
    struct statfs status;

    if (options->run_dir == NULL && statfs(options->directory, &status) == 0 &&
        status.f_type == TMPFS_MAGIC) {
        (void)fprintf(stderr,
                      "esbench: %s is in memory, a sync costs nothing there: "
                      "name a directory on a disk with --directory\n",
                      options->directory);
    }
}

int main(int argc, char **argv)
{
    static const struct argp argp = {argp_options, parse_option, "VERB", argp_text,
                                     NULL,         NULL,         NULL};
    static struct measurement measurement;
    const struct sigaction action = {.sa_handler = on_signal};
    const char *temporary = getenv("TMPDIR");
    struct command_line line = {
        .options =
            {
                .directory = temporary != NULL && temporary[0] != '\0' ? temporary : "/var/tmp",
                .durability = "fsync",
                .timeout_ns = 5 * 1000000000ULL,
                .streams = 100,
                .producers = 1,
                .in_flight = 1,
                .size_bytes = 256,
            },
    };
    int code = EX_OK;

    argp_program_version = "esbench (Eventspine) " ES_VERSION_TEXT;
    argp_err_exit_status = EX_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &line) != 0) {
        return EX_USAGE;
    }
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    warn_about_tmpfs(&line.options);
    if (line.verb->measure == NULL) {
        code = suite_run(&line.options);
    } else {
        code = line.verb->measure(&line.options, &measurement);
        if (code == EX_OK) {
            report_print(line.verb->name, &line.options, &measurement);
        }
    }
    if (fflush(stdout) != 0 && code == EX_OK) {
        code = bench_fail(EX_IOERR, "cannot write to stdout (%s): look where it goes",
                          strerror(errno));
    }
    return code;
}
