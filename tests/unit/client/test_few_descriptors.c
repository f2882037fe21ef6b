/*
 * A process whose descriptors run out asks for no lane that it could not take: the
 * broker would keep it as long as the process lives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <eventspine.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/real_broker.h"

#define ROOM_FOR_ALL 4u /* a socket, and the three descriptors of a lane */

/* The limit that leaves room for 'room' descriptors: they need not follow each other. */
static rlim_t limit_for(uint32_t room)
{
    int fds[ROOM_FOR_ALL + 1];
    rlim_t limit = 0;

    for (uint32_t i = 0; i <= room; i++) {
        fds[i] = dup(STDIN_FILENO);
        assert_true(fds[i] >= 0);
        limit = (rlim_t)fds[i];
    }
    for (uint32_t i = 0; i <= room; i++) {
        close(fds[i]);
    }
    return limit;
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

static void without_room_for_its_descriptors_no_lane_is_taken(void **state)
{
    struct real_broker broker;
    struct es_connection_options options = {.run_dir = broker.run_dir};
    struct es_connection *connection = NULL;
    struct es_producer *producer = NULL;
    uint64_t lane_count = UINT64_MAX;
    struct rlimit kept;
    struct rlimit few;

    (void)state;
    real_broker_open(&broker);
    assert_int_equal(es_connection_open(&options, &connection), ES_OK);
    /* Its socket is kept, for the question behind the limit. */
    assert_int_equal(es_broker_status(connection, take_lane_count, &lane_count), ES_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &kept), 0);
    few = kept;
    for (uint32_t room = 0; room < ROOM_FOR_ALL; room++) {
        few.rlim_cur = limit_for(room);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(es_producer_open(connection, NULL, &producer), ES_E_LIMIT);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &kept), 0);
        assert_int_equal(es_broker_status(connection, take_lane_count, &lane_count), ES_OK);
        assert_int_equal(lane_count, 0);
    }
    few.rlim_cur = limit_for(ROOM_FOR_ALL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(es_producer_open(connection, NULL, &producer), ES_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &kept), 0);
    es_producer_close(producer);
    es_connection_close(connection);
    real_broker_close(&broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_room_for_its_descriptors_no_lane_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
