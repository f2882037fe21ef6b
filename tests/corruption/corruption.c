/*
 * Damages a store in thousands of ways and looks what a start and a reading of
 * everything make of each (damage.h, trial.h).
 *
 *   corruption --store DIR [--older DIR]... [--class NAME]... [--seed S]
 *              [--count N] [--seconds T] [--jobs J] [--only NUMBER] [--verbose]
 *              [--blind CHECK] [--whole N]
 *
 * --store is a data directory on a tmpfs without a broker; it is not changed, and
 * the copies are made beside it. --count: so many trials of a class, spread over all
 * it has; without it all, or 1,000 of a class without end. --seconds: at most, for
 * each class. Prints a table; each bad trial with its class and number, which --class
 * and --only repeat. Exit 1 if there was one. --blind: without this check (blind.h).
 * --whole: one trial of N reads everything and asks verify, the others what the damage can
 * touch (reach.h), several of them together (group.h); 1, which is what is done without: all.
 */
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/corruption/blind.h"
#include "tests/corruption/group.h"

enum {
    JOBS_MAX = 64,
    ENDLESS_COUNT = 1000,
    BAD_SHOWN_MAX = 10,
    EXIT_USAGE = 64
};

struct asked {
    struct damage_base base;
    struct history history;
    struct reach reach;
    const char *store;
    const char *classes[JOBS_MAX];
    uint32_t class_count;
    uint64_t seed;
    uint64_t count;
    uint64_t whole_every;
    double seconds;
    unsigned jobs;
    uint64_t only;
    bool has_only;
    bool is_verbose;
};

/* Of one class, in memory that all jobs share. */
struct tally {
    _Atomic uint64_t outcomes[TRIAL_OUTCOME_COUNT];
    _Atomic uint64_t bad_shown;
    _Atomic uint64_t whole; /* of all classes */
};

