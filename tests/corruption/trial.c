#include "tests/corruption/trial.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/startup.h"
#include "tests/corruption/runner.h"

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

/* What was refused for want of means might have been served, and wrongly. */
static bool lacks_means(enum es_status status)
{
    return status == ES_E_NO_MEMORY || status == ES_E_LIMIT || status == ES_NO_SPACE ||
           status == ES_E_PERMISSION;
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

    memset(&trying, 0, sizeof trying);
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

static void try(const struct trial_reading *reading, bool is_older_directory, const char *path,
                struct trial_result *results)
{
    static struct counters counters;
    static struct startup startup;
    static char why[DATA_WHY_BYTES];
    enum es_status status = ES_OK;

    memset(&counters, 0, sizeof counters);
    status = start(path, &counters, &startup, why);
    results[0].status = status;
    if (status != ES_OK) {
        snprintf(results[0].text, sizeof results[0].text, "%.*s", (int)sizeof results[0].text - 1,
                 why);
        results[0].outcome = why[0] == '\0' || lacks_means(status) ? TRIAL_MUTE : TRIAL_REFUSED;
    } else if (is_older_directory && startup.end.position < reading->history->event_count) {
        /* Its heads and keys are of that time too: that it is older is what a receipt tells. */
        results[0].outcome = TRIAL_RECEIPT;
        startup_close(&startup);
    } else {
        read_and_judge(reading, &startup, results);
        startup_close(&startup);
        return;
    }
    for (uint32_t i = 1; i < reading->owner_count; i++) {
        results[i] = results[0];
    }
}

/* ---- The process --------------------------------------------------------------- */

/* What the process is told, and what it found. */
struct order {
    char path[IMAGE_PATH_BYTES];
    const struct history *history; /* at the same place in both */
    bool is_older_directory;
    bool is_whole;
    bool has_owners;
    uint32_t owner_count;
    struct trial_result results[TRIAL_OWNERS_MAX];
    uint8_t owners[];
};

static struct runner runner;

static void obey(void *memory)
{
    struct order *order = memory;
    const struct trial_reading reading = {.history = order->history,
                                          .owners = order->has_owners ? order->owners : NULL,
                                          .owner_count = order->owner_count,
                                          .is_whole = order->is_whole};

    try(&reading, order->is_older_directory, order->path, order->results);
}

static struct order *make_order(const struct damage *damage, const struct trial_reading *reading,
                                const char *path)
{
    const uint32_t unit_count = history_unit_count(reading->history);
    struct order *order = NULL;

    if (runner.memory == NULL) {
        runner_init(&runner, obey, sizeof *order + unit_count);
    }
    order = runner.memory;
    memset(order, 0, sizeof *order);
    snprintf(order->path, sizeof order->path, "%s", path);
    order->history = reading->history;
    order->is_older_directory = damage->is_older_directory;
    order->is_whole = reading->is_whole;
    order->has_owners = reading->owners != NULL;
    order->owner_count = reading->owner_count;
    if (order->has_owners) {
        memcpy(order->owners, reading->owners, unit_count);
    }
    return order;
}

static void run(struct order *order)
{
    char said[TRIAL_TEXT_BYTES];
    enum runner_ending ending = runner_run(&runner, said, sizeof said);
    struct trial_result *result = &order->results[0];

    if (ending == RUNNER_DONE) {
        return;
    }
    result->outcome = ending == RUNNER_HUNG ? TRIAL_HUNG : TRIAL_CRASHED;
    if (result->text[0] == '\0') {
        memcpy(result->text, said, sizeof said);
    }
    for (uint32_t i = 1; i < order->owner_count; i++) {
        order->results[i] = *result;
    }
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

void trial_run(const struct damage *damage, const struct trial_reading *reading, const char *beside,
               struct trial_result ret_results[TRIAL_OWNERS_MAX])
{
    static uint64_t count;
    char path[IMAGE_PATH_BYTES];
    struct order *order = NULL;

    /* Another place each time: RocksDB keeps what a process has open by its name. */
    snprintf(path, sizeof path, "%.900s.%" PRIu64, beside, count++);
    order = make_order(damage, reading, path);
    directory_image_copy(damage->image, path);
    for (size_t i = 0; i < damage->change_count; i++) {
        const struct image_file *file = &damage->changes[i];

        if (file->bytes == NULL) {
            directory_image_delete(path, file->name);
        } else {
            directory_image_replace(path, file->name, file->bytes, file->size);
        }
    }
    run(order);
    if (order->results[0].outcome == TRIAL_REFUSED) {
        check_unchanged(damage, path, &order->results[0]);
    }
    directory_image_remove(path);
    memcpy(ret_results, order->results, sizeof order->results);
}

void trial_end(void)
{
    if (!runner_end(&runner)) {
        errx(2, "the process of the last trials ended after them");
    }
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
