/* esctl kv: keys and their values in a namespace, through the same ring and commits as events. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/event_line.h"
#include "tools/esctl/input_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct kv_options {
    uint64_t expected_revision;
    const char *file;
    bool derived;
};

enum {
    KEY_FILE = 0x100
};

#define OPTION_EXPECT                                                                             \
    {                                                                                             \
        "expect", 'e', "REVISION", 0, "only where the key has this revision; none: is not there", \
            0                                                                                     \
    }
#define OPTION_DERIVED                                                 \
    {                                                                  \
        "derived", 'd', NULL, 0, "in family read_models and not kv", 0 \
    }

static const struct argp_option put_options[] = {
    {"file", KEY_FILE, "FILE", 0, "the value from FILE, - for standard input", 0},
    OPTION_EXPECT,
    OPTION_DERIVED,
    {0},
};
static const struct argp_option delete_options[] = {OPTION_EXPECT, OPTION_DERIVED, {0}};
static const struct argp_option read_options[] = {OPTION_DERIVED, {0}};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct kv_options *given = context;

    switch (key) {
    case KEY_FILE: given->file = argument; return true;
    case 'd': given->derived = true; return true;
    default:
        if (strcmp(argument, "none") == 0) {
            given->expected_revision = 0;
            return true;
        }
        return argument_number(invocation, "--expect", argument, 1, INT64_MAX,
                               &given->expected_revision);
    }
}

static const struct verb_syntax put_syntax = {
    .words_doc = "NAMESPACE KEY VALUE\nNAMESPACE KEY --file FILE",
    .doc = "Sets KEY to VALUE, the bytes as they are given. With --expect a wrong revision is a "
           "conflict: exit 1, nothing is changed.",
    .options = put_options,
    .take = take,
    .word_count_min = 2,
    .word_count_max = 3,
};

static const struct verb_syntax get_syntax = {
    .words_doc = "NAMESPACE KEY",
    .doc = "Prints the value of KEY, its bytes and nothing else (on a terminal: and a newline). "
           "No such key: exit 1.",
    .options = read_options,
    .take = take,
    .word_count_min = 2,
    .word_count_max = 2,
};

static const struct verb_syntax delete_syntax = {
    .words_doc = "NAMESPACE KEY",
    .doc = "Removes KEY. No such key, or not at the revision of --expect: exit 1.",
    .options = delete_options,
    .take = take,
    .word_count_min = 2,
    .word_count_max = 2,
};

static const struct verb_syntax list_syntax = {
    .words_doc = "NAMESPACE",
    .doc = "Lists the keys of NAMESPACE in their order, with revisions and values.",
    .options = read_options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

static enum es_key_family family_of(const struct kv_options *given)
{
    return given->derived ? ES_READ_MODELS : ES_KEYS;
}

/* Prints one key as list does. */
static enum es_exit print_key(const struct invocation *invocation, uint64_t revision,
                              const void *value, size_t value_bytes)
{
    struct line_writer writer;

    line_writer_init(&writer, stdout, invocation->json);
    const enum es_status status = line_writer_key(
        &writer, invocation->words[0], invocation->words[1], revision, value, value_bytes);
    line_writer_deinit(&writer);
    return status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}

static enum es_exit tell_conflict(const struct invocation *invocation,
                                  const struct kv_options *given, const struct es_refusal *refusal)
{
    struct json_out line;

    if (!invocation->json) {
        invocation_error("conflict, %s/%s is at revision %" PRIu64
                         " (0: not there): read it and decide anew",
                         invocation->words[0], invocation->words[1], refusal->actual_revision);
        return ES_EXIT_NO;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "conflict");
    json_out_member_string(&line, "namespace", invocation->words[0]);
    json_out_member_string(&line, "key", invocation->words[1]);
    json_out_name(&line, "expected");
    if (given->expected_revision == 0) {
        json_out_string(&line, "none", 4);
    } else {
        json_out_uint(&line, given->expected_revision);
    }
    json_out_member_uint(&line, "actual_revision", refusal->actual_revision);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_NO);
}

static enum es_exit tell_missing(const struct invocation *invocation)
{
    invocation_error("there is no key %s/%s: see `esctl kv list %s`", invocation->words[0],
                     invocation->words[1], invocation->words[0]);
    return ES_EXIT_NO;
}

/* What came of a put or delete that was not stored. */
static enum es_exit tell_refused(const struct invocation *invocation,
                                 const struct kv_options *given, enum es_status status,
                                 const struct es_outcome *outcome)
{
    if (status == ES_CONFLICT) {
        return tell_conflict(invocation, given, &outcome->refusal);
    }
    if (status == ES_NOT_FOUND) {
        return tell_missing(invocation);
    }
    if (status == ES_REJECTED) {
        invocation_error("refused, %s: nothing was stored", es_refusal_text(&outcome->refusal));
        return exit_of_status(status);
    }
    return invocation_failed(invocation, status);
}

