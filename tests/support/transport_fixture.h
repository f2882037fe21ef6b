/*
 * The broker's sockets in a directory of their own, with a thread that answers each
 * request by its own bytes and the uid of who sent it, and lets whoever ends one with '!'
 * rest. Failures end the test.
 */
#ifndef TESTS_SUPPORT_TRANSPORT_FIXTURE_H
#define TESTS_SUPPORT_TRANSPORT_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/transport.h"
#include "tests/support/sp_client.h"

struct transport_fixture {
    char directory[64];
    char requests_path[96];
    char events_path[96];
    struct transport *transport;
    pthread_t echo;
    atomic_int subscribed;
};

/* Of cmocka; '*state' is the fixture. */
int transport_fixture_set_up(void **state);
int transport_fixture_tear_down(void **state);

/* What it was made with. */
struct transport_config transport_fixture_config(struct transport_fixture *f);

/* Asks, and is answered. */
void assert_served(struct sp_client *client, const char *text);

/* Greets, until it is heard that so many have subscribed. */
void subscribe_and_wait(struct transport_fixture *f, struct sp_client *client, int expected_count);

#endif
