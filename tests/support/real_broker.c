#include "tests/support/real_broker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void require(int is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "real broker: %s\n", what);
        abort();
    }
}

static void run(const struct real_broker *broker, int output)
{
    const char *build_dir = getenv("ES_BUILD_DIR");
    char path[512];

    (void)snprintf(path, sizeof path, "%s/bin/esbroker", build_dir != NULL ? build_dir : ".");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* not longer than the test */
    (void)dup2(output, STDOUT_FILENO);
    execl(path, path, "--data", broker->data_dir, "--run", broker->run_dir, "--durability", "os",
          "--log-level", "warning", (char *)NULL);
    perror(path);
    _exit(127);
}

void real_broker_start(struct real_broker *broker)
{
    char line[512] = "";
    FILE *output;
    int fds[2];

    require(pipe(fds) == 0, "no pipe");
    broker->pid = fork();
    require(broker->pid >= 0, "no process");
    if (broker->pid == 0) {
        run(broker, fds[1]);
    }
    close(fds[1]);
    output = fdopen(fds[0], "r");
    require(output != NULL, "no stream");
    require(fgets(line, sizeof line, output) != NULL && strncmp(line, "ready", 5) == 0,
            "it did not become ready (is ES_BUILD_DIR set, and esbroker built?)");
    (void)fclose(output);
}

void real_broker_open(struct real_broker *broker)
{
    temp_directory_make_tmpfs(broker->run_dir);
    temp_directory_make(broker->data_dir);
    real_broker_start(broker);
}

void real_broker_end(struct real_broker *broker, int signal_number)
{
    int status = 0;

    if (broker->pid != 0) {
        require(kill(broker->pid, signal_number) == 0, "it is gone already");
        require(waitpid(broker->pid, &status, 0) == broker->pid, "it cannot be waited for");
        require(signal_number == SIGKILL || (WIFEXITED(status) && WEXITSTATUS(status) == 0),
                "it did not leave cleanly");
        broker->pid = 0;
    }
}

void real_broker_pause(struct real_broker *broker)
{
    int status = 0;

    require(kill(broker->pid, SIGSTOP) == 0, "it is gone already");
    require(waitpid(broker->pid, &status, WUNTRACED) == broker->pid && WIFSTOPPED(status),
            "it does not stop");
}

void real_broker_close(struct real_broker *broker)
{
    real_broker_end(broker, SIGKILL);
    temp_directory_remove(broker->run_dir);
    temp_directory_remove(broker->data_dir);
}
