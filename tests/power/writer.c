/*
 * A client of test_power_cuts.py: appends so many transactions as it is told, and
 * writes down what it was answered, each line by one write() as soon as the answer
 * is known:
 *   A number position sequence hash    stored, with the receipt of its last event
 *   R number                           refused
 * The number alone tells streams, bytes and expectation, so that the checker knows
 * them too: each is 1 to 3 events of one stream, every seventh puts another event
 * into a second stream of another category, every fifth is refused, and all set the
 * key of this writer to the number.
 *
 *   writer RUN_DIR NAME LOG     standard input: a number a line; each is answered
 *                               "done" once so many more have been answered
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <eventspine.h>

enum {
    IN_FLIGHT_MAX = 16,
    PAYLOAD_BYTES_MAX = 2048,
    EVENTS_MAX = 3,
    STREAMS = 5,
    LINE_BYTES = 256
};

#define NEVER_SEQUENCE 1000000000U
#define PATIENCE_NS UINT64_C(60000000000)

struct writer {
    struct es_connection *connection;
    struct es_producer *producer;
    const char *name;
    int log;
    uint64_t next;
    uint64_t numbers[IN_FLIGHT_MAX * 2]; /* in flight, by ticket */
    char payloads[EVENTS_MAX + 1][PAYLOAD_BYTES_MAX];
};

static void fail(const struct writer *writer, const char *what, enum es_status status)
{
    fprintf(stderr, "writer %s: %s: %s\n", writer->name, what, es_status_text(status));
    exit(1);
}

static bool is_hopeless(uint64_t number)
{
    return number % 5 == 4;
}

static struct es_event_input event(struct writer *writer, uint64_t number, size_t index)
{
    char *text = writer->payloads[index];
    int length =
        snprintf(text, PAYLOAD_BYTES_MAX, "%s %" PRIu64 " %zu ", writer->name, number, index);
    size_t filler = (number * 7919 + index) % 700;

    memset(text + length, 'a' + (int)(number % 26), filler);
    return (struct es_event_input){.tick = number,
                                   .type = is_hopeless(number) ? "Hopeless" : "Counted",
                                   .payload = text,
                                   .payload_bytes = (size_t)length + filler};
}

static enum es_status add_operations(struct writer *writer, struct es_transaction *transaction,
                                     uint64_t number)
{
    static const struct es_expectation never = {.kind = ES_EXPECT_SEQUENCE,
                                                .sequence = NEVER_SEQUENCE};
    struct es_event_input events[EVENTS_MAX + 1];
    size_t count = number % 4 == 3 ? EVENTS_MAX : 1;
    char stream[LINE_BYTES];
    char value[32];
    int length = snprintf(value, sizeof value, "%" PRIu64, number);
    enum es_status status = ES_OK;

    for (size_t i = 0; i <= count; i++) {
        events[i] = event(writer, number, i);
    }
    snprintf(stream, sizeof stream, "power:cut:L0:first:M%s-%" PRIu64, writer->name,
             number % STREAMS);
    status = es_transaction_append(transaction, stream, is_hopeless(number) ? &never : NULL, events,
                                   count);
    if (status == ES_OK && number % 7 == 6) {
        snprintf(stream, sizeof stream, "power:cut:L0:second:M%s", writer->name);
        status = es_transaction_append(transaction, stream, NULL, &events[count], 1);
    }
    if (status == ES_OK) {
        status = es_transaction_put(transaction, ES_KEYS, "power", writer->name, ES_REVISION_ANY,
                                    value, (size_t)length);
    }
    return status;
}

static void tell(const struct writer *writer, const struct es_outcome *outcome)
{
    uint64_t number = writer->numbers[outcome->ticket % (IN_FLIGHT_MAX * 2)];
    char line[LINE_BYTES];
    int length = 0;

    if (outcome->status < 0) {
        fail(writer, "an append", outcome->status);
    }
    if (outcome->status == ES_OK) {
        length = snprintf(line, sizeof line, "A %" PRIu64 " %" PRIu64 " %" PRIu64 " ", number,
                          outcome->receipt.position, outcome->receipt.sequence);
        for (int i = 0; i < ES_HASH_BYTES; i++) {
            length += snprintf(line + length, sizeof line - (size_t)length, "%02x",
                               outcome->receipt.hash[i]);
        }
        length += snprintf(line + length, sizeof line - (size_t)length, "\n");
    } else {
        length = snprintf(line, sizeof line, "R %" PRIu64 "\n", number);
    }
    if (write(writer->log, line, (size_t)length) != length) {
        fail(writer, "its log", ES_E_IO);
    }
}

static void collect(const struct writer *writer)
{
    struct es_outcome outcomes[IN_FLIGHT_MAX];
    size_t count = 0;
    enum es_status status =
        es_producer_poll(writer->producer, outcomes, IN_FLIGHT_MAX, PATIENCE_NS, &count);

    if (status != ES_OK && status != ES_EMPTY) {
        fail(writer, "waiting for answers", status);
    }
    for (size_t i = 0; i < count; i++) {
        tell(writer, &outcomes[i]);
    }
}

static void append(struct writer *writer)
{
    uint64_t number = writer->next++;
    struct es_transaction *transaction = NULL;
    uint64_t ticket = 0;
    enum es_status status = ES_FULL;

    while (es_producer_in_flight(writer->producer) == IN_FLIGHT_MAX) {
        collect(writer);
    }
    status = es_transaction_begin(writer->producer, &transaction);
    while (status == ES_FULL) {
        collect(writer);
        status = es_transaction_begin(writer->producer, &transaction);
    }
    if (status == ES_OK) {
        status = add_operations(writer, transaction, number);
    }
    if (status != ES_OK) {
        fprintf(stderr, "%s\n", es_connection_error(writer->connection));
        fail(writer, "making a transaction", status);
    }
    status = es_transaction_submit(transaction, &ticket);
    while (status == ES_FULL) {
        collect(writer);
        status = es_transaction_submit(transaction, &ticket);
    }
    if (status != ES_OK) {
        fail(writer, "submitting", status);
    }
    writer->numbers[ticket % (IN_FLIGHT_MAX * 2)] = number;
}

int main(int argc, char **argv)
{
    const struct es_connection_options options = {.run_dir = argc == 4 ? argv[1] : NULL,
                                                  .timeout_ns = PATIENCE_NS};
    const struct es_producer_options producer = {.in_flight_max = IN_FLIGHT_MAX};
    struct writer writer = {.name = argc == 4 ? argv[2] : "", .next = 1, .log = -1};
    struct es_connection *connection = NULL;
    char line[LINE_BYTES];

    if (argc != 4) {
        return 64;
    }
    writer.log = open(argv[3], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (writer.log < 0) {
        fail(&writer, argv[3], ES_E_IO);
    }
    if (es_connection_open(&options, &connection) != ES_OK ||
        es_producer_open(connection, &producer, &writer.producer) != ES_OK) {
        fail(&writer, es_connection_error(connection), ES_E_UNREACHABLE);
    }
    writer.connection = connection;
    while (fgets(line, sizeof line, stdin) != NULL) {
        for (uint64_t left = strtoull(line, NULL, 10); left > 0; left--) {
            append(&writer);
        }
        while (es_producer_in_flight(writer.producer) > 0) {
            collect(&writer);
        }
        printf("done\n");
        fflush(stdout);
    }
    es_producer_close(writer.producer);
    es_connection_close(connection);
    return 0;
}
