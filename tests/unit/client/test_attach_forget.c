/*
 * Who asked for a lane and does not wait for it: an answer that comes at the last moment
 * is given back, or the broker is told that nobody heard it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <eventspine.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libclient/attach.h"

static int broker_fd = -1; /* of a broker that answers when nothing more is looked for */
static int answer_error;   /* errno of its answer; 0: the kernel took it */
static int answer_count;

ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t size = __real_recvmsg(fd, message, flags);

    if (broker_fd >= 0 && size <= 0) {
        answer_error = send(broker_fd, "answer", 6, MSG_NOSIGNAL) == 6 ? 0 : errno;
        answer_count++;
    }
    return size;
}

static void an_answer_behind_the_last_look_is_known_to_be_unheard(void **state)
{
    struct es_connection_options options = {.run_dir = "/nowhere"};
    struct es_connection *connection = NULL;
    struct es_attachment attachment = {.producer = "",
                                       .control_segment = ES_SEGMENT_NONE,
                                       .ring_segment = ES_SEGMENT_NONE,
                                       .lane_segment = ES_SEGMENT_NONE};
    int fds[2];

    (void)state;
    assert_int_equal(es_connection_open(&options, &connection), ES_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    attachment.socket_fd = fds[0];
    broker_fd = fds[1];
    es_attachment_forget(connection, &attachment);
    assert_int_equal(answer_count, 1);
    assert_int_equal(answer_error, EPIPE);
    assert_int_equal(attachment.socket_fd, -1);
    broker_fd = -1;
    close(fds[1]);
    es_connection_close(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_behind_the_last_look_is_known_to_be_unheard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
