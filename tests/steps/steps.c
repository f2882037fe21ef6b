/*
 * Kills a producer or the broker after every single machine instruction of what it
 * does, as compiled, and lets the survivors show that every promise holds.
 *
 *   steps [--only NAME] [--seed S] [--count N] [--seconds N] [--first]
 *   steps --negative [--planted N]
 *
 * Each scenario (scenario.c) is stepped once with ptrace. After each instruction the
 * shared memory and the log are compared with what they were: where a byte has
 * changed, each kind of survivor (survivor.c) is run in a child on a copy, which is
 * exactly what SIGKILL there would leave; where none has, the kill leaves what the
 * one before left, and is covered by it. Beside that, N instructions of each scenario
 * are drawn at random and really killed at (--count, or as many as go into --seconds).
 *
 * --first ends at the first broken promise. --negative runs the programs beside this
 * one that were built with a planted bug each (planted.cmake), which must be found;
 * --planted N says how many there are to be.
 */
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/futex.h"
#include "tests/steps/image.h"
#include "tests/steps/scenario.h"
#include "tests/steps/stepper.h"
#include "tests/steps/survivor.h"
#include "tests/support/prng.h"

struct survivor {
    const char *name;
    void (*run)(const struct image *image);
};

static const struct survivor of_broker[] = {{"a new broker", survivor_new_broker}};
static const struct survivor of_producer[] = {
    {"the same broker", survivor_same_broker},
    {"a new broker, without the producer", survivor_new_broker_without_producer}};

struct options {
    const char *only;
    uint64_t seed;
    uint32_t kill_count; /* of each scenario, at random */
    uint32_t seconds;    /* more rounds of them, until so much time has passed */
    bool ends_at_first;
    bool is_negative;
    uint32_t planted_count; /* so many are expected; 0: what is there */
};

/* One scenario being stepped. In the process that has its world. */
struct stepping {
    const struct scenario *scenario;
    struct world world;
    struct image image;
    struct stepper stepper;
    bool is_meanwhile_over;
    bool looks; /* else it runs up to its kill */
    uint32_t images;
    uint32_t survivals;
    uint32_t failures;
};

static void survive(struct stepping *stepping, const struct survivor *survivor, uint64_t k)
{
    int status = 0;
    pid_t child = 0;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        survivor->run(&stepping->image);
        _exit(1); /* it does not come back */
    }
    world_require(child > 0 && waitpid(child, &status, 0) == child, "a child");
    stepping->survivals++;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        stepping->failures++;
        printf("FAILED %s: killed after instruction %llu, before 0x%llx (addr2line), survived by "
               "%s\n",
               stepping->scenario->name, (unsigned long long)k,
               (unsigned long long)stepping->stepper.address, survivor->name);
        if (WIFSIGNALED(status)) {
            printf("    a survivor died of signal %d\n", WTERMSIG(status));
        }
    }
}

/* The image is taken: all survivors on it. */
static void judge(struct stepping *stepping, uint64_t k)
{
    bool kills_broker = stepping->scenario->kills_broker;
    size_t count = kills_broker ? 1 : sizeof of_producer / sizeof of_producer[0];

    stepping->images++;
    for (size_t i = 0; i < count; i++) {
        survive(stepping, kills_broker ? &of_broker[i] : &of_producer[i], k);
    }
}

static bool is_time_for_meanwhile(const struct stepping *stepping, uint64_t k)
{
    const struct scenario *scenario = stepping->scenario;

    if (scenario->meanwhile == NULL || stepping->is_meanwhile_over) {
        return false;
    }
    return scenario->meanwhile_after != 0 ? k >= scenario->meanwhile_after
                                          : image_differs(&stepping->image);
}

static bool look(void *context, uint64_t k, bool was_syscall)
{
    struct stepping *stepping = context;
    bool is_other = false;

    if (is_time_for_meanwhile(stepping, k)) {
        stepping->scenario->meanwhile(&stepping->world);
        stepping->is_meanwhile_over = true;
        is_other = true;
    }
    if (stepping->looks) {
        is_other = is_other || image_differs(&stepping->image);
        if (was_syscall && stepping->scenario->makes_files) {
            is_other = image_scan(&stepping->image) || is_other;
        }
    }
    if (is_other && stepping->looks) {
        image_take(&stepping->image);
        judge(stepping, k);
    }
    return stepping->failures < 3;
}

static void prepare(void *context)
{
    struct stepping *stepping = context;

    image_map_again(&stepping->world, stepping->world.directory_fd);
}

static void run(void *context)
{
    struct stepping *stepping = context;

    stepping->scenario->run(&stepping->world);
}

