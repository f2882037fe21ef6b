/*
 * What the library writes into the lane, read with the broker's own reader: appends
 * in every shape, payloads written in place, transactions, key changes. And what it
 * refuses before anything is sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shm/codec/transaction.h"
#include "tests/support/client_fixture.h"

#define STREAM "test:main:L0:orders:M1"
#define OTHER "test:main:L0:orders:M2"

/* The last transaction that arrived, as the broker saw it. Under a lock of its own:
 * the lane orders the two threads, but it is mapped twice here, which the thread
 * sanitizer cannot follow. */
struct arrival {
    pthread_mutex_t lock;
    uint8_t bytes[65536];
    uint32_t size;
    enum es_reason reason;
};

static void keep(void *context, const void *transaction, uint32_t size,
                 struct es_lane_result *result)
{
    struct arrival *arrival = context;
    uint32_t operation = 0;

    assert_true(size <= sizeof arrival->bytes);
    pthread_mutex_lock(&arrival->lock);
    memcpy(arrival->bytes, transaction, size);
    arrival->size = size;
    arrival->reason = es_transaction_check(transaction, size, &operation);
    if (arrival->reason != ES_REASON_NONE) {
        result->status = ES_REJECTED;
        result->reason = (uint32_t)arrival->reason;
    }
    pthread_mutex_unlock(&arrival->lock);
}

struct fixture {
    struct client_fixture *client;
    struct es_producer *producer;
    struct arrival arrival;
    uint8_t bytes[65536]; /* a copy, which 'reader' reads */
    struct es_transaction_reader reader;
    struct es_operation operation;
};

static struct fixture *open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    pthread_mutex_init(&f->arrival.lock, NULL);
    f->client = *state;
    fake_broker_set_judge(f->client->broker, keep, &f->arrival);
    assert_int_equal(es_producer_open(f->client->connection, NULL, &f->producer), ES_OK);
    return f;
}

static void close_fixture(struct fixture *f)
{
    es_producer_close(f->producer);
    fake_broker_set_judge(f->client->broker, NULL, NULL);
    pthread_mutex_destroy(&f->arrival.lock);
    free(f);
}

static const struct es_operation *next_operation(struct fixture *f)
{
    bool is_found = false;

    assert_int_equal(es_transaction_read_operation(&f->reader, &f->operation, &is_found),
                     ES_REASON_NONE);
    return is_found ? &f->operation : NULL;
}

static const struct es_operation *first_operation(struct fixture *f)
{
    uint32_t size;

    pthread_mutex_lock(&f->arrival.lock);
    size = f->arrival.size;
    memcpy(f->bytes, f->arrival.bytes, size);
    pthread_mutex_unlock(&f->arrival.lock);
    assert_int_equal(es_transaction_read(&f->reader, f->bytes, size), ES_REASON_NONE);
    assert_int_equal(f->reader.producer_sequence, 0);
    return next_operation(f);
}

static enum es_status append(struct fixture *f, const struct es_expectation *expectation,
                             const struct es_event_input *events, size_t count)
{
    return es_producer_append(f->producer, STREAM, expectation, events, count, FIXTURE_PATIENCE_NS,
                              NULL);
}

static void every_event_arrives_with_all_that_was_said_of_it(void **state)
{
    struct fixture *f = open_fixture(state);
    uint8_t hash[32];
    const struct es_event_input events[] = {
        {.tick = 0, .type = "noted", .payload = NULL, .payload_bytes = 0},
        {.tick = INT64_MAX, .type = "n\xc3\xb6ted", .payload = "\x00\xff", .payload_bytes = 2},
        {.tick = 5, .type = "noted", .payload = "xyz", .payload_bytes = 3, .expected_hash = hash},
    };
    const struct es_operation *operation;

    memset(hash, 0x5a, sizeof hash);
    assert_int_equal(append(f, NULL, events, 3), ES_OK);
    operation = first_operation(f);
    assert_non_null(operation);
    assert_int_equal(operation->kind, ES_OPERATION_APPEND);
    assert_true(es_text_equal(operation->as.append.stream, es_text_of(STREAM)));
    assert_int_equal(operation->as.append.event_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct es_append_event event;
        bool is_found = false;

        assert_int_equal(es_transaction_read_event(&f->reader, &event, &is_found), ES_REASON_NONE);
        assert_true(is_found);
        assert_int_equal(event.tick, events[i].tick);
        assert_true(es_text_equal(event.type, es_text_of(events[i].type)));
        assert_int_equal(event.payload.size, events[i].payload_bytes);
        if (event.payload.size > 0) {
            assert_memory_equal(event.payload.data, events[i].payload, event.payload.size);
        }
        assert_int_equal(event.expected_hash != NULL, i == 2);
    }
    assert_null(next_operation(f));
    close_fixture(f);
}

