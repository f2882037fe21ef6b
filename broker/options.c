#include "broker/options.h"

#include <argp.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "broker/log.h"

#define RESERVE_BYTES_DEFAULT (UINT64_C(256) << 20)

enum {
    KEY_DATA = 'd',
    KEY_RUN = 'r',
    KEY_DURABILITY = 'D',
    KEY_ANCHOR = 'a',
    KEY_STORE = 's',
    KEY_SLOTS = 'n',
    KEY_LANE_BYTES = 'l',
    KEY_GROUP = 'g',
    KEY_RESERVE = 'R',
    KEY_LOG_LEVEL = 'L',
    KEY_LOG_SEGMENT_BYTES = 'S'
};

static const struct argp_option table[] = {
    {"data", KEY_DATA, "DIR", 0, "Where the store is, or is to be made (required)", 0},
    {"run", KEY_RUN, "DIR", 0,
     "Run directory: sockets and shared memory. Default: $EVENTSPINE_RUN, else /run/eventspine for "
     "root, else $XDG_RUNTIME_DIR/eventspine",
     0},
    {"durability", KEY_DURABILITY, "fsync|os", 0,
     "What an acknowledged event survives: power loss (fsync, the default) or the end of any "
     "process (os)",
     0},
    {"anchor", KEY_ANCHOR, "soon|sync", 0,
     "When the anchor, the witness of the last commit, is written: at most 10 ms after the answer "
     "(soon, the default), or synced before it (sync)",
     0},
    {"store", KEY_STORE, "rocksdb|memory", 0,
     "Where events are kept: on disk (the default), or in memory until the broker ends", 0},
    {"slots", KEY_SLOTS, "N", 0, "Slots of each ring, a power of two (default 65536)", 0},
    {"lane-bytes", KEY_LANE_BYTES, "N", 0,
     "Shared memory of each producer, 65536 to 33554432, a multiple of 4096 (default 4194304); the "
     "largest record is an eighth of it",
     0},
    {"group", KEY_GROUP, "NAME", 0, "Serve the members of this group too", 0},
    {"reserve-bytes", KEY_RESERVE, "N", 0,
     "Refuse all but deletions while less is free on the disk (default 268435456)", 0},
    {"log-segment-bytes", KEY_LOG_SEGMENT_BYTES, "N", 0,
     "Size of each of the three segments of a new store's commit log (default 33554432)", 0},
    {"log-level", KEY_LOG_LEVEL, "L", 0, "error, warning, info (the default) or debug", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

/* Settings as they come, before they are checked together. */
struct parsing {
    struct options *options;
    uint64_t slot_count;
    uint64_t lane_bytes;
};

/* A whole number and nothing else. */
static uint64_t number(const struct argp_state *state, const char *name, const char *text)
{
    char *end = NULL;
    unsigned long long value = 0;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0) {
        argp_error(state, "--%s takes a number of bytes or slots, not '%s'", name, text);
    }
    return value;
}

static bool choice(const struct argp_state *state, const char *name, const char *text,
                   const char *first, const char *second)
{
    if (strcmp(text, first) != 0 && strcmp(text, second) != 0) {
        argp_error(state, "--%s is %s or %s, not '%s'", name, first, second, text);
    }
    return strcmp(text, first) == 0;
}

static void copy_path(const struct argp_state *state, const char *name, const char *text,
                      char ret_path[OPTIONS_PATH_BYTES_MAX])
{
    if (text[0] == '\0' || strlen(text) >= OPTIONS_PATH_BYTES_MAX) {
        argp_error(state, "--%s needs the path of a directory, of less than %d bytes", name,
                   OPTIONS_PATH_BYTES_MAX);
    }
    snprintf(ret_path, OPTIONS_PATH_BYTES_MAX, "%s", text);
}

static enum logger_level level(const struct argp_state *state, const char *text)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    for (int i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0) {
            return (enum logger_level)i;
        }
    }
    argp_error(state, "--log-level is error, warning, info or debug, not '%s'", text);
    return LOGGER_INFO;
}

