#include "tests/torture/visitor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libclient/producer.h"
#include "shm/doorbell.h"
#include "tests/torture/kill_point.h"
#include "tests/torture/sender.h"

enum {
    APPENDS_MAX = 24,
    EXIT_NO_BROKER = 3,
    EXIT_BROKEN = 9
};

#define ATTACH_NS UINT64_C(500000000)
#define PATIENCE_NS UINT64_C(60000000000)

const char *visitor_end_name(enum visitor_end end)
{
    static const char *const names[VISITOR_ENDS] = {"killed", "at a probe", "stopped", "exited",
                                                    "forked", "executed",   "spoilt",  "closed"};

    return names[end];
}

static _Noreturn void broken(const struct sender *sender, int32_t status)
{
    struct book_entry entry = {
        .client = sender->client, .number = sender->announced, .status = status};

    book_write(sender->book, BOOK_BROKEN, &entry);
    _exit(EXIT_BROKEN);
}

static void append_some(struct sender *sender, uint64_t *number, uint64_t *random)
{
    uint64_t count = 1 + plan_random(random) % APPENDS_MAX;
    size_t in_flight = plan_random(random) % 2 == 0 ? 1 : 16;

    for (uint64_t i = 0; i < count; i++) {
        enum es_status status = ES_FULL;

        while (es_producer_in_flight(sender->producer) >= in_flight) {
            if (sender_collect(sender, PATIENCE_NS) == 0) {
                broken(sender, ES_TIMEOUT);
            }
        }
        ++*number;
        while (status == ES_FULL) { /* of many in flight, large ones may fill the lane */
            status = sender_submit(sender, *number);
            if (status == ES_FULL && sender_collect(sender, PATIENCE_NS) == 0) {
                broken(sender, status);
            }
        }
    }
}

static void settle(struct sender *sender)
{
    while (es_producer_in_flight(sender->producer) > 0) {
        if (sender_collect(sender, PATIENCE_NS) == 0) {
            broken(sender, ES_TIMEOUT);
        }
    }
}

/* A child has the parent's handle in its memory, but neither its lane nor its rights. */
static void use_after_fork(struct sender *sender)
{
    const struct es_event_input event = {.type = "Told", .payload = "x", .payload_bytes = 1};
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        enum es_status refused = es_producer_append(sender->producer, "prod:main:L0:ca0:M0", NULL,
                                                    &event, 1, PATIENCE_NS, NULL);

        es_producer_close(sender->producer);
        _exit(refused == ES_E_FORKED ? 0 : EXIT_BROKEN);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        broken(sender, ES_E_FORKED);
    }
}

/* What no library does: noise where the next record is to be, and says that it is there. */
static void spoil_lane(struct sender *sender)
{
    struct es_attachment *attachment = &sender->producer->attachment;
    struct es_lane_writer *lane = &attachment->lane;

    if (sender->producer->is_attached) {
        memset(lane->arena + lane->next_offset, 0x5A, ES_RECORD_HEADER_BYTES);
        atomic_store_explicit(&lane->file->published, lane->published + 1, memory_order_release);
        es_doorbell_ring(&attachment->ring);
    }
}

static void end_as_planned(const struct visitor *visitor, struct sender *sender, uint64_t *number,
                           uint64_t *random)
{
    switch (visitor->end) {
    case VISITOR_EXITED: _exit(0);
    case VISITOR_FORKED:
        use_after_fork(sender);
        append_some(sender, number, random);
        break;
    case VISITOR_EXECUTED: execl("/bin/sleep", "sleep", "0.02", (char *)NULL); _exit(EXIT_BROKEN);
    case VISITOR_SPOILT_LANE:
        settle(sender);
        spoil_lane(sender);
        _exit(0);
    case VISITOR_KILLED:
    case VISITOR_KILL_POINT:
    case VISITOR_STOPPED:
    case VISITOR_CLOSED:
    case VISITOR_ENDS: break;
    }
    settle(sender);
    es_producer_close(sender->producer);
}

void visitor_live(const struct visitor *visitor)
{
    static struct sender sender;
    const struct es_connection_options options = {.run_dir = visitor->run_dir,
                                                  .timeout_ns = ATTACH_NS};
    const struct es_producer_options producer = {.name = visitor->name,
                                                 .take_over = visitor->takes_over,
                                                 .allow_gaps = visitor->name != NULL};
    struct es_connection *connection = NULL;
    uint64_t random = visitor->random;
    uint64_t number = 0;

    sender.book = visitor->book;
    sender.client = visitor->client;
    if (visitor->end == VISITOR_KILL_POINT && !kill_point_arm(visitor->probe, visitor->nth)) {
        broken(&sender, ES_NOT_FOUND);
    }
    if (es_connection_open(&options, &connection) != ES_OK ||
        es_producer_open(connection, &producer, &sender.producer) != ES_OK) {
        _exit(EXIT_NO_BROKER);
    }
    sender.is_named = visitor->name != NULL;
    sender.number_base = es_producer_last_number(sender.producer);
    append_some(&sender, &number, &random);
    end_as_planned(visitor, &sender, &number, &random);
    es_connection_close(connection);
    _exit(0);
}