/* In a child, from the same beginning: up to instruction k, killed there in earnest. */
static uint32_t kill_at(struct stepping *stepping, uint64_t k)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        image_map_again(&stepping->world, stepping->world.directory_fd);
        image_put_back(&stepping->image);
        stepping->looks = false;
        stepping->is_meanwhile_over = false;
        stepping->stepper.kill_after = k;
        if (!stepper_run(&stepping->stepper)) {
            _exit(1);
        }
        image_take(&stepping->image);
        judge(stepping, k);
        fflush(stdout);
        _exit(stepping->failures == 0 ? 0 : 1);
    }
    world_require(child > 0 && waitpid(child, &status, 0) == child, "a child");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

/* What a scenario's process tells. */
struct tally {
    uint64_t instructions;
    uint64_t calls_over;
    uint32_t images;
    uint32_t survivals;
    uint32_t kills;
    uint32_t failures;
};

static void kill_at_random(struct stepping *stepping, const struct options *options,
                           struct tally *tally)
{
    int64_t until_ns = es_monotonic_ns() + (int64_t)options->seconds * 1000000000;
    struct prng prng;

    prng_seed(&prng, options->seed);
    for (uint32_t i = 0; i < options->kill_count || es_monotonic_ns() < until_ns; i++) {
        tally->failures += kill_at(stepping, 1 + prng_below(&prng, tally->instructions));
        tally->kills++;
    }
}

static void step_scenario(const struct scenario *scenario, const struct options *options,
                          struct tally *tally)
{
    static struct stepping stepping;
    static struct image beginning;

    stepping.scenario = scenario;
    stepping.looks = true;
    world_make(&stepping.world, scenario->slot_count);
    world_attach(&stepping.world, scenario->producer_count);
    if (scenario->set_up != NULL) {
        scenario->set_up(&stepping.world);
    }
    image_open(&beginning, &stepping.world, true);
    image_open(&stepping.image, &stepping.world, !scenario->kills_broker);
    stepping.stepper = (struct stepper){.prepare = prepare,
                                        .run = run,
                                        .look = look,
                                        .context = &stepping,
                                        .tells_syscalls = scenario->makes_files};
    judge(&stepping, 0);
    if (!stepper_run(&stepping.stepper)) {
        stepping.failures++;
    }
    if (stepping.failures == 0 && image_differs_anywhere(&stepping.image)) {
        printf("FAILED %s: something has changed where nobody looked\n", scenario->name);
        stepping.failures++;
    }
    *tally = (struct tally){.instructions = stepping.stepper.instructions,
                            .calls_over = stepping.stepper.calls_over,
                            .images = stepping.images,
                            .survivals = stepping.survivals,
                            .failures = stepping.failures};
    /* what a meanwhile has changed in private cannot be taken back */
    if (stepping.failures == 0 && !scenario->makes_files && scenario->meanwhile == NULL) {
        stepping.image = beginning;
        kill_at_random(&stepping, options, tally);
    }
    world_remove(&stepping.world);
}

/* Each scenario in a process of its own. */
static struct tally run_scenario(const struct scenario *scenario, const struct options *options)
{
    struct tally tally = {.failures = 1};
    int status = 0;
    int ends[2];
    pid_t child = 0;

    fflush(stdout);
    world_require(pipe(ends) == 0, "a pipe");
    child = fork();
    if (child == 0) {
        step_scenario(scenario, options, &tally);
        fflush(stdout);
        _exit(write(ends[1], &tally, sizeof tally) == (ssize_t)sizeof tally ? 0 : 1);
    }
    close(ends[1]);
    world_require(child > 0 && waitpid(child, &status, 0) == child, "a child");
    if (read(ends[0], &tally, sizeof tally) != (ssize_t)sizeof tally) {
        tally = (struct tally){.failures = 1};
    }
    close(ends[0]);
    return tally;
}

