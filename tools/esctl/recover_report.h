/*
 * What a recovery has found or done, in words and as JSON. The same text goes to the
 * terminal, into the directory of the damaged files and into --report. One thread.
 */
#ifndef ESCTL_RECOVER_REPORT_H
#define ESCTL_RECOVER_REPORT_H

#include "broker/recover.h"
#include "tools/esctl/esctl.h"
#include "tools/esctl/json_out.h"

struct recover_report {
    const char *data_dir;
    bool is_done;            /* the loss was accepted; else it is what would be lost */
    bool is_closed;          /* nothing more comes into the two arrays: it has been told */
    struct json_out streams; /* arrays, filled as they come */
    struct json_out keys;
    char *lines; /* the same in words; allocated */
    size_t lines_size;
    FILE *lines_stream;
};

/* ES_E_NO_MEMORY. */
ES_MUST_USE enum es_status recover_report_init(struct recover_report *report, const char *data_dir,
                                               bool is_done);
void recover_report_deinit(struct recover_report *report);

/* Forgets what was told of streams and keys: it comes again. */
void recover_report_lost_stream(void *context, struct es_text stream, uint64_t last_sequence,
                                uint64_t last_position);
void recover_report_lost_key(void *context, struct es_text name_space, struct es_text key);

/* Writes it. ES_E_IO: the stream says so. */
ES_MUST_USE enum es_status recover_report_text(struct recover_report *report,
                                               const struct recover_finding *finding, FILE *stream);
ES_MUST_USE enum es_status recover_report_json(struct recover_report *report,
                                               const struct recover_finding *finding, FILE *stream);

#endif
