/*
 * Wrong use of handles gets a status, not a crash: a second thread, a child after
 * fork, a handle that is closed; and closing in the wrong order harms nobody.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libclient/guard.h"
#include "libclient/limits.h"
#include "tests/support/client_fixture.h"

#define STREAM "test:main:L0:orders:M1"

static enum es_status append(struct es_producer *producer, uint64_t timeout_ns)
{
    const struct es_event_input event = {.type = "noted", .payload = "x", .payload_bytes = 1};

    return es_producer_append(producer, STREAM, NULL, &event, 1, timeout_ns, NULL);
}

struct waiter {
    struct es_producer *producer;
    _Atomic bool is_started;
    enum es_status status;
};

static void *append_and_wait(void *context)
{
    struct waiter *waiter = context;

    atomic_store(&waiter->is_started, true);
    waiter->status = append(waiter->producer, ES_FOREVER);
    return NULL;
}

static void a_second_thread_inside_a_handle_is_sent_away(void **state)
{
    struct client_fixture *f = *state;
    struct waiter waiter = {.status = ES_E_INVALID};
    struct es_outcome outcome;
    enum es_status status;
    pthread_t thread;
    size_t count = 0;

    assert_int_equal(es_producer_open(f->connection, NULL, &waiter.producer), ES_OK);
    fake_broker_hold_lanes(f->broker, true);
    assert_int_equal(pthread_create(&thread, NULL, append_and_wait, &waiter), 0);
    do { /* until it is inside: before, there is nothing in flight */
        sched_yield();
        status = es_producer_poll(waiter.producer, &outcome, 1, 0, &count);
    } while (status == ES_EMPTY);
    assert_int_equal(status, ES_E_WRONG_THREAD);
    assert_int_equal(append(waiter.producer, 0), ES_E_WRONG_THREAD);
    assert_int_equal(es_producer_flush(waiter.producer, 0), ES_E_WRONG_THREAD);
    assert_int_equal(es_producer_set_number(waiter.producer, 1), ES_E_WRONG_THREAD);
    es_producer_close(waiter.producer); /* refused: somebody is inside */
    fake_broker_hold_lanes(f->broker, false);
    pthread_join(thread, NULL);
    assert_int_equal(waiter.status, ES_OK);
    assert_int_equal(append(waiter.producer, FIXTURE_PATIENCE_NS), ES_OK);
    es_producer_close(waiter.producer);
}

/* Each check has its own exit code, so that a failure says which. */
static int use_in_child(struct client_fixture *f, struct es_producer *producer,
                        struct es_reader *reader, struct es_consumer *consumer)
{
    struct es_store_head head;
    struct es_event event;

    if (append(producer, 0) != ES_E_FORKED) {
        return 1;
    }
    if (es_reader_next(reader, &event) != ES_E_FORKED) {
        return 2;
    }
    if (es_consumer_next(consumer, 0, &event) != ES_E_FORKED) {
        return 3;
    }
    if (es_store_head(f->connection, &head) != ES_E_FORKED) {
        return 4;
    }
    if (es_producer_set_number(producer, 1) != ES_E_FORKED) {
        return 5;
    }
    es_connection_interrupt(f->connection);
    es_producer_close(producer);
    es_reader_close(reader);
    es_consumer_close(consumer);
    es_connection_close(f->connection);
    return 0;
}

static int exit_code_of(pid_t child)
{
    int status = 0;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_child_can_use_no_handle_of_its_parent(void **state)
{
    struct client_fixture *f = *state;
    struct es_producer *producer = NULL;
    struct es_consumer *consumer = NULL;
    struct es_reader *reader = NULL;
    struct es_event event;
    pid_t child;

    (void)fake_broker_store(f->broker, STREAM, "payload");
    assert_int_equal(es_producer_open(f->connection, NULL, &producer), ES_OK);
    assert_int_equal(es_reader_open_all(f->connection, NULL, 1, &reader), ES_OK);
    assert_int_equal(es_consumer_open(f->connection, NULL, &consumer), ES_OK);
    child = fork();
    if (child == 0) {
        _exit(use_in_child(f, producer, reader, consumer));
    }
    assert_int_equal(exit_code_of(child), 0);
    /* Without the C library's knowledge. */
    child = (pid_t)syscall(SYS_fork);
    if (child == 0) {
        _exit(use_in_child(f, producer, reader, consumer));
    }
    assert_int_equal(exit_code_of(child), 0);
    /* The parent's are as they were. */
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_OK);
    es_consumer_close(consumer);
    es_reader_close(reader);
    es_producer_close(producer);
}

static int open_in_child(const char *run_dir)
{
    const struct es_connection_options options = {.run_dir = run_dir};
    struct es_connection *connection = NULL;
    struct es_producer *producer = NULL;
    struct es_store_head head;

    if (es_connection_open(&options, &connection) != ES_OK ||
        es_producer_open(connection, NULL, &producer) != ES_OK ||
        append(producer, FIXTURE_PATIENCE_NS) != ES_OK) {
        return 1;
    }
    if (es_store_head(connection, &head) != ES_OK) {
        return 2;
    }
    es_producer_close(producer);
    es_connection_close(connection);
    return 0;
}

