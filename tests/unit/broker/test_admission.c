/* A crowd at a listening socket is let in a few at a time; nobody is turned away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/admission.h"
#include "tests/support/temp_directory.h"

enum {
    CROWD = 3 * ADMISSIONS_AT_ONCE,
    NOW_NS = 1000000000,
    MS = 1000000
};

struct door {
    struct admission admission;
    char directory[TEMP_DIRECTORY_BYTES_MAX];
    int epoll_fd;
    int listener_fd;
    int clients[CROWD];
};

static int set_up(void **state)
{
    static struct door door;
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    temp_directory_make(door.directory);
    assert_in_range(snprintf(address.sun_path, sizeof address.sun_path, "%s/s", door.directory), 1,
                    sizeof address.sun_path - 1);
    door.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    door.listener_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(door.listener_fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(door.listener_fd, CROWD), 0);
    for (int i = 0; i < CROWD; i++) {
        door.clients[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(
            connect(door.clients[i], (const struct sockaddr *)&address, sizeof address), 0);
    }
    assert_int_equal(
        admission_open(&door.admission, door.epoll_fd, door.listener_fd, (epoll_data_t){.u64 = 42}),
        ES_OK);
    *state = &door;
    return 0;
}

static int tear_down(void **state)
{
    struct door *door = *state;

    for (int i = 0; i < CROWD; i++) {
        close(door->clients[i]);
    }
    close(door->listener_fd);
    close(door->epoll_fd);
    temp_directory_remove(door->directory);
    return 0;
}

static bool is_told(const struct door *door)
{
    struct epoll_event event;
    int count = epoll_wait(door->epoll_fd, &event, 1, 0);

    if (count == 1) {
        assert_int_equal(event.data.u64, 42);
    }
    return count == 1;
}

static void a_crowd_is_told_of_again_when_the_rest_is_over(void **state)
{
    struct door *door = *state;
    int64_t over_ns = NOW_NS + (int64_t)ADMISSION_REST_MS * MS;

    assert_true(is_told(door));
    assert_int_equal(admission_wait_ms(&door->admission, NOW_NS, -1), -1);
    admission_rest(&door->admission, NOW_NS);
    assert_false(is_told(door));
    assert_int_equal(admission_wait_ms(&door->admission, NOW_NS, -1), ADMISSION_REST_MS);
    assert_int_equal(admission_wait_ms(&door->admission, over_ns - 1, -1), 1);
    assert_int_equal(admission_wait_ms(&door->admission, NOW_NS, 1), 1);
    assert_false(is_told(door));
    assert_int_equal(admission_wait_ms(&door->admission, over_ns, 77), 77);
    assert_true(is_told(door));
}

/* Else the thread would wait for ever, and nobody would come in any more. */
static void a_door_that_cannot_be_opened_is_tried_again(void **state)
{
    struct door *door = *state;
    int64_t over_ns = NOW_NS + (int64_t)ADMISSION_REST_MS * MS;

    admission_rest(&door->admission, NOW_NS);
    door->admission.epoll_fd = -1;
    assert_int_equal(admission_wait_ms(&door->admission, over_ns, -1), 1);
    door->admission.epoll_fd = door->epoll_fd;
    assert_int_equal(admission_wait_ms(&door->admission, over_ns, -1), -1);
    assert_true(is_told(door));
}

static void a_door_that_cannot_be_shut_stays_open(void **state)
{
    struct door *door = *state;

    door->admission.epoll_fd = -1;
    admission_rest(&door->admission, NOW_NS);
    assert_int_equal(admission_wait_ms(&door->admission, NOW_NS, -1), -1);
    assert_true(is_told(door));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_crowd_is_told_of_again_when_the_rest_is_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_door_that_cannot_be_opened_is_tried_again, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_door_that_cannot_be_shut_stays_open, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
