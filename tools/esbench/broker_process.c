/* Starts, stops and removes a broker of our own; the contract is in broker_process.h. */
#include "tools/esbench/broker_process.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TIMEOUT_NS (60 * 1000000000ULL)
#define STOP_TIMEOUT_NS (60 * 1000000000ULL)
#define PROC_TEXT_BYTES 8192

void broker_program(const char *name, char *path, size_t capacity)
{
    char self[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = NULL;

    if (bytes > 0) {
        self[bytes] = '\0';
        slash = strrchr(self, '/');
    }
    if (slash != NULL) {
        *slash = '\0';
        int written = snprintf(path, capacity, "%s/%s", self, name);
        if (written > 0 && (size_t)written < capacity && access(path, X_OK) == 0) {
            return;
        }
    }
    (void)snprintf(path, capacity, "%s", name);
}

int broker_prepare(const struct bench_options *options, struct broker_process *broker)
{
    memset(broker, 0, sizeof *broker);
    broker->output_fd = -1;
    if (!temporary_make(options->directory, broker->root)) {
        return bench_fail(EX_CANTCREAT,
                          "no temporary directory in %s (%s): name another one with --directory",
                          options->directory, strerror(errno));
    }
    /* In memory the broker's segments lie in the run directory too, and vanish with it. */
    if (!temporary_make("/dev/shm", broker->run_dir) &&
        !temporary_make(broker->root, broker->run_dir)) {
        return bench_fail(EX_CANTCREAT, "no run directory in %s (%s): check its permissions",
                          broker->root, strerror(errno));
    }
    return EX_OK;
}

/* In the child: only what is allowed between fork and exec of a process without threads. */
static void exec_broker(const struct bench_options *options, const struct broker_process *broker,
                        int output_fd, pid_t parent)
{
    char program[PATH_MAX];
    char data[TEMPORARY_PATH_BYTES];
    char log_path[TEMPORARY_PATH_BYTES];
    int log_fd = -1;

    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(EX_UNAVAILABLE);
    }
    broker_program("esbroker", program, sizeof program);
    temporary_path(broker->root, "data", data);
    temporary_path(broker->root, "log.txt", log_path);
    log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log_fd < 0 || dup2(log_fd, STDERR_FILENO) < 0 || dup2(output_fd, STDOUT_FILENO) < 0) {
        _exit(EX_CANTCREAT);
    }
    execlp(program, "esbroker", "--data", data, "--run", broker->run_dir, "--durability",
           options->durability, (char *)NULL);
    (void)fprintf(stderr, "%s: %s\n", program, strerror(errno));
    _exit(EX_UNAVAILABLE);
}

/* True once the output has a line that starts with "ready". */
static bool wait_ready(int fd, uint64_t deadline_ns)
{
    char text[512];
    size_t bytes = 0;

    while (bytes < sizeof text - 1) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN, .revents = 0};
        uint64_t now_ns = bench_now_ns();
        ssize_t got = 0;

        if (now_ns >= deadline_ns || bench_interrupted) {
            return false;
        }
        if (poll(&poll_fd, 1, 100) <= 0) {
            continue;
        }
        got = read(fd, text + bytes, sizeof text - 1 - bytes);
        if (got <= 0) {
            return false;
        }
        bytes += (size_t)got;
        text[bytes] = '\0';
        if (strchr(text, '\n') != NULL) {
            return strncmp(text, "ready", 5) == 0;
        }
    }
    return false;
}

