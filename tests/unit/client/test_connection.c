/*
 * Connections: where they look for a broker, what they say when something fails and
 * to whom, and filters, which are their way to name categories.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <eventspine.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "libclient/connection.h"
#include "libclient/filter.h"
#include "shm/futex.h"
#include "tests/support/temp_directory.h"

static struct es_connection *open_at(const char *run_dir)
{
    const struct es_connection_options options = {.run_dir = run_dir};
    struct es_connection *connection = NULL;

    assert_int_equal(es_connection_open(&options, &connection), ES_OK);
    return connection;
}

static void the_run_directory_is_found_as_all_programs_find_it(void **state)
{
    struct es_connection *connection;

    (void)state;
    setenv("EVENTSPINE_RUN", "/tmp/from-variable", 1);
    connection = open_at("/tmp/from-options");
    assert_string_equal(es_connection_run_dir(connection), "/tmp/from-options");
    es_connection_close(connection);
    connection = open_at(NULL);
    assert_string_equal(es_connection_run_dir(connection), "/tmp/from-variable");
    es_connection_close(connection);
    unsetenv("EVENTSPINE_RUN");
    setenv("XDG_RUNTIME_DIR", "/tmp/runtime", 1);
    connection = open_at(NULL);
    assert_string_equal(es_connection_run_dir(connection),
                        geteuid() == 0 ? "/run/eventspine" : "/tmp/runtime/eventspine");
    es_connection_close(connection);
    assert_string_equal(es_connection_run_dir(NULL), "");
}

static void a_path_too_long_for_a_socket_is_refused_with_the_bound(void **state)
{
    char path[200] = "/";
    struct es_connection_options options = {.run_dir = path};
    struct es_connection *connection = NULL;

    (void)state;
    memset(path + 1, 'd', 92); /* 93 bytes: the longest */
    assert_int_equal(es_connection_open(&options, &connection), ES_OK);
    es_connection_close(connection);
    connection = NULL;
    path[93] = 'd';
    assert_int_equal(es_connection_open(&options, &connection), ES_E_INVALID);
    assert_null(connection);
    assert_non_null(strstr(es_connection_error(NULL), "at most 93 bytes"));
}

static void a_client_name_follows_the_rules_of_names(void **state)
{
    struct es_connection_options options = {.run_dir = "/tmp/x", .client_name = "a:b"};
    struct es_connection *connection = NULL;

    (void)state;
    assert_int_equal(es_connection_open(&options, &connection), ES_E_INVALID);
    assert_non_null(strstr(es_connection_error(NULL), "a:b"));
    assert_int_equal(es_connection_open(&options, NULL), ES_E_INVALID);
}

static void *fail_in_another_thread(void *context)
{
    struct es_store_head head;

    assert_int_equal(es_store_head(context, &head), ES_E_UNREACHABLE);
    assert_non_null(strstr(es_connection_error(context), "esbroker --data"));
    return NULL;
}

static void an_error_is_told_to_the_thread_and_connection_it_happened_to(void **state)
{
    struct es_connection *first = open_at("/tmp/no-broker-1");
    struct es_connection *second = open_at("/tmp/no-broker-2");
    struct es_store_head head;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, fail_in_another_thread, first), 0);
    pthread_join(thread, NULL);
    assert_string_equal(es_connection_error(first), "no error");
    assert_int_equal(es_store_head(first, &head), ES_E_UNREACHABLE);
    assert_int_equal(es_store_head(second, &head), ES_E_UNREACHABLE);
    assert_non_null(strstr(es_connection_error(first), "/tmp/no-broker-1"));
    assert_non_null(strstr(es_connection_error(second), "/tmp/no-broker-2"));
    es_connection_close(first);
    es_connection_close(second);
}