static void a_child_can_open_handles_of_its_own(void **state)
{
    struct client_fixture *f = *state;
    struct es_store_head head;
    pid_t child;

    assert_int_equal(es_store_head(f->connection, &head), ES_OK);
    child = fork();
    if (child == 0) {
        _exit(open_in_child(f->run_dir));
    }
    assert_int_equal(exit_code_of(child), 0);
}

static void a_closed_handle_says_so(void **state)
{
    struct client_fixture *f = *state;
    struct es_transaction *transaction = NULL;
    struct es_connection *connection = NULL;
    struct es_producer *producer = NULL;
    struct es_consumer *consumer = NULL;
    struct es_reader *reader = NULL;
    struct es_store_head head;
    struct es_event event;
    const struct es_connection_options options = {.run_dir = f->run_dir};

    (void)fake_broker_store(f->broker, STREAM, "payload");
    assert_int_equal(es_connection_open(&options, &connection), ES_OK);
    assert_int_equal(es_producer_open(connection, NULL, &producer), ES_OK);
    assert_int_equal(es_transaction_begin(producer, &transaction), ES_OK);
    assert_int_equal(es_reader_open_all(connection, NULL, 1, &reader), ES_OK);
    assert_int_equal(es_consumer_open(connection, NULL, &consumer), ES_OK);
    /* The connection first: its handles go on. */
    es_connection_close(connection);
    assert_int_equal(es_store_head(connection, &head), ES_E_CLOSED);
    assert_int_equal(append(producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(es_reader_next(reader, &event), ES_OK);
    assert_int_equal(es_consumer_next(consumer, FIXTURE_PATIENCE_NS, &event), ES_OK);
    assert_int_equal(es_consumer_next(consumer, 1000000, &event), ES_TIMEOUT); /* waits, too */
    for (uint32_t i = 0; i < 2; i++) {                                         /* twice is once */
        es_producer_close(producer);
        es_reader_close(reader);
        es_consumer_close(consumer);
        es_connection_close(connection);
    }
    assert_int_equal(append(producer, 0), ES_E_CLOSED);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "n", "k", 0, "v", 1), ES_E_CLOSED);
    assert_int_equal(es_producer_publish(producer, NULL), ES_E_CLOSED);
    assert_int_equal(es_reader_next(reader, &event), ES_E_CLOSED);
    assert_int_equal(es_consumer_next(consumer, 0, &event), ES_E_CLOSED);
    assert_int_equal(es_store_head(connection, &head), ES_E_CLOSED);
}

static void no_handle_is_invalid(void **state)
{
    struct es_event event;
    struct es_store_head head;
    struct es_transaction *transaction = NULL;

    (void)state;
    assert_int_equal(append(NULL, 0), ES_E_INVALID);
    assert_int_equal(es_producer_flush(NULL, 0), ES_E_INVALID);
    assert_int_equal(es_producer_publish(NULL, NULL), ES_E_INVALID);
    assert_int_equal(es_transaction_begin(NULL, &transaction), ES_E_INVALID);
    assert_int_equal(es_transaction_submit(NULL, NULL), ES_E_INVALID);
    assert_int_equal(es_reader_next(NULL, &event), ES_E_INVALID);
    assert_int_equal(es_consumer_next(NULL, 0, &event), ES_E_INVALID);
    assert_int_equal(es_store_head(NULL, &head), ES_E_INVALID);
    assert_int_equal(es_consumer_fd(NULL), -1);
    es_producer_close(NULL);
    es_producer_abandon(NULL);
    es_transaction_abandon(NULL);
    es_reader_close(NULL);
    es_consumer_close(NULL);
    es_connection_close(NULL);
    es_connection_interrupt(NULL);
    es_connection_resume(NULL);
    assert_non_null(es_connection_error(NULL));
}

/* The handles closed last are kept, the others given back. */
static void retired_memory_is_bounded(void **state)
{
    struct es_guard *guards[ES_RETIRED_HANDLE_COUNT];

    (void)state;
    assert_int_equal(es_guard_prepare(), ES_OK);
    for (uint32_t i = 0; i < ES_RETIRED_HANDLE_COUNT; i++) {
        guards[i] = es_handle_new(sizeof *guards[i]);
        assert_non_null(guards[i]);
        es_guard_init(guards[i]);
        assert_true(es_guard_close(guards[i]));
        assert_false(es_guard_close(guards[i]));
        es_handle_retire(guards[i]);
    }
    for (uint32_t i = 0; i < ES_RETIRED_HANDLE_COUNT; i++) {
        assert_int_equal(es_guard_enter(guards[i]), ES_E_CLOSED);
    }
    for (uint32_t i = 0; i < 10 * ES_RETIRED_HANDLE_COUNT; i++) { /* a leak is the sanitizer's */
        es_handle_retire(es_handle_new(64));
    }
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(a_second_thread_inside_a_handle_is_sent_away),
        FIXED(a_child_can_use_no_handle_of_its_parent),
        FIXED(a_child_can_open_handles_of_its_own),
        FIXED(a_closed_handle_says_so),
        cmocka_unit_test(no_handle_is_invalid),
        cmocka_unit_test(retired_memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
