/* How a verification is told; see verify_report.h. */
#include "tools/esctl/verify_report.h"

#include "tools/esctl/stop_signal.h"

#include "shm/codec/replies.h"

#include <inttypes.h>

void verify_report_start(struct verify_report *report, bool json, uint64_t head_position)
{
    *report = (struct verify_report){.json = json, .head_position = head_position};
    json_out_init(&report->line);
    progress_start(&report->progress, "verified");
}

static const char *kind_name(uint64_t kind)
{
    switch (kind) {
    case ES_FINDING_EVENT: return "event";
    case ES_FINDING_MISSING: return "missing";
    case ES_FINDING_COMMIT: return "commit";
    case ES_FINDING_HEAD: return "head";
    case ES_FINDING_SNAPSHOT: return "snapshot";
    case ES_FINDING_KEY: return "key";
    case ES_FINDING_PRODUCER: return "producer";
    case ES_FINDING_EXTRA: return "extra";
    case DAMAGE_OF_HISTORY: return "history";
    default: return "other";
    }
}

/* What means nothing for this damage is left out. */
static void damage_text(const struct damage *damage)
{
    (void)printf("%s", kind_name(damage->kind));
    if (damage->stream[0] != '\0') {
        (void)printf(", stream %s", damage->stream);
    }
    if (damage->sequence != 0) {
        (void)printf(", sequence %" PRIu64, damage->sequence);
    }
    if (damage->position != 0) {
        (void)printf(", position %" PRIu64, damage->position);
    }
    (void)printf(": %s\n", damage->message);
}

void verify_report_damage(void *context, const struct damage *damage)
{
    struct verify_report *report = context;
    struct json_out *line = &report->line;

    progress_clear(&report->progress);
    if (!report->json) {
        damage_text(damage);
        return;
    }
    json_out_reset(line);
    json_out_open(line, '{');
    json_out_member_string(line, "kind", kind_name(damage->kind));
    json_out_member_string(line, "stream", damage->stream);
    json_out_member_uint(line, "sequence", damage->sequence);
    json_out_member_uint(line, "position", damage->position);
    json_out_member_string(line, "message", damage->message);
    json_out_close(line, '}');
    report->print_status = json_out_print(line, stdout);
}

bool verify_report_progress(void *context, const struct verification *so_far)
{
    struct verify_report *report = context;

    progress_show(&report->progress, so_far->events_checked, so_far->events_checked,
                  report->head_position);
    return !stop_requested();
}

static void print_summary(struct verify_report *report, const struct verification *verification,
                          double seconds)
{
    struct json_out *line = &report->line;
    const double rate = (double)verification->events_checked / seconds;

    if (!report->json) {
        (void)printf("checked %" PRIu64 " events and %" PRIu64
                     " commits in %.3f seconds, %.0f events/s: %s\n",
                     verification->events_checked, verification->commits_checked, seconds, rate,
                     verification->finding_count == 0 ? "no damage" : "damage");
        return;
    }
    json_out_reset(line);
    json_out_open(line, '{');
    json_out_member_string(line, "status", verification->finding_count == 0 ? "ok" : "damaged");
    json_out_member_uint(line, "events", verification->events_checked);
    json_out_member_uint(line, "commits", verification->commits_checked);
    json_out_member_uint(line, "findings", verification->finding_count);
    json_out_member_fixed(line, "seconds", seconds, 6);
    json_out_member_fixed(line, "events_per_second", rate, 1);
    json_out_close(line, '}');
    report->print_status = json_out_print(line, stdout);
}

enum es_exit verify_report_finish(struct verify_report *report,
                                  const struct verification *verification)
{
    const double seconds = progress_seconds(&report->progress);

    progress_clear(&report->progress);
    print_summary(report, verification, seconds);
    json_out_deinit(&report->line);
    if (report->print_status != ES_OK) {
        return ES_EXIT_IO; /* main.c says why */
    }
    if (verification->finding_count == 0) {
        return ES_EXIT_OK;
    }
    invocation_error("the store is damaged in %" PRIu64 " places: keep its files, and restore a "
                     "backup",
                     verification->finding_count);
    return ES_EXIT_DATA;
}

void verify_report_abandon(struct verify_report *report)
{
    progress_clear(&report->progress);
    json_out_deinit(&report->line);
}
