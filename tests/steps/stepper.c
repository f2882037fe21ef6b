#include "tests/steps/stepper.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/store.h"
#include "tests/steps/world.h"

extern const char __executable_start[]; /* by the linker */

/* Where stepping begins and ends. */
void stepper_begin_here(void);
void stepper_end_here(void);

__attribute__((noinline)) void stepper_begin_here(void)
{
    __asm__ __volatile__("" ::: "memory");
}

__attribute__((noinline)) void stepper_end_here(void)
{
    __asm__ __volatile__("nop" ::: "memory");
}

struct scribe_outcome __wrap_scribe_write(struct scribe *scribe, const struct batch *batch,
                                          const struct log_point *previous);

/* Writing the log, the store, and reading a log record back. */
static bool is_stepped_over(uint64_t address)
{
    return address == (uint64_t)(uintptr_t)&__wrap_scribe_write ||
           address == (uint64_t)(uintptr_t)&store_apply ||
           address == (uint64_t)(uintptr_t)&batch_load;
}

#define TRAP_BYTE 0xCCu

static long peek(pid_t child, uint64_t address)
{
    errno = 0;
    return ptrace(PTRACE_PEEKTEXT, child, address, NULL);
}

static uint64_t peek_register(pid_t child, size_t offset)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, child, offset, NULL);
}

#define PC_OFFSET offsetof(struct user_regs_struct, rip)
#define STACK_OFFSET offsetof(struct user_regs_struct, rsp)

/* Waits for a stop by 'signal'. */
static bool wait_stop(pid_t child, int signal)
{
    int status = 0;

    return waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == signal;
}

/* Lets it run to 'address', by a trap there. */
static bool run_to(pid_t child, uint64_t address)
{
    long original = peek(child, address);
    long with_trap = (long)(((unsigned long)original & ~0xFFUL) | TRAP_BYTE);

    return ptrace(PTRACE_POKETEXT, child, address, with_trap) == 0 &&
           ptrace(PTRACE_CONT, child, NULL, NULL) == 0 && wait_stop(child, SIGTRAP) &&
           ptrace(PTRACE_POKETEXT, child, address, original) == 0 &&
           ptrace(PTRACE_POKEUSER, child, PC_OFFSET, address) == 0;
}

static void run_child(const struct stepper *stepper)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    stepper->prepare(stepper->context);
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    (void)raise(SIGSTOP);
    stepper_begin_here();
    stepper->run(stepper->context);
    stepper_end_here();
    _exit(0);
}

/* One instruction, or one call that is stepped over. */
static bool step(struct stepper *stepper, pid_t child, uint64_t pc, bool *ret_was_syscall)
{
    if (is_stepped_over(pc)) {
        uint64_t back = (uint64_t)peek(child, peek_register(child, STACK_OFFSET));

        stepper->calls_over++;
        *ret_was_syscall = false;
        return run_to(child, back);
    }
    *ret_was_syscall =
        stepper->tells_syscalls && ((unsigned long)peek(child, pc) & 0xFFFFUL) == 0x050FUL;
    return ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 && wait_stop(child, SIGTRAP);
}

static void end_child(pid_t child)
{
    int status = 0;

    (void)kill(child, SIGKILL);
    while (waitpid(child, &status, 0) == child && !WIFSIGNALED(status) && !WIFEXITED(status)) {
    }
}

bool stepper_run(struct stepper *stepper)
{
    uint64_t begin = (uint64_t)(uintptr_t)&stepper_begin_here;
    uint64_t end = (uint64_t)(uintptr_t)&stepper_end_here;
    bool is_well = true;
    pid_t child = fork();

    if (child == 0) {
        run_child(stepper);
    }
    stepper->instructions = 0;
    stepper->calls_over = 0;
    is_well = child > 0 && wait_stop(child, SIGSTOP) && run_to(child, begin);
    while (is_well) {
        uint64_t pc = peek_register(child, PC_OFFSET);
        bool was_syscall = false;

        stepper->address = pc - (uint64_t)(uintptr_t)__executable_start;
        if (pc == end) {
            break;
        }
        is_well = step(stepper, child, pc, &was_syscall);
        stepper->instructions++;
        if (is_well && !stepper->look(stepper->context, stepper->instructions, was_syscall)) {
            break;
        }
        if (stepper->instructions == stepper->kill_after) {
            break;
        }
    }
    if (child > 0) {
        end_child(child);
    }
    if (!is_well) {
        printf("    broken: the stepped process ended by itself near 0x%llx\n",
               (unsigned long long)stepper->address);
    }
    return is_well;
}
