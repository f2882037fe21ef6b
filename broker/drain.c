#include "broker/drain.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/drain_state.h"
#include "broker/limits.h"
#include "broker/share.h"

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

enum es_status drain_add(struct drain *drain, struct batch *batch, const struct incoming *incoming)
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
    return drain_add(drain, batch, &incoming);
}

enum es_status drain_take_record(struct drain *drain, struct batch *batch, struct lane *lane)
{
    struct es_record record;
    struct incoming incoming = {.lane = lane, .uid = lane->uid};
    enum es_status status = ES_EMPTY;

    if (lane->reader.evicted_why != NULL) {
        return ES_EMPTY; /* that was said when it was cut off; its tickets go on for a while */
    }
    status = es_lane_next(&lane->reader, drain->buffer, drain->config.record_bytes_max, &record);
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
    if (lane->is_producer) {
        incoming.producer = es_text_make(lane->name, lane->name_bytes);
        incoming.incarnation = lane->incarnation;
    }
    lane->backlog_since_ns = 0;
    lane->ring->vain_turns = 0;
    return drain_add(drain, batch, &incoming);
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
        incoming.producer = submission_producer(submission);
        if (submission->errand != NULL || incoming.producer.size > 0) {
            drain->waiting = (struct waiting){.submission = submission, .incoming = incoming};
            status = drain_begin_waiting(drain);
            status = status == ES_OK ? drain_go_on_waiting(drain, batch) : status;
        } else {
            status = drain_add(drain, batch, &incoming);
        }
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
        enum es_status status = drain_take_record(drain, batch, ring->lane);

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
    const uint32_t answers_before = batch->answer_count;
    struct share share;
    enum es_status status = ES_OK;
    bool is_called = share_is_ready(ring, drain->now_ns);

    if (drain->now_ns < ring->rests_until_ns) {
        return ES_EMPTY;
    }
    share_begin(&share, drain->config.lanes, ring, batch, drain->now_ns);
    while (status == ES_OK && share_take_ticket(&share, ring, batch, drain->now_ns)) {
        if (!ring->has_ticket) {
            status = next_ticket(drain, ring);
        }
        if (status == ES_OK) {
            ring->active_ns = drain->now_ns;
            status = use_ticket(drain, batch, ring);
        }
    }
    if (is_called && batch->answer_count == answers_before && !drain->held.is_held) {
        share_note_vain_turn(drain->config.lanes, ring, drain->now_ns);
    }
    /* A ticket in hand, or whose last record is held, is not done: after a
     * restart it is taken again and finds what is left of it. */
    if (!ring->has_ticket && !drain->held.is_held && ring->done_cursor != ring->reader.cursor) {
        ring->done_cursor = ring->reader.cursor;
        ring->touched_batch = batch->number;
    }
    return status;
}

/* What a sweep has taken of one ring's lanes: no more than a share of a batch. */
struct swept {
    uint32_t answers;
    uint32_t bytes;
};

/* A lane whose published word has been ahead for a while without a ticket: its
 * producer died between the two, or its ticket was lost. */
static enum es_status sweep_lane(struct drain *drain, struct batch *batch, struct lane *lane,
                                 int64_t now_ns, struct swept *of_ring)
{
    const uint32_t answers_before = batch->answer_count;
    const uint32_t bytes_before = batch->bytes;
    struct share share;
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
    share_begin(&share, drain->config.lanes, lane->ring, batch, now_ns);
    share.answers_max -= of_ring->answers;
    share.bytes_max -= of_ring->bytes;
    for (uint32_t i = 0; status == ES_OK && i < backlog; i++) {
        if (!share_has_room(&share, batch)) {
            lane->backlog_since_ns = now_ns;
            drain->sweep_next = i > 0 ? lane->index : drain->sweep_next; /* next: who is behind */
            break;
        }
        status = drain_take_record(drain, batch, lane);
    }
    of_ring->answers += batch->answer_count - answers_before;
    of_ring->bytes += batch->bytes - bytes_before;
    return status == ES_EMPTY ? ES_OK : status;
}

static enum es_status sweep(struct drain *drain, struct batch *batch, int64_t now_ns)
{
    struct swept swept[ES_RING_COUNT_MAX] = {{0}};
    uint32_t first = (drain->sweep_next + 1) % ES_LANE_COUNT_MAX;
    enum es_status status = ES_OK;

    if (now_ns - drain->swept_ns < SWEEP_INTERVAL_NS) {
        return ES_OK;
    }
    drain->swept_ns = now_ns;
    drain->sweep_next = first;
    for (uint32_t i = 0; status == ES_OK && i < ES_LANE_COUNT_MAX; i++) {
        struct lane *lane = lanes_lane(drain->config.lanes, (first + i) % ES_LANE_COUNT_MAX);

        if (lane != NULL) {
            status = sweep_lane(drain, batch, lane, now_ns, &swept[lane->ring->index]);
        }
    }
    return status;
}

/* In turn: the next batch begins behind the ring that found no room any more. */
static enum es_status drain_rings(struct drain *drain, struct batch *batch)
{
    uint32_t first = drain->ring_next;
    enum es_status status = ES_OK;

    drain->ring_next = (first + 1) % ES_RING_COUNT_MAX;
    for (uint32_t i = 0; status == ES_OK && i < ES_RING_COUNT_MAX; i++) {
        uint32_t index = (first + i) % ES_RING_COUNT_MAX;
        struct lane_ring *ring = lanes_ring(drain->config.lanes, index);

        if (ring != NULL) {
            status = drain_ring(drain, batch, ring);
            status = status == ES_EMPTY ? ES_OK : status;
        }
        if (status == ES_FULL) {
            drain->ring_next = (index + 1) % ES_RING_COUNT_MAX;
        }
    }
    return status;
}

enum es_status drain_fill(struct drain *drain, struct batch *batch, int64_t now_ns,
                          bool *ret_is_full)
{
    enum es_status status = ES_OK;

    drain->now_ns = now_ns;
    status = add_held(drain, batch);
    if (status == ES_OK) {
        status = drain_go_on_waiting(drain, batch);
    }
    if (status == ES_OK) {
        status = take_requests(drain, batch);
    }
    if (status == ES_OK && now_ns - drain->swept_ns >= SWEEP_LATE_NS) {
        status = sweep(drain, batch, now_ns); /* full batches have kept it from its turn */
    }
    if (status == ES_OK) {
        status = drain_rings(drain, batch);
    }
    if (status == ES_OK) {
        status = sweep(drain, batch, now_ns);
    }
    *ret_is_full = status == ES_FULL;
    return status == ES_FULL ? ES_OK : status;
}

void drain_end(struct drain *drain)
{
    if (drain->waiting.submission != NULL) {
        inbox_refuse(drain->config.inbox, drain->waiting.submission);
        drain->waiting.submission = NULL;
    }
    if (drain->held.is_held && drain->held.incoming.submission != NULL) {
        inbox_refuse(drain->config.inbox, drain->held.incoming.submission);
        drain->held.is_held = false;
    }
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

bool drain_has_work(struct drain *drain, int64_t now_ns)
{
    if (drain->held.is_held || drain->waiting.submission != NULL ||
        inbox_has_work(drain->config.inbox)) {
        return true;
    }
    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(drain->config.lanes, i);

        if (ring != NULL && share_is_ready(ring, now_ns)) {
            return true;
        }
    }
    return false;
}
