/*
 * nng 1.5.2 stops accepting on an ipc:// listener for ever after a client that
 * connects and closes at once (nng #1518): sendmsg() of its greeting fails with
 * EPIPE, which nng takes for "this listener was closed". ECONNRESET says the
 * same about the connection and nothing about the listener.
 *
 * The definition in the executable comes before libc's for every library of the
 * process. transport_new() checks that it does and warns if not;
 * test_transport.c connects and closes a hundred times.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *message,
                                                       int flags)
{
    ssize_t sent = syscall(SYS_sendmsg, fd, message, flags);

    if (sent < 0 && errno == EPIPE) {
        errno = ECONNRESET;
    }
    return sent;
}