static void every_expectation_arrives_as_it_was_meant(void **state)
{
    static const uint8_t hash[32] = {9};
    static const struct {
        struct es_expectation given;
        enum es_expected_kind kind;
        uint64_t number;
        bool is_hash_given;
        uint32_t hash_bytes;
    } cases[] = {
        {{.kind = ES_EXPECT_ANY}, ES_EXPECTED_ANY, 0, false, 0},
        {{.kind = ES_EXPECT_NONE}, ES_EXPECTED_NONE, 0, false, 0},
        {{.kind = ES_EXPECT_EXISTS}, ES_EXPECTED_EXISTS, 0, false, 0},
        {{.kind = ES_EXPECT_SEQUENCE, .sequence = 7}, ES_EXPECTED_EXACT, 7, false, 0},
        {{.kind = ES_EXPECT_ANY, .hash = hash, .hash_bytes = 32}, ES_EXPECTED_ANY, 0, true, 32},
        {{.kind = ES_EXPECT_ANY, .hash = hash, .hash_bytes = 0}, ES_EXPECTED_ANY, 0, true, 0},
    };
    const struct es_event_input event = {.type = "noted", .payload = "x", .payload_bytes = 1};
    struct fixture *f = open_fixture(state);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct es_operation *operation;

        assert_int_equal(append(f, &cases[i].given, &event, 1), ES_OK);
        operation = first_operation(f);
        assert_non_null(operation);
        assert_int_equal(operation->as.append.expect.kind, cases[i].kind);
        assert_int_equal(operation->as.append.expect.number, cases[i].number);
        assert_int_equal(operation->as.append.expect_hash.given, cases[i].is_hash_given);
        assert_int_equal(operation->as.append.expect_hash.hash.size, cases[i].hash_bytes);
    }
    close_fixture(f);
}

static void what_a_rule_forbids_is_rejected_by_the_broker_with_its_reason(void **state)
{
    struct fixture *f = open_fixture(state);
    struct es_outcome outcome;
    const struct es_event_input sound = {.type = "noted"};
    const struct es_event_input early = {.type = "noted", .tick = (uint64_t)INT64_MAX + 1};
    const struct es_event_input untyped = {.type = ""};

    assert_int_equal(es_producer_append(f->producer, "no stream", NULL, &sound, 1,
                                        FIXTURE_PATIENCE_NS, &outcome),
                     ES_REJECTED);
    assert_int_equal(outcome.refusal.reason, ES_REASON_STREAM_FORM);
    assert_int_equal(append(f, NULL, &early, 1), ES_REJECTED);
    assert_int_equal(append(f, NULL, &untyped, 1), ES_REJECTED);
    close_fixture(f);
}

static void what_c_gets_wrong_is_invalid_and_not_sent(void **state)
{
    static const uint8_t hash[33];
    struct fixture *f = open_fixture(state);
    const struct es_event_input sound = {.type = "noted"};
    const struct es_event_input no_type = {.type = NULL};
    const struct es_event_input no_payload = {.type = "noted", .payload_bytes = 1};
    const struct es_expectation no_kind = {.kind = (enum es_expect_kind)4};
    const struct es_expectation long_hash = {.hash = hash, .hash_bytes = 33};

    assert_int_equal(append(f, NULL, &sound, 0), ES_E_INVALID);
    assert_int_equal(append(f, NULL, NULL, 1), ES_E_INVALID);
    assert_int_equal(append(f, NULL, &no_type, 1), ES_E_INVALID);
    assert_int_equal(append(f, NULL, &no_payload, 1), ES_E_INVALID);
    assert_int_equal(append(f, &no_kind, &sound, 1), ES_E_INVALID);
    assert_int_equal(append(f, &long_hash, &sound, 1), ES_E_INVALID);
    assert_int_equal(fake_broker_record_count(f->client->broker), 0);
    close_fixture(f);
}

static void the_largest_payload_fits_and_one_byte_too_many_is_told(void **state)
{
    struct fixture *f = open_fixture(state);
    size_t bytes = es_producer_payload_bytes_max(f->producer);
    uint8_t *payload = calloc(1, 1u << 20);
    struct es_event_input event = {.type = "noted", .payload = payload, .payload_bytes = bytes};

    assert_non_null(payload);
    assert_true(bytes > 4096);
    assert_int_equal(append(f, NULL, &event, 1), ES_OK);
    event.payload_bytes = 1u << 20;
    assert_int_equal(append(f, NULL, &event, 1), ES_E_TOO_LARGE);
    assert_non_null(strstr(es_connection_error(f->client->connection), "--lane-bytes"));
    event.payload_bytes = SIZE_MAX; /* no sum may wrap */
    assert_int_equal(append(f, NULL, &event, 1), ES_E_TOO_LARGE);
    assert_int_equal(fake_broker_record_count(f->client->broker), 1);
    free(payload);
    close_fixture(f);
}

