/* esctl recover: what is left of a damaged store, and going on with it. */
#include "tools/esctl/output_file.h"
#include "tools/esctl/progress.h"
#include "tools/esctl/recover_report.h"
#include "tools/esctl/stop_signal.h"
#include "tools/esctl/verify_offline.h"

#include "broker/lanes_take_over.h"
#include "shm/segment.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct recover_given {
    const char *data_dir;
    const char *report;
    bool accept_loss;
    bool dry_run;
};

enum {
    KEY_ACCEPT_LOSS = 0x100,
    KEY_DRY_RUN,
    KEY_REPORT
};

static const struct argp_option options[] = {
    {"data", 'd', "DIR", 0, "the data directory of the damaged store", 0},
    {"accept-loss", KEY_ACCEPT_LOSS, NULL, 0,
     "do it: what cannot be proven is given up, and a new epoch begins", 0},
    {"dry-run", KEY_DRY_RUN, NULL, 0, "only tell, whatever else is said (the default)", 0},
    {"report", KEY_REPORT, "FILE", 0, "write the report into FILE too, as JSON with --json", 0},
    {0},
};

static bool take(struct invocation *invocation, int key, const char *argument, void *context)
{
    struct recover_given *given = context;

    (void)invocation;
    switch (key) {
    case 'd': given->data_dir = argument; break;
    case KEY_ACCEPT_LOSS: given->accept_loss = true; break;
    case KEY_DRY_RUN: given->dry_run = true; break;
    default: given->report = argument; break;
    }
    return true;
}

static const struct verb_syntax syntax = {
    .words_doc = "",
    .doc = "Finds the longest provable history in a data directory that a broker refuses to start "
           "on, and says what is lost: exit 65, nothing is changed. With --accept-loss it makes a "
           "store of that history, verifies it, puts the damaged files aside within DIR, and "
           "begins a new epoch. Look for a backup first: see docs/recovery.md. With --run the "
           "shared memory of that directory is asked too. Run it again if it was cut short.",
    .options = options,
    .take = take,
    .word_count_min = 0,
    .word_count_max = 0,
};

/* Everything that the callbacks need. */
struct recovery {
    const struct invocation *invocation;
    struct recover_report report;
    struct progress progress;
    struct output_file file; /* of --report */
    bool has_file;
};

static bool show_progress(void *context, uint64_t position)
{
    struct recovery *recovery = context;

    progress_show(&recovery->progress, position, position, 0);
    return !stop_requested();
}

static void lost_stream(void *context, struct es_text stream, uint64_t last_sequence,
                        uint64_t last_position)
{
    struct recovery *recovery = context;

    recover_report_lost_stream(&recovery->report, stream, last_sequence, last_position);
}

static void lost_key(void *context, struct es_text name_space, struct es_text key)
{
    struct recovery *recovery = context;

    recover_report_lost_key(&recovery->report, name_space, key);
}

static FILE *make_file(int directory_fd, const char *name)
{
    int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "w");

    if (stream == NULL && fd >= 0) {
        close(fd);
    }
    return stream;
}

/* Both forms, beside the damaged files, synced before anything is moved. */
static enum es_status keep_report(void *context, const struct recover_finding *finding,
                                  int directory_fd)
{
    struct recovery *recovery = context;
    static const char *const names[] = {"report.txt", "report.json"};
    enum es_status status = ES_OK;

    for (int i = 0; i < 2 && status == ES_OK; i++) {
        FILE *stream = make_file(directory_fd, names[i]);

        if (stream == NULL) {
            return ES_E_IO;
        }
        status = i == 0 ? recover_report_text(&recovery->report, finding, stream)
                        : recover_report_json(&recovery->report, finding, stream);
        if (status == ES_OK && fsync(fileno(stream)) != 0) {
            status = ES_E_IO;
        }
        if (fclose(stream) != 0) {
            status = ES_E_IO;
        }
    }
    return status;
}

/* The control page of this boot, if --run names where it is. */
static void look(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains)
{
    const char *run_dir = context;
    char path[ES_SEGMENT_PATH_BYTES_MAX];
    struct lanes_config config = {.group = ES_GROUP_NONE};
    int fd = -1;

    memset(ret_remains, 0, sizeof *ret_remains);
    if (run_dir == NULL ||
        es_segment_directory(run_dir, false, ES_GROUP_NONE, &fd, path) != ES_OK) {
        return;
    }
    memcpy(config.identity.store_id, store_id, sizeof config.identity.store_id);
    memcpy(config.identity.boot_id, boot_id, sizeof config.identity.boot_id);
    lanes_look(fd, &config, ret_remains);
    close(fd);
}

/* Where the report goes too: opened before anything is done, for what then fails has
 * changed nothing yet. */
static enum es_exit open_report(struct recovery *recovery, const char *path)
{
    enum es_exit exit = path == NULL ? ES_EXIT_OK : output_file_open(&recovery->file, path);

    recovery->has_file = path != NULL && exit == ES_EXIT_OK;
    return exit;
}

static enum es_exit write_report(struct recovery *recovery, const struct recover_finding *finding)
{
    FILE *stream = recovery->file.stream;

