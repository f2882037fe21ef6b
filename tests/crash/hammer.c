/*
 * A producer for test_kill_broker.py: appends as fast as it can, without end, and
 * says on stdout what became of each append, one line each, written at once:
 *   A number position sequence hash    acknowledged, with the receipt
 *   R number status                    refused
 *   U number                           unknown: sent, and no answer will come
 *   F number status                    not sent
 *   O number                           ordered: this one and those after it follow a resume
 * The number alone tells stream, bytes and expectation, so that the checker knows
 * them too. SIGTERM: appends no more, waits for what is in flight, says "E".
 *
 * hammer RUN_DIR NAME STREAM ordered|free
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <eventspine.h>

enum {
    IN_FLIGHT_MAX = 64,
    PAYLOAD_BYTES_MAX = 2048,
    EVENTS_MAX = 3
};

#define NEVER_SEQUENCE 1000000000U
#define PATIENCE_NS UINT64_C(20000000000)

struct hammer {
    struct es_producer *producer;
    const char *name;
    const char *stream;
    bool is_ordered;
    uint64_t numbers[IN_FLIGHT_MAX * 2]; /* in flight, by ticket */
    uint8_t payloads[EVENTS_MAX][PAYLOAD_BYTES_MAX];
};

static volatile sig_atomic_t is_stopping;

static void stop(int signal_number)
{
    (void)signal_number;
    is_stopping = 1;
}

/* No broker: comes back when asked to stop, or to try again. */
static void wait_a_little(void)
{
    (void)poll(NULL, 0, 1);
}

static void say(const char *line, int length)
{
    if (write(STDOUT_FILENO, line, (size_t)length) != length) {
        _exit(2);
    }
}

/* Every fifth one expects what is never there. */
static bool is_hopeless(uint64_t number)
{
    return number % 5 == 4;
}

static size_t fill(struct hammer *hammer, uint64_t number, struct es_event_input *events)
{
    size_t count = number % 7 == 3 ? EVENTS_MAX : 1;

    for (size_t i = 0; i < count; i++) {
        char *text = (char *)hammer->payloads[i];
        int length =
            snprintf(text, PAYLOAD_BYTES_MAX, "\xC1 %s %" PRIu64 " %zu ", hammer->name, number, i);
        size_t filler = number * 7919 % 1500;

        memset(text + length, 'x', filler);
        events[i] = (struct es_event_input){.tick = number,
                                            .type = is_hopeless(number) ? "Hopeless" : "Counted",
                                            .payload = text,
                                            .payload_bytes = (size_t)length + filler};
    }
    return count;
}

/* True: it was refused. */
static bool tell(const struct hammer *hammer, const struct es_outcome *outcome)
{
    uint64_t number = hammer->numbers[outcome->ticket % (IN_FLIGHT_MAX * 2)];
    char line[256];
    int length = 0;

    if (outcome->status == ES_OK) {
        length = snprintf(line, sizeof line, "A %" PRIu64 " %" PRIu64 " %" PRIu64 " ", number,
                          outcome->receipt.position, outcome->receipt.sequence);
        for (int i = 0; i < ES_HASH_BYTES; i++) {
            length += snprintf(line + length, sizeof line - (size_t)length, "%02x",
                               outcome->receipt.hash[i]);
        }
        length += snprintf(line + length, sizeof line - (size_t)length, "\n");
    } else if (outcome->status > 0) {
        length = snprintf(line, sizeof line, "R %" PRIu64 " %d\n", number, (int)outcome->status);
    } else {
        length = snprintf(line, sizeof line, "U %" PRIu64 "\n", number);
    }
    say(line, length);
    return outcome->status > 0;
}

/* Tells what has come, at least one; true: one of them was refused. */
static bool collect(struct hammer *hammer)
{
    struct es_outcome outcomes[IN_FLIGHT_MAX];
    size_t count = 0;
    bool is_refused = false;
    enum es_status status =
        es_producer_poll(hammer->producer, outcomes, IN_FLIGHT_MAX, PATIENCE_NS, &count);

    if (status != ES_OK && status != ES_E_UNKNOWN && status != ES_EMPTY) {
        fprintf(stderr, "%s: poll: %s\n", hammer->name, es_status_text(status));
        exit(3);
    }
    for (size_t i = 0; i < count; i++) {
        is_refused = tell(hammer, &outcomes[i]) || is_refused;
    }
    return is_refused;
}

static void resume(struct hammer *hammer, uint64_t number)
{
    char line[64];

    while (es_producer_in_flight(hammer->producer) > 0) {
        (void)collect(hammer);
    }
    if (es_producer_resume_order(hammer->producer) != ES_OK) {
        exit(4);
    }
    say(line, snprintf(line, sizeof line, "O %" PRIu64 "\n", number));
}

static void append(struct hammer *hammer, uint64_t number)
{
    static const struct es_expectation never = {.kind = ES_EXPECT_SEQUENCE,
                                                .sequence = NEVER_SEQUENCE};
    struct es_event_input events[EVENTS_MAX];
    size_t count = fill(hammer, number, events);
    enum es_status status = ES_FULL;
    uint64_t ticket = 0;
    char line[64];

    while (status == ES_FULL) {
        status = es_producer_submit(hammer->producer, hammer->stream,
                                    is_hopeless(number) ? &never : NULL, events, count, &ticket);
        if (status == ES_FULL && collect(hammer) && hammer->is_ordered) {
            resume(hammer, number);
        }
    }
    if (status != ES_OK) {
        say(line, snprintf(line, sizeof line, "F %" PRIu64 " %d\n", number, (int)status));
        wait_a_little();
        return;
    }
    hammer->numbers[ticket % (IN_FLIGHT_MAX * 2)] = number;
}

int main(int argc, char **argv)
{
    struct hammer hammer = {.name = argc == 5 ? argv[2] : NULL};
    struct es_connection_options options = {.run_dir = argc == 5 ? argv[1] : NULL,
                                            .timeout_ns = PATIENCE_NS};
    struct es_producer_options producer = {.in_flight_max = IN_FLIGHT_MAX};
    struct es_connection *connection = NULL;

    if (argc != 5) {
        return 64;
    }
    hammer.stream = argv[3];
    hammer.is_ordered = strcmp(argv[4], "ordered") == 0;
    producer.ordered = hammer.is_ordered;
    signal(SIGTERM, stop);
    if (es_connection_open(&options, &connection) != ES_OK) {
        return 1;
    }
    while (es_producer_open(connection, &producer, &hammer.producer) != ES_OK) {
        if (is_stopping) {
            return 0;
        }
        wait_a_little();
    }
    for (uint64_t number = 1; !is_stopping; number++) {
        append(&hammer, number);
    }
    while (es_producer_in_flight(hammer.producer) > 0) {
        (void)collect(&hammer);
    }
    es_producer_close(hammer.producer);
    es_connection_close(connection);
    say("E\n", 2);
    return 0;
}
