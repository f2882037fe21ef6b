/*
 * A resident of the torture: appends through the ring until SIGTERM, with few or many
 * in flight, through however many brokers come and go, on one handle. With a name it
 * first sends what its book has no answer for, and repeats something now and then; it
 * ends when another has taken its name over.
 *
 * appender RUN_DIR BOOK CLIENT SEED RATE [NAME [take]]    at most RATE transactions a second
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/torture/ending.h"
#include "tests/torture/sender.h"

enum {
    BOOK_ENTRIES_MAX = 4 << 20
};

#define PATIENCE_NS UINT64_C(60000000000)

static void wait_a_little(void)
{
    (void)poll(NULL, 0, 1);
}

/* Not faster than RATE: the books are to be read again in finite time. */
static void keep_pace(uint64_t begun_ns, uint64_t sent, uint64_t rate)
{
    while (!is_stopping && (book_now_ns() - begun_ns) / 1000 * rate < sent * 1000000) {
        wait_a_little();
    }
}

/* Until what is in flight is less than 'limit'. Nothing for a minute is a broken promise:
 * the broker comes back each time within a second or two. */
static void collect_down_to(struct sender *sender, size_t limit)
{
    while (es_producer_in_flight(sender->producer) > limit) {
        if (sender_collect(sender, PATIENCE_NS) == 0) {
            struct book_entry entry = {.client = sender->client, .number = sender->announced};

            book_write(sender->book, BOOK_BROKEN, &entry);
            exit(1);
        }
    }
}

/* False: it was not sent. */
static bool append(struct sender *sender, uint64_t number, size_t in_flight)
{
    enum es_status status = ES_FULL;

    while (status == ES_FULL) {
        collect_down_to(sender, in_flight - 1);
        status = sender_submit(sender, number);
        if (status == ES_FULL) {
            collect_down_to(sender, es_producer_in_flight(sender->producer) - 1);
        }
    }
    if (status == ES_FENCED) {
        is_stopping = 1; /* the name is another's now */
    } else if (status != ES_OK) {
        wait_a_little(); /* there is no broker, or it stops: the book says that it was not sent */
    }
    (void)sender_collect(sender, 0);
    return status == ES_OK;
}

/* What the book tells of one that was killed: each number without an answer is sent again,
 * one by one, until there is a broker to send it to, and is then stored once, or never.
 * Returns the last number in the book. */
static uint64_t make_up(struct sender *sender)
{
    uint64_t entry_count = sender->book->count;
    uint64_t last = 0;

    for (uint64_t i = 0; i < entry_count; i++) {
        const struct book_entry *entry = &sender->book->entries[i];
        bool is_answered = entry->kind != BOOK_SENT;

        last = entry->number > last ? entry->number : last;
        for (uint64_t j = i; j < entry_count && !is_answered; j++) {
            const struct book_entry *other = &sender->book->entries[j];

            is_answered = other->number == entry->number &&
                          (other->kind == BOOK_NOT_SENT ||
                           (other->kind == BOOK_DONE && other->status != ES_E_UNKNOWN));
        }
        if (!is_answered) {
            sender_take_up(sender, entry->number, entry->sequence);
            while (!is_stopping && !append(sender, entry->number, 1)) {
                /* there is no broker now: the number is owed all the same */
            }
            collect_down_to(sender, 0);
        }
    }
    return last;
}

static void repeat(struct sender *sender)
{
    collect_down_to(sender, 0);
    if (sender_repeat(sender) == ES_OK) {
        collect_down_to(sender, 0);
    }
}

static void open_producer(struct sender *sender, struct es_connection *connection, const char *name,
                          bool takes_over)
{
    const struct es_producer_options options = {.in_flight_max = SENDER_IN_FLIGHT_MAX,
                                                .timeout_ns = PATIENCE_NS,
                                                .name = name,
                                                .take_over = takes_over,
                                                .allow_gaps = name != NULL};

    sender->is_named = name != NULL;

    while (es_producer_open(connection, &options, &sender->producer) != ES_OK) {
        if (is_stopping) {
            exit(0);
        }
        wait_a_little();
    }
}

int main(int argc, char **argv)
{
    static struct sender sender;
    struct es_connection_options options = {.run_dir = argc >= 6 ? argv[1] : NULL,
                                            .timeout_ns = PATIENCE_NS};
    struct es_connection *connection = NULL;
    struct book book;
    uint64_t random = 0;
    uint64_t begun_ns = 0;
    uint64_t last = 0;

    if (argc < 6 || argc > 8) {
        return 64;
    }
    ending_listen();
    book_open(argv[2], BOOK_ENTRIES_MAX, &book);
    sender.book = &book;
    sender.client = (uint32_t)strtoul(argv[3], NULL, 10);
    random = strtoull(argv[4], NULL, 10);
    if (es_connection_open(&options, &connection) != ES_OK) {
        return 70;
    }
    open_producer(&sender, connection, argc > 6 ? argv[6] : NULL, argc > 7);
    if (book.count == 0) { /* a name may have had others before */
        sender.number_base = es_producer_last_number(sender.producer);
    }
    last = sender.is_named ? make_up(&sender) : 0;
    begun_ns = book_now_ns();
    for (uint64_t number = last + 1; !is_stopping; number++) {
        size_t in_flight = number / 256 % 2 == 0 ? 1 + plan_random(&random) % 4
                                                 : 1 + plan_random(&random) % SENDER_IN_FLIGHT_MAX;

        keep_pace(begun_ns, number - last, strtoull(argv[5], NULL, 10));
        (void)append(&sender, number, in_flight);
        if (sender.is_named && number % 64 == 0) {
            repeat(&sender);
        }
    }
    collect_down_to(&sender, 0);
    es_producer_close(sender.producer);
    es_connection_close(connection);
    return 0;
}
