#include "tests/torture/sender.h"

#include <string.h>

/* Marks a repeat among the numbers in flight. */
#define REPEAT (UINT64_C(1) << 63)

uint64_t sender_expectation(const struct plan *plan, const uint64_t known[PLAN_STREAMS])
{
    if (plan->is_hopeless) {
        return PLAN_NEVER_SEQUENCE;
    }
    return plan->is_exact && plan->append_count > 0 ? known[plan->appends[0].stream]
                                                    : BOOK_NOTHING_EXPECTED;
}

const struct es_expectation *sender_expect(uint64_t expected, struct es_expectation *ret_place)
{
    if (expected == BOOK_NOTHING_EXPECTED) {
        return NULL;
    }
    *ret_place = (struct es_expectation){
        .kind = expected == 0 ? ES_EXPECT_NONE : ES_EXPECT_SEQUENCE, .sequence = expected};
    return ret_place;
}

void sender_events(const struct plan *plan, uint32_t first, uint32_t count,
                   uint8_t (*bytes)[PLAN_PAYLOAD_BYTES_MAX], struct es_event_input *events)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t size = plan_payload(plan->client, plan->number, first + i, bytes[i]);

        events[i] = (struct es_event_input){
            .tick = plan->number, .type = "Told", .payload = bytes[i], .payload_bytes = size};
    }
}

static enum es_status add_operations(const struct sender *sender, const struct plan *plan,
                                     struct es_transaction *transaction)
{
    uint8_t bytes[PLAN_EVENTS_MAX][PLAN_PAYLOAD_BYTES_MAX];
    struct es_event_input events[PLAN_EVENTS_MAX];
    enum es_status status = ES_OK;
    uint32_t first = 0;
    char name[PLAN_NAME_BYTES];

    for (uint32_t i = 0; i < plan->append_count && status == ES_OK; i++) {
        uint32_t count = plan->appends[i].event_count;
        struct es_expectation place;

        plan_stream_name(plan->appends[i].stream, name);
        sender_events(plan, first, count, bytes, events);
        status = es_transaction_append(
            transaction, name,
            sender_expect(i == 0 ? sender->expected : BOOK_NOTHING_EXPECTED, &place), events,
            count);
        first += count;
    }
    if (plan->has_key && status == ES_OK) {
        plan_key_name(plan->client, plan->key, name);
        status = es_transaction_put(transaction, ES_KEYS, PLAN_NAME_SPACE, name, ES_REVISION_ANY,
                                    &plan->number, sizeof plan->number);
    }
    return status;
}

static enum es_status submit_transaction(struct sender *sender, const struct plan *plan,
                                         uint64_t *ret_ticket)
{
    struct es_transaction *transaction = NULL;
    enum es_status status = es_transaction_begin(sender->producer, &transaction);

    if (status == ES_OK) {
        status = add_operations(sender, plan, transaction);
        if (status == ES_OK) {
            status = es_transaction_submit(transaction, ret_ticket);
        }
        if (status != ES_OK) {
            es_transaction_abandon(transaction); /* it is rebuilt after ES_FULL */
        }
    }
    return status;
}

static enum es_status submit_append(struct sender *sender, const struct plan *plan,
                                    uint64_t *ret_ticket)
{
    uint8_t bytes[PLAN_EVENTS_MAX][PLAN_PAYLOAD_BYTES_MAX];
    struct es_event_input events[PLAN_EVENTS_MAX];
    struct es_expectation place;
    char name[PLAN_NAME_BYTES];

    plan_stream_name(plan->appends[0].stream, name);
    sender_events(plan, 0, plan->event_count, bytes, events);
    return es_producer_submit(sender->producer, name, sender_expect(sender->expected, &place),
                              events, plan->event_count, ret_ticket);
}

static enum es_status submit(struct sender *sender, const struct plan *plan, uint64_t mark)
{
    uint64_t ticket = 0;
    enum es_status status = ES_OK;