/* Of one job. */
struct telling {
    const struct asked *asked;
    const struct damage_class *class;
    struct tally *tally;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void show(const struct damage_class *class, uint64_t number, const struct damage *damage,
                 const struct trial_result *result)
{
    printf("%s %" PRIu64 ": %s: %s (%d, %" PRIu64 " errors): %s\n", class->name, number,
           damage->what, trial_outcome_names[result->outcome], result->status, result->errors,
           result->text);
    fflush(stdout);
}

static void note_result(void *context, uint64_t number, const struct damage *damage,
                        const struct trial_result *result)
{
    const struct telling *telling = context;
    struct tally *tally = telling->tally;

    atomic_fetch_add(&tally->outcomes[result->outcome], 1);
    if (telling->asked->is_verbose || (!trial_is_good(result->outcome) &&
                                       atomic_fetch_add(&tally->bad_shown, 1) < BAD_SHOWN_MAX)) {
        show(telling->class, number, damage, result);
    }
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/*
 * The number of the i-th trial. Of a class that ends, steps of the golden section: whenever
 * it is broken off they lie evenly over all there are, and all of them are each once.
 */
static uint64_t number_of(const struct asked *asked, uint64_t all, uint64_t i)
{
    struct prng random;
    uint64_t step = (uint64_t)((double)all * 0.6180339887) + 1;

    if (asked->has_only) {
        return asked->only;
    }
    prng_seed(&random, asked->seed * UINT64_C(1000003) + (all == 0 ? i : 0));
    if (all == 0) {
        return prng_next(&random);
    }
    while (common_divisor(step, all) != 1) {
        step++;
    }
    return (prng_below(&random, all) + i * step) % all;
}

static void work(const struct asked *asked, const struct damage_class *class, unsigned job,
                 uint64_t all, uint64_t count, struct tally *tally)
{
    struct telling telling = {asked, class, tally};
    struct group_config config = {.base = &asked->base,
                                  .history = &asked->history,
                                  .reach = asked->whole_every > 1 ? &asked->reach : NULL,
                                  .class = class,
                                  .whole_every = asked->whole_every,
                                  .told = note_result,
                                  .context = &telling};
    double until = now_s() + asked->seconds;
    static struct group group;

    snprintf(config.path, sizeof config.path, "%.900s.trial-%u", asked->store, job);
    group_init(&group, &config);
    for (uint64_t i = job; i < count; i += asked->jobs) {
        if (asked->seconds > 0 && now_s() > until) {
            break;
        }
        group_try(&group, number_of(asked, all, i));
    }
    group_end(&group);
    trial_end();
    atomic_fetch_add(&tally->whole, group.whole_count);
}

/* True: none was bad. */
static bool run_class(const struct asked *asked, const struct damage_class *class,
                      struct tally *tally)
{
    uint64_t all = class->count == NULL ? 0 : class->count(&asked->base);
    uint64_t count = all == 0 ? ENDLESS_COUNT : all;
    uint64_t total = 0;
    bool is_good = true;
    int status = 0;

    if (class->count != NULL && all == 0) {
        return true;
    }
    if (asked->count != 0 && (all == 0 || asked->count < all)) {
        count = asked->count;
    }
    count = asked->has_only ? 1 : count;
    for (int i = 0; i < TRIAL_OUTCOME_COUNT; i++) {
        atomic_store(&tally->outcomes[i], 0);
    }
    atomic_store(&tally->bad_shown, 0);
    for (unsigned job = 0; job < asked->jobs; job++) {
        pid_t child = fork();

        if (child == 0) {
            work(asked, class, job, all, count, tally);
            _exit(0);
        }
        if (child < 0) {
            err(2, "fork");
        }
    }
    while (wait(&status) > 0) {
        is_good = is_good && status == 0;
    }
    for (int i = 0; i < TRIAL_OUTCOME_COUNT; i++) {
        total += tally->outcomes[i];
        is_good = is_good && (trial_is_good((enum trial_outcome)i) || tally->outcomes[i] == 0);
    }
    printf("| %s | %" PRIu64, class->title, total);
    for (int i = 0; i < TRIAL_OUTCOME_COUNT; i++) {
        printf(" | %" PRIu64, tally->outcomes[i]);
    }
    printf(" |\n");
    fflush(stdout);
    return is_good;
}

static bool is_wanted(const struct asked *asked, const char *name)
{
    for (uint32_t i = 0; i < asked->class_count; i++) {
        if (strcmp(asked->classes[i], name) == 0) {
            return true;
        }
    }
    return asked->class_count == 0;
}

static void print_heading(void)
{
    printf("| damage | trials");
    for (int i = 0; i < TRIAL_OUTCOME_COUNT; i++) {
        printf(" | %s", trial_outcome_names[i]);
    }
    printf(" |\n|---");
    for (int i = 0; i <= TRIAL_OUTCOME_COUNT; i++) {
        printf("|---");
    }
    printf("|\n");
    fflush(stdout);
}

static void parse(struct asked *asked, int argc, char **argv)
{
    static const struct option options[] = {
        {"store", required_argument, NULL, 'D'}, {"older", required_argument, NULL, 'o'},
        {"class", required_argument, NULL, 'c'}, {"seed", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"jobs", required_argument, NULL, 'j'},  {"only", required_argument, NULL, 'x'},
        {"blind", required_argument, NULL, 'b'}, {"whole", required_argument, NULL, 'w'},
        {"verbose", no_argument, NULL, 'v'},     {NULL, 0, NULL, 0}};
    int option = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'D': asked->store = optarg; break;
        case 'o':
            if (asked->base.older_count < DAMAGE_OLDER_MAX) {
                directory_image_load(&asked->base.older[asked->base.older_count++], optarg);
            }
            break;
        case 'c':
            if (asked->class_count < JOBS_MAX) {
                asked->classes[asked->class_count++] = optarg;
            }
            break;
        case 's': asked->seed = strtoull(optarg, NULL, 0); break;
        case 'n': asked->count = strtoull(optarg, NULL, 0); break;
        case 't': asked->seconds = strtod(optarg, NULL); break;
        case 'j': asked->jobs = (unsigned)strtoul(optarg, NULL, 0); break;
        case 'x':
            asked->only = strtoull(optarg, NULL, 0);
            asked->has_only = true;
            break;
        case 'b':
            if (!blind_choose(optarg)) {
                errx(EXIT_USAGE, "--blind %s: no such check", optarg);
            }
            break;
        case 'w': asked->whole_every = strtoull(optarg, NULL, 0); break;
        case 'v': asked->is_verbose = true; break;
        default: exit(EXIT_USAGE);
        }
    }
    if (asked->store == NULL || asked->whole_every == 0 || asked->jobs == 0 ||
        asked->jobs > JOBS_MAX || optind != argc) {
        errx(EXIT_USAGE, "--store DIR is needed, --jobs is 1 to %d, --whole 1 or more", JOBS_MAX);
    }
}

int main(int argc, char **argv)
{
    static struct asked asked = {.seed = 1, .jobs = 2, .whole_every = 1};
    char path[IMAGE_PATH_BYTES];
    char history[IMAGE_PATH_BYTES];
    struct tally *tally = NULL;
    bool is_good = true;

    parse(&asked, argc, argv);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) {
        err(2, "mmap");
    }
    directory_image_load(&asked.base.store, asked.store);
    snprintf(path, sizeof path, "%.900s.trial-0", asked.store);
    snprintf(history, sizeof history, "%.900s.history", asked.store);
    trial_record(&asked.base.store, path, history);
    if (!history_load(&asked.history, history)) {
        err(2, "%s", history);
    }
    unlink(history);
    if (asked.whole_every > 1) {
        reach_learn(&asked.reach, &asked.base.store, &asked.history, path);
    }
    printf("seed %" PRIu64 ", %" PRIu64 " events, %u keys and records\n", asked.seed,
           asked.history.event_count, asked.history.entry_count);
    print_heading();
    for (uint32_t i = 0; i < damage_class_count; i++) {
        if (is_wanted(&asked, damage_classes[i].name)) {
            is_good = run_class(&asked, &damage_classes[i], tally) && is_good;
        }
    }
    printf("everything was read in %" PRIu64 " trials\n", atomic_load(&tally->whole));
    return is_good ? 0 : 1;
}
