#include "tests/support/little_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/futex.h"
#include "tests/support/shared_memory.h"

#define RECORD_BYTES_MAX (LITTLE_ARENA_BYTES / 8)
#define HANG_NS (30 * INT64_C(1000000000))

void little_require(bool is_true, const char *what)
{
    if (!is_true) {
        (void)fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

/* The bytes of a record: by lane and sequence, no two are alike. */
static void pattern(uint8_t *bytes, uint32_t size, uint64_t incarnation, uint64_t sequence)
{
    uint64_t word = incarnation * 31 + sequence * UINT64_C(0x9e3779b97f4a7c15);

    while (size > 0) {
        uint32_t part = size < sizeof word ? size : (uint32_t)sizeof word;

        memcpy(bytes, &word, part);
        word += UINT64_C(0xbf58476d1ce4e5b9);
        bytes += part;
        size -= part;
    }
}

static uint32_t size_of(uint64_t incarnation, uint64_t sequence)
{
    struct prng prng;

    prng_seed(&prng, incarnation << 32 ^ sequence);
    return 1 + (uint32_t)prng_below(&prng, RECORD_BYTES_MAX - ES_RECORD_HEADER_BYTES);
}

/* ---- broker -------------------------------------------------------------- */

void little_broker_open(struct little_broker *broker, uint32_t lane_count, uint32_t slot_count,
                        uint32_t credit_count)
{
    memset(broker, 0, sizeof *broker);
    broker->lane_count = lane_count;
    broker->slot_count = slot_count;
    broker->credit_count = credit_count;
    broker->ring_segment = shared_memory(es_ring_bytes(slot_count));
    es_ring_format(&broker->ring_segment, LITTLE_RING_ID, slot_count);
    little_require(es_ring_reader_attach(&broker->ring, &broker->ring_segment, LITTLE_RING_ID,
                                         slot_count, 0) == ES_OK,
                   "a new ring can be attached to");
    for (uint32_t i = 0; i < lane_count; i++) {
        little_broker_renew_lane(broker, i);
    }
}

void little_broker_close(struct little_broker *broker)
{
    es_segment_unmap(&broker->ring_segment);
    for (uint32_t i = 0; i < broker->lane_count; i++) {
        es_segment_unmap(&broker->lanes[i].segment);
    }
}

static void lane_attach(struct little_broker *broker, struct little_lane *lane)
{
    little_require(es_lane_reader_attach(&lane->reader, &lane->segment, lane->incarnation,
                                         LITTLE_ARENA_BYTES, broker->credit_count,
                                         lane->durable_sequence, lane->durable_offset) == ES_OK,
                   "a lane can be attached to at what is durable");
}

void little_broker_renew_lane(struct little_broker *broker, uint32_t lane_index)
{
    struct little_lane *lane = &broker->lanes[lane_index];

    es_segment_unmap(&lane->segment);
    broker->incarnation_last++;
    *lane = (struct little_lane){
        .segment = shared_memory(es_lane_bytes(LITTLE_ARENA_BYTES, broker->credit_count)),
        .incarnation = broker->incarnation_last,
    };
    es_lane_format(&lane->segment, lane->incarnation, LITTLE_ARENA_BYTES, broker->credit_count);
    lane_attach(broker, lane);
}

/* Takes one record, which must be there, and stages its answer. */
static void lane_take(struct little_broker *broker, struct little_lane *lane)
{
    uint8_t buffer[RECORD_BYTES_MAX];
    uint8_t expected[RECORD_BYTES_MAX];
    struct es_record record;
    struct es_lane_result result = {.status = ES_OK};
    uint64_t sequence = lane->reader.consumed + 1;

    little_require(es_lane_next(&lane->reader, buffer, sizeof buffer, &record) == ES_OK,
                   "a published record is whole");
    little_require(record.sequence == sequence, "a record is its lane's next");
    little_require(record.size == size_of(lane->incarnation, sequence), "a record has its size");
    pattern(expected, record.size, lane->incarnation, sequence);
    little_require(memcmp(buffer, expected, record.size) == 0, "a record has its bytes");
    broker->taken_count++;
    broker->position++;
    result.sequence = sequence;
    result.position = broker->position;
    es_lane_stage(&lane->reader, &result);
}

static uint32_t tickets_take(struct little_broker *broker, uint32_t ticket_count)
{
    struct es_ticket ticket;
    uint32_t count = 0;

    while (count < ticket_count && es_ring_take(&broker->ring, &ticket) == ES_OK) {
        struct little_lane *lane = &broker->lanes[ticket.lane_index];
        uint64_t target;

        count++;
        little_require(ticket.lane_index < broker->lane_count, "a ticket names a lane");
        target =
            es_ticket_sequence(lane->reader.consumed, broker->credit_count, ticket.sequence_low);
        if (target == 0) {
            broker->stale_count++;
            continue;
        }
        /* a dead owner's ticket may name what its successor has not published */
        while (lane->reader.consumed < target && es_lane_backlog(&lane->reader) > 0) {
            lane_take(broker, lane);
        }
    }
    return count;
}

static void durable_set(struct little_broker *broker)
{
    broker->durable_cursor = broker->ring.cursor;
    broker->durable_position = broker->position;
    for (uint32_t i = 0; i < broker->lane_count; i++) {
        broker->lanes[i].durable_sequence = broker->lanes[i].reader.consumed;
        broker->lanes[i].durable_offset = broker->lanes[i].reader.next_offset;
    }
}

static void ack_and_wake(struct little_broker *broker, uint32_t lane_count)
{
    for (uint32_t i = 0; i < lane_count; i++) {
        struct little_lane *lane = &broker->lanes[i];

        if (lane->reader.acked != lane->durable_sequence) {
            es_lane_ack(&lane->reader, lane->durable_sequence);
            es_lane_wake(&lane->reader);
        }
    }
}

bool little_broker_round(struct little_broker *broker, uint32_t ticket_count, bool restart,
                         struct prng *prng)
{
    uint64_t dies_at = restart ? prng_below(prng, 4) : 4;
    bool was_any = tickets_take(broker, ticket_count) > 0;

    if (dies_at > 0) {
        durable_set(broker);
    }
    if (dies_at > 1) {
        es_ring_free(&broker->ring, broker->durable_cursor);
    }
    if (dies_at > 2) {
        ack_and_wake(broker, dies_at == 3 ? broker->lane_count / 2 : broker->lane_count);
    }
    if (dies_at < 4) {
        little_broker_restart(broker);
    }
    return was_any;
}

void little_broker_drain_dead(struct little_broker *broker, uint32_t lane_index)
{
    struct little_lane *lane = &broker->lanes[lane_index];

    while (es_lane_backlog(&lane->reader) > 0) {
        lane_take(broker, lane);
    }
    durable_set(broker);
    ack_and_wake(broker, broker->lane_count);
}

void little_broker_restart(struct little_broker *broker)
{
    broker->restart_count++;
    broker->position = broker->durable_position;
    little_require(es_ring_reader_attach(&broker->ring, &broker->ring_segment, LITTLE_RING_ID,
                                         broker->slot_count, broker->durable_cursor) == ES_OK,
                   "a ring can be attached to at its durable cursor");
    for (uint32_t i = 0; i < broker->lane_count; i++) {
        lane_attach(broker, &broker->lanes[i]);
    }
}

void little_broker_sleep(struct little_broker *broker)
{
    const struct es_ring *rings[] = {&broker->ring.ring};

    es_doorbell_arm(&broker->doorbell, rings, 1);
    if (es_ring_has_ticket(&broker->ring)) {
        es_doorbell_disarm(&broker->doorbell);
        return;
    }
    if (es_doorbell_sleep(&broker->doorbell, es_deadline_after_ns(HANG_NS * 3)) == ES_TIMEOUT) {
        broker->lost_bell_count += es_ring_has_ticket(&broker->ring);
        little_require(es_ring_has_ticket(&broker->ring), "producers go on meanwhile");
    }
}

/* ---- producer ------------------------------------------------------------ */

void little_producer_open(struct little_producer *producer, const struct little_broker *broker,
                          uint32_t lane_index, _Atomic uint64_t *acked_position, uint64_t seed)
{
    const struct little_lane *lane = &broker->lanes[lane_index];

    memset(producer, 0, sizeof *producer);
    producer->lane_index = lane_index;
    producer->acked_position = acked_position;
    prng_seed(&producer->prng, seed);
    little_require(es_ring_attach(&producer->ring, &broker->ring_segment, LITTLE_RING_ID,
                                  broker->slot_count) == ES_OK &&
                       es_lane_writer_attach(&producer->writer, &lane->segment, lane->incarnation,
                                             LITTLE_ARENA_BYTES, broker->credit_count) == ES_OK,
                   "a producer can attach");
    producer->writer.sleep_ns_max = HANG_NS; /* only a wake ends a sleep in time */
}

/* Collects the next answer, which must be there. */
static void collect(struct little_producer *producer)
{
    struct es_lane_result result;
    uint64_t seen;

    little_require(es_lane_collect(&producer->writer, &result) == ES_OK,
                   "an answered record has a result with its tag");
    little_require(result.position > producer->position_last,
                   "positions follow the producer's own order");
    little_require(result.position >
                       producer->floors[result.sequence % producer->writer.credit_count],
                   "what was acked before this was published has a lower position");
    producer->position_last = result.position;
    seen = atomic_load(producer->acked_position);
    while (seen < result.position &&
           !atomic_compare_exchange_weak(producer->acked_position, &seen, result.position)) {
    }
}

static void wait_for(struct little_producer *producer, uint64_t sequence)
{
    producer->writer.spin_count = (uint32_t)prng_below(&producer->prng, 30);
    little_require(es_lane_wait(&producer->writer, sequence, es_deadline_after_ns(2 * HANG_NS),
                                NULL, 0) == ES_OK,
                   "a published record is answered");
    little_require(producer->writer.late_count == 0, "no wake is lost");
}

void little_producer_publish(struct little_producer *producer)
{
    struct es_lane_writer *writer = &producer->writer;
    uint64_t sequence = writer->published + 1;
    uint32_t size = size_of(writer->incarnation, sequence);
    void *payload = NULL;

    while (es_lane_claim(writer, size, &payload) == ES_FULL) {
        wait_for(producer, writer->collected + 1);
        collect(producer);
    }
    pattern(payload, size, writer->incarnation, sequence);
    producer->floors[sequence % writer->credit_count] = atomic_load(producer->acked_position);
    little_require(es_lane_publish(writer, size, 0, &sequence) == ES_OK, "a claim is published");
    little_require(es_ring_place(&producer->ring, producer->lane_index, sequence) == ES_OK,
                   "with credits, the ring never fills");
    es_doorbell_ring(&producer->ring);
}

void little_producer_finish(struct little_producer *producer)
{
    while (producer->writer.collected < producer->writer.published) {
        wait_for(producer, producer->writer.collected + 1);
        collect(producer);
    }
}
