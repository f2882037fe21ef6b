/*
 * A subscriber of the torture: follows from the start and writes down what it is given,
 * opening anew at its last position now and then. After SIGTERM it goes on to the
 * store's head and ends.
 *
 * follower RUN_DIR BOOK CLIENT FILTER SEED
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <eventspine.h>

#include "tests/torture/book.h"
#include "tests/torture/ending.h"
#include "tests/torture/plan.h"

enum {
    BOOK_ENTRIES_MAX = 4 << 20
};

#define TIMEOUT_NS UINT64_C(50000000)
#define ANSWER_NS UINT64_C(5000000000)

struct follower {
    struct es_connection *connection;
    struct es_consumer *consumer;
    struct book book;
    uint32_t client;
    uint32_t filter;
    uint64_t position; /* of the last event written down */
    uint64_t random;
};

static void wait_a_little(void)
{
    (void)poll(NULL, 0, 5);
}

static _Noreturn void broken(struct follower *follower, enum es_status status)
{
    struct book_entry entry = {
        .client = follower->client, .position = follower->position, .status = status};

    fprintf(stderr, "follower %u: %s: %s\n", follower->client, es_status_text(status),
            es_connection_error(follower->connection));
    book_write(&follower->book, BOOK_BROKEN, &entry);
    exit(1);
}

static void begin(struct follower *follower)
{
    const struct es_consumer_options options = {.filter = plan_filter_text(follower->filter),
                                                .from_position = follower->position + 1};
    enum es_status status = ES_E_UNREACHABLE;

    es_consumer_close(follower->consumer);
    follower->consumer = NULL;
    while (status == ES_E_UNREACHABLE) {
        status = es_consumer_open(follower->connection, &options, &follower->consumer);
        if (status == ES_E_UNREACHABLE) {
            wait_a_little();
        }
    }
    if (status != ES_OK) {
        broken(follower, status);
    }
}

static void note(struct follower *follower, const struct es_event *event)
{
    struct book_entry entry = {.client = follower->client,
                               .number = plan_stream_find(event->stream),
                               .position = event->position,
                               .sequence = event->sequence};

    memcpy(entry.hash, event->hash, sizeof entry.hash);
    book_write(&follower->book, BOOK_SEEN, &entry);
    follower->position = event->position;
}

/* One event, or a wait for it. */
static void follow(struct follower *follower)
{
    struct es_event event;
    enum es_status status = es_consumer_next(follower->consumer, TIMEOUT_NS, &event);

    if (status == ES_OK) {
        note(follower, &event);
        if (plan_random(&follower->random) % 20000 == 0) {
            begin(follower);
        }
    } else if (status == ES_E_UNREACHABLE) {
        wait_a_little();
    } else if (status != ES_TIMEOUT) {
        broken(follower, status);
    }
}

int main(int argc, char **argv)
{
    static struct follower follower;
    struct es_connection_options options = {.run_dir = argc == 6 ? argv[1] : NULL,
                                            .timeout_ns = ANSWER_NS};
    struct book_entry entry = {0};
    struct es_consumer_state state = {0};
    struct es_store_head head = {0};

    if (argc != 6) {
        return 64;
    }
    ending_listen();
    book_open(argv[2], BOOK_ENTRIES_MAX, &follower.book);
    follower.client = (uint32_t)strtoul(argv[3], NULL, 10);
    follower.filter = (uint32_t)strtoul(argv[4], NULL, 10);
    follower.random = strtoull(argv[5], NULL, 10);
    entry.client = follower.client;
    entry.number = follower.filter;
    book_write(&follower.book, BOOK_FOLLOWS, &entry);
    if (es_connection_open(&options, &follower.connection) != ES_OK) {
        return 70;
    }
    begin(&follower);
    while (!is_stopping) {
        follow(&follower);
    }
    while (es_store_head(follower.connection, &head) != ES_OK) {
        wait_a_little();
    }
    while (state.position < head.position) {
        follow(&follower);
        es_consumer_state(follower.consumer, &state);
    }
    es_consumer_close(follower.consumer);
    es_connection_close(follower.connection);
    return 0;
}
