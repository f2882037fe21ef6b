/* Verification of a data directory without a broker; see verify_offline.h. */
#include "tools/esctl/verify_offline.h"

#include "tools/esctl/verify_report.h"

#include "broker/apply.h"
#include "broker/batch_load.h"
#include "broker/startup_check.h"
#include "broker/verify.h"

#include <string.h>

#define SLICE_NS UINT64_C(100000000)
#define FINDING_COUNT_MAX 1000 /* of one slice */

/* It looks at everything once, some of it in another order than it lies. */
enum {
    CACHE_BYTES = 256 * 1024 * 1024
};

/* Everything that is open while it goes on. */
struct offline {
    struct data_directory directory;
    struct startup_finding finding;
    struct counters counters;
    struct log *log;
    struct store *base;    /* read-only */
    struct store *overlay; /* with the log's batches over it */
    struct heads *heads;
    struct batch *batch;
    struct store_batch *writes;
    struct history_point end;
    struct verify_report report;
    struct verification verification;
    char why[DATA_WHY_BYTES];
};

static void report_history(struct offline *offline)
{
    const struct damage damage = {.stream = "",
                                  .kind = DAMAGE_OF_HISTORY,
                                  .position = offline->finding.end.position,
                                  .message = offline->why};

    offline->verification.finding_count++;
    verify_report_damage(&offline->report, &damage);
}

static enum es_status apply_record(void *context, const struct log_record *record)
{
    struct offline *offline = context;
    struct es_last last;
    const char *why = NULL;

    enum es_status status = batch_load(offline->batch, offline->heads, record->body,
                                       record->body_bytes, &offline->end, &last, &why);
    if (status == ES_OK) {
        status = apply_fill(offline->batch, offline->writes);
    }
    if (status == ES_OK) {
        status = store_apply(offline->overlay, offline->writes, STORE_APPLY_REPLAY);
    }
    if (status == ES_OK) {
        heads_set_applied(offline->heads, offline->end.batch_number);
    } else if (why != NULL) {
        (void)startup_explain(offline->why, status, "a record of the commit log: %s", why);
    }
    return status;
}

static enum es_status open_store(struct offline *offline)
{
    const struct store_rocksdb_options options = {.directory = offline->directory.store_path,
                                                  .logs_directory =
                                                      offline->directory.store_logs_path,
                                                  .mode = STORE_READ_ONLY,
                                                  .cache_bytes = CACHE_BYTES};
    char store_why_text[STORE_WHY_BYTES] = "";
    char log_why_text[LOG_WHY_BYTES] = "";

    enum es_status status = store_rocksdb_open(&options, store_why_text, &offline->base);
    if (status != ES_OK) {
        return startup_explain(offline->why, status, "the store in %s cannot be opened (%s)",
                               offline->directory.store_path, store_why_text);
    }
    status = data_directory_open_log(&offline->directory);
    if (status == ES_OK) {
        status = log_open(offline->directory.log_disk, DISK_READ_ONLY, log_why_text, &offline->log);
    }
    if (status != ES_OK) {
        return startup_explain(offline->why, status, "the commit log in %s cannot be opened (%s)",
                               offline->directory.log_path, log_why_text);
    }
    return startup_find_flushed(offline->base, log_origin(offline->log), &offline->end,
                                offline->why);
}

/* Lays what the log holds beyond the store over it. */
static enum es_status lay_log_over(struct offline *offline)
{
    struct log_ending ending;

    enum es_status status = store_overlay_new(offline->base, &offline->overlay);
    if (status == ES_OK) {
        status = heads_new(offline->overlay, &offline->counters, HEADS_CACHED_MAX, &offline->heads);
    }
    if (status == ES_OK) {
        status =
            batch_new(log_body_bytes_max(&log_origin(offline->log)->geometry), &offline->batch);
    }
    if (status == ES_OK) {
        status = store_batch_new(&offline->writes);
    }
    if (status == ES_OK) {
        heads_set_applied(offline->heads, offline->end.batch_number);
        status = log_replay(offline->log, 0, apply_record, offline, &ending);
    }
    return status;
}

