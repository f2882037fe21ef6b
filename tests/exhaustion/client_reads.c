/*
 * Reading: heads, streams, readers, consumers, snapshots, receipts, and the waits that
 * are interrupted.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/exhaustion/story.h"

enum {
    EVENTS_READ_MAX = 2 * WRITTEN_MAX
};

/* ---- heads --------------------------------------------------------------- */

static bool count_stream(void *context, const char *stream, const struct es_head *head)
{
    uint32_t *count = context;

    REQUIRE(stream[0] == 'x' && head->sequence > 0);
    (*count)++;
    return true;
}

static enum es_status list_streams(struct story *story, uint32_t *ret_count)
{
    char prefix[TEXT_BYTES];

    *ret_count = 0;
    (void)snprintf(prefix, sizeof prefix, "x%s:", story->tag);
    return es_streams(story->connection, prefix, count_stream, ret_count);
}

static bool count_line(void *context, const char *name, uint64_t number, const char *text)
{
    uint32_t *count = context;

    (void)number;
    (void)text;
    REQUIRE(name[0] != '\0');
    (*count)++;
    return true;
}

void chapter_heads(struct story *story)
{
    struct es_head head;
    uint32_t count = 0;
    uint32_t lines = 0;

    EXPECT(story, ES_OK, es_head(story->connection, story->streams[0], &head));
    REQUIRE(head.sequence >= story_count(story, story->streams[0]));
    EXPECT(story, ES_NOT_FOUND, es_head(story->connection, "no:such:L0:stream:M1", &head));
    EXPECT(story, ES_OK, list_streams(story, &count));
    REQUIRE(count == STREAM_COUNT);
    EXPECT(story, ES_OK, es_broker_status(story->connection, count_line, &lines));
    REQUIRE(lines > 10);
}

/* ---- readers ------------------------------------------------------------- */

static void read_to_end(struct story *story, struct es_reader *reader, const char *stream,
                        bool is_backwards)
{
    struct es_event event;
    uint64_t last = 0;
    enum es_status status = ES_OK;

    (void)story_count(story, stream);
    for (uint32_t i = 0; i < EVENTS_READ_MAX && status != ES_EMPTY; i++) {
        status = es_reader_next(reader, &event);
        if (status == ES_OK) {
            uint64_t at = stream == NULL ? event.position : event.sequence;

            REQUIRE(last == 0 || (is_backwards ? at < last : at > last));
            last = at;
            story_see(story, &event);
        } else if (status != ES_EMPTY) {
            (void)story_told(story, "es_reader_next", status, ES_OK);
        }
    }
    REQUIRE(status == ES_EMPTY);
    (void)story_told(story, "es_reader_next", ES_EMPTY, ES_EMPTY);
    story_expect_all_seen(story, stream);
    es_reader_close(reader);
}

void chapter_readers(struct story *story)
{
    struct es_reader *reader = NULL;
    struct es_event event;

    for (uint32_t i = 0; i < STREAM_COUNT; i++) {
        EXPECT(story, ES_OK,
               es_reader_open_stream(story->connection, story->streams[i], 0, i % 2 == 1, &reader));
        read_to_end(story, reader, story->streams[i], i % 2 == 1);
    }
    EXPECT(
        story, ES_OK,
        es_reader_open_all(story->connection, story->filter, story->begin.position + 1, &reader));
    read_to_end(story, reader, NULL, false);
    EXPECT(story, ES_OK,
           es_reader_open_stream(story->connection, "no:such:L0:stream:M1", 0, false, &reader));
    EXPECT(story, ES_NOT_FOUND, es_reader_next(reader, &event));
    REQUIRE(es_reader_consistent_position(reader) <= story->begin.position + EVENTS_READ_MAX);
    es_reader_close(reader);
    EXPECT(story, ES_E_INVALID, es_reader_open_all(story->connection, "no filter", 1, &reader));
}

/* ---- consumers ----------------------------------------------------------- */

void follow_all(struct story *story, struct es_consumer *consumer)
{
    uint32_t missing = story_count(story, NULL);

    while (missing > 0) {
        struct es_event event;

        EXPECT(story, ES_OK, es_consumer_next(consumer, PATIENCE_NS, &event));
        story_see(story, &event);
        missing = story_missing(story);
    }
}

/* As a program with a loop of its own: by the descriptor, without waiting. */
static void follow_by_poll(struct story *story, struct es_consumer *consumer,
                           const struct written *written)
{
    struct es_event event;
    enum es_status status = ES_TIMEOUT;

    while (status != ES_OK) {
        struct pollfd look = {.fd = es_consumer_fd(consumer), .events = POLLIN};

        REQUIRE(look.fd >= 0);
        (void)poll(&look, 1, 1000);
        status = es_consumer_next(consumer, 0, &event);
        if (status != ES_TIMEOUT) {
            (void)story_told(story, "es_consumer_next", status, ES_OK);
        }
    }
    REQUIRE(event.payload_bytes == strlen(written->payload));
    REQUIRE(memcmp(event.payload, written->payload, event.payload_bytes) == 0);
}

