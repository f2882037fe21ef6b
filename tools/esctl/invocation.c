/* One verb's command line, its connection and its errors; see esctl.h. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/global_options.h"
#include "tools/esctl/json_out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the parser function works on. */
struct reading {
    struct invocation *invocation;
    const struct verb_syntax *syntax;
    const struct argp_option *options; /* the verb's and the global ones */
    void *context;
    bool error_told;
};

enum {
    KEY_USAGE = 0x1000
};

/* Help and version are ours, because argp prints none when it is told to leave the
 * errors to us. */
const struct argp_option global_options[] = {
    {.doc = "Options of every verb, before or after it:", .group = GLOBAL_OPTION_GROUP},
    {"run", 'r', "DIR", 0,
     "run directory of the broker (default: $EVENTSPINE_RUN, else /run/eventspine for root, else "
     "$XDG_RUNTIME_DIR/eventspine)",
     GLOBAL_OPTION_GROUP},
    {"json", 'j', NULL, 0, "print one JSON object per line", GLOBAL_OPTION_GROUP},
    {"timeout", 't', "SECONDS", 0, "wait so long for each answer (default: 5)",
     GLOBAL_OPTION_GROUP},
    {"help", '?', NULL, 0, "print this text", -1},
    {"usage", KEY_USAGE, NULL, 0, "print a short usage text", -1},
    {"version", 'V', NULL, 0, "print the version", -1},
    {0},
};

/* Prints and ends the program. */
static void print_and_exit(const struct invocation *invocation, int key, const struct argp *argp)
{
    if (key == 'V') {
        (void)printf("esctl (Eventspine) %s\n", ES_VERSION_TEXT);
    } else {
        argp_help(argp, stdout, key == '?' ? ARGP_HELP_STD_HELP : ARGP_HELP_USAGE,
                  invocation->title);
    }
    exit((int)invocation_finish_output(ES_EXIT_OK));
}

bool global_option_take(struct invocation *invocation, int key, const char *argument,
                        const struct argp *argp, bool *ret_known)
{
    *ret_known = true;
    switch (key) {
    case 'r':
        if (argument[0] == '\0') {
            return invocation_usage_error(invocation, "--run takes a directory, not \"\"");
        }
        invocation->run_dir = argument;
        return true;
    case 'j': invocation->json = true; return true;
    case 't': return argument_seconds(invocation, "--timeout", argument, &invocation->timeout_ns);
    case '?':
    case 'V':
    case KEY_USAGE: print_and_exit(invocation, key, argp); return true;
    default: *ret_known = false; return true;
    }
}

/* The one option whose long name begins with 'name', or is it; NULL: none or several. */
static const struct argp_option *find_long(const struct argp_option *options, const char *name,
                                           size_t size)
{
    const struct argp_option *found = NULL;

    for (; options->name != NULL || options->doc != NULL; options++) {
        if (options->name == NULL || strncmp(options->name, name, size) != 0) {
            continue;
        }
        if (strlen(options->name) == size) {
            return options;
        }
        if (found != NULL) {
            return NULL;
        }
        found = options;
    }
    return found;
}

static const struct argp_option *find_short(const struct argp_option *options, char letter)
{
    for (; options->name != NULL || options->doc != NULL; options++) {
        if (options->key == letter) {
            return options;
        }
    }
    return NULL;
}

void option_error_tell(const struct invocation *invocation, const struct argp_option *options,
                       const char *word)
{
    const struct argp_option *option = NULL;

    if (word[0] == '-' && word[1] == '-') {
        option = find_long(options, word + 2, strcspn(word + 2, "="));
    } else if (word[0] == '-' && word[1] != '\0') {
        option = find_short(options, word[strlen(word) - 1]);
    }
    if (option == NULL) {
        (void)invocation_usage_error(invocation, "there is no option \"%s\"", word);
    } else if (option->arg == NULL) {
        (void)invocation_usage_error(invocation, "the option --%s takes no argument", option->name);
    } else {
        (void)invocation_usage_error(invocation, "the option --%s lacks its argument %s",
                                     option->name, option->arg);
    }
}

