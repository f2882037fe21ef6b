/*
 * The library and the broker together: what is appended is read, followed, listed
 * and snapshotted; and both survive the broker's being killed in the middle of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <eventspine.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/real_client.h"

#define PATIENCE_NS REAL_CLIENT_PATIENCE_NS
#define STREAM "test:main:L0:orders:M1"

static int open_all(void **state)
{
    return real_client_open(state, NULL);
}

static void append(struct real_client *f, const char *stream, const char *payload,
                   struct es_outcome *outcome)
{
    const struct es_event_input event = {
        .tick = 5, .type = "noted", .payload = payload, .payload_bytes = strlen(payload)};

    if (es_producer_append(f->producer, stream, NULL, &event, 1, PATIENCE_NS, outcome) != ES_OK) {
        fail_msg("append: %s", es_connection_error(f->connection));
    }
}

static void a_receipt_says_what_the_store_says(void **state)
{
    struct real_client *f = *state;
    struct es_outcome outcome;
    struct es_store_head store;
    struct es_head head;

    append(f, STREAM, "one", NULL);
    append(f, STREAM, "two", &outcome);
    assert_int_equal(es_store_head(f->connection, &store), ES_OK);
    assert_int_equal(es_head(f->connection, STREAM, &head), ES_OK);
    assert_int_equal(outcome.receipt.position, 2);
    assert_int_equal(outcome.receipt.sequence, head.sequence);
    assert_int_equal(outcome.receipt.tick, 5);
    assert_int_equal(outcome.receipt.position, store.position);
    assert_int_equal(outcome.receipt.commit_number, store.commit_number);
    assert_int_equal(outcome.receipt.epoch, store.epoch);
    assert_memory_equal(outcome.receipt.hash, head.hash, ES_HASH_BYTES);
    assert_memory_equal(outcome.receipt.store_hash, store.store_hash, ES_HASH_BYTES);
    assert_memory_equal(outcome.receipt.store_id, store.store_id, ES_STORE_ID_BYTES);
    assert_int_equal(head.position, 2);
    assert_int_equal(head.first_sequence, 1);
    assert_int_equal(es_head(f->connection, "test:main:L0:orders:M2", &head), ES_NOT_FOUND);
}

/* What a program keeps to find out, later, whether a store is still the one it knew. */
static void a_kept_receipt_is_proven_or_refused(void **state)
{
    struct real_client *f = *state;
    struct es_connection_options options = {.timeout_ns = PATIENCE_NS,
                                            .run_dir = f->broker.run_dir};
    struct es_connection *other = NULL;
    struct es_producer *producer = NULL;
    uint8_t bytes[ES_RECEIPT_BYTES_MAX];
    struct es_outcome outcome;
    size_t size = 0;

    append(f, STREAM, "one", &outcome);
    assert_int_equal(es_receipt_pack(&outcome.receipt, "no stream", bytes, sizeof bytes, &size),
                     ES_E_INVALID);
    assert_int_equal(es_receipt_pack(&outcome.receipt, STREAM, bytes, 10, &size), ES_E_TOO_LARGE);
    assert_int_equal(es_receipt_pack(&outcome.receipt, STREAM, bytes, sizeof bytes, &size), ES_OK);
    assert_int_equal(es_receipt_check(f->connection, bytes, size), ES_OK);
    assert_int_equal(es_receipt_check(f->connection, bytes, size - 1), ES_E_INVALID);

    outcome.receipt.store_hash[0] ^= 1;
    assert_int_equal(es_receipt_pack(&outcome.receipt, STREAM, bytes, sizeof bytes, &size), ES_OK);
    assert_int_equal(es_receipt_check(f->connection, bytes, size), ES_DIVERGED);
    outcome.receipt.position += 1;
    assert_int_equal(es_receipt_pack(&outcome.receipt, STREAM, bytes, sizeof bytes, &size), ES_OK);
    assert_int_equal(es_receipt_check(f->connection, bytes, size), ES_REGRESSED);

    options.receipt = bytes;
    options.receipt_bytes = size - 1;
    assert_int_equal(es_connection_open(&options, &other), ES_E_INVALID);
    options.receipt_bytes = size;
    assert_int_equal(es_connection_open(&options, &other), ES_OK);
    assert_int_equal(es_producer_open(other, NULL, &producer), ES_REGRESSED);
    assert_non_null(strstr(es_connection_error(other), "position 1"));
    assert_null(producer);
    append(f, STREAM, "two", NULL); /* now there is such a position, in another history */
    assert_int_equal(es_producer_open(other, NULL, &producer), ES_DIVERGED);
    es_connection_close(other);
}

