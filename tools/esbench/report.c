/* Prints a measurement, for people and for programs; the contract is in bench.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/esbench/bench.h"

struct percentile {
    const char *label;
    const char *member;
    uint32_t parts_per_million;
};

static const struct percentile percentiles[] = {
    {"p50", "p50_us", 500000},    {"p90", "p90_us", 900000},  {"p99", "p99_us", 990000},
    {"p99.9", "p999_us", 999000}, {"max", "max_us", 1000000},
};
#define PERCENTILE_COUNT (sizeof percentiles / sizeof percentiles[0])

const char *report_number(uint64_t number, char *text)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *to = text;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static double microseconds(const struct measurement *measurement, uint32_t parts_per_million)
{
    return (double)histogram_percentile(&measurement->latency, parts_per_million) / 1e3;
}

static double encode_us(const struct measurement *measurement)
{
    return (double)measurement->encode_ns / 1e3 / (double)measurement->events;
}

static void print_json(const char *verb, const struct bench_options *options,
                       const struct measurement *measurement)
{
    (void)printf("{\"verb\":\"%s\",\"count\":%" PRIu64 ",\"seconds\":%.6f,"
                 "\"events_per_second\":%.1f",
                 verb, measurement->events, (double)measurement->elapsed_ns / 1e9,
                 bench_events_per_second(measurement));
    for (size_t i = 0; i < PERCENTILE_COUNT && measurement->latency.count > 0; i++) {
        (void)printf(",\"%s\":%.3f", percentiles[i].member,
                     microseconds(measurement, percentiles[i].parts_per_million));
    }
    if (measurement->encode_ns > 0) {
        (void)printf(",\"encode_us_per_event\":%.3f", encode_us(measurement));
    }
    (void)printf(",\"size\":%" PRIu32, options->size_bytes);
    if (strcmp(verb, "append") == 0) {
        (void)printf(",\"producers\":%" PRIu32 ",\"in_flight\":%" PRIu32, options->producers,
                     options->in_flight);
    }
    if (strcmp(verb, "append") == 0 || strcmp(verb, "store") == 0) {
        (void)printf(",\"streams\":%" PRIu32, options->streams);
    }
    if (strcmp(verb, "floor") == 0 || strcmp(verb, "store") == 0) {
        (void)printf(",\"batch\":%" PRIu32, options->batch);
    }
    if (options->run_dir == NULL && strcmp(verb, "floor") != 0) {
        (void)printf(",\"durability\":\"%s\"", options->durability);
    }
    (void)printf("}\n");
}

static void print_conditions(const char *verb, const struct bench_options *options,
                             const struct measurement *measurement)
{
    char count[32];

    (void)printf("%s: %s events", verb, report_number(measurement->events, count));
    if (strcmp(verb, "read") != 0) {
        (void)printf(" of %" PRIu32 " B", options->size_bytes);
    }
    if (strcmp(verb, "append") == 0) {
        (void)printf(", %" PRIu32 " streams, %" PRIu32 " producer%s, %" PRIu32 " in flight each",
                     options->streams, options->producers, options->producers == 1 ? "" : "s",
                     options->in_flight);
    }
    if (strcmp(verb, "store") == 0) {
        (void)printf(", %" PRIu32 " streams", options->streams);
    }
    if (strcmp(verb, "floor") == 0 || strcmp(verb, "store") == 0) {
        (void)printf(", %" PRIu32 " in each log record", options->batch);
    }
    if (strcmp(verb, "floor") == 0) {
        (void)printf(", fdatasync in %s", options->directory);
    } else if (options->run_dir != NULL) {
        (void)printf(", the broker of %s", options->run_dir);
    } else {
        (void)printf(", durability %s", options->durability);
    }
    (void)printf("\n");
}

void report_print(const char *verb, const struct bench_options *options,
                  const struct measurement *measurement)
{
    char rate[32];

    if (options->json) {
        print_json(verb, options, measurement);
        return;
    }
    print_conditions(verb, options, measurement);
    (void)printf("  rate     %s events/s\n",
                 report_number((uint64_t)bench_events_per_second(measurement), rate));
    if (measurement->latency.count > 0) {
        (void)printf("  latency ");
        for (size_t i = 0; i < PERCENTILE_COUNT; i++) {
            (void)printf(" %s %.1f us%s", percentiles[i].label,
                         microseconds(measurement, percentiles[i].parts_per_million),
                         i + 1 < PERCENTILE_COUNT ? "," : "\n");
        }
    }
    if (measurement->encode_ns > 0) {
        (void)printf("  besides  %.2f us an event for encoding and hashing\n",
                     encode_us(measurement));
    }
}