static bool take_word(struct reading *reading, const char *word)
{
    struct invocation *invocation = reading->invocation;

    if (invocation->word_count == reading->syntax->word_count_max) {
        return invocation_usage_error(invocation, "\"%s\" is one argument too many", word);
    }
    invocation->words[invocation->word_count++] = word;
    return true;
}

static bool take_option(struct reading *reading, int key, const char *argument,
                        const struct argp *argp, bool *ret_known)
{
    if (!global_option_take(reading->invocation, key, argument, argp, ret_known)) {
        return false;
    }
    if (*ret_known || key > UINT16_MAX || reading->syntax->take == NULL) {
        return true;
    }
    *ret_known = true;
    return reading->syntax->take(reading->invocation, key, argument, reading->context);
}

static error_t parse_verb(int key, char *argument, struct argp_state *state)
{
    struct reading *reading = state->input;
    bool known = true;
    bool good = true;

    switch (key) {
    case ARGP_KEY_ARG: good = take_word(reading, argument); break;
    case ARGP_KEY_END:
        if (reading->invocation->word_count < reading->syntax->word_count_min) {
            good = invocation_usage_error(reading->invocation, "%s is wanted",
                                          reading->syntax->words_doc);
        }
        break;
    case ARGP_KEY_ERROR:
        if (!reading->error_told) {
            option_error_tell(reading->invocation, reading->options, state->argv[state->next - 1]);
            reading->error_told = true;
        }
        return 0;
    default: good = take_option(reading, key, argument, state->root_argp, &known); break;
    }
    if (!good) {
        reading->error_told = true;
        return EINVAL;
    }
    return known ? 0 : ARGP_ERR_UNKNOWN;
}

static size_t option_count(const struct argp_option *options)
{
    size_t count = 0;

    while (options != NULL && (options[count].name != NULL || options[count].doc != NULL)) {
        count++;
    }
    return count;
}

bool invocation_parse(struct invocation *invocation, const struct verb_syntax *syntax,
                      void *context)
{
    const size_t own_count = option_count(syntax->options);
    const size_t global_count = option_count(global_options);
    struct argp_option *options = calloc(own_count + global_count + 1, sizeof *options);

    if (options == NULL) {
        return invocation_usage_error(invocation, "there is no memory for the options");
    }
    if (own_count > 0) {
        memcpy(options, syntax->options, own_count * sizeof *options);
    }
    memcpy(options + own_count, global_options, global_count * sizeof *options);

    struct reading reading = {.invocation = invocation,
                              .syntax = syntax,
                              .options = options,
                              .context = context,
                              .error_told = false};
    const struct argp argp = {.options = options,
                              .parser = parse_verb,
                              .args_doc = syntax->words_doc,
                              .doc = syntax->doc};
    const error_t error = argp_parse(&argp, invocation->argc, invocation->argv,
                                     ARGP_NO_ERRS | ARGP_NO_HELP, NULL, &reading);

    free(options);
    return error == 0;
}

enum es_exit invocation_connect(struct invocation *invocation)
{
    const struct es_connection_options options = {.run_dir = invocation->run_dir,
                                                  .client_name = invocation->title,
                                                  .timeout_ns = invocation->timeout_ns};
    const enum es_status status = es_connection_open(&options, &invocation->connection);

    if (status == ES_OK) {
        return ES_EXIT_OK;
    }
    invocation->connection = NULL;
    if (status == ES_E_INVALID) {
        invocation_error("no run directory, or its path is too long for a socket in it: name "
                         "one with --run DIR");
        return ES_EXIT_USAGE;
    }
    invocation_error("cannot open a connection (%s): try again", es_status_text(status));
    return exit_of_status(status);
}

