/* esctl status: the broker's counters and settings, as it names them. */
#include "tools/esctl/esctl.h"
#include "tools/esctl/json_out.h"

#include <inttypes.h>
#include <string.h>

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc = "Prints the broker's settings and counters. docs/counters.md says what each one means.",
    .word_count_min = 0,
    .word_count_max = 0,
};

struct status_output {
    bool json;
    struct json_out line;
};

static bool show(void *context, const char *name, uint64_t number, const char *text)
{
    struct status_output *output = context;

    if (output->json) {
        json_out_name(&output->line, name);
        if (text != NULL) {
            json_out_string(&output->line, text, strlen(text));
        } else {
            json_out_uint(&output->line, number);
        }
    } else if (text != NULL) {
        (void)printf("%-36s %s\n", name, text);
    } else {
        (void)printf("%-36s %" PRIu64 "\n", name, number);
    }
    return true;
}

enum es_exit verb_status(struct invocation *invocation)
{
    struct status_output output = {0};

    if (!invocation_parse(invocation, &syntax, NULL)) {
        return ES_EXIT_USAGE;
    }
    const enum es_exit exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    output.json = invocation->json;
    json_out_init(&output.line);
    json_out_open(&output.line, '{');
    const enum es_status status = es_broker_status(invocation->connection, show, &output);
    json_out_close(&output.line, '}');
    if (status != ES_OK) {
        json_out_deinit(&output.line);
        return invocation_failed(invocation, status);
    }
    if (output.json) {
        return invocation_print(&output.line, ES_EXIT_OK);
    }
    json_out_deinit(&output.line);
    return ES_EXIT_OK;
}
