/* Who has to go when all places at the control socket are taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>

#include "broker/connections.h"

static struct connections connections;
static uint64_t incarnations[ES_LANE_COUNT_MAX];

static struct connection *connect_one(uint32_t uid)
{
    struct connection *place = connections_place(&connections, incarnations);

    assert_int_equal(place->fd, -1);
    connections_fill(&connections, place, open("/dev/null", O_RDONLY | O_CLOEXEC), uid, 1);
    assert_true(place->fd >= 0);
    return place;
}

static void attach(struct connection *connection, uint32_t lane, uint64_t incarnation)
{
    connection->is_attached = true;
    connection->lane_index = lane;
    connection->incarnation = incarnation;
    incarnations[lane] = incarnation;
}

static int set_up(void **state)
{
    (void)state;
    connections_init(&connections);
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        incarnations[i] = 0;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    connections_deinit(&connections);
    return 0;
}

static void a_crowd_drops_the_oldest_of_its_own(void **state)
{
    struct connection *lonely = connect_one(1000);
    struct connection *first = connect_one(2000);
    uint64_t accepted = first->accepted;

    (void)state;
    for (uint32_t i = 0; i < 3 * CONNECTIONS_MAX; i++) {
        (void)connect_one(2000);
    }
    assert_int_equal(lonely->uid, 1000);
    assert_true(lonely->fd >= 0);
    assert_true(first->accepted > accepted);
    (void)connect_one(1000);
    assert_true(lonely->fd >= 0);
}

/* An owner can close its lane, stay connected, and come again, for ever. */
static void connections_whose_lane_is_anothers_make_place(void **state)
{
    struct connection *owner = connect_one(1000);

    (void)state;
    attach(owner, 7, 1);
    for (uint64_t i = 1; i < UINT64_C(4) * CONNECTIONS_MAX; i++) {
        attach(connect_one(2000), 8 + (uint32_t)(i % 200), 1 + i);
    }
    assert_true(owner->fd >= 0);
    assert_int_equal(owner->incarnation, 1);
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) { /* nobody who has a lane was dropped */
        incarnations[connections.places[i].lane_index] = 0;
    }
    for (uint32_t lane = 7; lane < 208; lane++) {
        assert_int_equal(incarnations[lane], 0);
    }
}

static void one_without_a_lane_goes_before_one_who_may_still_ask(void **state)
{
    struct connection *waiting = connect_one(1000);
    struct connection *former = connect_one(2000);

    (void)state;
    attach(former, 3, 1);
    while (connect_one(2000) != &connections.places[CONNECTIONS_MAX - 1]) {
    }
    incarnations[3] = 2;
    assert_ptr_equal(connect_one(2000), former);
    assert_true(waiting->fd >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_crowd_drops_the_oldest_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_whose_lane_is_anothers_make_place, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_without_a_lane_goes_before_one_who_may_still_ask,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests_name("connections", tests, NULL, NULL);
}
