/* Which process it was, whatever becomes of its PID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/process.h"

static bool tells_nothing; /* a kernel without SO_PEERPIDFD */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    if (tells_nothing) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return __real_getsockopt(fd, level, name, value, size);
}

static bool is_readable(int pidfd)
{
    struct pollfd look = {.fd = pidfd, .events = POLLIN};

    return poll(&look, 1, 0) == 1;
}

/* A child at the other end of a socket, and whether its end is noticed. */
static void watch_a_peer(void)
{
    bool is_gone = true;
    int pair[2];
    int pidfd = -1;
    pid_t child = -1;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    pidfd = process_watch_peer(pair[0], tells_nothing ? child : getpid(),
                               tells_nothing ? process_start_time(child) : 0, &is_gone);
    assert_true(pidfd >= 0);
    assert_false(is_gone);
    assert_false(is_readable(pidfd)); /* with the option: it is this process, which made the pair */
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(is_readable(pidfd), tells_nothing);
    close(pidfd);
    close(pair[0]);
    close(pair[1]);
}

static void a_peer_is_watched_by_the_kernels_word(void **state)
{
    (void)state;
    tells_nothing = false;
    watch_a_peer();
}

static void where_the_kernel_does_not_tell_a_peer_is_watched_by_pid(void **state)
{
    (void)state;
    tells_nothing = true;
    watch_a_peer();
    tells_nothing = false;
}

static void a_pid_that_is_anothers_by_now_is_gone(void **state)
{
    bool is_gone = false;

    (void)state;
    tells_nothing = true;
    assert_int_equal(process_watch_peer(-1, getpid(), process_start_time(getpid()) + 1, &is_gone),
                     -1);
    assert_true(is_gone);
    tells_nothing = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_is_watched_by_the_kernels_word),
        cmocka_unit_test(where_the_kernel_does_not_tell_a_peer_is_watched_by_pid),
        cmocka_unit_test(a_pid_that_is_anothers_by_now_is_gone),
    };

    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
