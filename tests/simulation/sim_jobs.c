#include "tests/simulation/sim_jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/sim_run.h"

enum {
    JOBS_MAX = 64,
    SEED_SECONDS_MAX = 120 /* a seed takes milliseconds: this one hangs */
};

/* What parent and children share. */
struct board {
    _Atomic uint64_t next; /* seed to be run, counted from the first */
    _Atomic uint64_t failed;
    struct {
        uint64_t seed; /* at work on it */
        uint64_t passed;
        struct sim_counts counts;
    } jobs[JOBS_MAX];
};

/* The real clock: clock_gettime() is the simulation's here. */
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);

static double now_seconds(void)
{
    struct timespec now;

    (void)__real_clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_one(const struct sim_jobs *jobs, uint64_t seed)
{
    uint64_t trace = 0;

    sim_run_seed(seed, jobs->bug);
    if (jobs->twice) {
        trace = sim.trace;
        sim_run_seed(seed, jobs->bug);
        if (sim.trace != trace) {
            sim_violation("two runs differ: %016" PRIx64 " and %016" PRIx64, trace, sim.trace);
        }
    }
}

__attribute__((noreturn)) static void work(const struct sim_jobs *jobs, struct board *board,
                                           uint32_t job, double until)
{
    for (;;) {
        uint64_t index = atomic_fetch_add(&board->next, 1);

        if (index >= jobs->count || (jobs->seconds > 0 && now_seconds() > until) ||
            (jobs->stops_early && atomic_load(&board->failed) > 0)) {
            _exit(0);
        }
        board->jobs[job].seed = jobs->seed + index;
        (void)alarm(SEED_SECONDS_MAX);
        run_one(jobs, jobs->seed + index);
        sim_counts_add(&board->jobs[job].counts, &sim.counts);
        board->jobs[job].passed++;
    }
}

static pid_t begin(const struct sim_jobs *jobs, struct board *board, uint32_t job, double until)
{
    pid_t pid = 0;

    (void)fflush(stdout);
    pid = fork();
    if (pid < 0) {
        perror("simulation: fork");
        exit(1);
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(jobs, board, job, until);
    }
    return pid;
}

static void tell_failure(const struct sim_jobs *jobs, uint64_t seed, int status)
{
    if (WIFSIGNALED(status)) {
        printf("seed 0x%016" PRIx64 " died of signal %d (%s)\n", seed, WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    }
    printf("FAILED. To see it again: tests/simulation/simulation --seed 0x%016" PRIx64
           " --count 1%s%s\n",
           seed, jobs->bug[0] != '\0' ? " --bug " : "", jobs->bug);
}

void sim_jobs_run(const struct sim_jobs *jobs, struct sim_jobs_report *ret_report)
{
    struct board *board =
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double begun = now_seconds();
    double until = begun + (double)jobs->seconds;
    pid_t pids[JOBS_MAX];
    uint32_t count = jobs->jobs > JOBS_MAX ? JOBS_MAX : jobs->jobs;
    uint32_t running = count;

    memset(ret_report, 0, sizeof *ret_report);
    if (board == MAP_FAILED) {
        perror("simulation: mmap");
        exit(1);
    }
    for (uint32_t job = 0; job < count; job++) {
        pids[job] = begin(jobs, board, job, until);
    }
    while (running > 0) {
        int status = 0;
        uint32_t job = 0;
        pid_t pid = wait(&status);

        while (job < count && pids[job] != pid) {
            job++;
        }
        if (job == count) {
            continue;
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            running--;
            continue;
        }
        if (atomic_fetch_add(&board->failed, 1) == 0) {
            ret_report->first_failed = board->jobs[job].seed;
        }
        tell_failure(jobs, board->jobs[job].seed, status);
        pids[job] = begin(jobs, board, job, until);
    }
    for (uint32_t job = 0; job < count; job++) {
        ret_report->passed += board->jobs[job].passed;
        sim_counts_add(&ret_report->counts, &board->jobs[job].counts);
    }
    ret_report->failed = atomic_load(&board->failed);
    ret_report->took_seconds = now_seconds() - begun;
    (void)munmap(board, sizeof *board);
}
