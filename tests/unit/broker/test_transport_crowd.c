/* The broker's sockets when more want in than there are places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "tests/support/transport_fixture.h"

static void a_subscriber_beyond_the_bound_replaces_nobody_who_listens(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client *clients = calloc(TRANSPORT_CONNECTIONS_MAX, sizeof *clients);
    struct sp_client late;
    uint8_t *message = NULL;
    size_t size = 0;

    assert_non_null(clients);
    for (int i = 0; i < TRANSPORT_CONNECTIONS_MAX; i++) {
        subscribe_and_wait(f, &clients[i], i + 1);
    }
    if (sp_connect(&late, f->events_path, SP_SUB)) {
        assert_true(sp_is_closed(&late));
        sp_close(&late);
    }
    assert_int_equal(transport_publish(f->transport, "news", 4), ES_OK);
    for (int i = 0; i < TRANSPORT_CONNECTIONS_MAX; i++) {
        assert_true(sp_receive(&clients[i], &message, &size));
        assert_int_equal(size, 4);
        free(message);
        sp_close(&clients[i]);
    }
    free(clients);
}

static void a_connection_beyond_the_bound_replaces_the_longest_idle_one(void **state)
{
    struct transport_fixture *f = *state;
    struct sp_client *clients = calloc(TRANSPORT_CONNECTIONS_MAX + 1, sizeof *clients);
    struct sp_client late;

    assert_non_null(clients);
    for (size_t i = 0; i < TRANSPORT_CONNECTIONS_MAX; i++) {
        assert_true(sp_connect(&clients[i], f->requests_path, SP_REQ));
    }
    assert_served(&clients[TRANSPORT_CONNECTIONS_MAX - 1], "the last that fits");
    assert_true(sp_connect(&late, f->requests_path, SP_REQ));
    assert_served(&late, "in place of the first");
    sp_close(&late);
    assert_true(sp_is_closed(&clients[0]));
    assert_served(&clients[1], "was not idle for longest");
    for (size_t i = 0; i < TRANSPORT_CONNECTIONS_MAX; i++) {
        sp_close(&clients[i]);
    }
    free(clients);
    for (bool served = false; !served;) { /* until nng has noticed that they are gone */
        uint8_t *reply = NULL;
        size_t size = 0;

        if (sp_connect(&late, f->requests_path, SP_REQ)) {
            served = sp_request(&late, "in", 2, &reply, &size);
            sp_close(&late);
        }
        free(reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_subscriber_beyond_the_bound_replaces_nobody_who_listens,
                                        transport_fixture_set_up, transport_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_connection_beyond_the_bound_replaces_the_longest_idle_one,
                                        transport_fixture_set_up, transport_fixture_tear_down),
    };

    return cmocka_run_group_tests_name("transport, crowded", tests, NULL, NULL);
}