static void a_wait_ends_at_its_deadline_or_when_interrupted(void **state)
{
    struct es_connection *connection = open_at("/tmp/no-broker");
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(es_connection_wait(connection, fds[0], POLLIN, 0), ES_TIMEOUT);
    assert_int_equal(es_connection_wait(connection, fds[0], POLLIN, es_deadline_after_ns(1000000)),
                     ES_TIMEOUT);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(es_connection_wait(connection, fds[0], POLLIN, ES_DEADLINE_NEVER), ES_OK);
    es_connection_interrupt(connection);
    es_connection_interrupt(connection);
    assert_int_equal(es_connection_wait(connection, fds[0], POLLIN, ES_DEADLINE_NEVER),
                     ES_INTERRUPTED);
    es_connection_resume(connection);
    assert_int_equal(es_connection_wait(connection, fds[0], POLLIN, ES_DEADLINE_NEVER), ES_OK);
    close(fds[0]);
    close(fds[1]);
    es_connection_close(connection);
}

static struct es_connection *interrupted_by_signal;

static void on_signal(int number)
{
    (void)number;
    es_connection_interrupt(interrupted_by_signal);
}

static void a_signal_handler_may_interrupt(void **state)
{
    const struct itimerval soon = {.it_value = {.tv_usec = 1000}};
    struct sigaction action = {.sa_handler = on_signal};
    struct es_connection *connection = open_at("/tmp/no-broker");

    (void)state;
    interrupted_by_signal = connection;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    assert_int_equal(es_connection_wait(connection, -1, 0, ES_DEADLINE_NEVER), ES_INTERRUPTED);
    es_connection_close(connection);
}

static void a_filter_is_everything_a_category_or_a_prefix(void **state)
{
    static const struct {
        const char *text;
        enum es_status expected;
        const char *topic;
    } cases[] = {
        {NULL, ES_OK, "S:"},
        {"", ES_OK, "S:"},
        {"*", ES_OK, "S:"},
        {"v:b:L0:d", ES_OK, "S:v:b:L0:d:"},
        {"v:b:*", ES_OK, "S:v:b:"},
        {"v:b:L0:d*", ES_OK, "S:v:b:L0:d"},
        {"v:b:L0:d:*", ES_OK, "S:v:b:L0:d:"},
        {"v:b:L0:d:M*", ES_E_INVALID, NULL},
        {"v:b:L0:d:M1", ES_E_INVALID, NULL},
        {"v:b", ES_E_INVALID, NULL},
        {"v:b:L00:d", ES_E_INVALID, NULL},
    };
    struct es_connection *connection = open_at("/tmp/no-broker");
    struct es_filter filter;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(es_filter_parse(connection, cases[i].text, &filter), cases[i].expected);
        if (cases[i].expected == ES_OK) {
            assert_string_equal(filter.topic, cases[i].topic);
        }
    }
    assert_int_equal(es_filter_parse(connection, "v:b:L0:d", &filter), ES_OK);
    assert_true(es_filter_wants_category(&filter, es_text_of("v:b:L0:d")));
    assert_false(es_filter_wants_category(&filter, es_text_of("v:b:L0:dx")));
    assert_false(es_filter_wants_category(&filter, es_text_of("v:b:L0:")));
    assert_true(es_filter_wants_stream(&filter, es_text_of("v:b:L0:d:M1")));
    assert_false(es_filter_wants_stream(&filter, es_text_of("v:b:L0:dx:M1")));
    assert_int_equal(es_filter_parse(connection, "v:b:L0:d:*", &filter), ES_OK);
    assert_true(es_filter_wants_category(&filter, es_text_of("v:b:L0:d")));
    assert_false(es_filter_wants_category(&filter, es_text_of("v:b:L0:dx")));
    assert_int_equal(es_filter_parse(connection, "v:*", &filter), ES_OK);
    assert_true(es_filter_wants_category(&filter, es_text_of("v:b:L0:dx")));
    assert_false(es_filter_wants_category(&filter, es_text_of("w:b:L0:d")));
    es_connection_close(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_run_directory_is_found_as_all_programs_find_it),
        cmocka_unit_test(a_path_too_long_for_a_socket_is_refused_with_the_bound),
        cmocka_unit_test(a_client_name_follows_the_rules_of_names),
        cmocka_unit_test(an_error_is_told_to_the_thread_and_connection_it_happened_to),
        cmocka_unit_test(a_wait_ends_at_its_deadline_or_when_interrupted),
        cmocka_unit_test(a_signal_handler_may_interrupt),
        cmocka_unit_test(a_filter_is_everything_a_category_or_a_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
