/*
 * A process that does one thing after the other for its parent, for what it does may end it.
 * It is begun when it is first asked, again after it has ended, and anew now and then, so
 * that what leaks does not add up.
 *
 * Threads. One. Failures of the surroundings end the program.
 */
#ifndef TESTS_CORRUPTION_RUNNER_H
#define TESTS_CORRUPTION_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/eventspine_status.h"

struct runner {
    void (*act)(void *memory); /* in the process */
    void *memory;              /* shared with it */
    pid_t process;             /* 0: none */
    int ask;
    int answer;
    int said; /* its stderr */
    uint32_t done_count;
};

enum runner_ending {
    RUNNER_DONE,
    RUNNER_ENDED, /* by a signal or an exit of its own */
    RUNNER_HUNG   /* ended, for it took far too long */
};

void runner_init(struct runner *runner, void (*act)(void *memory), size_t memory_bytes);

/* Lets it act once. 'ret_said' is what it wrote to stderr, cut where it is too long. */
enum runner_ending runner_run(struct runner *runner, char *ret_said, size_t said_bytes);

/* Ends the process. The runner may be asked again. False: it ended otherwise than it was told. */
ES_MUST_USE bool runner_end(struct runner *runner);

#endif
