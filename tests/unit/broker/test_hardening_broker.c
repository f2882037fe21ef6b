#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sysexits.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "broker/logger.h"
#include "broker/options.h"
#include "broker/requests.h"
#include "tests/support/temp_directory.h"

enum es_status __wrap_requests_new(const struct requests_config *config,
                                   struct requests **ret_requests);
enum es_status __wrap_requests_new(const struct requests_config *config,
                                   struct requests **ret_requests)
{
    (void)config;
    (void)ret_requests;
    return ES_E_NO_MEMORY;
}

/* The commit thread runs already when the request workers are made: what then
 * fails ends the broker in its order and with its code, not in a crash. */
static void a_start_without_request_workers_ends_in_order(void **state)
{
    char root[TEMP_DIRECTORY_BYTES_MAX];
    char data[TEMP_DIRECTORY_BYTES_MAX + 8];
    char run[TEMP_DIRECTORY_BYTES_MAX + 8];
    char program[] = "esbroker";
    char data_option[] = "--data";
    char run_option[] = "--run";
    char *arguments[] = {program, data_option, data, run_option, run, NULL};
    struct options options;

    (void)state;
    temp_directory_make(root);
    snprintf(data, sizeof data, "%s/data", root);
    snprintf(run, sizeof run, "%s/run", root);
    options_parse(5, arguments, &options);
    options.log_level = LOGGER_ERROR;
    assert_int_equal(broker_run(&options), EX_TEMPFAIL);
    temp_directory_remove(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_without_request_workers_ends_in_order),
    };

    return cmocka_run_group_tests_name("hardening: broker", tests, NULL, NULL);
}