static void found(void *context, const struct verify_finding *finding)
{
    char stream[ES_STREAM_BYTES_MAX + 1] = {0};
    const struct damage damage = {.stream = stream,
                                  .kind = finding->kind,
                                  .sequence = finding->sequence,
                                  .position = finding->position,
                                  .message = finding->message};

    if (finding->stream.size > 0 && finding->stream.size < sizeof stream) {
        memcpy(stream, finding->stream.data, finding->stream.size);
    }
    verify_report_damage(context, &damage);
}

/* ES_INTERRUPTED: a signal ended it. */
static enum es_status verify_all(struct offline *offline, struct store *store)
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;

    enum es_status status = verify_new(store, log_origin(offline->log)->identity.store_id, &verify);
    while (status == ES_OK && !progress.end) {
        status = verify_slice(verify, &cursor, SLICE_NS, FINDING_COUNT_MAX, found, &offline->report,
                              &progress);
        offline->verification.events_checked += progress.events_checked;
        offline->verification.commits_checked += progress.commits_checked;
        offline->verification.finding_count += progress.findings;
        if (status == ES_OK && !verify_report_progress(&offline->report, &offline->verification)) {
            status = ES_INTERRUPTED;
        }
    }
    verify_free(verify);
    return status;
}

/*
 * First whether log, store and anchor tell one history, then what is in it. A
 * history that is broken is damage, and what there is of it is still looked at.
 */
static enum es_status check(struct offline *offline)
{
    const struct startup_options options = {.data_path = offline->directory.path};
    const uint8_t boot_id[ANCHOR_BOOT_ID_BYTES] = {0};
    struct lanes_remains remains;

    enum es_status status =
        startup_check(&offline->directory, &options, boot_id, &offline->counters, &remains,
                      &offline->finding, offline->why);
    const bool one_history = status == ES_OK;
    if (!one_history && status != ES_E_CORRUPT) {
        return status;
    }
    if (!one_history) {
        report_history(offline);
    }
    offline->report.head_position = offline->finding.end.position;
    offline->why[0] = '\0';
    status = open_store(offline);
    if (status != ES_OK && !one_history) {
        return ES_OK; /* nothing there to look at, and the damage is told */
    }
    if (status == ES_OK && one_history) {
        status = lay_log_over(offline);
    }
    if (status == ES_OK) {
        status = verify_all(offline, one_history ? offline->overlay : offline->base);
    }
    if (status == ES_E_CORRUPT) {
        if (one_history) { /* else it has been told already */
            report_history(offline);
        }
        status = ES_OK;
    }
    return status;
}

static void close_all(struct offline *offline)
{
    store_batch_free(offline->writes);
    batch_free(offline->batch);
    heads_free(offline->heads);
    store_free(offline->overlay);
    store_free(offline->base);
    log_free(offline->log);
    disk_free(offline->directory.log_disk);
    offline->directory.log_disk = NULL;
    data_directory_close(&offline->directory);
}

static enum es_exit exit_of_opening(enum es_status status)
{
    switch (status) {
    case ES_NOT_FOUND:
    case ES_E_PERMISSION: return ES_EXIT_IO;
    default: return exit_of_status(status);
    }
}

enum es_exit verify_offline(struct invocation *invocation, const char *data_dir)
{
    struct offline offline = {0};

    enum es_status status = data_directory_open(data_dir, false, &offline.directory, offline.why);
    if (status != ES_OK) {
        invocation_error("%s", offline.why);
        return exit_of_opening(status);
    }
    verify_report_start(&offline.report, invocation->json, 0);
    status = check(&offline);
    close_all(&offline);
    if (status == ES_OK) {
        return verify_report_finish(&offline.report, &offline.verification);
    }
    verify_report_abandon(&offline.report);
    if (status == ES_INTERRUPTED) {
        invocation_error("interrupted: run it again");
        return ES_EXIT_TRY_AGAIN;
    }
    invocation_error("%s", offline.why[0] != '\0' ? offline.why : es_status_text(status));
    return exit_of_opening(status);
}