static void a_reserved_payload_is_written_in_place(void **state)
{
    struct fixture *f = open_fixture(state);
    struct es_append_event event;
    struct es_outcome outcome;
    void *payload = NULL;
    uint64_t ticket = 0;
    size_t count = 0;
    bool is_found = false;

    assert_int_equal(es_producer_reserve(f->producer, STREAM, NULL, 3, "noted", 1000, &payload),
                     ES_OK);
    /* Nothing else meanwhile. */
    assert_int_equal(es_producer_flush(f->producer, 0), ES_E_INVALID);
    memset(payload, 0x77, 1000);
    assert_int_equal(es_producer_publish(f->producer, &ticket), ES_OK);
    assert_int_equal(es_producer_publish(f->producer, NULL), ES_E_INVALID);
    assert_int_equal(es_producer_poll(f->producer, &outcome, 1, FIXTURE_PATIENCE_NS, &count),
                     ES_OK);
    assert_int_equal(outcome.ticket, ticket);
    assert_non_null(first_operation(f));
    assert_int_equal(es_transaction_read_event(&f->reader, &event, &is_found), ES_REASON_NONE);
    assert_int_equal(event.payload.size, 1000);
    assert_int_equal(event.payload.data[999], 0x77);
    assert_null(next_operation(f));

    assert_int_equal(es_producer_reserve(f->producer, STREAM, NULL, 3, "noted", 10, &payload),
                     ES_OK);
    es_producer_abandon(f->producer);
    assert_int_equal(es_producer_reserve(f->producer, STREAM, NULL, 3, "noted", 1u << 20, &payload),
                     ES_E_TOO_LARGE);
    assert_int_equal(es_producer_flush(f->producer, 0), ES_OK);
    assert_int_equal(fake_broker_record_count(f->client->broker), 1);
    close_fixture(f);
}

