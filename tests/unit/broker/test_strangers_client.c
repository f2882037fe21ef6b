/* The stranger's client that other tests ask with, while signals come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/transport.h"
#include "tests/support/sp_client.h"
#include "tests/support/temp_directory.h"

enum {
    REQUESTS = 20,
    SIGNALS_PER_REQUEST = 20
};

struct fixture {
    struct transport *transport;
    pthread_t asking; /* who gets the signals */
};

static _Atomic int handled;

static void handle(int number)
{
    (void)number;
    atomic_fetch_add(&handled, 1);
}

/* Answers each request only when who waits for it has handled so many signals. */
static void *answer_late(void *context)
{
    struct fixture *f = context;
    struct transport_worker *worker = NULL;
    struct transport_request request;

    assert_int_equal(transport_worker_new(f->transport, &worker), ES_OK);
    while (transport_receive(worker, &request) == ES_OK) {
        for (int i = 0; i < SIGNALS_PER_REQUEST; i++) {
            int before = atomic_load(&handled);

            assert_int_equal(pthread_kill(f->asking, SIGUSR1), 0);
            while (atomic_load(&handled) == before) {
                sched_yield();
            }
        }
        assert_int_equal(transport_reply(worker, "late", 4), ES_OK);
    }
    transport_worker_free(worker);
    return NULL;
}

static void signals_do_not_end_the_wait_for_a_reply(void **state)
{
    const struct sigaction action = {.sa_handler = handle}; /* poll() fails, whatever the flags */
    struct fixture f = {.asking = pthread_self()};
    char directory[TEMP_DIRECTORY_BYTES_MAX];
    char requests_path[TEMP_DIRECTORY_BYTES_MAX + 16];
    char events_path[TEMP_DIRECTORY_BYTES_MAX + 16];
    char why[TRANSPORT_WHY_BYTES];
    struct transport_config config = {.requests_path = requests_path, .events_path = events_path};
    struct sp_client client;
    pthread_t worker;

    (void)state;
    temp_directory_make(directory);
    snprintf(requests_path, sizeof requests_path, "%s/requests.sock", directory);
    snprintf(events_path, sizeof events_path, "%s/events.sock", directory);
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(transport_new(&config, why, &f.transport), ES_OK);
    assert_int_equal(pthread_create(&worker, NULL, answer_late, &f), 0);
    assert_true(sp_connect(&client, requests_path, SP_REQ));
    for (int i = 0; i < REQUESTS; i++) {
        uint8_t *reply = NULL;
        size_t size = 0;

        assert_true(sp_request(&client, "now?", 4, &reply, &size));
        assert_int_equal(size, 4);
        assert_memory_equal(reply, "late", 4);
        free(reply);
    }
    sp_close(&client);
    transport_stop(f.transport);
    pthread_join(worker, NULL);
    transport_free(f.transport);
    temp_directory_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_do_not_end_the_wait_for_a_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
