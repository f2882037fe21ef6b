/*
 * esctl verify: every hash, chain, position and commit record recomputed. Online
 * the broker does it, slice by slice; with --data it is done here, read-only
 * (verify_offline.c).
 */
#include "tools/esctl/stop_signal.h"
#include "tools/esctl/verify_offline.h"
#include "tools/esctl/verify_report.h"

static const struct argp_option options[] = {
    {"data", 'd', "DIR", 0,
     "check this data directory, which no broker has open, and change "
     "nothing in it",
     0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    const char **data_dir = context;

    (void)key;
    if (argument[0] == '\0') {
        return invocation_usage_error(invocation, "--data takes a directory, not \"\"");
    }
    *data_dir = argument;
    return true;
}

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc = "Recomputes every hash, chain, position and commit record, and looks whether what is "
           "referred to is there. Damage is named by stream, sequence and position: exit 65.",
    .options = options,
    .take = take,
    .word_count_min = 0,
    .word_count_max = 0,
};

static enum es_exit verify_online(struct invocation *invocation)
{
    struct verify_report report;
    struct verification verification = {0};
    struct es_store_head head;
    const enum es_exit exit = invocation_connect(invocation);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    enum es_status status = es_store_head(invocation->connection, &head);
    if (status != ES_OK) {
        return invocation_failed(invocation, status);
    }
    verify_report_start(&report, invocation->json, head.position);
    status = ask_verification(invocation->connection, verify_report_damage, verify_report_progress,
                              &report, &verification);
    if (status == ES_OK) {
        return verify_report_finish(&report, &verification);
    }
    verify_report_abandon(&report);
    if (status == ES_INTERRUPTED) {
        invocation_error("interrupted: run it again");
        return ES_EXIT_TRY_AGAIN;
    }
    return invocation_failed(invocation, status);
}

enum es_exit verb_verify(struct invocation *invocation)
{
    const char *data_dir = NULL;

    if (!invocation_parse(invocation, &syntax, &data_dir)) {
        return ES_EXIT_USAGE;
    }
    stop_signal_install(NULL);
    return data_dir == NULL ? verify_online(invocation) : verify_offline(invocation, data_dir);
}
