/* The broker's sockets when more want in than there are places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/transport.h"
#include "tests/support/sp_client.h"

struct fixture {
    char directory[64];
    char requests_path[96];
    char events_path[96];
    struct transport *transport;
    pthread_t echo;
    atomic_int subscribed;
};

static void count_subscribed(void *context)
{
    struct fixture *f = context;

    atomic_fetch_add(&f->subscribed, 1);
}

/* Answers each request with the same bytes and the peer's uid behind them. */
static void *echo_requests(void *context)
{
    struct fixture *f = context;
    struct transport_worker *worker = NULL;
    struct transport_request request;

    assert_int_equal(transport_worker_new(f->transport, &worker), ES_OK);
    while (transport_receive(worker, &request) == ES_OK) {
        uint8_t *reply = malloc(request.size + sizeof request.uid);

        assert_non_null(reply);
        if (request.size > 0) {
            memcpy(reply, request.bytes, request.size);
        }
        memcpy(reply + request.size, &request.uid, sizeof request.uid);
        assert_int_equal(transport_reply(worker, reply, request.size + sizeof request.uid), ES_OK);
        free(reply);
    }
    transport_worker_free(worker);
    return NULL;
}

static struct transport_config config_of(struct fixture *f)
{
    return (struct transport_config){
        .requests_path = f->requests_path,
        .events_path = f->events_path,
        .subscribed = count_subscribed,
        .context = f,
    };
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct transport_config config;
    char why[TRANSPORT_WHY_BYTES] = "";

    assert_non_null(f);
    snprintf(f->directory, sizeof f->directory, "/tmp/es-transport-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->requests_path, sizeof f->requests_path, "%s/requests.sock", f->directory);
    snprintf(f->events_path, sizeof f->events_path, "%s/events.sock", f->directory);
    config = config_of(f);
    assert_int_equal(transport_new(&config, why, &f->transport), ES_OK);
    assert_int_equal(pthread_create(&f->echo, NULL, echo_requests, f), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    transport_stop(f->transport);
    pthread_join(f->echo, NULL);
    transport_free(f->transport);
    unlink(f->requests_path);
    unlink(f->events_path);
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

static void assert_served(struct fixture *f, struct sp_client *client, const char *text)
{
    uint32_t uid = geteuid();
    uint8_t *reply = NULL;
    size_t size = 0;

    (void)f;
    assert_true(sp_request(client, text, strlen(text), &reply, &size));
    assert_int_equal(size, strlen(text) + sizeof uid);
    assert_memory_equal(reply, text, strlen(text));
    assert_memory_equal(reply + strlen(text), &uid, sizeof uid);
    free(reply);
}

/* Greets, until it is heard that somebody has subscribed. */
static void subscribe_and_wait(struct fixture *f, struct sp_client *client, int expected_count)
{
    assert_true(sp_connect(client, f->events_path, SP_SUB));
    while (atomic_load(&f->subscribed) < expected_count) {
        sched_yield();
    }
}

static void a_subscriber_beyond_the_bound_replaces_nobody_who_listens(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    struct sp_client *clients = calloc(TRANSPORT_CONNECTIONS_MAX + 1, sizeof *clients);
    struct sp_client late;

    assert_non_null(clients);
    for (size_t i = 0; i < TRANSPORT_CONNECTIONS_MAX; i++) {
        assert_true(sp_connect(&clients[i], f->requests_path, SP_REQ));
    }
    assert_served(f, &clients[TRANSPORT_CONNECTIONS_MAX - 1], "the last that fits");
    assert_true(sp_connect(&late, f->requests_path, SP_REQ));
    assert_served(f, &late, "in place of the first");
    sp_close(&late);
    assert_true(sp_is_closed(&clients[0]));
    assert_served(f, &clients[1], "was not idle for longest");
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
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_beyond_the_bound_replaces_the_longest_idle_one,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests_name("transport, crowded", tests, NULL, NULL);
}