bool invocation_usage_error(const struct invocation *invocation, const char *format, ...)
{
    va_list arguments;

    (void)fflush(stdout);
    (void)fputs("esctl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, ": see `%s --help`\n", invocation->title);
    return false;
}

void invocation_error(const char *format, ...)
{
    va_list arguments;

    (void)fflush(stdout);
    (void)fputs("esctl: ", stderr);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

enum es_exit exit_of_status(enum es_status status)
{
    switch (status) {
    case ES_OK: return ES_EXIT_OK;
    case ES_CONFLICT:
    case ES_NOT_FOUND:
    case ES_TRUNCATED:
    case ES_E_EXISTS: return ES_EXIT_NO;
    case ES_E_INVALID: return ES_EXIT_USAGE;
    case ES_REJECTED:
    case ES_PREVIOUS_FAILED:
    case ES_REGRESSED:
    case ES_DIVERGED:
    case ES_E_CORRUPT:
    case ES_E_TOO_LARGE:
    case ES_E_PROTOCOL: return ES_EXIT_DATA;
    case ES_E_UNREACHABLE:
    case ES_E_CLOSED:
    case ES_E_VERSION:
    case ES_E_PERMISSION: return ES_EXIT_UNAVAILABLE;
    case ES_E_IO:
    case ES_E_NO_MEMORY:
    case ES_E_WRONG_THREAD:
    case ES_E_FORKED: return ES_EXIT_IO;
    case ES_FULL:
    case ES_EMPTY:
    case ES_TIMEOUT:
    case ES_INTERRUPTED:
    case ES_NOT_SERVING:
    case ES_NO_SPACE:
    case ES_FENCED:
    case ES_E_UNKNOWN:
    case ES_E_BUSY:
    case ES_E_LIMIT:
    default: return ES_EXIT_TRY_AGAIN;
    }
}

/* What a person does about it, where the library's words do not say. */
static const char *way_out(enum es_status status)
{
    switch (status) {
    case ES_E_TOO_LARGE: return "send less at once, or start the broker with larger --lane-bytes";
    case ES_NO_SPACE: return "make room on the broker's disk";
    case ES_E_PERMISSION: return "ask as the user that the broker serves";
    case ES_E_VERSION: return "use the esctl of the broker's version";
    case ES_E_NO_MEMORY: return "make some free";
    default: break;
    }
    switch (exit_of_status(status)) {
    case ES_EXIT_UNAVAILABLE: return "is esbroker running there? name its directory with --run";
    case ES_EXIT_TRY_AGAIN: return "see `esctl status` and try again";
    case ES_EXIT_DATA: return "see `esctl verify`";
    case ES_EXIT_USAGE: return "see `esctl --help`";
    case ES_EXIT_OK:
    case ES_EXIT_NO:
    case ES_EXIT_CANNOT_CREATE:
    case ES_EXIT_IO:
    default: return "nothing was changed";
    }
}

enum es_exit invocation_failed(const struct invocation *invocation, enum es_status status)
{
    const char *text = es_connection_error(invocation->connection);
    const char *advice = strstr(text, "; "); /* how the library parts the two halves */

    if (advice != NULL) {
        invocation_error("%.*s: %s", (int)(advice - text), text, advice + 2);
    } else {
        invocation_error("%s: %s", text[0] != '\0' ? text : es_status_text(status),
                         way_out(status));
    }
    return exit_of_status(status);
}

enum es_exit invocation_print(struct json_out *line, enum es_exit exit)
{
    const enum es_status status = json_out_print(line, stdout);

    json_out_deinit(line);
    return status == ES_OK ? exit : ES_EXIT_IO;
}

enum es_exit invocation_finish_output(enum es_exit exit)
{
    errno = 0;
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return exit;
    }
    /* The reader of a pipe has seen enough (`esctl read --all | head`): no news for it. */
    if (errno != EPIPE) {
        invocation_error("cannot write to the standard output (%s): see where it goes",
                         strerror(errno));
    }
    return ES_EXIT_IO;
}