static gid_t group(const struct argp_state *state, const char *name)
{
    const struct group *found = getgrnam(name);

    if (found == NULL) {
        argp_error(state, "there is no group '%s': name one of /etc/group", name);
        return 0;
    }
    return found->gr_gid;
}

static void default_run_path(const struct argp_state *state, struct options *options)
{
    const char *run = getenv("EVENTSPINE_RUN");
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (run != NULL && run[0] != '\0') {
        copy_path(state, "run", run, options->run_path);
    } else if (geteuid() == 0) {
        copy_path(state, "run", "/run/eventspine", options->run_path);
    } else if (runtime != NULL && runtime[0] != '\0') {
        snprintf(options->run_path, sizeof options->run_path, "%s/eventspine", runtime);
    } else {
        argp_error(state, "no run directory: give --run DIR, or set EVENTSPINE_RUN");
    }
    options->run_is_default = true;
}

static void check_together(const struct argp_state *state, struct parsing *parsing)
{
    struct options *options = parsing->options;

    if (options->data_path[0] == '\0') {
        argp_error(state, "no data directory: give --data DIR");
    }
    if (options->run_path[0] == '\0') {
        default_run_path(state, options);
    }
    if (options->syncs_anchor && !options->syncs_commits) {
        argp_error(state, "--anchor sync needs --durability fsync");
    }
    if (es_geometry_make(parsing->slot_count, parsing->lane_bytes, &options->geometry) != ES_OK) {
        argp_error(state, "--slots is a power of two from 2 to 1048576, --lane-bytes a multiple "
                          "of 4096 from 65536 to 33554432");
    }
    if (options->segment_bytes < LOG_SEGMENT_BYTES_MIN ||
        options->segment_bytes > LOG_SEGMENT_BYTES_MAX || options->segment_bytes % 4096 != 0) {
        argp_error(state, "--log-segment-bytes is a multiple of 4096 from 65536 to 1073741824");
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct options *options = parsing->options;

    switch (key) {
    case KEY_DATA: copy_path(state, "data", text, options->data_path); break;
    case KEY_RUN: copy_path(state, "run", text, options->run_path); break;
    case KEY_DURABILITY:
        options->syncs_commits = choice(state, "durability", text, "fsync", "os");
        break;
    case KEY_ANCHOR: options->syncs_anchor = choice(state, "anchor", text, "sync", "soon"); break;
    case KEY_STORE: options->in_memory = choice(state, "store", text, "memory", "rocksdb"); break;
    case KEY_SLOTS: parsing->slot_count = number(state, "slots", text); break;
    case KEY_LANE_BYTES: parsing->lane_bytes = number(state, "lane-bytes", text); break;
    case KEY_GROUP:
        options->group = group(state, text);
        options->group_given = true;
        break;
    case KEY_RESERVE: options->reserve_bytes = number(state, "reserve-bytes", text); break;
    case KEY_LOG_SEGMENT_BYTES:
        options->segment_bytes = number(state, "log-segment-bytes", text);
        break;
    case KEY_LOG_LEVEL: options->log_level = level(state, text); break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", text); break;
    case ARGP_KEY_END: check_together(state, parsing); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "esbroker (Eventspine) " ES_VERSION_TEXT "\n");
}

void options_parse(int argc, char **argv, struct options *ret_options)
{
    static const struct argp argp = {
        table,
        parse,
        NULL,
        "Owns an event store: serializes what local producers append through shared memory, "
        "keeps it, and publishes it. Runs in the foreground; prints a line that begins with "
        "'ready' when it serves; SIGTERM and SIGINT end it cleanly.",
        NULL,
        NULL,
        NULL};
    struct parsing parsing = {.options = ret_options,
                              .slot_count = ES_SLOT_COUNT_DEFAULT,
                              .lane_bytes = ES_ARENA_BYTES_DEFAULT};

    memset(ret_options, 0, sizeof *ret_options);
    ret_options->syncs_commits = true;
    ret_options->segment_bytes = LOG_SEGMENT_BYTES_DEFAULT;
    ret_options->reserve_bytes = RESERVE_BYTES_DEFAULT;
    ret_options->log_level = LOGGER_INFO;
    argp_program_version_hook = print_version;
    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &parsing);
}
