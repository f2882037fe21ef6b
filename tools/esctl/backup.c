/* esctl backup: a copy of the running store, made by the broker and verified here. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/broker_questions.h"
#include "tools/esctl/json_out.h"
#include "tools/esctl/paths.h"
#include "tools/esctl/stop_signal.h"
#include "tools/esctl/verify_offline.h"

#include <inttypes.h>

#define ANSWER_TIMEOUT_NS (UINT64_C(24) * 3600 * 1000000000)

static const struct verb_syntax syntax = {
    .words_doc = "DIR",
    .doc = "Makes the new directory DIR: a whole store with everything up to one position, while "
           "the broker goes on, and verifies it. On the same filesystem files are linked: copy "
           "DIR to another disk. A store is made of it with `esctl restore`. Waits for the broker "
           "as long as it takes, whatever --timeout says.",
    .word_count_min = 1,
    .word_count_max = 1,
};

static enum es_exit tell(const struct invocation *invocation, const char *path,
                         const struct es_store_head *head)
{
    struct json_out line;
    char epoch[17];

    if (!invocation->json) {
        (void)printf("%s holds positions 1 to %" PRIu64 " in %" PRIu64 " commits\n", path,
                     head->position, head->commit_number);
        (void)fflush(stdout);
        return ES_EXIT_OK;
    }
    (void)snprintf(epoch, sizeof epoch, "%016" PRIx64, head->epoch);
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "ok");
    json_out_member_string(&line, "backup", path);
    json_out_member_uint(&line, "position", head->position);
    json_out_member_uint(&line, "commit", head->commit_number);
    json_out_member_string(&line, "epoch", epoch);
    json_out_member_hex(&line, "store_hash", head->store_hash, sizeof head->store_hash);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

enum es_exit verb_backup(struct invocation *invocation)
{
    char path[PATHS_BYTES_MAX];
    struct es_store_head head;
    enum es_status status;
    enum es_exit exit = ES_EXIT_USAGE;

    if (!invocation_parse(invocation, &syntax, NULL) ||
        !path_of_new(invocation, invocation->words[0], path)) {
        return ES_EXIT_USAGE;
    }
    stop_signal_install(NULL);
    invocation->timeout_ns = ANSWER_TIMEOUT_NS;
    exit = invocation_connect(invocation);
    if (exit != ES_EXIT_OK) {
        return exit;
    }
    status = ask_backup(invocation->connection, path, &head);
    if (status != ES_OK) {
        exit = invocation_failed(invocation, status);
        return status == ES_E_EXISTS || status == ES_NO_SPACE ? ES_EXIT_CANNOT_CREATE : exit;
    }
    exit = tell(invocation, path, &head);
    return exit == ES_EXIT_OK ? verify_offline(invocation, path) : exit;
}
