#include "broker/drain.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/limits.h"

/* A record or request that was fetched but found no room in its batch: the next
 * batch begins with it. */
struct held {
    bool is_held;
    struct incoming incoming;
    struct es_record record;
};

struct drain {
    struct drain_config config;
    struct held held;
    int64_t swept_ns;
    uint32_t ring_next; /* where the next round begins, so that no uid is always first */
    uint8_t *buffer;    /* of record_bytes_max */
};

enum es_status drain_new(const struct drain_config *config, struct drain **ret_drain)
{
    struct drain *drain = calloc(1, sizeof *drain);

    if (drain == NULL) {
        return ES_E_NO_MEMORY;
    }
    drain->config = *config;
    drain->buffer = malloc(config->record_bytes_max);
    if (drain->buffer == NULL) {
        free(drain);
        return ES_E_NO_MEMORY;
    }
    *ret_drain = drain;
    return ES_OK;
}

void drain_free(struct drain *drain)
{
    if (drain != NULL) {
        free(drain->buffer);
        free(drain);
    }
}

/* The record is in the batch now: so far the lane has come, for 'Last'. Nothing
 * of the lane is fetched ahead of this, so the reader stands right behind it. */
static void mark_done(const struct batch *batch, struct lane *lane)
{
    lane->done_sequence = lane->reader.consumed;
    lane->done_offset = lane->reader.next_offset;
    lane->touched_batch = batch->number;
}

/* ES_FULL: it is held for the next batch. */
static enum es_status add(struct drain *drain, struct batch *batch, const struct incoming *incoming)
{
    enum es_status status = sequencer_add(drain->config.sequencer, batch, incoming);

    if (status == ES_FULL) {
        drain->held.is_held = true;
        drain->held.incoming = *incoming;
    } else if (status == ES_OK && incoming->lane != NULL) {
        mark_done(batch, incoming->lane);
    }
    return status;
}

static enum es_status add_held(struct drain *drain, struct batch *batch)
{
    struct incoming incoming = drain->held.incoming;

    if (!drain->held.is_held) {
        return ES_OK;
    }
    drain->held.is_held = false;
    return add(drain, batch, &incoming);
}

/* Takes the lane's next record, if there is one. ES_EMPTY: there is none, or the
 * lane is not believed any more. */
static enum es_status take_record(struct drain *drain, struct batch *batch, struct lane *lane)
{
    struct es_record record;
    struct incoming incoming = {.lane = lane, .uid = lane->uid};
    enum es_status status =
        es_lane_next(&lane->reader, drain->buffer, drain->config.record_bytes_max, &record);

    if (status == ES_E_CORRUPT || status == ES_FULL) {
        if (status == ES_FULL) {
            es_lane_evict(&lane->reader, "a record larger than the lane allows");
        }
        lanes_evict(drain->config.lanes, lane);
        return ES_EMPTY;
    }
    if (status != ES_OK) {
        return status;
    }
    incoming.transaction = drain->buffer;
    incoming.transaction_bytes = record.size;
    incoming.flags = record.flags;
    incoming.lane_sequence = record.sequence;
    incoming.order_broken = &lane->order_broken;
    lane->backlog_since_ns = 0;
    return add(drain, batch, &incoming);
}

static enum es_status take_requests(struct drain *drain, struct batch *batch)
{
    struct submission *submission = NULL;
    enum es_status status = ES_OK;

    while (status == ES_OK && (submission = inbox_take(drain->config.inbox)) != NULL) {
        struct incoming incoming = {.submission = submission};

        if (submission->call != NULL) {
            submission->call(submission->context);
            inbox_answer(drain->config.inbox, submission);
            continue;
        }
        incoming.transaction = submission->transaction;
        incoming.transaction_bytes = submission->transaction_bytes;
        incoming.flags = submission->flags;
        incoming.uid = submission->uid;
        status = add(drain, batch, &incoming);
    }
    return status;
}

/* Puts the ring's next ticket in hand. ES_EMPTY: there is none. */
static enum es_status next_ticket(struct drain *drain, struct lane_ring *ring)
{
    struct es_ticket ticket;
    struct lane *lane = NULL;
    enum es_status status = es_ring_take(&ring->reader, &ticket);

    if (status != ES_OK) {
        return status;
    }
    lane = lanes_lane(drain->config.lanes, ticket.lane_index);
    if (lane == NULL || lane->ring != ring) {
        counter_add(&drain->config.counters->stale_tickets, 1);
        return ES_OK;
    }
    ring->until =
        es_ticket_sequence(lane->reader.consumed, lane->reader.credit_count, ticket.sequence_low);
    if (ring->until == 0) {
        counter_add(&drain->config.counters->stale_tickets, 1);
        return ES_OK;
    }
    ring->lane = lane;
    ring->has_ticket = true;
    return ES_OK;
}

