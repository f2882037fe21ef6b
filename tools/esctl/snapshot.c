/*
 * esctl snapshot: states kept beside their stream, each bound to one event by
 * sequence and hash. What a state holds is the caller's business.
 */
#include "tools/esctl/arguments.h"
#include "tools/esctl/event_line.h"
#include "tools/esctl/input_file.h"
#include "tools/esctl/output_file.h"

#include "shm/codec/hash.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct snapshot_options {
    uint64_t tick;
    uint64_t sequence;
    uint64_t version;
    const char *projection;
    const char *file;
    const char *output;
    bool has_tick;
    bool all;
};

enum {
    KEY_FILE = 0x100,
    KEY_ALL
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct snapshot_options *given = context;

    switch (key) {
    case 'k':
        given->has_tick = true;
        return argument_number(invocation, "--tick", argument, 0, INT64_MAX, &given->tick);
    case 's':
        return argument_number(invocation, "--sequence", argument, 1, INT64_MAX, &given->sequence);
    case 'v':
        return argument_number(invocation, "--version", argument, 0, UINT64_MAX, &given->version);
    case 'p': given->projection = argument; return true;
    case 'o': given->output = argument; return true;
    case KEY_FILE: given->file = argument; return true;
    default: given->all = true; return true;
    }
}

/* Parses, checks the stream and connects. */
static enum es_exit begin(struct invocation *invocation, const struct verb_syntax *syntax,
                          struct snapshot_options *given)
{
    if (!invocation_parse(invocation, syntax, given)) {
        return ES_EXIT_USAGE;
    }
    if (syntax->word_count_min == 1 && !argument_stream(invocation, invocation->words[0])) {
        return ES_EXIT_USAGE;
    }
    return ES_EXIT_OK;
}

/* -------------------------------------------------------------- printing -- */

struct snapshot_output {
    bool json;
    bool header_due;
    enum es_status status;
    struct json_out line;
    const struct es_snapshot *wanted; /* only this one; NULL: all */
    bool found;
};

static void print_json(struct snapshot_output *output, const struct es_snapshot *snapshot)
{
    struct json_out *line = &output->line;

    json_out_reset(line);
    json_out_open(line, '{');
    json_out_member_string(line, "stream", snapshot->stream);
    json_out_member_uint(line, "tick", snapshot->tick);
    json_out_member_uint(line, "sequence", snapshot->sequence);
    json_out_member_hex(line, "hash", snapshot->hash, ES_HASH_BYTES);
    json_out_member_string(line, "projection", snapshot->projection);
    json_out_member_uint(line, "version", snapshot->version);
    json_out_member_uint(line, "created", snapshot->created_us);
    json_out_member_uint(line, "bytes", snapshot->state_bytes);
    json_out_name(line, "valid");
    json_out_bool(line, snapshot->valid);
    json_out_close(line, '}');
    output->status = json_out_print(line, stdout);
}

static void print_text(struct snapshot_output *output, const struct es_snapshot *snapshot)
{
    char hash[2 * ES_HASH_BYTES + 1] = {0};
    char created[TIME_TEXT_SIZE];

    es_hex_encode(snapshot->hash, ES_HASH_BYTES, hash);
    time_text(snapshot->created_us, created);
    if (output->header_due) {
        (void)printf("%-32s  %13s  %8s  %-16s  %7s  %-27s  %10s  %-5s  %s\n", "stream", "tick",
                     "sequence", "projection", "version", "created", "bytes", "valid", "hash");
        output->header_due = false;
    }
    (void)printf("%-32s  %13" PRIu64 "  %8" PRIu64 "  %-16s  %7" PRIu64
                 "  %-27s  %10zu  %-5s  %s\n",
                 snapshot->stream, snapshot->tick, snapshot->sequence,
                 snapshot->projection[0] == '\0' ? "-" : snapshot->projection, snapshot->version,
                 created, snapshot->state_bytes, snapshot->valid ? "yes" : "no", hash);
}

