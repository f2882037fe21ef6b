/*
 * esctl verify: every hash, chain, position and commit record recomputed. Online
 * the broker does it, slice by slice; with --data it is done here, read-only
 * (verify_offline.c).
 */
#include "tools/esctl/receipt_file.h"
#include "tools/esctl/stop_signal.h"
#include "tools/esctl/verify_offline.h"
#include "tools/esctl/verify_report.h"

enum {
    KEY_RECEIPT = 0x100
};

static const struct argp_option options[] = {
    {"data", 'd', "DIR", 0,
     "check this data directory, which no broker has open, and change "
     "nothing in it",
     0},
    {"receipt", KEY_RECEIPT, "FILE", 0,
     "only say whether the store still holds what this receipt proves, - for standard input", 0},
    {0},
};

struct verify_options {
    const char *data_dir;
    const char *receipt;
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct verify_options *given = context;

    if (argument[0] == '\0') {
        return invocation_usage_error(invocation, "--%s takes a path, not \"\"",
                                      key == 'd' ? "data" : "receipt");
    }
    if (key == 'd') {
        given->data_dir = argument;
    } else {
        given->receipt = argument;
    }
    return true;
}

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc = "Recomputes every hash, chain, position and commit record, and looks whether what is "
           "referred to is there. Damage is named by stream, sequence and position: exit 65. With "
           "--receipt: \"proven\", or regressed, diverged or damaged and exit 65.",
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
    struct verify_options given = {0};

    if (!invocation_parse(invocation, &syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    stop_signal_install(NULL);
    if (given.receipt != NULL) {
        return verify_receipt(invocation, given.receipt, given.data_dir);
    }
    return given.data_dir == NULL ? verify_online(invocation)
                                  : verify_offline(invocation, given.data_dir);
}