/* The records that the ticket in hand stands for: one, or more where a ticket
 * before it was lost. */
static enum es_status use_ticket(struct drain *drain, struct batch *batch, struct lane_ring *ring)
{
    while (ring->has_ticket && ring->lane->reader.consumed < ring->until) {
        enum es_status status = take_record(drain, batch, ring->lane);

        if (status == ES_EMPTY) {
            break;
        }
        if (status != ES_OK) {
            return status;
        }
    }
    ring->has_ticket = false;
    return ES_OK;
}

static enum es_status drain_ring(struct drain *drain, struct batch *batch, struct lane_ring *ring)
{
    uint32_t slot_count = ring->reader.ring.slot_count;
    enum es_status status = ES_OK;

    /* One lap at most: a flood of stale tickets must not keep the batch waiting. */
    for (uint32_t taken = 0; status == ES_OK && taken <= slot_count; taken++) {
        if (!ring->has_ticket) {
            status = next_ticket(drain, ring);
        }
        if (status == ES_OK) {
            status = use_ticket(drain, batch, ring);
        }
    }
    /* A ticket in hand, or whose last record is held, is not done: after a
     * restart it is taken again and finds what is left of it. */
    if (!ring->has_ticket && !drain->held.is_held && ring->done_cursor != ring->reader.cursor) {
        ring->done_cursor = ring->reader.cursor;
        ring->touched_batch = batch->number;
    }
    return status;
}

/* A lane whose published word has been ahead for a while without a ticket: its
 * producer died between the two, or its ticket was lost. */
static enum es_status sweep_lane(struct drain *drain, struct batch *batch, struct lane *lane,
                                 int64_t now_ns)
{
    enum es_status status = ES_OK;
    uint32_t backlog = es_lane_backlog(&lane->reader);

    if (backlog == 0) {
        lane->backlog_since_ns = 0;
        return ES_OK;
    }
    if (lane->backlog_since_ns == 0) {
        lane->backlog_since_ns = now_ns;
        return ES_OK;
    }
    if (now_ns - lane->backlog_since_ns < SWEEP_INTERVAL_NS) {
        return ES_OK;
    }
    counter_add(&drain->config.counters->sweeps, 1);
    for (uint32_t i = 0; status == ES_OK && i < backlog; i++) {
        status = take_record(drain, batch, lane);
    }
    return status == ES_EMPTY ? ES_OK : status;
}

static enum es_status sweep(struct drain *drain, struct batch *batch, int64_t now_ns)
{
    enum es_status status = ES_OK;

    if (now_ns - drain->swept_ns < SWEEP_INTERVAL_NS) {
        return ES_OK;
    }
    drain->swept_ns = now_ns;
    for (uint32_t i = 0; status == ES_OK && i < ES_LANE_COUNT_MAX; i++) {
        struct lane *lane = lanes_lane(drain->config.lanes, i);

        if (lane != NULL) {
            status = sweep_lane(drain, batch, lane, now_ns);
        }
    }
    return status;
}

enum es_status drain_fill(struct drain *drain, struct batch *batch, int64_t now_ns,
                          bool *ret_is_full)
{
    enum es_status status = add_held(drain, batch);

    if (status == ES_OK) {
        status = take_requests(drain, batch);
    }
    for (uint32_t i = 0; status == ES_OK && i < ES_RING_COUNT_MAX; i++) {
        struct lane_ring *ring =
            lanes_ring(drain->config.lanes, (drain->ring_next + i) % ES_RING_COUNT_MAX);

        if (ring != NULL) {
            status = drain_ring(drain, batch, ring);
            status = status == ES_EMPTY ? ES_OK : status;
        }
    }
    drain->ring_next = (drain->ring_next + 1) % ES_RING_COUNT_MAX;
    if (status == ES_OK) {
        status = sweep(drain, batch, now_ns);
    }
    *ret_is_full = status == ES_FULL;
    return status == ES_FULL ? ES_OK : status;
}

bool drain_needs_commit(struct drain *drain, const struct batch *batch)
{
    if (batch->answer_count > 0) {
        return true;
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(drain->config.lanes, i);

        if (ring != NULL && ring->touched_batch == batch->number &&
            ring->reader.cursor - ring->reader.freed > ring->reader.ring.slot_count / 4) {
            return true;
        }
    }
    return false;
}

bool drain_has_work(struct drain *drain)
{
    if (drain->held.is_held || inbox_has_work(drain->config.inbox)) {
        return true;
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(drain->config.lanes, i);

        if (ring != NULL && (ring->has_ticket || es_ring_has_ticket(&ring->reader))) {
            return true;
        }
    }
    return false;
}