    if (sender->is_named) {
        status = es_producer_set_number(sender->producer, sender->number_base + plan->number);
    }
    if (status == ES_OK) {
        status = plan->append_count == 1 && !plan->has_key
                     ? submit_append(sender, plan, &ticket)
                     : submit_transaction(sender, plan, &ticket);
    }
    if (status == ES_OK) {
        sender->flights[ticket % (SENDER_IN_FLIGHT_MAX * 2)] =
            (struct sender_flight){plan->number | mark, sender->expected};
    }
    return status;
}

void sender_take_up(struct sender *sender, uint64_t number, uint64_t expected)
{
    sender->announced = number;
    sender->is_taken_up = true;
    sender->expected = expected;
}

enum es_status sender_repeat(struct sender *sender)
{
    struct plan plan;
    uint64_t expected = sender->expected;
    enum es_status status = ES_EMPTY;

    if (sender->stored.number != 0) {
        plan_make(sender->client, sender->stored.number, &plan);
        sender->expected = sender->stored.expected;
        status = submit(sender, &plan, REPEAT);
        sender->expected = expected;
    }
    return status;
}

enum es_status sender_submit(struct sender *sender, uint64_t number)
{
    struct plan plan;
    struct book_entry entry = {.client = sender->client, .number = number};
    enum es_status status = ES_OK;

    plan_make(sender->client, number, &plan);
    if (sender->announced != number) {
        sender->expected = sender_expectation(&plan, sender->known);
        sender->announced = number;
        sender->is_taken_up = false;
        entry.sequence = sender->expected;
        book_write(sender->book, BOOK_SENT, &entry);
    }
    status = submit(sender, &plan, 0);
    if (status == ES_OK) {
        for (uint32_t i = 0; i < plan.append_count && !plan.is_hopeless; i++) {
            sender->known[plan.appends[i].stream] += plan.appends[i].event_count;
        }
    } else if (status != ES_FULL && !sender->is_taken_up) {
        entry.status = status;
        book_write(sender->book, BOOK_NOT_SENT, &entry);
    }
    return status;
}

static void note_outcome(struct sender *sender, const struct es_outcome *outcome)
{
    const struct sender_flight *flight =
        &sender->flights[outcome->ticket % (SENDER_IN_FLIGHT_MAX * 2)];
    bool is_repeat = (flight->number & REPEAT) != 0;
    struct book_entry entry = {
        .client = sender->client, .number = flight->number & ~REPEAT, .status = outcome->status};
    struct plan plan;

    plan_make(sender->client, entry.number, &plan);
    if (outcome->status == ES_OK) {
        sender->stored = (struct sender_flight){entry.number, flight->expected};
        entry.position = outcome->receipt.position;
        entry.sequence = outcome->receipt.sequence;
        entry.revision = outcome->receipt.revision;
        entry.commit_number = (uint32_t)outcome->receipt.commit_number;
        memcpy(entry.hash, outcome->receipt.hash, sizeof entry.hash);
        if (plan.append_count > 0) { /* the shared streams have others in them as well */
            uint64_t *known = &sender->known[plan.appends[plan.append_count - 1].stream];

            *known = *known < entry.sequence ? entry.sequence : *known;
        }
    } else if (outcome->status > ES_OK) {
        entry.sequence = outcome->refusal.actual_sequence;
        entry.commit_number = outcome->refusal.reason;
        if (plan.append_count > 0) {
            sender->known[plan.appends[0].stream] = entry.sequence;
        }
    }
    if (!is_repeat) {
        book_write(sender->book, BOOK_DONE, &entry);
    } else if (outcome->status != ES_E_UNKNOWN && outcome->status != ES_FENCED) {
        book_write(sender->book, BOOK_REPEATED, &entry);
    }
}

size_t sender_collect(struct sender *sender, uint64_t timeout_ns)
{
    struct es_outcome outcomes[SENDER_IN_FLIGHT_MAX];
    size_t count = 0;
    enum es_status status =
        es_producer_poll(sender->producer, outcomes, SENDER_IN_FLIGHT_MAX, timeout_ns, &count);

    if (status != ES_OK && status != ES_E_UNKNOWN) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        note_outcome(sender, &outcomes[i]);
    }
    return count;
}
