/*
 * Whoever was given a lane and ends its connection without a word in it has never heard
 * of it: the broker takes it back while the process lives, and the name with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <eventspine.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libclient/producer.h"
#include "shm/codec/attach.h"
#include "shm/futex.h"
#include "shm/layout.h"
#include "tests/support/real_broker.h"

#define NAME "hung-up"
#define PATIENCE_NS (20 * INT64_C(1000000000))
#define TIDIED_NS (300 * INT64_C(1000000)) /* several rounds of the broker's housekeeping */

struct fixture {
    struct real_broker broker;
    struct es_connection *connection;
};

static int setup(void **state)
{
    static struct fixture fixture;
    const struct es_connection_options options = {.run_dir = fixture.broker.run_dir};

    real_broker_open(&fixture.broker);
    assert_int_equal(es_connection_open(&options, &fixture.connection), ES_OK);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    es_connection_close(f->connection);
    real_broker_close(&f->broker);
    return 0;
}

static bool take_lane_count(void *context, const char *name, uint64_t number, const char *text)
{
    uint64_t *count = context;

    (void)text;
    if (strcmp(name, "lanes_attached") == 0) {
        *count = number;
    }
    return true;
}

static uint64_t lane_count(const struct fixture *f)
{
    uint64_t count = UINT64_MAX;

    assert_int_equal(es_broker_status(f->connection, take_lane_count, &count), ES_OK);
    return count;
}

static void wait_for_lane_count(const struct fixture *f, uint64_t wanted)
{
    const int64_t until_ns = es_deadline_after_ns(PATIENCE_NS);

    while (lane_count(f) != wanted) {
        assert_true(es_monotonic_ns() < until_ns);
    }
}

/* A connection to which the broker has answered with a lane, which nobody took. */
static int ask_for_lane(const struct fixture *f, const char *producer)
{
    const struct es_attach_request request = {.layout_id = ES_LAYOUT_ID,
                                              .client_name = es_text_of("raw"),
                                              .producer = es_text_of(producer)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    uint32_t size = 0;
    struct pollfd answer = {.fd = socket(AF_UNIX, SOCK_SEQPACKET, 0), .events = POLLIN};

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.80s/control.sock",
                   f->broker.run_dir);
    assert_int_equal(connect(answer.fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(es_attach_request_encode(&request, bytes, sizeof bytes, &size), ES_OK);
    assert_int_equal(send(answer.fd, bytes, size, 0), size);
    assert_int_equal(poll(&answer, 1, -1), 1);
    return answer.fd;
}

static void a_lane_that_nobody_heard_of_is_taken_back(void **state)
{
    const struct fixture *f = *state;
    int fd = ask_for_lane(f, "");

    assert_int_equal(lane_count(f), 1);
    close(fd);
    wait_for_lane_count(f, 0);
}

/* At once: the next who asks in its turn is not told that the name is taken. */
static void and_its_name_with_it(void **state)
{
    const struct fixture *f = *state;
    const struct es_producer_options options = {.name = NAME};
    struct es_producer *producer = NULL;

    close(ask_for_lane(f, NAME));
    assert_int_equal(es_producer_open(f->connection, &options, &producer), ES_OK);
    es_producer_close(producer);
    wait_for_lane_count(f, 0);
}

/* A connection that was unread is reset, one that was read is only ended. */
static void so_is_one_whose_answer_was_read_and_not_used(void **state)
{
    const struct fixture *f = *state;
    char byte = 0;
    int fd = ask_for_lane(f, NAME);

    assert_int_equal(recv(fd, &byte, 1, 0), 1); /* its descriptors are dropped by the kernel */
    close(fd);
    wait_for_lane_count(f, 0);
}

static void who_has_mapped_it_keeps_it_without_a_connection(void **state)
{
    const struct es_event_input event = {.type = "t", .payload = "\xc0", .payload_bytes = 1};
    const struct fixture *f = *state;
    const int64_t until_ns = es_deadline_after_ns(TIDIED_NS);
    struct es_producer *producer = NULL;
    struct es_outcome outcome;

    assert_int_equal(es_producer_open(f->connection, NULL, &producer), ES_OK);
    close(producer->attachment.socket_fd);
    producer->attachment.socket_fd = -1;
    while (es_monotonic_ns() < until_ns) {
        assert_int_equal(lane_count(f), 1);
    }
    assert_int_equal(
        es_producer_append(producer, "a:b:L0:c:M1", NULL, &event, 1, ES_FOREVER, &outcome), ES_OK);
    assert_int_equal(outcome.receipt.position, 1);
    es_producer_close(producer);
    wait_for_lane_count(f, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lane_that_nobody_heard_of_is_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(and_its_name_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(so_is_one_whose_answer_was_read_and_not_used, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_has_mapped_it_keeps_it_without_a_connection, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