/* The last line of its log, for the message: what it said when it gave up. */
static void last_words(const struct broker_process *broker, char *line, size_t capacity)
{
    char path[TEMPORARY_PATH_BYTES];
    FILE *file = NULL;

    (void)snprintf(line, capacity, "it said nothing");
    temporary_path(broker->root, "log.txt", path);
    file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    while (fgets(line, (int)capacity, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
    }
    (void)fclose(file);
}

int broker_start(const struct bench_options *options, struct broker_process *broker)
{
    pid_t parent = getpid();
    uint64_t begin_ns = 0;
    int pipe_fds[2];

    assert(broker->pid == 0);
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return bench_fail(EX_OSERR, "no pipe (%s): raise the limit of open files", strerror(errno));
    }
    begin_ns = bench_now_ns();
    broker->pid = fork();
    if (broker->pid == 0) {
        exec_broker(options, broker, pipe_fds[1], parent);
    }
    (void)close(pipe_fds[1]);
    broker->output_fd = pipe_fds[0];
    if (broker->pid < 0) {
        broker->pid = 0;
        return bench_fail(EX_OSERR, "no process (%s): raise the limit of processes",
                          strerror(errno));
    }
    if (!wait_ready(broker->output_fd, begin_ns + START_TIMEOUT_NS)) {
        char words[512];

        last_words(broker, words, sizeof words);
        return bench_fail(EX_UNAVAILABLE,
                          "the broker did not start: %s: start esbroker by hand and use --run",
                          words);
    }
    broker->start_ns = bench_now_ns() - begin_ns;
    return EX_OK;
}

int broker_stop(struct broker_process *broker, int signal_number)
{
    uint64_t deadline_ns = bench_now_ns() + STOP_TIMEOUT_NS;
    pid_t ended = 0;
    int wait_status = 0;

    assert(broker->pid > 0);
    (void)kill(broker->pid, signal_number);
    while (ended == 0 && bench_now_ns() < deadline_ns) {
        const struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000};

        ended = waitpid(broker->pid, &wait_status, WNOHANG);
        if (ended == 0) {
            (void)nanosleep(&pause, NULL);
        }
    }
    if (ended == 0) {
        return bench_fail(EX_TEMPFAIL, "the broker (pid %d) does not stop: see %s/log.txt",
                          (int)broker->pid, broker->root);
    }
    broker->pid = 0;
    (void)close(broker->output_fd);
    broker->output_fd = -1;
    if (signal_number == SIGTERM && !(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)) {
        char words[512];

        last_words(broker, words, sizeof words);
        return bench_fail(EX_SOFTWARE, "the broker did not end cleanly: %s: this is a defect",
                          words);
    }
    return EX_OK;
}

void broker_remove(struct broker_process *broker)
{
    if (broker->pid > 0) {
        (void)broker_stop(broker, SIGKILL);
    }
    temporary_remove(broker->run_dir);
    temporary_remove(broker->root);
    broker->run_dir[0] = '\0';
    broker->root[0] = '\0';
}

/* The first bytes of a file below /proc/PID, NUL-terminated; false where there is none. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t capacity)
{
    char path[PATH_MAX];
    ssize_t bytes = 0;
    int fd = -1;

    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bytes = read(fd, text, capacity - 1);
    (void)close(fd);
    if (bytes <= 0) {
        return false;
    }
    text[bytes] = '\0';
    return true;
}

uint64_t broker_cpu_ns(const struct broker_process *broker)
{
    char path[PATH_MAX];
    uint64_t total_ns = 0;
    DIR *tasks = NULL;

    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)broker->pid);
    tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    for (const struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char name[sizeof task->d_name + 32];
        char text[128];

        (void)snprintf(name, sizeof name, "task/%s/schedstat", task->d_name);
        if (task->d_name[0] != '.' && read_proc(broker->pid, name, text, sizeof text)) {
            total_ns += strtoull(text, NULL, 10); /* the first number: time on a processor */
        }
    }
    (void)closedir(tasks);
    return total_ns;
}

static uint64_t status_kib(const char *text, const char *name)
{
    const char *line = strstr(text, name);

    return line == NULL ? 0 : strtoull(line + strlen(name), NULL, 10);
}

uint64_t broker_memory_bytes(const struct broker_process *broker)
{
    char text[PROC_TEXT_BYTES];

    if (!read_proc(broker->pid, "status", text, sizeof text)) {
        return 0;
    }
    return (status_kib(text, "RssAnon:") + status_kib(text, "RssShmem:")) * 1024;
}
