#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/logger.h"
#include "shm/codec/hash.h"
#include "tests/simulation/sim_bugs.h"
#include "tests/simulation/sim_jobs.h"

enum {
    BUG_SEEDS_MAX = 20000 /* a planted bug that is not found in so many is not found */
};

static const char usage[] =
    "usage: simulation [--seed S] [--count N] [--seconds T] [--jobs J] [--twice] [--bug NAME]\n"
    "       simulation --negative [NAME...]\n"
    "\n"
    "  --seed S     the first seed (default 1); seed S + 1 follows, and so on\n"
    "  --count N    so many seeds (default 1000, or as many as --seconds allow)\n"
    "  --seconds T  begin no seed after so long\n"
    "  --jobs J     processes at work (default 1)\n"
    "  --twice      each seed twice: both runs must leave the same trace\n"
    "  --bug NAME   with this bug planted\n"
    "  --negative   each planted bug (or those named) must be found\n"
    "  --list       names of bugs that can be planted\n";

static void print_counts(const struct sim_counts *counts)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        printf("%10" PRIu64 "  %s\n", counts->faults[i], sim_fault_words((enum sim_fault)i));
    }
    for (int i = 0; i < KIND_COUNT; i++) {
        printf("%10" PRIu64 "  %s\n", counts->kinds[i], sim_kind_words((enum sim_kind)i));
    }
    printf("operations %" PRIu64 ": stored %" PRIu64 ", refused %" PRIu64
           ", nobody can know %" PRIu64 "\n",
           counts->operations, counts->stored, counts->refused, counts->unknown);
    printf("commits published %" PRIu64 ", events %" PRIu64 ", starts %" PRIu64 " and %" PRIu64
           " that failed; traces %016" PRIx64 "\n",
           counts->commits, counts->events, counts->starts, counts->refusals_to_start,
           counts->traces);
}

static int run(const struct sim_jobs *jobs)
{
    struct sim_jobs_report report;

    printf("simulation: seed 0x%016" PRIx64 "\n", jobs->seed);
    sim_jobs_run(jobs, &report);
    print_counts(&report.counts);
    printf("%.1f seconds, %.1f seeds a second\n", report.took_seconds,
           (double)(report.passed + report.failed) / report.took_seconds);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", report.passed, report.failed);
    return report.failed == 0 ? 0 : 1;
}

static bool is_named(const char *bug, char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], bug) == 0) {
            return true;
        }
    }
    return count == 0;
}

static int run_negative(const struct sim_jobs *jobs, char *const *names, int count)
{
    uint64_t caught = 0;
    uint64_t missed = 0;

    for (int i = 0; sim_bugs[i] != NULL; i++) {
        struct sim_jobs with_bug = *jobs;
        struct sim_jobs_report report;

        if (!is_named(sim_bugs[i], names, count)) {
            continue;
        }
        with_bug.bug = sim_bugs[i];
        with_bug.count = BUG_SEEDS_MAX;
        with_bug.stops_early = true;
        sim_jobs_run(&with_bug, &report);
        printf("%s %s after %" PRIu64 " seeds, %.2f seconds\n",
               report.failed > 0 ? "CAUGHT" : "MISSED", sim_bugs[i], report.passed + report.failed,
               report.took_seconds);
        caught += report.failed > 0;
        missed += report.failed == 0;
    }
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", caught, missed);
    return missed == 0 && caught > 0 ? 0 : 1;
}

static int list_bugs(void)
{
    for (int i = 0; sim_bugs[i] != NULL; i++) {
        printf("%s\n", sim_bugs[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},    {"count", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 't'}, {"jobs", required_argument, NULL, 'j'},
        {"twice", no_argument, NULL, '2'},         {"bug", required_argument, NULL, 'b'},
        {"negative", no_argument, NULL, 'N'},      {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct sim_jobs jobs = {.seed = 1, .count = 0, .jobs = 1, .bug = ""};
    bool is_negative = false;
    int option = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's': jobs.seed = strtoull(optarg, NULL, 0); break;
        case 'n': jobs.count = strtoull(optarg, NULL, 0); break;
        case 't': jobs.seconds = strtoull(optarg, NULL, 0); break;
        case 'j': jobs.jobs = (uint32_t)strtoul(optarg, NULL, 0); break;
        case '2': jobs.twice = true; break;
        case 'b': jobs.bug = optarg; break;
        case 'N': is_negative = true; break;
        case 'l': return list_bugs();
        case 'h': (void)fputs(usage, stdout); return 0;
        default: (void)fputs(usage, stderr); return 2;
        }
    }
    if (jobs.count == 0) {
        jobs.count = jobs.seconds > 0 ? UINT64_MAX : 1000;
    }
    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return is_negative ? run_negative(&jobs, argv + optind, argc - optind) : run(&jobs);
}
