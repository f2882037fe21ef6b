#include "tests/support/named_calls.h"

#include <string.h>

#include "shm/codec/reason.h"
#include "tests/support/fake_broker_state.h"

struct es_producer *open_with(struct client_fixture *f, struct es_producer_options options)
{
    struct es_producer *producer = NULL;

    options.name = CALLS_NAME;
    fake_require(es_producer_open(f->connection, &options, &producer) == ES_OK,
                 "the name cannot be opened");
    return producer;
}

struct es_producer *open_named(struct client_fixture *f)
{
    return open_with(f, (struct es_producer_options){0});
}

static struct es_event_input event_of(const char *payload)
{
    return (struct es_event_input){
        .type = "noted", .payload = payload, .payload_bytes = strlen(payload)};
}

enum es_status submit(struct es_producer *producer, const char *payload)
{
    const struct es_event_input event = event_of(payload);

    return es_producer_submit(producer, CALLS_STREAM, NULL, &event, 1, NULL);
}

enum es_status append(struct es_producer *producer, const char *payload, uint64_t timeout_ns,
                      struct es_outcome *outcome)
{
    const struct es_event_input event = event_of(payload);

    return es_producer_append(producer, CALLS_STREAM, NULL, &event, 1, timeout_ns, outcome);
}

struct es_outcome poll_one(struct es_producer *producer)
{
    struct es_outcome outcome;
    size_t count = 0;

    fake_require(es_producer_poll(producer, &outcome, 1, FIXTURE_PATIENCE_NS, &count) == ES_OK &&
                     count == 1,
                 "an outcome does not come");
    return outcome;
}

void assert_stored(struct client_fixture *f, uint32_t count)
{
    fake_require(fake_broker_number_count(f->broker, CALLS_NAME) == count,
                 "another count of numbers is stored");
    for (uint32_t i = 0; i < count; i++) {
        fake_require(fake_broker_number(f->broker, CALLS_NAME, i) == i + 1,
                     "the stored numbers are not 1, 2, 3 ...");
    }
}

void refuse_when_told(void *context, const void *transaction, uint32_t size,
                      struct es_lane_result *result)
{
    int *countdown = context;

    (void)transaction;
    (void)size;
    if (--*countdown == 0) {
        result->status = ES_CONFLICT;
        result->reason = ES_REASON_SEQUENCE_DIFFERS;
    }
}

void submit_held(struct client_fixture *f, struct es_producer *producer, int count)
{
    fake_broker_hold_lanes(f->broker, true);
    for (int i = 0; i < count; i++) {
        fake_require(submit(producer, "x") == ES_OK, "one is not taken");
    }
}

void lose_lane(struct client_fixture *f, uint32_t stored)
{
    fake_broker_lose_memory(f->broker, stored);
    fake_broker_hold_lanes(f->broker, false);
}

void poll_numbers(struct es_producer *producer, uint64_t last)
{
    for (uint64_t number = 1; number <= last; number++) {
        fake_require(poll_one(producer).number == number, "outcomes come out of order");
    }
}