static void a_checkpoint_is_continued_or_refused(void **state)
{
    struct real_client *f = *state;
    struct es_consumer_options options = {.from_position = 2};
    struct es_consumer *consumer = NULL;
    struct es_store_head head;
    struct es_event event;

    append(f, STREAM, "one", NULL);
    append(f, STREAM, "two", NULL);
    assert_int_equal(es_store_head(f->connection, &head), ES_OK);
    options.epoch = head.epoch;
    options.store_id = head.store_id;
    assert_int_equal(es_consumer_open(f->connection, &options, &consumer), ES_OK);
    assert_int_equal(es_consumer_next(consumer, PATIENCE_NS, &event), ES_OK);
    assert_int_equal(event.position, 2);
    es_consumer_close(consumer);
    consumer = NULL;
    options.from_position = 4;
    assert_int_equal(es_consumer_open(f->connection, &options, &consumer), ES_REGRESSED);
    options.from_position = 2;
    options.epoch++;
    assert_int_equal(es_consumer_open(f->connection, &options, &consumer), ES_DIVERGED);
    options.epoch = 0;
    head.store_id[0] ^= 1;
    assert_int_equal(es_consumer_open(f->connection, &options, &consumer), ES_DIVERGED);
    assert_null(consumer);
}

static void an_expectation_that_does_not_hold_is_a_conflict_with_the_truth(void **state)
{
    const struct es_event_input event = {.type = "noted"};
    const struct es_expectation none = {.kind = ES_EXPECT_NONE};
    const struct es_expectation second = {.kind = ES_EXPECT_SEQUENCE, .sequence = 2};
    struct real_client *f = *state;
    struct es_outcome stored;
    struct es_outcome refused;

    append(f, STREAM, "one", &stored);
    assert_int_equal(
        es_producer_append(f->producer, STREAM, &none, &event, 1, PATIENCE_NS, &refused),
        ES_CONFLICT);
    assert_int_equal(refused.refusal.actual_sequence, 1);
    assert_memory_equal(refused.refusal.actual_hash, stored.receipt.hash, ES_HASH_BYTES);
    assert_int_equal(
        es_producer_append(f->producer, STREAM, &second, &event, 1, PATIENCE_NS, &refused),
        ES_CONFLICT);
}

static void what_is_written_in_place_or_as_a_transaction_is_read_back(void **state)
{
    const struct es_event_input event = {.type = "noted", .payload = "t", .payload_bytes = 1};
    struct real_client *f = *state;
    struct es_transaction *transaction = NULL;
    struct es_reader *reader = NULL;
    struct es_outcome outcome;
    struct es_event read;
    void *payload = NULL;
    void *value = NULL;
    uint64_t revision = 0;
    size_t count = 0;

    assert_int_equal(es_producer_reserve(f->producer, STREAM, NULL, 9, "written", 100000, &payload),
                     ES_OK);
    memset(payload, 0x3c, 100000);
    assert_int_equal(es_producer_publish(f->producer, NULL), ES_OK);
    assert_int_equal(es_producer_poll(f->producer, &outcome, 1, PATIENCE_NS, &count), ES_OK);
    assert_int_equal(outcome.status, ES_OK);
    assert_int_equal(es_transaction_begin(f->producer, &transaction), ES_OK);
    assert_int_equal(es_transaction_append(transaction, STREAM, NULL, &event, 1), ES_OK);
    assert_int_equal(es_transaction_put(transaction, ES_KEYS, "space", "key", 0, "value", 5),
                     ES_OK);
    assert_int_equal(es_transaction_commit(transaction, PATIENCE_NS, &outcome), ES_OK);
    assert_int_equal(outcome.receipt.position, 2);
    assert_int_not_equal(outcome.receipt.revision, 0);
    assert_int_equal(es_reader_open_stream(f->connection, STREAM, 0, false, &reader), ES_OK);
    assert_int_equal(es_reader_next(reader, &read), ES_OK);
    assert_int_equal(read.payload_bytes, 100000);
    assert_int_equal(((const uint8_t *)read.payload)[99999], 0x3c);
    assert_int_equal(es_reader_next(reader, &read), ES_OK);
    assert_int_equal(es_reader_next(reader, &read), ES_EMPTY);
    es_reader_close(reader);
    assert_int_equal(es_key_get(f->connection, ES_KEYS, "space", "key", &revision, &value, &count),
                     ES_OK);
    assert_int_equal(revision, outcome.receipt.revision);
    assert_int_equal(count, 5);
    es_free(value);
}

struct listing {
    uint32_t count;
    uint32_t stop_at; /* 0: never */
    char last[ES_STREAM_BYTES_MAX + 1];
};

