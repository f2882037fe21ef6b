/*
 * What most tests of the library begin with: a run directory on a tmpfs, a fake
 * broker in it, and a connection.
 */
#ifndef TESTS_SUPPORT_CLIENT_FIXTURE_H
#define TESTS_SUPPORT_CLIENT_FIXTURE_H

#include <eventspine.h>

#include "tests/support/fake_broker.h"
#include "tests/support/temp_directory.h"

#define FIXTURE_SECOND_NS UINT64_C(1000000000)
#define FIXTURE_PATIENCE_NS (30 * FIXTURE_SECOND_NS) /* for what must come */

struct client_fixture {
    char run_dir[TEMP_DIRECTORY_BYTES_MAX];
    struct fake_broker *broker;
    struct es_connection *connection;
};

/* For cmocka_unit_test_setup_teardown(): '*state' becomes the fixture. */
int client_fixture_setup(void **state);
int client_fixture_teardown(void **state);

/* Stops the broker and starts another one in the same directory. */
void client_fixture_restart(struct client_fixture *f, uint64_t start_number);

#endif
