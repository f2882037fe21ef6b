/*
 * A client of the broker itself: what tests of the library against it begin with.
 * Failures end the test.
 */
#ifndef TESTS_SUPPORT_REAL_CLIENT_H
#define TESTS_SUPPORT_REAL_CLIENT_H

#include <eventspine.h>

#include "tests/support/real_broker.h"

#define REAL_CLIENT_PATIENCE_NS (60 * UINT64_C(1000000000)) /* for what must come */

struct real_client {
    struct real_broker broker;
    struct es_connection *connection;
    struct es_producer *producer;
};

/* For cmocka: '*state' becomes one, whose producer has the name 'name', or none if it is NULL. */
int real_client_open(void **state, const char *name);
int real_client_close(void **state);

#endif
