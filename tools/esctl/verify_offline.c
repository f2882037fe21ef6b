/* Verification of a data directory without a broker; see verify_offline.h. */
#include "tools/esctl/verify_offline.h"

#include "broker/offline_store.h"

#include <string.h>

#define SLICE_NS UINT64_C(100000000)
#define FINDING_COUNT_MAX 1000 /* of one slice */

static void report_history(const struct offline_store *offline, struct verify_report *report,
                           struct verification *verification)
{
    const struct damage damage = {.stream = "",
                                  .kind = DAMAGE_OF_HISTORY,
                                  .position = offline->finding.end.position,
                                  .message = offline->why};

    verification->finding_count++;
    verify_report_damage(report, &damage);
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

enum es_status verify_whole_store(struct store *store, const uint8_t *store_id,
                                  struct verify_report *report, struct verification *verification)
{
    struct verify_cursor cursor = {.size = 0};
    struct verify_progress progress = {.end = false};
    struct verify *verify = NULL;

    enum es_status status = verify_new(store, store_id, &verify);
    while (status == ES_OK && !progress.end) {
        status =
            verify_slice(verify, &cursor, SLICE_NS, FINDING_COUNT_MAX, found, report, &progress);
        verification->events_checked += progress.events_checked;
        verification->commits_checked += progress.commits_checked;
        verification->finding_count += progress.findings;
        if (status == ES_OK && !verify_report_progress(report, verification)) {
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
static enum es_status check(struct offline_store *offline, struct verify_report *report,
                            struct verification *verification)
{
    enum es_status status = ES_OK;

    report->head_position = offline->finding.end.position;
    if (!offline->is_one_history) {
        report_history(offline, report, verification);
    }
    offline->why[0] = '\0';
    if (offline->store != NULL) {
        status =
            verify_whole_store(offline->store, offline_store_id(offline), report, verification);
    }
    if (status == ES_E_CORRUPT && offline->is_one_history) { /* else it has been told already */
        report_history(offline, report, verification);
    }
    return status == ES_E_CORRUPT ? ES_OK : status;
}

enum es_exit verify_exit_of_opening(enum es_status status)
{
    switch (status) {
    case ES_NOT_FOUND:
    case ES_E_PERMISSION: return ES_EXIT_IO;
    default: return exit_of_status(status);
    }
}

enum es_exit verify_offline(struct invocation *invocation, const char *data_dir)
{
    struct offline_store offline;
    struct verify_report report;
    struct verification verification = {0};

    enum es_status status = offline_store_open(data_dir, &offline);
    verify_report_start(&report, invocation->json, 0);
    if (status == ES_OK) {
        status = check(&offline, &report, &verification);
    }
    offline_store_close(&offline);
    if (status == ES_OK) {
        return verify_report_finish(&report, &verification);
    }
    verify_report_abandon(&report);
    if (status == ES_INTERRUPTED) {
        invocation_error("interrupted: run it again");
        return ES_EXIT_TRY_AGAIN;
    }
    invocation_error("%s", offline.why[0] != '\0' ? offline.why : es_status_text(status));
    return verify_exit_of_opening(status);
}