static bool list_one(struct listing *listing, const char *text)
{
    assert_true(listing->count == 0 || strcmp(listing->last, text) < 0); /* in order */
    (void)snprintf(listing->last, sizeof listing->last, "%s", text);
    listing->count++;
    return listing->count != listing->stop_at;
}

static bool list_stream(void *context, const char *stream, const struct es_head *head)
{
    assert_int_equal(head->sequence, 1);
    return list_one(context, stream);
}

static bool list_key(void *context, const char *key, uint64_t revision, const void *value,
                     size_t value_bytes)
{
    assert_true(revision >= 1);
    assert_int_equal(value_bytes, 300);
    assert_int_equal(*(const char *)value, 'v');
    return list_one(context, key);
}

static void listings_are_whole_over_many_pages_and_stop_when_told(void **state)
{
    static char value[300];
    struct real_client *f = *state;
    struct listing streams = {0};
    struct listing some = {.stop_at = 7};
    struct listing keys = {0};
    struct es_outcome outcomes[64];
    uint32_t sent = 0;
    uint32_t done = 0;

    memset(value, 'v', sizeof value);
    while (done < 6000) {
        const struct es_event_input event = {.type = "noted"};
        char stream[64];
        size_t count = 0;

        while (sent < 6000) {
            (void)snprintf(stream, sizeof stream, "test:main:L0:orders:M%05u", sent);
            if (es_producer_submit(f->producer, stream, NULL, &event, 1, NULL) != ES_OK) {
                break;
            }
            sent++;
        }
        assert_int_equal(es_producer_poll(f->producer, outcomes, 64, PATIENCE_NS, &count), ES_OK);
        done += (uint32_t)count;
    }
    assert_int_equal(es_streams(f->connection, "test:main:", list_stream, &streams), ES_OK);
    assert_int_equal(streams.count, 6000);
    assert_int_equal(es_streams(f->connection, NULL, list_stream, &some), ES_OK);
    assert_int_equal(some.count, 7);
    for (uint32_t i = 0; i < 2000; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "key-%05u", i);
        assert_int_equal(es_key_put(f->producer, ES_READ_MODELS, "space", key, ES_REVISION_ANY,
                                    value, sizeof value, PATIENCE_NS, NULL),
                         ES_OK);
    }
    assert_int_equal(es_keys(f->connection, ES_READ_MODELS, "space", list_key, &keys), ES_OK);
    assert_int_equal(keys.count, 2000);
    assert_int_equal(es_key_delete(f->producer, ES_READ_MODELS, "space", "none", ES_REVISION_ANY,
                                   PATIENCE_NS, NULL),
                     ES_NOT_FOUND);
}

static bool count_snapshot(void *context, const struct es_snapshot *snapshot)
{
    assert_string_equal(snapshot->stream, STREAM);
    assert_true(snapshot->valid);
    (*(uint32_t *)context)++;
    return true;
}

static void snapshots_are_saved_found_listed_and_deleted(void **state)
{
    struct real_client *f = *state;
    struct es_snapshot snapshot;
    uint64_t deleted = 0;
    uint32_t count = 0;
    void *bytes = NULL;

    append(f, STREAM, "one", NULL);
    append(f, STREAM, "two", NULL);
    assert_int_equal(es_snapshot_save(f->connection, STREAM, 5, 3, "sum", 1, "state", 5),
                     ES_NOT_FOUND);
    assert_int_equal(es_snapshot_save(f->connection, STREAM, 5, 2, "sum", 1, "state", 5), ES_OK);
    assert_int_equal(es_snapshot_save(f->connection, STREAM, 5, 2, "", 4, NULL, 0), ES_OK);
    assert_int_equal(es_snapshot_load(f->connection, STREAM, 4, "sum", &snapshot, &bytes),
                     ES_NOT_FOUND);
    assert_int_equal(es_snapshot_load(f->connection, STREAM, UINT64_MAX, "sum", &snapshot, &bytes),
                     ES_OK);
    assert_string_equal(snapshot.stream, STREAM);
    assert_string_equal(snapshot.projection, "sum");
    assert_int_equal(snapshot.sequence, 2);
    assert_int_equal(snapshot.state_bytes, 5);
    assert_memory_equal(bytes, "state", 5);
    es_free(bytes);
    assert_int_equal(es_snapshots(f->connection, "test:", count_snapshot, &count), ES_OK);
    assert_int_equal(count, 2);
    assert_int_equal(es_snapshot_delete(f->connection, STREAM, UINT64_MAX, "sum", &deleted), ES_OK);
    assert_int_equal(deleted, 1);
    assert_int_equal(es_snapshot_delete(f->connection, STREAM, UINT64_MAX, "sum", &deleted),
                     ES_NOT_FOUND);
}