static void a_transaction_arrives_whole_and_in_order(void **state)
{
    struct fixture *f = open_fixture(state);
    const struct es_event_input event = {.type = "noted", .payload = "x", .payload_bytes = 1};
    struct es_transaction *transaction = NULL;
    struct es_transaction *second = NULL;
    const struct es_operation *operation;

    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    assert_int_equal(es_transaction_begin(f->producer, &second), ES_E_BUSY);
    assert_int_equal(es_transaction_append(transaction, STREAM, NULL, &event, 1), ES_OK);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "space", "key", 4, "value", 5),
                     ES_OK);
    assert_int_equal(append(f, NULL, &event, 1), ES_OK); /* others go on meanwhile */
    assert_int_equal(es_transaction_append(transaction, OTHER, NULL, &event, 1), ES_OK);
    assert_int_equal(
        es_transaction_delete(transaction, ES_READ_MODELS, "space", "key", ES_REVISION_ANY), ES_OK);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "space", "new", 0, NULL, 0), ES_OK);
    assert_int_equal(es_transaction_commit(transaction, FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(es_transaction_submit(transaction, NULL), ES_E_CLOSED);

    operation = first_operation(f);
    assert_int_equal(f->reader.operation_count, 5);
    assert_true(es_text_equal(operation->as.append.stream, es_text_of(STREAM)));
    operation = next_operation(f);
    assert_int_equal(operation->kind, ES_OPERATION_KV_PUT);
    assert_int_equal(operation->as.kv.family, ES_KV_TRUTH);
    assert_int_equal(operation->as.kv.expect.number, 4);
    assert_int_equal(operation->as.kv.value.size, 5);
    operation = next_operation(f);
    assert_true(es_text_equal(operation->as.append.stream, es_text_of(OTHER)));
    operation = next_operation(f);
    assert_int_equal(operation->kind, ES_OPERATION_KV_DELETE);
    assert_int_equal(operation->as.kv.family, ES_KV_DERIVED);
    assert_int_equal(operation->as.kv.expect.kind, ES_EXPECTED_ANY);
    operation = next_operation(f);
    assert_int_equal(operation->as.kv.expect.kind, ES_EXPECTED_NONE);
    assert_null(next_operation(f));
    close_fixture(f);
}

static void a_transaction_that_grows_too_large_keeps_what_it_had(void **state)
{
    struct fixture *f = open_fixture(state);
    struct es_transaction *transaction = NULL;
    uint8_t value[3000] = {0};
    uint32_t kept = 0;
    enum es_status status = ES_OK;

    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    while (status == ES_OK) {
        status = es_transaction_put(transaction, ES_KEYS, "space", "key", ES_REVISION_ANY, value,
                                    sizeof value);
        kept += status == ES_OK ? 1 : 0;
    }
    assert_int_equal(status, ES_E_TOO_LARGE);
    assert_true(kept >= 2);
    /* Down to what just fits: on the way some are refused only once they are packed. */
    status = ES_E_TOO_LARGE;
    for (size_t bytes = sizeof value; bytes > 0 && status != ES_OK; bytes--) {
        status =
            es_transaction_put(transaction, ES_KEYS, "space", "key", ES_REVISION_ANY, value, bytes);
        kept += status == ES_OK ? 1 : 0;
    }
    assert_int_equal(status, ES_OK);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "space", "key", 0, "v", 1),
                     ES_E_TOO_LARGE);
    assert_int_equal(es_transaction_commit(transaction, FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_non_null(first_operation(f));
    assert_int_equal(f->reader.operation_count, kept);
    close_fixture(f);
}

static void a_full_lane_leaves_the_transaction_open(void **state)
{
    struct fixture *f = open_fixture(state);
    const struct es_event_input event = {.type = "noted"};
    struct es_transaction *transaction = NULL;
    uint64_t ticket = 0;

    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "space", "key", 0, "v", 1), ES_OK);
    fake_broker_hold_lanes(f->client->broker, true);
    while (es_producer_submit(f->producer, STREAM, NULL, &event, 1, NULL) == ES_OK) {
        /* until it is full */
    }
    assert_int_equal(es_transaction_submit(transaction, &ticket), ES_FULL);
    fake_broker_hold_lanes(f->client->broker, false);
    assert_int_equal(es_producer_flush(f->producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(es_transaction_submit(transaction, &ticket), ES_OK);
    assert_int_equal(es_producer_flush(f->producer, FIXTURE_PATIENCE_NS), ES_OK);
    assert_int_equal(first_operation(f)->kind, ES_OPERATION_KV_PUT);
    close_fixture(f);
}

static void a_transaction_without_operations_is_not_sent(void **state)
{
    struct fixture *f = open_fixture(state);
    struct es_transaction *transaction = NULL;

    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    assert_int_equal(es_transaction_commit(transaction, FIXTURE_PATIENCE_NS, NULL), ES_E_INVALID);
    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    es_transaction_abandon(transaction);
    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    assert_int_equal(fake_broker_record_count(f->client->broker), 0);
    close_fixture(f);
}

static void single_key_changes_arrive(void **state)
{
    struct fixture *f = open_fixture(state);

    assert_int_equal(es_key_put(f->producer, ES_READ_MODELS, "space", "key", 3, "value", 5,
                                FIXTURE_PATIENCE_NS, NULL),
                     ES_OK);
    assert_int_equal(first_operation(f)->as.kv.expect.number, 3);
    assert_int_equal(f->operation.as.kv.family, ES_KV_DERIVED);
    assert_int_equal(
        es_key_delete(f->producer, ES_KEYS, "space", "key", 8, FIXTURE_PATIENCE_NS, NULL), ES_OK);
    assert_int_equal(first_operation(f)->kind, ES_OPERATION_KV_DELETE);
    assert_int_equal(
        es_key_put(f->producer, ES_KEYS, NULL, "key", 3, "value", 5, FIXTURE_PATIENCE_NS, NULL),
        ES_E_INVALID);
    close_fixture(f);
}

int main(void)
{
#define FIXED(test) \
    cmocka_unit_test_setup_teardown(test, client_fixture_setup, client_fixture_teardown)
    const struct CMUnitTest tests[] = {
        FIXED(every_event_arrives_with_all_that_was_said_of_it),
        FIXED(every_expectation_arrives_as_it_was_meant),
        FIXED(what_a_rule_forbids_is_rejected_by_the_broker_with_its_reason),
        FIXED(what_c_gets_wrong_is_invalid_and_not_sent),
        FIXED(the_largest_payload_fits_and_one_byte_too_many_is_told),
        FIXED(a_reserved_payload_is_written_in_place),
        FIXED(a_transaction_arrives_whole_and_in_order),
        FIXED(a_transaction_that_grows_too_large_keeps_what_it_had),
        FIXED(a_full_lane_leaves_the_transaction_open),
        FIXED(a_transaction_without_operations_is_not_sent),
        FIXED(single_key_changes_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
