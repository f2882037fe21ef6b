/* The table of esbench suite; the contract is in suite_table.h. */
#include "tools/esbench/suite_table.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

void suite_table_head(const struct bench_options *options)
{
    struct utsname system;
    char count[32];

    if (options->json) {
        return;
    }
    (void)printf("%s events of %u B", report_number(options->count, count), options->size_bytes);
    if (uname(&system) == 0) {
        (void)printf(", %ld processors, %s %s %s", sysconf(_SC_NPROCESSORS_ONLN), system.sysname,
                     system.release, system.machine);
    }
    (void)printf("\n\n| work | measured | to reach | reached | floor p50 | bare store |\n"
                 "|---|---:|---:|---|---:|---:|\n");
    (void)fflush(stdout);
}

/* Rates without decimals and with commas, everything else with one or three decimals. */
static const char *quantity(double value, const char *unit, char *text, size_t capacity)
{
    char number[32];

    if (value >= 10000) {
        (void)snprintf(text, capacity, "%s %s", report_number((uint64_t)(value + 0.5), number),
                       unit);
    } else {
        (void)snprintf(text, capacity, "%.*f %s", value < 10 ? 3 : 1, value, unit);
    }
    return text;
}

void suite_table_row(const struct suite_row *row, bool is_json)
{
    bool reached =
        row->kind == SUITE_AT_LEAST ? row->value >= row->limit : row->value <= row->limit;
    char value[64];
    char limit[64];
    char store[64] = "";

    if (is_json) {
        (void)printf("{\"work\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"%s\":%.3f,\"reached\":%s,"
                     "\"floor_p50_us\":%.3f,\"store_events_per_second\":",
                     row->work, row->value, row->unit,
                     row->kind == SUITE_AT_LEAST ? "at_least" : "at_most", row->limit,
                     reached ? "true" : "false", row->floor_us);
        if (row->store_rate > 0) {
            (void)printf("%.1f}\n", row->store_rate);
        } else {
            (void)printf("null}\n");
        }
    } else {
        if (row->store_rate > 0) {
            (void)quantity(row->store_rate, "events/s", store, sizeof store);
        }
        (void)printf("| %s | %s | %s %s | %s | %.1f us | %s |\n", row->work,
                     quantity(row->value, row->unit, value, sizeof value),
                     row->kind == SUITE_AT_LEAST ? ">=" : "<=",
                     quantity(row->limit, row->unit, limit, sizeof limit), reached ? "yes" : "no",
                     row->floor_us, store);
    }
    (void)fflush(stdout);
}
