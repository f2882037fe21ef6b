/*
 * Runs a function of this program in a child and steps it with ptrace, one machine
 * instruction at a time, so that the parent can look at shared memory after each.
 * A call of a function that is to be stepped over runs to its return at once.
 * x86-64 alone.
 *
 * Threads. One; the function must not start any.
 */
#ifndef TESTS_STEPS_STEPPER_H
#define TESTS_STEPS_STEPPER_H

#include <stdbool.h>
#include <stdint.h>

struct stepper {
    void (*prepare)(void *context); /* in the child, not stepped */
    void (*run)(void *context);     /* in the child, stepped */
    /* In the parent, after each instruction; false: kill it now. */
    bool (*look)(void *context, uint64_t instruction, bool was_syscall);
    void *context;
    bool tells_syscalls; /* else 'was_syscall' is false, which is faster */
    uint64_t kill_after; /* SIGKILL after so many instructions; 0: let it end */

    uint64_t instructions; /* out: how many were stepped */
    uint64_t calls_over;   /* out: how many calls were stepped over */
    uint64_t address;      /* out: of the next instruction, in the program file */
};

/* True: it ended or was killed as asked; false: it died by itself, and a line says how. */
bool stepper_run(struct stepper *stepper);

#endif