static bool look_for_durability(void *context, const char *name, uint64_t number, const char *text)
{
    (void)number;
    if (strcmp(name, "durability") == 0) {
        assert_non_null(text);
        *(bool *)context = true;
    }
    return true;
}

static void the_status_has_names(void **state)
{
    struct real_client *f = *state;
    bool is_found = false;

    assert_int_equal(es_broker_status(f->connection, look_for_durability, &is_found), ES_OK);
    assert_true(is_found);
}

/* ---- killed in the middle ----------------------------------------------- */

#define KILLED_COUNT 20000u

struct follower {
    const char *run_dir;
    uint64_t events;
    enum es_status status;
};

static void *follow(void *context)
{
    struct follower *follower = context;
    const struct es_connection_options options = {.run_dir = follower->run_dir};
    struct es_connection *connection = NULL;
    struct es_consumer *consumer = NULL;
    struct es_event event;

    follower->status = es_connection_open(&options, &connection);
    if (follower->status == ES_OK) {
        follower->status = es_consumer_open(connection, NULL, &consumer);
    }
    while (follower->status == ES_OK && follower->events < KILLED_COUNT) {
        follower->status = es_consumer_next(consumer, PATIENCE_NS, &event);
        if (follower->status == ES_E_UNREACHABLE) {
            follower->status = ES_OK; /* away for longer than usual: it comes back */
        } else if (follower->status == ES_OK && event.position != ++follower->events) {
            follower->status = ES_E_CORRUPT;
        }
    }
    es_consumer_close(consumer);
    es_connection_close(connection);
    return NULL;
}

static void a_killed_broker_costs_neither_producer_nor_consumer_an_event(void **state)
{
    struct real_client *f = *state;
    struct follower follower = {.run_dir = f->broker.run_dir};
    const struct es_event_input event = {.type = "noted", .payload = "x", .payload_bytes = 1};
    pthread_t thread;
    uint64_t submitted = 0;
    uint64_t done = 0;
    uint32_t kills = 0;

    append(f, "test:main:L0:orders:M0", "first", NULL);
    assert_int_equal(pthread_create(&thread, NULL, follow, &follower), 0);
    done = submitted = 1;
    while (done < KILLED_COUNT) {
        struct es_outcome outcomes[64];
        size_t count = 0;

        while (submitted < KILLED_COUNT) {
            char stream[64];

            (void)snprintf(stream, sizeof stream, "test:main:L0:orders:M%u",
                           (unsigned)(submitted % 50));
            if (es_producer_submit(f->producer, stream, NULL, &event, 1, NULL) != ES_OK) {
                break;
            }
            submitted++;
        }
        if (kills < 3 && done > (kills + 1) * KILLED_COUNT / 4) {
            real_broker_end(&f->broker, SIGKILL);
            real_broker_start(&f->broker);
            kills++;
        }
        assert_int_equal(es_producer_poll(f->producer, outcomes, 64, PATIENCE_NS, &count), ES_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(outcomes[i].status, ES_OK);
            assert_int_equal(outcomes[i].receipt.position, ++done);
        }
    }
    pthread_join(thread, NULL);
    assert_int_equal(kills, 3);
    assert_int_equal(follower.status, ES_OK);
    assert_int_equal(follower.events, KILLED_COUNT);
}

static void after_a_clean_stop_an_append_is_told_and_after_a_start_it_goes_on(void **state)
{
    const struct es_event_input event = {.type = "noted"};
    struct real_client *f = *state;
    struct es_outcome outcome;

    append(f, STREAM, "one", NULL);
    real_broker_end(&f->broker, SIGTERM);
    assert_int_equal(
        es_producer_append(f->producer, STREAM, NULL, &event, 1, PATIENCE_NS, &outcome),
        ES_NOT_SERVING);
    real_broker_start(&f->broker);
    append(f, STREAM, "two", &outcome);
    assert_int_equal(outcome.receipt.position, 2);
}

int main(void)
{
#define FIXED(test) cmocka_unit_test_setup_teardown(test, open_all, real_client_close)
    const struct CMUnitTest tests[] = {
        FIXED(a_receipt_says_what_the_store_says),
        FIXED(a_kept_receipt_is_proven_or_refused),
        FIXED(a_checkpoint_is_continued_or_refused),
        FIXED(an_expectation_that_does_not_hold_is_a_conflict_with_the_truth),
        FIXED(what_is_written_in_place_or_as_a_transaction_is_read_back),
        FIXED(listings_are_whole_over_many_pages_and_stop_when_told),
        FIXED(snapshots_are_saved_found_listed_and_deleted),
        FIXED(the_status_has_names),
        FIXED(a_killed_broker_costs_neither_producer_nor_consumer_an_event),
        FIXED(after_a_clean_stop_an_append_is_told_and_after_a_start_it_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