void chapter_consumer(struct story *story)
{
    struct es_consumer_options wanted = {.filter = story->filter,
                                         .from_position = story->begin.position + 1,
                                         .epoch = story->begin.epoch,
                                         .store_id = story->begin.store_id};
    struct es_consumer_state state = {0};
    struct es_producer *producer = NULL;
    struct es_consumer *consumer = NULL;
    struct es_event event;

    EXPECT(story, ES_OK, es_producer_open(story->connection, NULL, &producer));
    EXPECT(story, ES_OK, es_consumer_open(story->connection, &wanted, &consumer));
    follow_all(story, consumer);
    append_one(story, producer, story->streams[3], NULL);
    EXPECT(story, ES_OK, es_consumer_next(consumer, PATIENCE_NS, &event));
    append_one(story, producer, story->streams[0], NULL);
    follow_by_poll(story, consumer, &story->written[story->written_count - 1]);
    es_consumer_state(consumer, &state);
    REQUIRE(state.position > story->begin.position && state.epoch == story->begin.epoch);
    es_consumer_close(consumer);

    wanted.from_position = state.position + 1; /* from the checkpoint on */
    EXPECT(story, ES_OK, es_consumer_open(story->connection, &wanted, &consumer));
    append_one(story, producer, story->streams[1], NULL);
    follow_by_poll(story, consumer, &story->written[story->written_count - 1]);
    es_consumer_close(consumer);

    wanted.from_position = state.position + 1000000; /* further than the store goes */
    EXPECT(story, ES_REGRESSED, es_consumer_open(story->connection, &wanted, &consumer));
    es_producer_close(producer);
}

/* ---- snapshots ----------------------------------------------------------- */

static bool count_snapshot(void *context, const struct es_snapshot *snapshot)
{
    uint32_t *count = context;

    REQUIRE(snapshot->sequence == 1);
    (*count)++;
    return true;
}

static enum es_status list_snapshots(struct story *story, const char *stream, uint32_t *ret_count)
{
    *ret_count = 0;
    return es_snapshots(story->connection, stream, count_snapshot, ret_count);
}

void chapter_snapshots(struct story *story)
{
    const char *stream = story->streams[0];
    struct es_snapshot snapshot;
    void *state = NULL;
    uint64_t deleted = 0;
    uint32_t count = 0;
    enum es_status status;

    EXPECT(story, ES_OK, es_snapshot_save(story->connection, stream, 7, 1, "sum", 1, "state", 5));
    EXPECT(story, ES_OK,
           es_snapshot_load(story->connection, stream, UINT64_MAX, "sum", &snapshot, &state));
    REQUIRE(snapshot.valid && snapshot.tick == 7 && memcmp(state, "state", 5) == 0);
    es_free(state);
    EXPECT(story, ES_OK, list_snapshots(story, stream, &count));
    REQUIRE(count == 1);
    do {
        status = es_snapshot_delete(story->connection, stream, UINT64_MAX, NULL, &deleted);
    } while (!(status == ES_NOT_FOUND && story->again > 0) && /* it was done, and not said */
             !story_told(story, "es_snapshot_delete", status, ES_OK));
    EXPECT(story, ES_NOT_FOUND,
           es_snapshot_load(story->connection, stream, UINT64_MAX, "sum", &snapshot, &state));
}

/* ---- receipts ------------------------------------------------------------ */

void chapter_receipts(struct story *story)
{
    struct es_connection *plain = story->connection;
    uint8_t bytes[ES_RECEIPT_BYTES_MAX];
    struct es_connection_options wanted = {.run_dir = story->run_dir, .receipt = bytes};
    struct es_receipt receipt;
    struct es_producer *producer = NULL;
    struct es_connection *showing = NULL;
    struct es_consumer *consumer = NULL;

    EXPECT(story, ES_OK, es_producer_open(plain, NULL, &producer));
    append_one(story, producer, story->streams[2], &receipt);
    es_producer_close(producer);
    EXPECT(
        story, ES_OK,
        es_receipt_pack(&receipt, story->streams[2], bytes, sizeof bytes, &wanted.receipt_bytes));
    EXPECT(story, ES_OK, es_receipt_check(plain, bytes, wanted.receipt_bytes));
    story->connection = NULL; /* what failed is told by no connection yet */
    EXPECT(story, ES_OK, es_connection_open(&wanted, &showing));
    story->connection = showing;
    EXPECT(story, ES_OK, es_producer_open(showing, NULL, &producer));
    append_one(story, producer, story->streams[2], NULL);
    EXPECT(story, ES_OK, es_consumer_open(showing, NULL, &consumer));
    es_connection_close(showing); /* its handles go on to work */
    append_one(story, producer, story->streams[2], NULL);
    es_consumer_close(consumer);
    es_producer_close(producer);
    story->connection = plain;
}

/* ---- interrupts ---------------------------------------------------------- */

void chapter_interrupts(struct story *story)
{
    const struct es_consumer_options wanted = {.filter = story->filter, .from_position = ES_LIVE};
    struct written *written = story_write(story, story->streams[0]);
    const struct es_event_input event = {
        .type = "Told", .payload = written->payload, .payload_bytes = strlen(written->payload)};
    struct es_producer *producer = NULL;
    struct es_consumer *consumer = NULL;
    struct es_event found;

    EXPECT(story, ES_OK, es_producer_open(story->connection, NULL, &producer));
    EXPECT(story, ES_OK, es_consumer_open(story->connection, &wanted, &consumer));
    es_connection_interrupt(story->connection);
    EXPECT(story, ES_INTERRUPTED,
           es_producer_append(producer, written->stream, NULL, &event, 1, ES_FOREVER, NULL));
    EXPECT(story, ES_INTERRUPTED, es_consumer_next(consumer, ES_FOREVER, &found));
    es_connection_resume(story->connection);
    append_one(story, producer, story->streams[0], NULL);
    EXPECT(story, ES_OK, es_consumer_next(consumer, PATIENCE_NS, &found));
    es_consumer_close(consumer);
    es_producer_close(producer);
}
