/* esctl restore: a new store from a backup, verified, with a new epoch. */
#include "tools/esctl/arguments.h"
#include "tools/esctl/json_out.h"
#include "tools/esctl/paths.h"
#include "tools/esctl/progress.h"
#include "tools/esctl/stop_signal.h"
#include "tools/esctl/verify_offline.h"

#include "broker/restore.h"

#include <inttypes.h>

static const struct argp_option options[] = {
    {"data", 'd', "DIR", 0, "the new data directory, which must not exist", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    (void)invocation;
    (void)key;
    *(const char **)context = argument;
    return true;
}

static const struct verb_syntax syntax = {
    .words_doc = "BACKUP",
    .doc = "Makes the new data directory DIR from a backup, which stays as it is. What was "
           "committed after the backup is not in it, so a new epoch begins: clients that have seen "
           "more are told. Run it again if it was cut short.",
    .options = options,
    .take = take,
    .word_count_min = 1,
    .word_count_max = 1,
};

struct copying {
    struct progress progress;
    uint64_t bytes;
};

static bool moved(void *context, uint64_t bytes)
{
    struct copying *copying = context;

    copying->bytes += bytes;
    progress_show(&copying->progress, 0, copying->bytes, 0);
    return !stop_requested();
}

static enum es_exit failed(enum es_status status, const char *why)
{
    if (status == ES_INTERRUPTED) {
        invocation_error("interrupted: run it again");
        return ES_EXIT_TRY_AGAIN;
    }
    invocation_error("%s", why);
    switch (status) {
    case ES_E_EXISTS:
    case ES_NO_SPACE: return ES_EXIT_CANNOT_CREATE;
    case ES_E_INVALID: return ES_EXIT_DATA;
    default: return verify_exit_of_opening(status);
    }
}

static enum es_exit tell(const struct invocation *invocation, const char *path,
                         const struct restore *restore)
{
    struct json_out line;
    char epoch[17];

    if (!invocation->json) {
        (void)printf("%s holds positions 1 to %" PRIu64 ", a new epoch begins: start a broker with "
                     "esbroker --data %s\n",
                     path, restore->position, path);
        return ES_EXIT_OK;
    }
    (void)snprintf(epoch, sizeof epoch, "%016" PRIx64, restore->epoch);
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "ok");
    json_out_member_string(&line, "data", path);
    json_out_member_uint(&line, "position", restore->position);
    json_out_member_string(&line, "epoch", epoch);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

static enum es_exit restore(struct invocation *invocation, const char *path)
{
    struct copying copying = {.bytes = 0};
    const struct file_tree_options tree = {.moved = moved, .context = &copying};
    char why[DATA_WHY_BYTES] = "";
    struct restore restore;
    enum es_exit exit = ES_EXIT_OK;
    enum es_status status;

    progress_start(&copying.progress, "copied");
    status = restore_copy(invocation->words[0], path, &tree, &restore, why);
    progress_clear(&copying.progress);
    if (status == ES_OK && !restore.is_finished) {
        exit = verify_offline(invocation, restore.temporary);
    }
    if (status == ES_OK && exit == ES_EXIT_OK) {
        status = restore_finish(&restore, why);
    }
    if (status != ES_OK) {
        exit = failed(status, why);
    } else if (exit == ES_EXIT_OK) {
        exit = tell(invocation, path, &restore);
    }
    restore_close(&restore);
    return exit;
}

enum es_exit verb_restore(struct invocation *invocation)
{
    char path[PATHS_BYTES_MAX];
    const char *data_dir = NULL;

    if (!invocation_parse(invocation, &syntax, &data_dir)) {
        return ES_EXIT_USAGE;
    }
    if (data_dir == NULL) {
        (void)invocation_usage_error(invocation, "where to? --data DIR is missing");
        return ES_EXIT_USAGE;
    }
    if (!path_of_new(invocation, data_dir, path)) {
        return ES_EXIT_USAGE;
    }
    stop_signal_install(NULL);
    return restore(invocation, path);
}
