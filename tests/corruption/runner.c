#include "tests/corruption/runner.h"

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PATIENCE_S = 600, /* what takes so long on a busy machine, too, is stuck */
    ACTS_MAX = 500
};

void runner_init(struct runner *runner, void (*act)(void *memory), size_t memory_bytes)
{
    *runner = (struct runner){.act = act};
    (void)signal(SIGPIPE, SIG_IGN); /* who has ended is told by the write */
    runner->memory =
        mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (runner->memory == MAP_FAILED) {
        err(2, "mmap");
    }
}

/* What RocksDB and assertions say as they end the process goes to the parent. */
__attribute__((noreturn)) static void serve(const struct runner *runner, int asked, int answer,
                                            int said)
{
    const struct rlimit none = {0, 0};
    char byte = 0;

    dup2(said, STDERR_FILENO);
    (void)setrlimit(RLIMIT_CORE, &none);
    while (read(asked, &byte, 1) == 1) {
        alarm(PATIENCE_S);
        runner->act(runner->memory);
        alarm(0);
        if (write(answer, &byte, 1) != 1) {
            break;
        }
    }
    _exit(0);
}

static void begin(struct runner *runner)
{
    int ask[2];
    int answer[2];
    int said[2];

    if (pipe2(ask, O_CLOEXEC) != 0 || pipe2(answer, O_CLOEXEC) != 0 ||
        pipe2(said, O_CLOEXEC | O_NONBLOCK) != 0) {
        err(2, "pipe");
    }
    runner->process = fork();
    if (runner->process < 0) {
        err(2, "fork");
    }
    if (runner->process == 0) {
        close(ask[1]);
        close(answer[0]);
        close(said[0]);
        serve(runner, ask[0], answer[1], said[1]);
    }
    close(ask[0]);
    close(answer[1]);
    close(said[1]);
    runner->ask = ask[1];
    runner->answer = answer[0];
    runner->said = said[0];
    runner->done_count = 0;
}

/* The status that waitpid() tells. */
static int reap(struct runner *runner)
{
    int status = 0;

    close(runner->ask);
    close(runner->answer);
    close(runner->said);
    if (waitpid(runner->process, &status, 0) != runner->process) {
        err(2, "waitpid");
    }
    runner->process = 0;
    return status;
}

static void take_said(const struct runner *runner, char *ret_said, size_t said_bytes)
{
    char rest[1024];
    ssize_t size = read(runner->said, ret_said, said_bytes - 1);

    ret_said[size > 0 ? size : 0] = '\0';
    while (size > 0) {
        size = read(runner->said, rest, sizeof rest);
    }
}

enum runner_ending runner_run(struct runner *runner, char *ret_said, size_t said_bytes)
{
    char byte = 0;
    ssize_t size = 0;
    int status = 0;

    if (runner->process == 0) {
        begin(runner);
    }
    if (write(runner->ask, &byte, 1) != 1) {
        snprintf(ret_said, said_bytes, "it had ended after the one before this");
        (void)reap(runner);
        return RUNNER_ENDED;
    }
    size = read(runner->answer, &byte, 1);
    take_said(runner, ret_said, said_bytes);
    if (size == 1 && ++runner->done_count < ACTS_MAX) {
        return RUNNER_DONE;
    }
    status = reap(runner);
    if (size == 1 && status == 0) {
        return RUNNER_DONE;
    }
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? RUNNER_HUNG : RUNNER_ENDED;
}

bool runner_end(struct runner *runner)
{
    return runner->process == 0 || reap(runner) == 0;
}
