/*
 * Named producers: numbers, owners, and what becomes of what is on its way when the
 * broker dies and comes back, with its shared memory or without.
 */
#include <stdio.h>
#include <string.h>

#include "tests/exhaustion/story.h"

static struct es_producer *open_named(struct story *story, const char *name, bool take_over)
{
    const struct es_producer_options wanted = {
        .name = name, .take_over = take_over, .allow_gaps = false};
    struct es_producer *producer = NULL;

    EXPECT(story, ES_OK, es_producer_open(story->connection, &wanted, &producer));
    return producer;
}

/* Until nothing of it is unknown: a name knows what is stored. */
static void settle_all(struct story *story, struct es_producer *producer)
{
    EXPECT(story, ES_OK, es_producer_flush(producer, PATIENCE_NS));
}

static bool find_name(void *context, const struct es_producer_info *info)
{
    const char **wanted = context;

    if (*wanted != NULL && strcmp(info->name, *wanted) == 0) {
        *wanted = NULL;
    }
    return true;
}

static enum es_status list_names(struct story *story, const char *name, bool *ret_found)
{
    const char *wanted = name;
    enum es_status status = es_producers(story->connection, find_name, &wanted);

    *ret_found = wanted == NULL;
    return status;
}

/* The same number again: the first receipt, and nothing stored. */
static void repeat(struct story *story, struct es_producer *producer, const char *stream,
                   const struct written *first, const struct es_receipt *receipt)
{
    const struct es_event_input event = {.tick = 1,
                                         .type = "Told",
                                         .payload = first->payload,
                                         .payload_bytes = strlen(first->payload)};
    struct es_outcome outcome = {0};
    enum es_status status;

    do {
        EXPECT(story, ES_OK, es_producer_set_number(producer, 1));
        status = es_producer_append(producer, stream, NULL, &event, 1, PATIENCE_NS, &outcome);
    } while (!story_told(story, "es_producer_append", status, ES_OK));
    REQUIRE(outcome.number == 1);
    REQUIRE(outcome.receipt.position == receipt->position);
}

void chapter_named(struct story *story)
{
    char name[TEXT_BYTES];
    struct es_producer *producer = NULL;
    struct es_producer_info info;
    struct es_receipt receipt;
    struct es_receipt later;
    const struct written *first;
    bool is_found = false;

    (void)snprintf(name, sizeof name, "n%s", story->tag);
    EXPECT(story, ES_NOT_FOUND, es_producer_ask(story->connection, name, 1, &info));
    producer = open_named(story, name, false);
    append_one(story, producer, story->streams[2], &receipt);
    first = &story->written[story->written_count - 1];
    append_one(story, producer, story->streams[2], &later);
    REQUIRE(es_producer_last_number(producer) == 2);
    repeat(story, producer, story->streams[2], first, &receipt);
    submit_some(story, producer, story->streams[3], 2);
    settle_all(story, producer);
    collect_all(story, producer);
    EXPECT(story, ES_OK, es_producer_ask(story->connection, name, 2, &info));
    REQUIRE(info.is_found && info.receipt.position == later.position && info.last_number == 4);
    EXPECT(story, ES_OK, list_names(story, name, &is_found));
    REQUIRE(is_found);
    es_producer_close(producer);
}

void chapter_ownership(struct story *story)
{
    char name[TEXT_BYTES];
    const struct es_producer_options polite = {.name = name};
    struct es_producer *first = NULL;
    struct es_producer *second = NULL;
    struct es_event_input event = {.tick = 1, .type = "Told"};
    struct written *written;

    (void)snprintf(name, sizeof name, "o%s", story->tag);
    first = open_named(story, name, false);
    append_one(story, first, story->streams[2], NULL);
    EXPECT(story, ES_E_BUSY, es_producer_open(story->connection, &polite, &second));
    second = open_named(story, name, true);
    REQUIRE(es_producer_last_number(second) == 1);
    written = story_write(story, story->streams[2]);
    event.payload = written->payload;
    event.payload_bytes = strlen(written->payload);
    EXPECT(story, ES_FENCED,
           es_producer_append(first, written->stream, NULL, &event, 1, PATIENCE_NS, NULL));
    append_one(story, second, story->streams[2], NULL);
    REQUIRE(es_producer_last_number(second) == 2);
    es_producer_close(first);
    es_producer_close(second);
}

/* ---- restarts ------------------------------------------------------------ */

/* The broker is killed, is sent more, and starts again, as 'how' says. */
static void restart(struct story *story, struct es_producer *named, struct es_producer *unnamed,
                    const char *how)
{
    struct es_reader *reader = NULL;

    story_want("kill");
    submit_some(story, named, story->streams[0], 2);
    submit_some(story, unnamed, story->streams[1], 1);
    EXPECT(story, ES_E_UNREACHABLE, es_store_head(story->connection, &story->begin));
    story_want(how);
    /* What comes after has other words than what the missing broker was told with. */
    EXPECT(story, ES_E_INVALID, es_reader_open_all(story->connection, "no filter", 1, &reader));
}

void chapter_restarts(struct story *story)
{
    const struct es_consumer_options wanted = {.filter = story->filter,
                                               .from_position = story->begin.position + 1,
                                               .epoch = story->begin.epoch};
    char name[TEXT_BYTES];
    struct es_consumer *consumer = NULL;
    struct es_producer *unnamed = NULL;
    struct es_producer *named = NULL;
    uint64_t stored = 1;

    (void)snprintf(name, sizeof name, "r%s", story->tag);
    named = open_named(story, name, false);
    EXPECT(story, ES_OK, es_producer_open(story->connection, NULL, &unnamed));
    EXPECT(story, ES_OK, es_consumer_open(story->connection, &wanted, &consumer));
    append_one(story, named, story->streams[0], NULL);
    for (uint32_t i = 0; i < 2; i++) {
        restart(story, named, unnamed, i == 0 ? "start" : "start-without-memory");
        collect_all(story, unnamed);
        append_one(story, unnamed, story->streams[1], NULL);
        settle_all(story, named);
        collect_all(story, named);
        append_one(story, named, story->streams[0], NULL);
        stored += 3;
        REQUIRE(es_producer_last_number(named) == stored);
    }
    follow_all(story, consumer);
    es_consumer_close(consumer);
    es_producer_close(named);
    es_producer_close(unnamed);
}