static bool show(void *context, const struct es_snapshot *snapshot)
{
    struct snapshot_output *output = context;
    const struct es_snapshot *wanted = output->wanted;

    if (wanted != NULL &&
        (strcmp(snapshot->stream, wanted->stream) != 0 || snapshot->tick != wanted->tick ||
         snapshot->sequence != wanted->sequence ||
         strcmp(snapshot->projection, wanted->projection) != 0)) {
        return true;
    }
    output->found = true;
    if (output->json) {
        print_json(output, snapshot);
    } else {
        print_text(output, snapshot);
    }
    return wanted == NULL && output->status == ES_OK;
}

/* ------------------------------------------------------------------ save -- */

static const struct argp_option save_options[] = {
    {"tick", 'k', "N", 0, "the logical time that the state belongs to", 0},
    {"sequence", 's', "N", 0, "the last event that the state has seen", 0},
    {"projection", 'p', "NAME", 0, "what was made of the events (default: none)", 0},
    {"version", 'v', "V", 0, "version of the projection's code (default: 0)", 0},
    {"file", KEY_FILE, "FILE", 0, "the state, - for standard input", 0},
    {0},
};

static const struct verb_syntax save_syntax = {
    .words_doc = "STREAM",
    .doc = "Keeps a state, bound to the event of --sequence and its hash. A sequence that is not "
           "there is refused: exit 1.",
    .options = save_options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

/* Prints what is kept now, as the broker lists it. */
static enum es_exit show_saved(const struct invocation *invocation, const struct es_snapshot *saved)
{
    struct snapshot_output output = {.json = invocation->json, .header_due = true, .wanted = saved};

    json_out_init(&output.line);
    const enum es_status status =
        es_snapshots(invocation->connection, saved->stream, show, &output);
    json_out_deinit(&output.line);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    return output.status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}

static enum es_exit save(struct invocation *invocation, const struct snapshot_options *given,
                         const char *state, size_t state_bytes)
{
    const char *stream = invocation->words[0];
    const char *projection = given->projection == NULL ? "" : given->projection;
    const struct es_snapshot saved = {.stream = stream,
                                      .projection = projection,
                                      .tick = given->tick,
                                      .sequence = given->sequence};
    const enum es_exit exit = invocation_connect(invocation);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_snapshot_save(invocation->connection, stream, given->tick, given->sequence, projection,
                         given->version, state, state_bytes);
    if (status == ES_NOT_FOUND) {
        invocation_error("%s has no sequence %" PRIu64
                         " to bind a snapshot to: see `esctl head %s`",
                         stream, given->sequence, stream);
        return ES_EXIT_NO;
    }
    return status == ES_OK ? show_saved(invocation, &saved) : invocation_failed(invocation, status);
}

enum es_exit verb_snapshot_save(struct invocation *invocation)
{
    struct snapshot_options given = {0};
    char *state = NULL;
    size_t state_bytes = 0;

    enum es_exit exit = begin(invocation, &save_syntax, &given);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    if (!given.has_tick || given.sequence == 0 || given.file == NULL) {
        (void)invocation_usage_error(invocation, "--tick, --sequence and --file are wanted");
        return ES_EXIT_USAGE;
    }
    exit = input_file_read(given.file, &state, &state_bytes);
    if (exit == ES_EXIT_OK) {
        exit = save(invocation, &given, state, state_bytes);
    }
    free(state);
    return exit;
}

/* ------------------------------------------------------------------ show -- */

static const struct argp_option show_options[] = {
    {"tick", 'k', "N", 0, "the newest at or before this tick (default: the newest)", 0},
    {"projection", 'p', "NAME", 0, "of this projection (default: none)", 0},
    {"output", 'o', "FILE", 0, "write the state to FILE, - for standard output and nothing else",
     0},
    {0},
};

static const struct verb_syntax show_syntax = {
    .words_doc = "STREAM",
    .doc = "Shows the newest snapshot at or before a tick whose event is still the one it is bound "
           "to; --output also writes the state. None: exit 1.",
    .options = show_options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

static enum es_exit write_state(const char *path, const void *state, size_t state_bytes)
{
    struct output_file file;
    const enum es_exit exit = output_file_open(&file, path);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    (void)fwrite(state, 1, state_bytes, file.stream); /* a failure is found at the end */
    return output_file_finish(&file);
}

static enum es_exit show_loaded(const struct invocation *invocation,
                                const struct snapshot_options *given,
                                const struct es_snapshot *snapshot, const void *state)
{
    struct snapshot_output output = {.json = invocation->json, .header_due = true};
    enum es_exit exit = ES_EXIT_OK;

    if (given->output != NULL) {
        exit = write_state(given->output, state, snapshot->state_bytes);
        if (exit != ES_EXIT_OK || strcmp(given->output, "-") == 0) {
            return exit;
        }
    }
    json_out_init(&output.line);
    (void)show(&output, snapshot);
    json_out_deinit(&output.line);
    return output.status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}

enum es_exit verb_snapshot_show(struct invocation *invocation)
{
    struct snapshot_options given = {.tick = UINT64_MAX, .projection = ""};
    struct es_snapshot snapshot;
    void *state = NULL;

    enum es_exit exit = begin(invocation, &show_syntax, &given);
    if (exit == ES_EXIT_OK) {
        exit = invocation_connect(invocation);
    }
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status = es_snapshot_load(invocation->connection, invocation->words[0],
                                                   given.tick, given.projection, &snapshot, &state);
    if (status == ES_NOT_FOUND) {
        invocation_error("there is no valid snapshot of %s for that: see `esctl snapshot list %s`",
                         invocation->words[0], invocation->words[0]);
        return ES_EXIT_NO;
    }
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    exit = show_loaded(invocation, &given, &snapshot, state);
    es_free(state);
    return exit;
}

/* ------------------------------------------------------------------ list -- */

static const struct verb_syntax list_syntax = {
    .words_doc = "[STREAM|PREFIX]",
    .doc = "Lists the snapshots of the streams whose name begins so. One whose event is not the "
           "one it was bound to any more is listed as not valid, and never served.",
    .word_count_min = 0,
    .word_count_max = 1,
};

enum es_exit verb_snapshot_list(struct invocation *invocation)
{
    struct snapshot_options given = {0};
    struct snapshot_output output = {.header_due = true};

    enum es_exit exit = begin(invocation, &list_syntax, &given);
    if (exit == ES_EXIT_OK) {
        exit = invocation_connect(invocation);
    }
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    output.json = invocation->json;
    json_out_init(&output.line);
    const enum es_status status =
        es_snapshots(invocation->connection,
                     invocation->word_count == 1 ? invocation->words[0] : "", show, &output);
    json_out_deinit(&output.line);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    return output.status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}

/* ---------------------------------------------------------------- delete -- */

static const struct argp_option delete_options[] = {
    {"tick", 'k', "N", 0, "those of this tick", 0},
    {"all", KEY_ALL, NULL, 0, "those of every tick", 0},
    {"projection", 'p', "NAME", 0, "only those of this projection, \"\" for none", 0},
    {0},
};

static const struct verb_syntax delete_syntax = {
    .words_doc = "STREAM",
    .doc = "Removes snapshots of STREAM: of one tick, or all of them. There was none: exit 1.",
    .options = delete_options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

static enum es_exit print_deleted(const struct invocation *invocation, uint64_t deleted)
{
    struct json_out line;

    if (!invocation->json) {
        (void)printf("deleted %" PRIu64 "\n", deleted);
        return ES_EXIT_OK;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "stream", invocation->words[0]);
    json_out_member_uint(&line, "deleted", deleted);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

enum es_exit verb_snapshot_delete(struct invocation *invocation)
{
    struct snapshot_options given = {0};
    uint64_t deleted = 0;

    enum es_exit exit = begin(invocation, &delete_syntax, &given);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    if (given.has_tick == given.all) {
        (void)invocation_usage_error(invocation, "either --tick or --all is wanted");
        return ES_EXIT_USAGE;
    }
    exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_snapshot_delete(invocation->connection, invocation->words[0],
                           given.all ? UINT64_MAX : given.tick, given.projection, &deleted);
    if (status == ES_NOT_FOUND) {
        invocation_error("there is no such snapshot of %s: see `esctl snapshot list %s`",
                         invocation->words[0], invocation->words[0]);
        return ES_EXIT_NO;
    }
    return status == ES_OK ? print_deleted(invocation, deleted)
                           : invocation_failed(invocation, status);
}
