#include "tests/support/real_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

int real_client_open(void **state, const char *name)
{
    struct es_connection_options options = {.timeout_ns = REAL_CLIENT_PATIENCE_NS};
    const struct es_producer_options named = {.name = name};
    struct real_client *f = calloc(1, sizeof *f);

    assert_non_null(f);
    real_broker_open(&f->broker);
    options.run_dir = f->broker.run_dir;
    assert_int_equal(es_connection_open(&options, &f->connection), ES_OK);
    assert_int_equal(es_producer_open(f->connection, &named, &f->producer), ES_OK);
    *state = f;
    return 0;
}

int real_client_close(void **state)
{
    struct real_client *f = *state;

    es_producer_close(f->producer);
    es_connection_close(f->connection);
    real_broker_close(&f->broker);
    free(f);
    return 0;
}
