#include "tests/corruption/trial.h"

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/startup.h"

enum {
    PATIENCE_S = 60
};

const char *const trial_outcome_names[TRIAL_OUTCOME_COUNT] = {
    "refused", "read error", "verify", "harmless", "receipt", "silent",
    "wrong",   "mute",       "crash",  "hang",     "changed"};

bool trial_is_good(enum trial_outcome outcome)
{
    return outcome <= TRIAL_RECEIPT;
}

static enum es_status start(const char *path, struct counters *counters, struct startup *startup,
                            char why[DATA_WHY_BYTES])
{
    const struct startup_options options = {
        .data_path = path,
        .durability = ANCHOR_FSYNC,
        .geometry = {LOG_SEGMENT_COUNT_DEFAULT, LOG_SEGMENT_BYTES_DEFAULT}};

    why[0] = '\0';
    return startup_open(&options, counters, startup, why);
}

static enum trial_outcome judge(const struct damage *damage, const struct history *history,
                                const struct startup *startup, const struct comparison *comparison)
{
    /* Its heads and keys are of that time too: that it is an older time is what a receipt tells. */
    if (damage->is_older_directory && startup->end.position < history->event_count) {
        return TRIAL_RECEIPT;
    }
    if (comparison->wrong > 0) {
        return TRIAL_WRONG;
    }
    if (comparison->missing > 0) {
        return TRIAL_SILENT;
    }
    if (comparison->mute > 0) {
        return TRIAL_MUTE;
    }
    if (comparison->errors > 0) {
        return TRIAL_READ_ERROR;
    }
    return history_verify(history, startup->store) > 0 ? TRIAL_VERIFY : TRIAL_HARMLESS;
}

/* In the child: what it finds is in '*result' when it ends. */
static void try(const struct damage *damage, const struct history *history, const char *path,
                struct trial_result *result)
{
    static struct counters counters;
    static struct startup startup;
    static struct comparison comparison;
    static char why[DATA_WHY_BYTES];

    result->status = start(path, &counters, &startup, why);
    if (result->status != ES_OK) {
        snprintf(result->text, sizeof result->text, "%.*s", (int)sizeof result->text - 1, why);
        result->outcome = why[0] == '\0' ? TRIAL_MUTE : TRIAL_REFUSED;
        return;
    }
    history_compare(history, startup.store, &comparison);
    result->outcome = judge(damage, history, &startup, &comparison);
    result->errors = comparison.errors;
    snprintf(result->text, sizeof result->text, "%s", comparison.what);
    startup_close(&startup);
}

/* What RocksDB and assertions say as they end the process goes into the result. */
static void redirect(int pipe_end)
{
    const struct rlimit none = {0, 0};

    dup2(pipe_end, STDERR_FILENO);
    (void)setrlimit(RLIMIT_CORE, &none);
    alarm(PATIENCE_S);
}

static void read_said(int pipe_end, struct trial_result *result)
{
    char said[TRIAL_TEXT_BYTES] = "";
    ssize_t size = read(pipe_end, said, sizeof said - 1);

    if (size > 0 && result->text[0] == '\0') {
        memcpy(result->text, said, sizeof said);
    }
}

static void run_child(const struct damage *damage, const struct history *history, const char *path,
                      struct trial_result *shared)
{
    int ends[2];
    int status = 0;
    pid_t child = -1;

    memset(shared, 0, sizeof *shared);
    shared->outcome = TRIAL_CRASHED;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        err(2, "pipe");
    }
    child = fork();
    if (child == 0) {
        redirect(ends[1]);
        try(damage, history, path, shared);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        err(2, "fork");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        shared->outcome =
            WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? TRIAL_HUNG : TRIAL_CRASHED;
        read_said(ends[0], shared);
    }
    close(ends[0]);
    close(ends[1]);
}

static struct trial_result *shared_result(void)
{
    static struct trial_result *shared;

    if (shared == NULL) {
        shared =
            mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED) {
            err(2, "mmap");
        }
    }
    return shared;
}

void trial_run(const struct damage *damage, const struct history *history, const char *path,
               struct trial_result *ret_result)
{
    struct trial_result *shared = shared_result();
    char name[IMAGE_NAME_BYTES];

    directory_image_copy(damage->image, path);
    for (size_t i = 0; i < damage->change_count; i++) {
        const struct image_file *file = &damage->changes[i];

        if (file->bytes == NULL) {
            directory_image_delete(path, file->name);
        } else {
            directory_image_replace(path, file->name, file->bytes, file->size);
        }
    }
    run_child(damage, history, path, shared);
    if (shared->outcome == TRIAL_REFUSED &&
        !directory_image_is_unchanged(damage->image, path, damage->changes, damage->change_count,
                                      name)) {
        char why[TRIAL_TEXT_BYTES / 2];

        snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, shared->text);
        snprintf(shared->text, sizeof shared->text, "%s is not as it was; %s", name, why);
        shared->outcome = TRIAL_CHANGED;
    }
    directory_image_remove(path);
    *ret_result = *shared;
}

void trial_record(const struct directory_image *image, const char *path, const char *history_path)
{
    static struct counters counters;
    static struct startup startup;
    static struct history history;
    static char why[DATA_WHY_BYTES];
    const char *what = "";
    int status = 0;
    pid_t child = -1;

    directory_image_copy(image, path);
    child = fork();
    if (child == 0) {
        if (start(path, &counters, &startup, why) != ES_OK) {
            errx(2, "the store is not sound: %s", why);
        }
        if (!history_record(&history, startup.store, &what)) {
            errx(2, "the store is not sound: %s", what);
        }
        memcpy(history.store_id, startup.state.store_id, sizeof history.store_id);
        if (!history_save(&history, history_path)) {
            err(2, "%s", history_path);
        }
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        errx(2, "the store cannot be read");
    }
    directory_image_remove(path);
}
