/*
 * Writing: producers without a name and with one, transactions, keys.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/exhaustion/story.h"

enum {
    FLIGHT_MAX = 16
};

/* What is on its way: by ticket. */
static struct written *in_flight[FLIGHT_MAX];

static struct es_event_input event_of(const struct written *written)
{
    return (struct es_event_input){.tick = 1,
                                   .type = "Told",
                                   .payload = written->payload,
                                   .payload_bytes = strlen(written->payload)};
}

void append_one(struct story *story, struct es_producer *producer, const char *stream,
                struct es_receipt *ret_receipt)
{
    struct es_outcome outcome = {0};
    enum es_status status;

    do {
        struct written *written = story_write(story, stream);
        struct es_event_input event = event_of(written);

        status = es_producer_append(producer, stream, NULL, &event, 1, PATIENCE_NS, &outcome);
        story_settle(written, status);
    } while (!story_told(story, "es_producer_append", status, ES_OK));
    if (ret_receipt != NULL) {
        *ret_receipt = outcome.receipt;
    }
}

void submit_some(struct story *story, struct es_producer *producer, const char *stream,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t ticket = 0;
        struct written *written;
        struct es_event_input event;

        do {
            written = story_write(story, stream);
            event = event_of(written);
        } while (!story_told(story, "es_producer_submit",
                             es_producer_submit(producer, stream, NULL, &event, 1, &ticket),
                             ES_OK));
        in_flight[ticket % FLIGHT_MAX] = written;
    }
}

void collect_all(struct story *story, struct es_producer *producer)
{
    while (es_producer_in_flight(producer) > 0) {
        struct es_outcome outcomes[FLIGHT_MAX];
        size_t count = 0;
        enum es_status status =
            es_producer_poll(producer, outcomes, FLIGHT_MAX, PATIENCE_NS, &count);

        if (status == ES_E_UNKNOWN) {
            REQUIRE(count > 0);
        } else if (!story_told(story, "es_producer_poll", status, ES_OK)) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            struct written *written = in_flight[outcomes[i].ticket % FLIGHT_MAX];

            REQUIRE(status == ES_OK || outcomes[i].status == status);
            REQUIRE(written != NULL);
            story_settle(written, outcomes[i].status);
        }
    }
}

/* Written straight into shared memory; another reservation is given up. */
static void reserve_one(struct story *story, struct es_producer *producer, const char *stream)
{
    struct written *written = NULL;
    uint64_t ticket = 0;
    enum es_status status;

    do {
        void *payload = NULL;

        written = story_write(story, stream);
        EXPECT(story, ES_OK,
               es_producer_reserve(producer, stream, NULL, 1, "Given up", 10, &payload));
        es_producer_abandon(producer);
        EXPECT(story, ES_OK,
               es_producer_reserve(producer, stream, NULL, 1, "Told", strlen(written->payload),
                                   &payload));
        memcpy(payload, written->payload, strlen(written->payload));
        status = es_producer_publish(producer, &ticket);
    } while (!story_told(story, "es_producer_publish", status, ES_OK));
    in_flight[ticket % FLIGHT_MAX] = written;
}

/* An append that expects what is not so: refused with what is. */
static void expect_conflict(struct story *story, struct es_producer *producer, const char *stream)
{
    const struct es_expectation none = {.kind = ES_EXPECT_NONE};
    struct es_outcome outcome = {0};
    struct written *written = story_write(story, stream);
    struct es_event_input event = event_of(written);

    EXPECT(story, ES_CONFLICT,
           es_producer_append(producer, stream, &none, &event, 1, PATIENCE_NS, &outcome));
    REQUIRE(outcome.refusal.actual_sequence > 0);
    REQUIRE(es_refusal_text(&outcome.refusal)[0] != '\0');
}

void chapter_unnamed(struct story *story)
{
    const struct es_producer_options wanted = {.in_flight_max = 8, .ordered = true};
    struct es_producer *producer = NULL;
    const char *stream = story->streams[0];

    EXPECT(story, ES_OK, es_producer_open(story->connection, &wanted, &producer));
    REQUIRE(es_producer_payload_bytes_max(producer) > 1000);
    append_one(story, producer, stream, NULL);
    expect_conflict(story, producer, stream);
    EXPECT(story, ES_OK, es_producer_resume_order(producer));
    submit_some(story, producer, stream, 3);
    reserve_one(story, producer, story->streams[1]);
    EXPECT(story, ES_OK, es_producer_flush(producer, PATIENCE_NS));
    collect_all(story, producer);
    es_producer_close(producer);
}

/* ---- transactions -------------------------------------------------------- */

/* Over two streams, a key and a read model. */
static void fill_transaction(struct story *story, struct es_transaction *transaction,
                             struct written *first, struct written *second, const char *space)
{
    const struct es_event_input events[2] = {event_of(first), event_of(second)};

    EXPECT(story, ES_OK, es_transaction_append(transaction, first->stream, NULL, &events[0], 1));
    EXPECT(story, ES_OK, es_transaction_append(transaction, second->stream, NULL, &events[1], 1));
    EXPECT(story, ES_OK,
           es_transaction_put(transaction, ES_KEYS, space, "last", ES_REVISION_ANY, second->payload,
                              strlen(second->payload)));
    EXPECT(story, ES_OK,
           es_transaction_put(transaction, ES_READ_MODELS, space, "model", ES_REVISION_ANY,
                              second->payload, strlen(second->payload)));
}