static int run_all(const struct options *options)
{
    const struct scenario *scenario = NULL;
    struct tally sum = {.instructions = 0};
    uint32_t passed = 0;
    uint32_t failed = 0;

    while ((scenario = scenario_after(scenario)) != NULL) {
        int64_t begun_ns = es_monotonic_ns();
        struct tally tally;

        if (options->only != NULL && strcmp(options->only, scenario->name) != 0) {
            continue;
        }
        tally = run_scenario(scenario, options);
        printf("%s %-28s %7llu instructions, %llu calls stepped over, %4u images, %4u survivors, "
               "%u random kills, %.2f s\n",
               tally.failures == 0 ? "ok    " : "FAILED", scenario->name,
               (unsigned long long)tally.instructions, (unsigned long long)tally.calls_over,
               tally.images, tally.survivals, tally.kills,
               (double)(es_monotonic_ns() - begun_ns) / 1e9);
        fflush(stdout);
        sum.instructions += tally.instructions;
        sum.survivals += tally.survivals;
        sum.kills += tally.kills;
        passed += tally.failures == 0;
        failed += tally.failures != 0;
        if (failed > 0 && options->ends_at_first) {
            break;
        }
    }
    printf("seed 0x%llx: killed after each of %llu instructions, %u survivors ran, %u kills more "
           "at random\n",
           (unsigned long long)options->seed, (unsigned long long)sum.instructions, sum.survivals,
           sum.kills);
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

/* Keeps the first line that begins with 'start'. */
static void keep_first(const char *line, const char *start, char *kept, size_t size)
{
    if (kept[0] == '\0' && strncmp(line, start, strlen(start)) == 0) {
        snprintf(kept, size, "%s", line + strlen(start));
        kept[strcspn(kept, ":\n")] = '\0';
    }
}

/* The program with a planted bug must find it. */
static bool run_planted(const char *path)
{
    char where[256] = "";
    char why[256] = "";
    char line[512];
    int64_t begun_ns = es_monotonic_ns();
    int status = 0;
    int ends[2];
    pid_t child = 0;
    FILE *output = NULL;
    bool is_caught = false;

    fflush(stdout);
    world_require(pipe(ends) == 0, "a pipe");
    child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        execl(path, path, "--first", "--count", "0", (char *)NULL);
        _exit(0);
    }
    close(ends[1]);
    output = fdopen(ends[0], "r");
    world_require(child > 0 && output != NULL, "a child");
    while (fgets(line, sizeof line, output) != NULL) {
        keep_first(line, "FAILED ", where, sizeof where);
        keep_first(line, "    broken: ", why, sizeof why);
    }
    fclose(output);
    is_caught = waitpid(child, &status, 0) == child && WIFEXITED(status) &&
                WEXITSTATUS(status) == 1 && where[0] != '\0';
    printf("%s %s: %s in %s after %.2f s, broken: %s\n", is_caught ? "ok    " : "FAILED",
           strrchr(path, '/') + 1, is_caught ? "caught" : "NOT CAUGHT", where,
           (double)(es_monotonic_ns() - begun_ns) / 1e9, why);
    return is_caught;
}

static int run_negative(const char *own_path, uint32_t planted_count)
{
    char pattern[4096];
    glob_t found = {.gl_pathc = 0};
    uint32_t passed = 0;
    uint32_t failed = 0;

    snprintf(pattern, sizeof pattern, "%s_planted_*", own_path);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            bool is_caught = run_planted(found.gl_pathv[i]);

            passed += is_caught;
            failed += !is_caught;
        }
    }
    globfree(&found);
    if (passed + failed < planted_count) {
        printf("FAILED: %u programs with a planted bug are missing: see the warnings of cmake\n",
               planted_count - passed - failed);
        failed = planted_count - passed;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--first") == 0) {
            options->ends_at_first = true;
        } else if (strcmp(argv[i], "--negative") == 0) {
            options->is_negative = true;
        } else if (value == NULL) {
            return false;
        } else {
            i++;
            if (strcmp(argv[i - 1], "--only") == 0) {
                options->only = value;
            } else if (strcmp(argv[i - 1], "--seed") == 0) {
                options->seed = strtoull(value, NULL, 0);
            } else if (strcmp(argv[i - 1], "--count") == 0) {
                options->kill_count = (uint32_t)strtoul(value, NULL, 0);
            } else if (strcmp(argv[i - 1], "--planted") == 0) {
                options->planted_count = (uint32_t)strtoul(value, NULL, 0);
            } else if (strcmp(argv[i - 1], "--seconds") == 0) {
                options->seconds = (uint32_t)strtoul(value, NULL, 0);
            } else {
                return false;
            }
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .kill_count = 1};
    char root[TEMP_DIRECTORY_BYTES_MAX];
    int result = 0;

    if (!parse(argc, argv, &options)) {
        fputs("usage: steps [--only NAME] [--seed S] [--count N] [--seconds N] [--first] "
              "[--negative]\n",
              stderr);
        return 64;
    }
    temp_directory_make_tmpfs(root); /* killed survivors leave their files behind */
    world_require(setenv("TMPDIR", root, 1) == 0, "memory");
    result = options.is_negative ? run_negative(argv[0], options.planted_count) : run_all(&options);
    temp_directory_remove(root);
    return result;
}
