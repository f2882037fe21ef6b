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
    PATIENCE_S = 600 /* what takes so long on a busy machine, too, is stuck */
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

static enum trial_outcome judge(const struct comparison *comparison)
{
    return comparison->wrong > 0     ? TRIAL_WRONG
           : comparison->missing > 0 ? TRIAL_SILENT
           : comparison->mute > 0    ? TRIAL_MUTE
           : comparison->errors > 0  ? TRIAL_READ_ERROR
                                     : TRIAL_HARMLESS;
}

/* ---- Reading ------------------------------------------------------------------- */

struct trying {
    const struct trial_reading *reading;
    struct comparison found[TRIAL_OWNERS_MAX];
    struct comparison outside; /* in units of nobody's */
    struct comparison several; /* in units of more than one */
};

static bool wants(void *context, uint32_t unit)
{
    const struct trying *trying = context;
    const struct trial_reading *reading = trying->reading;

    return reading->is_whole || reading->owners == NULL ||
           reading->owners[unit] != TRIAL_OWNER_NOBODY;
}

static void ended(void *context, uint32_t unit, const struct comparison *found)
{
    struct trying *trying = context;
    const uint8_t *owners = trying->reading->owners;
    uint8_t owner = owners == NULL ? 1 : owners[unit];
    struct comparison *sum = owner == TRIAL_OWNER_NOBODY    ? &trying->outside
                             : owner == TRIAL_OWNER_SEVERAL ? &trying->several
                                                            : &trying->found[owner - 1];

    sum->errors += found->errors;
    sum->missing += found->missing;
    sum->wrong += found->wrong;
    sum->mute += found->mute;
    if (sum->what[0] == '\0') {
        memcpy(sum->what, found->what, sizeof sum->what);
    }
}

static void tell(const struct comparison *found, struct trial_result *result)
{
    result->outcome = judge(found);
    result->errors = found->errors;
    snprintf(result->text, sizeof result->text, "%s", found->what);
}

static void read_and_judge(const struct trial_reading *reading, struct startup *startup,
                           struct trial_result *results)
{
    static struct trying trying;
    const struct history_observer observer = {
        .context = &trying, .wants = wants, .ended = ended, .gives_up = reading->owner_count == 1};
    struct comparison total;

    trying.reading = reading;
    history_compare(reading->history, startup->store, &observer, &total);
    for (uint32_t i = 0; i < reading->owner_count; i++) {
        tell(&trying.found[i], &results[i]);
        results[i].is_unsure =
            judge(&trying.several) > TRIAL_HARMLESS ||
            (results[i].outcome == TRIAL_HARMLESS && judge(&trying.several) != TRIAL_HARMLESS);
    }
    if (judge(&trying.outside) != TRIAL_HARMLESS) {
        results[0].outcome = TRIAL_WRONG;
        snprintf(results[0].text, sizeof results[0].text, "found out of reach: %s (%s)",
                 trial_outcome_names[judge(&trying.outside)], trying.outside.what);
    } else if (reading->is_whole && results[0].outcome == TRIAL_HARMLESS &&
               history_verify(reading->history, startup->store) > 0) {
        results[0].outcome = TRIAL_VERIFY;
    }
}

/* In the child: what it finds is in the results when it ends. */
static void try(const struct damage *damage, const struct trial_reading *reading, const char *path,
                struct trial_result *results)
{
    static struct counters counters;
    static struct startup startup;
    static char why[DATA_WHY_BYTES];
    enum es_status status = start(path, &counters, &startup, why);

    results[0].status = status;
    if (status != ES_OK) {
        snprintf(results[0].text, sizeof results[0].text, "%.*s", (int)sizeof results[0].text - 1,
                 why);
        results[0].outcome = why[0] == '\0' ? TRIAL_MUTE : TRIAL_REFUSED;
    } else if (damage->is_older_directory && startup.end.position < reading->history->event_count) {
        /* Its heads and keys are of that time too: that it is older is what a receipt tells. */
        results[0].outcome = TRIAL_RECEIPT;
    } else {
        read_and_judge(reading, &startup, results);
        if (reading->is_whole) {
            startup_close(&startup);
        }
        return;
    }
    for (uint32_t i = 1; i < reading->owner_count; i++) {
        results[i] = results[0];
    }
}

/* ---- The process --------------------------------------------------------------- */

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

static void run_child(const struct damage *damage, const struct trial_reading *reading,
                      const char *path, struct trial_result *shared)
{
    int ends[2];
    int status = 0;
    pid_t child = -1;

    memset(shared, 0, TRIAL_OWNERS_MAX * sizeof *shared);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        err(2, "pipe");
    }
    child = fork();
    if (child == 0) {
        redirect(ends[1]);
        try(damage, reading, path, shared);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        err(2, "fork");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        shared[0].outcome =
            WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? TRIAL_HUNG : TRIAL_CRASHED;
        read_said(ends[0], &shared[0]);
        for (uint32_t i = 1; i < reading->owner_count; i++) {
            shared[i] = shared[0];
        }
    }
    close(ends[0]);
    close(ends[1]);
}

static struct trial_result *shared_results(void)
{
    static struct trial_result *shared;

    if (shared == NULL) {
        shared = mmap(NULL, TRIAL_OWNERS_MAX * sizeof *shared, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED) {
            err(2, "mmap");
        }
    }
    return shared;
}

static void check_unchanged(const struct damage *damage, const char *path,
                            struct trial_result *result)
{
    char name[IMAGE_NAME_BYTES];
    char why[TRIAL_TEXT_BYTES / 2];

    if (directory_image_is_unchanged(damage->image, path, damage->changes, damage->change_count,
                                     name)) {
        return;
    }
    snprintf(why, sizeof why, "%.*s", (int)sizeof why - 1, result->text);
    snprintf(result->text, sizeof result->text, "%s is not as it was; %s", name, why);
    result->outcome = TRIAL_CHANGED;
}

void trial_run(const struct damage *damage, const struct trial_reading *reading, const char *path,
               struct trial_result ret_results[TRIAL_OWNERS_MAX])
{
    struct trial_result *shared = shared_results();

    directory_image_copy(damage->image, path);
    for (size_t i = 0; i < damage->change_count; i++) {
        const struct image_file *file = &damage->changes[i];

        if (file->bytes == NULL) {
            directory_image_delete(path, file->name);
        } else {
            directory_image_replace(path, file->name, file->bytes, file->size);
        }
    }
    run_child(damage, reading, path, shared);
    if (shared[0].outcome == TRIAL_REFUSED) {
        check_unchanged(damage, path, &shared[0]);
    }
    directory_image_remove(path);
    memcpy(ret_results, shared, TRIAL_OWNERS_MAX * sizeof *shared);
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