    if (!recovery->has_file) {
        return ES_EXIT_OK;
    }
    recovery->has_file = false;
    /* Finishing looks at the stream's errors. */
    (void)!(recovery->invocation->json ? recover_report_json(&recovery->report, finding, stream)
                                       : recover_report_text(&recovery->report, finding, stream));
    return output_file_finish(&recovery->file);
}

static enum es_exit tell(struct recovery *recovery, const struct recover_finding *finding)
{
    const bool is_needed = finding->is_refused || !finding->is_whole;
    enum es_exit exit = write_report(recovery, finding);
    const enum es_status status = recovery->invocation->json
                                      ? recover_report_json(&recovery->report, finding, stdout)
                                      : recover_report_text(&recovery->report, finding, stdout);

    if (exit != ES_EXIT_OK || status != ES_OK) {
        return exit != ES_EXIT_OK ? exit : ES_EXIT_IO; /* main.c says why */
    }
    if (!is_needed || recovery->report.is_done) {
        return ES_EXIT_OK;
    }
    invocation_error("nothing was changed: restore a backup that holds more, or accept the loss "
                     "with --accept-loss");
    return ES_EXIT_DATA;
}

static enum es_exit failed(enum es_status status, const char *why)
{
    if (status == ES_INTERRUPTED) {
        invocation_error("interrupted: run it again");
        return ES_EXIT_TRY_AGAIN;
    }
    invocation_error("%s", why);
    return verify_exit_of_opening(status);
}

/* A recovery that was cut short with its mark in place is finished first. */
static enum es_exit go_on(struct recovery *recovery, const struct recover_options *recover,
                          bool accept_loss, bool *ret_is_over)
{
    char why[DATA_WHY_BYTES] = "";
    struct recover_finding finding;
    enum es_status status = ES_EMPTY;

    *ret_is_over = true;
    if (accept_loss) {
        status = recover_go_on(recover, &finding, why);
    }
    if (status == ES_EMPTY) {
        *ret_is_over = false;
        return ES_EXIT_OK;
    }
    if (status != ES_OK) {
        return failed(status, why);
    }
    if (!recovery->invocation->json) {
        (void)printf("a recovery that was cut short is finished: its report is in %s/%s\n",
                     recover->path, finding.aside);
        return ES_EXIT_OK;
    }
    struct json_out line;
    json_out_init(&line);
    json_out_open(&line, '{');
    json_out_member_string(&line, "status", "finished");
    json_out_member_string(&line, "data", recover->path);
    json_out_member_string(&line, "damaged_files", finding.aside);
    json_out_close(&line, '}');
    return invocation_print(&line, ES_EXIT_OK);
}

/* Looks first: what needs no recovery is left as it is. */
static enum es_exit recover(struct recovery *recovery, const struct recover_options *recover,
                            const struct recover_given *given)
{
    char why[DATA_WHY_BYTES] = "";
    struct recover_finding finding;
    bool makes = false;
    enum es_status status = recover_look(recover, &finding, why);

    makes = status == ES_OK && given->accept_loss && !given->dry_run &&
            (finding.is_refused || !finding.is_whole);
    if (makes) {
        recover_report_deinit(&recovery->report);
        status = recover_report_init(&recovery->report, given->data_dir, true);
        if (status == ES_OK) {
            status = recover_make(recover, &finding, why);
        }
    }
    progress_clear(&recovery->progress);
    return status == ES_OK ? tell(recovery, &finding) : failed(status, why);
}

enum es_exit verb_recover(struct invocation *invocation)
{
    struct recover_given given = {0};
    struct recovery recovery = {.invocation = invocation};
    const struct recover_listener listener = {.progress = show_progress,
                                              .lost_stream = lost_stream,
                                              .lost_key = lost_key,
                                              .report = keep_report,
                                              .context = &recovery};
    bool is_over = false;
    enum es_exit exit = ES_EXIT_USAGE;

    if (!invocation_parse(invocation, &syntax, &given)) {
        return ES_EXIT_USAGE;
    }
    if (given.data_dir == NULL || given.data_dir[0] == '\0') {
        (void)invocation_usage_error(invocation, "of which store? --data DIR is missing");
        return ES_EXIT_USAGE;
    }
    const struct recover_options recover_options = {.path = given.data_dir,
                                                    .listener = &listener,
                                                    .look = look,
                                                    .look_context =
                                                        (void *)(uintptr_t)invocation->run_dir};
    stop_signal_install(NULL);
    if (recover_report_init(&recovery.report, given.data_dir, false) != ES_OK) {
        invocation_error("not enough memory");
        return ES_EXIT_IO;
    }
    progress_start(&recovery.progress, "looked at");
    exit = open_report(&recovery, given.report);
    if (exit == ES_EXIT_OK) {
        exit = go_on(&recovery, &recover_options, given.accept_loss && !given.dry_run, &is_over);
        if (!is_over) {
            exit = recover(&recovery, &recover_options, &given);
        }
    }
    if (recovery.has_file) {
        output_file_abandon(&recovery.file);
    }
    recover_report_deinit(&recovery.report);
    return exit;
}