static enum es_exit connect_producer(struct invocation *invocation,
                                     struct es_producer **ret_producer)
{
    const struct es_producer_options producer_options = {.timeout_ns = invocation->timeout_ns};
    const enum es_exit exit = invocation_connect(invocation);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_producer_open(invocation->connection, &producer_options, ret_producer);
    return status == ES_OK ? ES_EXIT_OK : invocation_failed(invocation, status);
}

static enum es_exit put(struct invocation *invocation, const struct kv_options *given,
                        const char *value, size_t value_bytes)
{
    struct es_producer *producer = NULL;
    struct es_outcome outcome = {0};
    enum es_exit exit = connect_producer(invocation, &producer);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_key_put(producer, family_of(given), invocation->words[0], invocation->words[1],
                   given->expected_revision, value, value_bytes, invocation->timeout_ns, &outcome);
    exit = status == ES_OK ? print_key(invocation, outcome.receipt.revision, value, value_bytes)
                           : tell_refused(invocation, given, status, &outcome);
    es_producer_close(producer);
    return exit;
}

enum es_exit verb_kv_put(struct invocation *invocation)
{
    struct kv_options given = {.expected_revision = ES_REVISION_ANY};
    char *bytes = NULL;
    size_t size = 0;

    if (!invocation_parse(invocation, &put_syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    if ((invocation->word_count == 3) == (given.file != NULL)) {
        (void)invocation_usage_error(invocation, "either VALUE or --file is wanted");
        return ES_EXIT_USAGE;
    }
    if (given.file == NULL) {
        return put(invocation, &given, invocation->words[2], strlen(invocation->words[2]));
    }
    enum es_exit exit = input_file_read(given.file, &bytes, &size);
    if (exit == ES_EXIT_OK) {
        exit = put(invocation, &given, bytes, size);
    }
    free(bytes);
    return exit;
}

enum es_exit verb_kv_get(struct invocation *invocation)
{
    struct kv_options given = {0};
    uint64_t revision = 0;
    void *value = NULL;
    size_t value_bytes = 0;

    if (!invocation_parse(invocation, &get_syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_key_get(invocation->connection, family_of(&given), invocation->words[0],
                   invocation->words[1], &revision, &value, &value_bytes);
    if (status != ES_OK) {
        return status == ES_NOT_FOUND ? tell_missing(invocation)
                                      : invocation_failed(invocation, status);
    }
    if (invocation->json) {
        exit = print_key(invocation, revision, value, value_bytes);
    } else {
        (void)fwrite(value, 1, value_bytes, stdout); /* a failure is found at the end */
        if (isatty(STDOUT_FILENO) == 1) {
            (void)putchar('\n');
        }
    }
    es_free(value);
    return exit;
}

static enum es_exit print_deleted(const struct invocation *invocation, uint64_t revision)
{
    struct json_out line;

    if (!invocation->json) {
        (void)printf("deleted %s/%s\n", invocation->words[0], invocation->words[1]);
        return ES_EXIT_OK;
    }
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "ok");
    json_out_member_string(&line, "namespace", invocation->words[0]);
    json_out_member_string(&line, "key", invocation->words[1]);
    json_out_member_uint(&line, "revision", revision);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

enum es_exit verb_kv_delete(struct invocation *invocation)
{
    struct kv_options given = {.expected_revision = ES_REVISION_ANY};
    struct es_producer *producer = NULL;
    struct es_outcome outcome = {0};

    if (!invocation_parse(invocation, &delete_syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    if (given.expected_revision == 0) {
        (void)invocation_usage_error(invocation, "a key that is not there cannot be deleted");
        return ES_EXIT_USAGE;
    }
    enum es_exit exit = connect_producer(invocation, &producer);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    const enum es_status status =
        es_key_delete(producer, family_of(&given), invocation->words[0], invocation->words[1],
                      given.expected_revision, invocation->timeout_ns, &outcome);
    exit = status == ES_OK ? print_deleted(invocation, outcome.receipt.revision)
                           : tell_refused(invocation, &given, status, &outcome);
    es_producer_close(producer);
    return exit;
}

struct key_listing {
    struct line_writer writer;
    const char *name_space;
    enum es_status status;
};

static bool show(void *context, const char *key, uint64_t revision, const void *value,
                 size_t value_bytes)
{
    struct key_listing *listing = context;

    listing->status =
        line_writer_key(&listing->writer, listing->name_space, key, revision, value, value_bytes);
    return listing->status == ES_OK;
}

enum es_exit verb_kv_list(struct invocation *invocation)
{
    struct kv_options given = {0};
    struct key_listing listing = {0};

    if (!invocation_parse(invocation, &list_syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    const enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    listing.name_space = invocation->words[0];
    line_writer_init(&listing.writer, stdout, invocation->json);
    const enum es_status status =
        es_keys(invocation->connection, family_of(&given), invocation->words[0], show, &listing);
    line_writer_deinit(&listing.writer);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    return listing.status == ES_OK ? ES_EXIT_OK : ES_EXIT_IO;
}
