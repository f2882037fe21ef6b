/*
 * esctl, the command line of Eventspine. Reads the options that stand before the
 * verb, finds the verb in the table (verbs.c), and runs it. What stands after the
 * verb is the verb's business (invocation.c).
 */
#include "tools/esctl/global_options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_DEFAULT_NS UINT64_C(5000000000)

/* Looking for the next word of a verb. */
struct lookup {
    struct invocation *invocation;
    const struct verb *verbs;
    const struct verb *found;
    int next; /* index in argv of what follows it */
    bool error_told;
};

static error_t look_for_verb(int key, char *argument, struct argp_state *state)
{
    struct lookup *lookup = state->input;
    bool known = true;
    bool good = true;

    switch (key) {
    case ARGP_KEY_ARG:
        for (const struct verb *verb = lookup->verbs; verb->name != NULL; verb++) {
            if (strcmp(verb->name, argument) == 0) {
                lookup->found = verb;
            }
        }
        if (lookup->found == NULL) {
            good = invocation_usage_error(lookup->invocation, "there is no verb \"%s\"", argument);
        }
        lookup->next = state->next;
        state->next = state->argc;
        break;
    case ARGP_KEY_END:
        if (lookup->found == NULL) {
            good = invocation_usage_error(lookup->invocation, "a verb is wanted");
        }
        break;
    case ARGP_KEY_ERROR:
        if (!lookup->error_told) {
            option_error_tell(lookup->invocation, global_options, state->argv[state->next - 1]);
            lookup->error_told = true;
        }
        return 0;
    default:
        good = global_option_take(lookup->invocation, key, argument, state->root_argp, &known);
        break;
    }
    if (!good) {
        lookup->error_told = true;
        return EINVAL;
    }
    return known ? 0 : ARGP_ERR_UNKNOWN;
}

/* The help text of a table: what it is, then a line a verb. The caller's, to be freed. */
static char *verbs_doc(const struct verb *verbs)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL) {
        return NULL;
    }
    (void)fputs("Asks and administers an Eventspine broker.\vVerbs:\n", stream);
    for (; verbs->name != NULL; verbs++) {
        (void)fprintf(stream, "  %-9s %s\n", verbs->name, verbs->summary);
    }
    (void)fputs("\n`esctl VERB --help` tells more. Exit codes: 0 done, 1 an expected no "
                "(conflict, not found), 64 usage, 65 damaged or malformed data, 69 broker not "
                "reachable, 73 cannot create, 74 I/O error, 75 outcome unknown or try again.",
                stream);
    return fclose(stream) == 0 ? text : NULL;
}

/*
 * Takes the next word of the verb off the front of the invocation's arguments.
 * NULL: an error has been told.
 */
static const struct verb *next_verb(struct invocation *invocation, const struct verb *verbs)
{
    struct lookup lookup = {.invocation = invocation, .verbs = verbs};
    char *doc = verbs_doc(verbs);
    const struct argp argp = {.options = global_options,
                              .parser = look_for_verb,
                              .args_doc = "VERB [ARGUMENT...]",
                              .doc = doc};
    char *title = NULL;

    const error_t error = argp_parse(&argp, invocation->argc, invocation->argv,
                                     ARGP_NO_ERRS | ARGP_NO_HELP | ARGP_IN_ORDER, NULL, &lookup);
    free(doc);
    if (error != 0) {
        return NULL;
    }
    if (asprintf(&title, "%s %s", invocation->title, lookup.found->name) < 0) {
        invocation_error("no memory: try again");
        return NULL;
    }
    free(invocation->title);
    invocation->title = title;
    invocation->argv += lookup.next - 1;
    invocation->argc -= lookup.next - 1;
    invocation->argv[0] = title;
    return lookup.found;
}

int main(int argc, char **argv)
{
    struct invocation invocation = {
        .timeout_ns = TIMEOUT_DEFAULT_NS, .title = strdup("esctl"), .argc = argc, .argv = argv};
    const struct verb *verb = NULL;
    enum es_exit exit = ES_EXIT_USAGE;

    if (invocation.title == NULL || argc < 1) {
        fprintf(stderr, "esctl: not enough memory\n");
        return ES_EXIT_TRY_AGAIN;
    }
    /* A pipe whose reader has gone is a write error like any other. */
    (void)signal(SIGPIPE, SIG_IGN);
    invocation.argv[0] = invocation.title;

    verb = next_verb(&invocation, verb_table);
    if (verb != NULL && verb->verbs != NULL) {
        verb = next_verb(&invocation, verb->verbs);
    }
    if (verb != NULL) {
        exit = invocation_finish_output(verb->run(&invocation));
        es_connection_close(invocation.connection);
    }
    free(invocation.title);
    return (int)exit;
}
