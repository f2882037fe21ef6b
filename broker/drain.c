#include "broker/drain.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/limits.h"
#include "broker/producer_rules.h"
#include "broker/share.h"

/* A record or request that was fetched but found no room in its batch: the next
 * batch begins with it. */
struct held {
    bool is_held;
    struct incoming incoming;
    struct es_record record;
};

/* A submission that has to do with a producer's name, until it is done. */
struct waiting {
    struct submission *submission; /* NULL: none waits */
    struct incoming incoming;      /* of a transaction */
    uint64_t owner;                /* incarnation of the lane that is emptied before */
    uint64_t until;                /* its last record that was published before */
    uint64_t claimant;             /* of a claim: the lane that shall own the name */
};

struct drain {
    struct drain_config config;
    struct held held;
    struct waiting waiting;
    int64_t now_ns; /* of the present filling */
    int64_t swept_ns;
    uint32_t sweep_next; /* where the next sweep begins, so that no lane is always last */
    uint32_t ring_next;  /* where the next round begins, so that no uid is always first */
    uint8_t *buffer;     /* of record_bytes_max */
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
    return add(drain, batch, &incoming);
}

/* ---- what has to do with a producer's name ------------------------------- */

static void answer_errand(struct drain *drain, enum es_status status)
{
    drain->waiting.submission->errand->status = status;
    inbox_answer(drain->config.inbox, drain->waiting.submission);
    drain->waiting.submission = NULL;
}

/* May it be claimed? Then the lane is made. Else the errand is answered. */
static void begin_claim(struct drain *drain, const struct producer_state *state)
{
    struct errand *errand = drain->waiting.submission->errand;
    enum es_status status = ES_OK;

    if (!producer_rules_may_use(state, errand->uid)) {
        answer_errand(drain, ES_E_PERMISSION);
    } else if (errand->owner_lives && !errand->take_over) {
        answer_errand(drain, ES_E_BUSY);
    } else if (sequencer_has_no_space(drain->config.sequencer)) {
        answer_errand(drain, ES_NO_SPACE); /* for a claim is written, however often it is made */
    } else {
        status = errand->make_lane(errand->context, &drain->waiting.claimant);
        if (status != ES_OK) {
            answer_errand(drain, status);
        }
    }
}

/* Finds the owner, and how far it has published by now. */
static enum es_status begin_waiting(struct drain *drain)
{
    struct waiting *waiting = &drain->waiting;
    struct errand *errand = waiting->submission->errand;
    struct cache_entry *entry = NULL;
    const struct lane *owner = NULL;
    enum es_status status =
        heads_producer(drain->config.heads,
                       errand != NULL ? errand->producer : waiting->incoming.producer, &entry);

    if (status == ES_E_CORRUPT) { /* a transaction is judged all the same */
        if (errand != NULL) {
            answer_errand(drain, status);
        }
        return ES_OK;
    }
    if (status != ES_OK) {
        return status;
    }
    owner = lanes_find(drain->config.lanes, producer_state(entry)->owner_incarnation);
    if (owner != NULL) {
        waiting->owner = owner->incarnation;
        waiting->until = owner->reader.consumed + es_lane_backlog(&owner->reader);
        waiting->incoming.owner_lives = lanes_is_in_use(owner);
    }
    if (errand != NULL) {
        errand->owner_incarnation = waiting->owner;
        errand->owner_pid = owner != NULL ? (uint32_t)owner->pid : 0;
        errand->owner_lives = waiting->incoming.owner_lives;
    }
    if (errand != NULL && errand->make_lane != NULL) {
        begin_claim(drain, producer_state(entry));
    }
    return ES_OK;
}

/* ES_FULL: the batch has no room for all of it; the next one goes on. */
static enum es_status empty_owner(struct drain *drain, struct batch *batch)
{
    struct lane *owner = lanes_find(drain->config.lanes, drain->waiting.owner);
    enum es_status status = ES_OK;

    while (status == ES_OK && owner != NULL && owner->reader.consumed < drain->waiting.until) {
        status = take_record(drain, batch, owner);
    }
    return status == ES_EMPTY ? ES_OK : status;
}

/* It is answered when the batch is finished, and with it all that came before. */
static enum es_status note_question(struct batch *batch, struct submission *submission)
{
    if (batch->answer_count >= batch->answer_count_max) {
        return ES_FULL;
    }
    batch_add_answer(batch)->submission = submission;
    return ES_OK;
}

static enum es_status go_on_waiting(struct drain *drain, struct batch *batch)
{
    struct waiting *waiting = &drain->waiting;
    struct errand *errand = NULL;
    enum es_status status = ES_OK;

    if (waiting->submission == NULL) {
        return ES_OK;
    }
    status = empty_owner(drain, batch);
    if (status != ES_OK) {
        return status;
    }
    errand = waiting->submission->errand;
    if (errand == NULL) {
        status = add(drain, batch, &waiting->incoming); /* where it finds no room, it is held */
        waiting->submission = NULL;
        return status;
    }
    if (errand->make_lane == NULL) {
        status = note_question(batch, waiting->submission);
    } else {
        status =
            producer_rules_claim(drain->config.heads, batch, errand->producer, waiting->claimant,
                                 errand->uid, waiting->submission, &errand->last_number);
    }
    if (status == ES_OK) {
        waiting->submission = NULL;
    }
    return status;
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
            status = begin_waiting(drain);
            status = status == ES_OK ? go_on_waiting(drain, batch) : status;
        } else {
            status = add(drain, batch, &incoming);
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
    struct share share;
    enum es_status status = ES_OK;

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
        status = take_record(drain, batch, lane);
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
        status = go_on_waiting(drain, batch);
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
