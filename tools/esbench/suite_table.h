/* Prints the table of esbench suite: Markdown, or JSON with one object a row. */
#ifndef EVENTSPINE_TOOLS_ESBENCH_SUITE_TABLE_H
#define EVENTSPINE_TOOLS_ESBENCH_SUITE_TABLE_H

#include <stdbool.h>

#include "tools/esbench/bench.h"

enum suite_limit_kind {
    SUITE_AT_LEAST,
    SUITE_AT_MOST
};

struct suite_row {
    const char *work;
    double value;
    const char *unit;
    enum suite_limit_kind kind;
    double limit;
    double floor_us;   /* p50 of the disk alone, from the same minute */
    double store_rate; /* events/s of log and store alone; 0: does not belong to this row */
};

/* What was measured on, and the heads of the columns. Nothing with --json. */
void suite_table_head(const struct bench_options *options);

/* Prints a row at once, so that a long run shows how far it is. */
void suite_table_row(const struct suite_row *row, bool is_json);

#endif
