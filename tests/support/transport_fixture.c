#include "tests/support/transport_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void count_subscribed(void *context)
{
    struct transport_fixture *f = context;

    atomic_fetch_add(&f->subscribed, 1);
}

/* Answers each request with the same bytes and the peer's uid behind them. */
static void *echo_requests(void *context)
{
    struct transport_fixture *f = context;
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
        if (request.size > 0 && request.bytes[request.size - 1] == '!') {
            transport_rest(worker);
        }
        assert_int_equal(transport_reply(worker, reply, request.size + sizeof request.uid), ES_OK);
        free(reply);
    }
    transport_worker_free(worker);
    return NULL;
}

struct transport_config transport_fixture_config(struct transport_fixture *f)
{
    return (struct transport_config){
        .requests_path = f->requests_path,
        .events_path = f->events_path,
        .subscribed = count_subscribed,
        .context = f,
    };
}

int transport_fixture_set_up(void **state)
{
    struct transport_fixture *f = calloc(1, sizeof *f);
    struct transport_config config;
    char why[TRANSPORT_WHY_BYTES] = "";

    assert_non_null(f);
    snprintf(f->directory, sizeof f->directory, "/tmp/es-transport-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->requests_path, sizeof f->requests_path, "%s/requests.sock", f->directory);
    snprintf(f->events_path, sizeof f->events_path, "%s/events.sock", f->directory);
    config = transport_fixture_config(f);
    assert_int_equal(transport_new(&config, why, &f->transport), ES_OK);
    assert_int_equal(pthread_create(&f->echo, NULL, echo_requests, f), 0);
    *state = f;
    return 0;
}

int transport_fixture_tear_down(void **state)
{
    struct transport_fixture *f = *state;

    transport_stop(f->transport);
    pthread_join(f->echo, NULL);
    transport_free(f->transport);
    unlink(f->requests_path);
    unlink(f->events_path);
    assert_int_equal(rmdir(f->directory), 0);
    free(f);
    return 0;
}

void assert_served(struct sp_client *client, const char *text)
{
    uint32_t uid = geteuid();
    uint8_t *reply = NULL;
    size_t size = 0;

    assert_true(sp_request(client, text, strlen(text), &reply, &size));
    assert_int_equal(size, strlen(text) + sizeof uid);
    assert_memory_equal(reply, text, strlen(text));
    assert_memory_equal(reply + strlen(text), &uid, sizeof uid);
    free(reply);
}

void subscribe_and_wait(struct transport_fixture *f, struct sp_client *client, int expected_count)
{
    assert_true(sp_connect(client, f->events_path, SP_SUB));
    while (atomic_load(&f->subscribed) < expected_count) {
        sched_yield();
    }
}