static void transact(struct story *story, struct es_producer *producer, const char *space,
                     bool is_waiting)
{
    struct written *pair[2] = {NULL, NULL};
    struct es_transaction *transaction = NULL;
    struct es_outcome outcome = {0};
    uint64_t ticket = 0;
    enum es_status status;
    size_t count = 0;

    do {
        EXPECT(story, ES_OK, es_transaction_begin(producer, &transaction));
        pair[0] = story_write(story, story->streams[1]);
        pair[1] = story_write(story, story->streams[2]);
        fill_transaction(story, transaction, pair[0], pair[1], space);
        status = is_waiting ? es_transaction_commit(transaction, PATIENCE_NS, &outcome)
                            : es_transaction_submit(transaction, &ticket);
        story_settle(pair[0], is_waiting ? status : ES_E_INVALID);
        story_settle(pair[1], is_waiting ? status : ES_E_INVALID);
    } while (!story_told(story, "es_transaction_commit", status, ES_OK));
    if (!is_waiting) {
        EXPECT(story, ES_OK, es_producer_poll(producer, &outcome, 1, PATIENCE_NS, &count));
        REQUIRE(count == 1);
        REQUIRE(outcome.ticket == ticket);
        story_settle(pair[0], outcome.status);
        story_settle(pair[1], outcome.status);
    }
    (void)printf("K %s last %s\n", space, pair[1]->payload);
}

/* Left open once, and given up. */
static void give_up(struct story *story, struct es_producer *producer, const char *space)
{
    struct es_transaction *transaction = NULL;

    EXPECT(story, ES_OK, es_transaction_begin(producer, &transaction));
    EXPECT(story, ES_OK,
           es_transaction_put(transaction, ES_KEYS, space, "never", ES_REVISION_ANY, "x", 1));
    es_transaction_abandon(transaction);
}

static void delete_model(struct story *story, struct es_producer *producer, const char *space)
{
    struct es_transaction *transaction = NULL;
    enum es_status status;

    do {
        EXPECT(story, ES_OK, es_transaction_begin(producer, &transaction));
        EXPECT(story, ES_OK,
               es_transaction_delete(transaction, ES_READ_MODELS, space, "model", ES_REVISION_ANY));
        status = es_transaction_commit(transaction, PATIENCE_NS, NULL);
    } while (!story_told(story, "es_transaction_commit", status, ES_OK));
}

void chapter_transactions(struct story *story)
{
    struct es_producer *producer = NULL;
    char space[TEXT_BYTES];

    (void)snprintf(space, sizeof space, "t%s", story->tag);
    EXPECT(story, ES_OK, es_producer_open(story->connection, NULL, &producer));
    transact(story, producer, space, true);
    transact(story, producer, space, false);
    give_up(story, producer, space);
    delete_model(story, producer, space);
    es_producer_close(producer);
}

/* ---- keys ---------------------------------------------------------------- */

static bool count_key(void *context, const char *key, uint64_t revision, const void *value,
                      size_t value_bytes)
{
    uint32_t *count = context;

    REQUIRE(key[0] != '\0' && revision > 0 && value != NULL && value_bytes == 1);
    (*count)++;
    return true;
}

static enum es_status list_keys(struct story *story, const char *space, uint32_t *ret_count)
{
    *ret_count = 0;
    return es_keys(story->connection, ES_KEYS, space, count_key, ret_count);
}

void chapter_keys(struct story *story)
{
    struct es_producer *producer = NULL;
    struct es_outcome outcome = {0};
    char space[TEXT_BYTES];
    void *value = NULL;
    size_t value_bytes = 0;
    uint64_t revision = 0;
    uint32_t count = 0;

    (void)snprintf(space, sizeof space, "k%s", story->tag);
    EXPECT(story, ES_OK, es_producer_open(story->connection, NULL, &producer));
    for (const char *key = "abc"; *key != '\0'; key++) {
        EXPECT(story, ES_OK,
               es_key_put(producer, ES_KEYS, space, key, ES_REVISION_ANY, key, 1, PATIENCE_NS,
                          &outcome));
        REQUIRE(outcome.receipt.revision > 0);
    }
    EXPECT(story, ES_CONFLICT,
           es_key_put(producer, ES_KEYS, space, "abc", 0, "x", 1, PATIENCE_NS, &outcome));
    EXPECT(story, ES_OK,
           es_key_get(story->connection, ES_KEYS, space, "bc", &revision, &value, &value_bytes));
    REQUIRE(value_bytes == 1 && memcmp(value, "b", 1) == 0);
    es_free(value);
    EXPECT(story, ES_OK, list_keys(story, space, &count));
    REQUIRE(count == 3);
    EXPECT(story, ES_OK,
           es_key_delete(producer, ES_KEYS, space, "bc", revision, PATIENCE_NS, &outcome));
    EXPECT(story, ES_NOT_FOUND,
           es_key_get(story->connection, ES_KEYS, space, "bc", &revision, &value, &value_bytes));
    (void)printf("K %s abc a\nK %s c c\n", space, space);
    es_producer_close(producer);
}
