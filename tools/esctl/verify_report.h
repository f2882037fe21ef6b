/*
 * How a verification is told, online and offline alike: progress on a terminal,
 * a line for each damage, a summary with the rate. One thread.
 */
#ifndef ESCTL_VERIFY_REPORT_H
#define ESCTL_VERIFY_REPORT_H

#include "tools/esctl/broker_questions.h"
#include "tools/esctl/esctl.h"
#include "tools/esctl/json_out.h"
#include "tools/esctl/progress.h"

/* A kind beside those of shm/codec/replies.h: log, store and anchor disagree. */
#define DAMAGE_OF_HISTORY UINT64_MAX

struct verify_report {
    bool json;
    uint64_t head_position; /* for the progress; 0: not known */
    struct progress progress;
    struct json_out line;
    enum es_status print_status;
};

void verify_report_start(struct verify_report *report, bool json, uint64_t head_position);

/* A damage_visitor and a verification_watcher; 'context' is the report. */
void verify_report_damage(void *context, const struct damage *damage);
bool verify_report_progress(void *context, const struct verification *so_far);

/* Prints the summary and frees the report. ES_EXIT_DATA if there was damage. */
enum es_exit verify_report_finish(struct verify_report *report,
                                  const struct verification *verification);

/* The same without a summary: the verification did not come to its end. */
void verify_report_abandon(struct verify_report *report);

#endif
