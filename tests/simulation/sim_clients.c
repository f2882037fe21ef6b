#include "tests/simulation/sim_clients.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "shm/control.h"
#include "shm/doorbell.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_model.h"

enum {
    PRODUCERS = 5,
    REQUESTS = 6,
    GONE_MAX = 64,
    FIRST_PID = 1000
};

enum producer_at {
    AT_NOTHING,   /* no lane */
    AT_ATTACHING, /* asked for one */
    AT_LEISURE,
    AT_CLAIMED,   /* writes into its claim */
    AT_PUBLISHED, /* the ticket is to be placed */
    AT_PLACED     /* the bell is to be rung */
};

struct producer {
    bool is_alive;
    pid_t pid;
    uint32_t uid;
    enum producer_at at;
    struct sim_attach attach;
    struct es_segment control_segment;
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_control control;
    struct es_ring ring;
    struct es_lane_writer writer;
    struct es_placement placement;
    uint32_t lane; /* in the model */
    bool is_ordered;
    struct op *writing;
    uint32_t writing_bytes;
    struct op *flying[ES_CREDIT_COUNT_MAX]; /* published, not answered, by sequence */
};

struct requester {
    bool is_busy;
    struct op *op;
    struct sim_request request;
    uint8_t transaction[OP_BYTES_MAX];
};

static struct producer producers[PRODUCERS];
static struct requester requesters[REQUESTS];
static pid_t next_pid;
static pid_t gone[GONE_MAX]; /* processes whose end the broker has not noticed */
static uint32_t gone_count;

void sim_clients_begin(void)
{
    memset(producers, 0, sizeof producers);
    memset(requesters, 0, sizeof requesters);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i].uid = SIM_FIRST_UID + i % 2;
        producers[i].control_segment = ES_SEGMENT_NONE;
        producers[i].ring_segment = ES_SEGMENT_NONE;
        producers[i].lane_segment = ES_SEGMENT_NONE;
    }
    next_pid = FIRST_PID;
    gone_count = 0;
}

bool sim_clients_is_alive(pid_t pid)
{
    for (int i = 0; i < PRODUCERS; i++) {
        if (producers[i].is_alive && producers[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static struct op **flying_at(struct producer *producer, uint64_t sequence)
{
    return &producer->flying[sequence % ES_CREDIT_COUNT_MAX];
}

/* ---- the lives of producers ------------------------------------------------------ */

static void let_go(struct producer *producer, enum op_fate fate)
{
    if (producer->at >= AT_LEISURE) {
        for (uint64_t sequence = producer->writer.collected + 1;
             sequence <= producer->writer.published; sequence++) {
            model_unanswered(*flying_at(producer, sequence), fate);
        }
        es_segment_unmap(&producer->control_segment);
        es_segment_unmap(&producer->ring_segment);
        es_segment_unmap(&producer->lane_segment);
    }
    if (producer->writing != NULL) {
        producer->writing->fate = FATE_UNSENT;
        producer->writing = NULL;
    }
    producer->at = AT_NOTHING;
}

static void die(struct producer *producer, enum op_fate fate)
{
    let_go(producer, fate);
    producer->is_alive = false;
    if (gone_count < GONE_MAX) {
        gone[gone_count++] = producer->pid;
    }
}

static void attached(struct sim_attach *attach)
{
    struct producer *producer = attach->context;

    sim_trace(20, (uint64_t)attach->status);
    producer->at = attach->status == ES_OK ? AT_LEISURE : AT_NOTHING;
    producer->lane = UINT32_MAX; /* not mapped yet */
}

static void attach(struct producer *producer)
{
    if (!sim_broker_is_serving() || (sim.is_checking && sim_clients_are_done())) {
        return;
    }
    producer->attach = (struct sim_attach){
        .uid = producer->uid, .pid = producer->pid, .done = attached, .context = producer};
    producer->at = AT_ATTACHING;
    sim_broker_attach(&producer->attach);
}

static void must(enum es_status status)
{
    if (status != ES_OK) {
        sim_violation("a producer was given memory that it cannot use: %d", (int)status);
    }
}

/* The descriptors have come: maps what they name. */
static void map(struct producer *producer)
{
    const struct lanes_attachment *attachment = &producer->attach.attachment;
    struct es_control_ring ring;

    must(es_segment_map(attachment->control_fd, es_control_bytes(), false,
                        &producer->control_segment));
    must(es_control_attach(&producer->control, &producer->control_segment));
    must(es_control_ring(&producer->control, attachment->ring_index, &ring));
    must(es_segment_map(attachment->ring_fd, es_ring_bytes(sim.geometry.slot_count), true,
                        &producer->ring_segment));
    must(es_ring_attach(&producer->ring, &producer->ring_segment, ring.ring_id,
                        sim.geometry.slot_count));
    must(es_segment_map(attachment->lane_fd,
                        es_lane_bytes(sim.geometry.arena_bytes, sim.geometry.credit_count), true,
                        &producer->lane_segment));
    must(es_lane_writer_attach(&producer->writer, &producer->lane_segment, attachment->incarnation,
                               sim.geometry.arena_bytes, sim.geometry.credit_count));
    producer->lane = model_new_lane();
    producer->is_ordered = sim_one_in(3);
    if (producer->lane == UINT32_MAX) {
        sim_violation("too many lives of producers");
    }
}

/* Whether the broker still knows the lane; one that starts may be about to give it up. */
static bool is_known(const struct producer *producer)
{
    struct es_control_lane entry;

    return !sim_broker_is_serving() ||
           (es_control_lane(&producer->control, producer->attach.attachment.lane_index, &entry) ==
                ES_OK &&
            entry.incarnation == producer->attach.attachment.incarnation);
}

/* ---- steps of a producer ----------------------------------------------------------- */

static bool collect(struct producer *producer)
{
    struct es_lane_result result;
    struct op *op = NULL;
    enum es_status status = es_lane_collect(&producer->writer, &result);

    if (status == ES_EMPTY) {
        return false;
    }
    op = *flying_at(producer, result.sequence);
    if (status != ES_OK || op == NULL || op->lane_sequence != result.sequence) {
        sim_violation("a lane has a result without its record");
    }
    model_answered(op, &result);
    return true;
}

static bool claim(struct producer *producer)
{
    uint8_t bytes[OP_BYTES_MAX];
    void *payload = NULL;
    struct op *op = NULL;

    if (sim.is_checking ||
        producer->writer.published - producer->writer.collected == sim.geometry.credit_count) {
        return false;
    }
    op = op_new(producer->uid);
    if (op == NULL) {
        return false;
    }
    op->lane = producer->lane;
    op->flags = producer->is_ordered ? ES_RECORD_ORDERED : 0;
    op->flags |= producer->is_ordered && sim_one_in(4) ? ES_RECORD_RESUME : 0;
    producer->writing_bytes = op_encode(op, bytes);
    if (es_lane_claim(&producer->writer, producer->writing_bytes, &payload) != ES_OK) {
        sim_violation("a lane has credits and no room");
    }
    memcpy(payload, bytes, producer->writing_bytes / (sim_one_in(4) ? 2 : 1));
    memcpy(payload, bytes, producer->writing_bytes);
    producer->writing = op;
    producer->at = AT_CLAIMED;
    return true;
}

static void publish(struct producer *producer)
{
    struct op *op = producer->writing;
    uint64_t sequence = 0;

    model_sent(op);
    must(es_lane_publish(&producer->writer, producer->writing_bytes, op->flags, &sequence));
    op->lane_sequence = sequence;
    *flying_at(producer, sequence) = op;
    producer->writing = NULL;
    producer->placement = (struct es_placement){
        .lane_index = producer->attach.attachment.lane_index, .sequence = sequence};
    producer->at = AT_PUBLISHED;
}

static bool step(struct producer *producer)
{
    switch (producer->at) {
    case AT_NOTHING: attach(producer); return producer->at == AT_ATTACHING;
    case AT_ATTACHING: return false;
    case AT_CLAIMED: publish(producer); return true;
    case AT_PUBLISHED:
        if (es_ring_step(&producer->ring, &producer->placement) == ES_OK || sim_one_in(200)) {
            producer->at = AT_PLACED; /* or it gives up, as es_ring_place() does */
        }
        return true;
    case AT_PLACED:
        es_doorbell_ring(&producer->ring);
        producer->at = AT_LEISURE;
        return true;
    default: break;
    }
    if (producer->lane == UINT32_MAX) {
        map(producer);
        return true;
    }
    if (!is_known(producer)) {
        if ((sim.spoilt_uids >> (producer->uid - SIM_FIRST_UID) & 1U) == 0) {
            sim_violation("the lane of a living producer was given up");
        }
        let_go(producer, FATE_UNKNOWN);
        return true;
    }
    return collect(producer) || claim(producer);
}

static bool step_producer(struct producer *producer)
{
    if (!producer->is_alive) {
        if (sim.is_checking || !sim_one_in(4)) {
            return false;
        }
        producer->is_alive = true;
        producer->pid = next_pid++;
        return true;
    }
    return step(producer);
}

/* ---- requests -------------------------------------------------------------------- */

static void answered(struct sim_request *request)
{
    struct requester *requester = request->context;
    struct op *op = requester->op;

    requester->is_busy = false;
    switch (request->status) {
    case ES_OK: model_answered(op, &request->result); break;
    case ES_NOT_SERVING:
    case ES_FULL:
        if (op->is_stored && op->sent_count == 1) {
            sim_violation("operation %u was not taken and is stored", op->id);
        }
        model_unanswered(op, op->sent_count == 1 ? FATE_UNSENT : FATE_UNKNOWN);
        break;
    case ES_E_UNKNOWN:
        model_unanswered(op, FATE_UNKNOWN);
        sim_fault(FAULT_REQUEST_TIMEOUT);
        break;
    default: sim_violation("a request ended with %d", (int)request->status);
    }
}

static void submit(struct requester *requester, struct op *op)
{
    requester->op = op;
    requester->is_busy = true;
    requester->request = (struct sim_request){
        .transaction = requester->transaction,
        .transaction_bytes = op_encode(op, requester->transaction),
        .uid = op->uid,
        .timeout_ns = sim_one_in(10) ? 1000000 : UINT64_C(1) << 50,
        .done = answered,
        .context = requester,
    };
    model_sent(op);
    sim_broker_submit(&requester->request);
}

static bool step_requester(struct requester *requester)
{
    struct op *op = NULL;

    if (requester->is_busy || sim.is_checking || !sim_broker_is_serving()) {
        return false;
    }
    op = op_new(SIM_FIRST_UID + (uint32_t)sim_below(3));
    if (op == NULL) {
        return false;
    }
    submit(requester, op);
    return true;
}

/* ---- all together ----------------------------------------------------------------- */

static bool note_gone(void)
{
    if (gone_count == 0 || !sim_broker_is_serving() || !sim_one_in(3)) {
        return false;
    }
    sim_broker_owner_gone(gone[--gone_count]);
    return true;
}

bool sim_clients_step(void)
{
    uint32_t which = (uint32_t)sim_below(PRODUCERS + REQUESTS);

    sim_trace(21, which);
    for (uint32_t tries = 0; tries < PRODUCERS + REQUESTS; tries++) {
        bool did = which < PRODUCERS ? step_producer(&producers[which])
                                     : step_requester(&requesters[which - PRODUCERS]);

        if (did) {
            return true;
        }
        which = (which + 1) % (PRODUCERS + REQUESTS);
    }
    return note_gone();
}

void sim_clients_broker_ended(bool machine)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (requesters[i].is_busy) {
            requesters[i].is_busy = false;
            model_unanswered(requesters[i].op, FATE_UNKNOWN);
        }
    }
    for (int i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &producers[i];

        if (producer->is_alive && machine) {
            die(producer, FATE_UNKNOWN);
        } else if (producer->at == AT_ATTACHING) {
            producer->at = AT_NOTHING;
        }
    }
    for (uint32_t i = 0; i < op_count && machine; i++) {
        ops[i].fate = ops[i].fate == FATE_ORPHAN ? FATE_UNKNOWN : ops[i].fate;
    }
    gone_count = 0; /* the next broker looks for itself */
}

bool sim_clients_are_done(void)
{
    for (int i = 0; i < REQUESTS; i++) {
        if (requesters[i].is_busy) {
            return false;
        }
    }
    for (int i = 0; i < PRODUCERS; i++) {
        const struct producer *producer = &producers[i];

        if (producer->is_alive && producer->at >= AT_LEISURE && producer->lane != UINT32_MAX &&
            (producer->at != AT_LEISURE ||
             producer->writer.published != producer->writer.collected)) {
            return false;
        }
    }
    return true;
}

/* ---- faults ----------------------------------------------------------------------- */

static void kill_producer(struct producer *producer)
{
    static const enum sim_fault placing[] = {FAULT_PRODUCER_PLACE_TAIL, FAULT_PRODUCER_PLACE_SLOT,
                                             FAULT_PRODUCER_PLACE_CLAIM, FAULT_PRODUCER_PLACE_MOVE};

    if (!producer->is_alive || producer->at < AT_LEISURE || producer->lane == UINT32_MAX) {
        return;
    }
    switch (producer->at) {
    case AT_CLAIMED: sim_fault(FAULT_PRODUCER_WRITING); break;
    case AT_PLACED: sim_fault(FAULT_PRODUCER_PLACED); break;
    case AT_PUBLISHED:
        sim_fault(producer->placement.at == ES_PLACE_TAIL && sim_one_in(2)
                      ? FAULT_PRODUCER_PUBLISHED
                      : placing[producer->placement.at]);
        break;
    default:
        if (producer->writer.published == producer->writer.collected && sim_one_in(2)) {
            es_lane_close(&producer->writer);
            sim_fault(FAULT_PRODUCER_CLOSED);
        } else {
            sim_fault(FAULT_PRODUCER_WAITING);
        }
        break;
    }
    die(producer, FATE_ORPHAN);
}

/* A process of the ring's user writes where it can: words of the ring alone, for what
 * it does to its own lane is its own harm. */
static void spoil_ring(const struct producer *producer)
{
    struct es_ring_file *file = NULL;
    uint64_t tail = 0;
    uint64_t position = 0;
    _Atomic uint64_t *slot = NULL;

    if (!producer->is_alive || producer->at < AT_LEISURE || producer->lane == UINT32_MAX) {
        return;
    }
    file = producer->ring.file;
    tail = atomic_load(&file->tail);
    position = tail - 1 - sim_below(producer->ring.slot_count / 2);
    slot = &file->slots[position & (producer->ring.slot_count - 1)];
    switch (sim_below(3)) {
    case 0: /* one that waits, or one that was taken a moment ago */
        if (position < tail) {
            atomic_store(slot, es_slot_empty(position >> producer->ring.lap_shift));
            sim_fault(FAULT_TICKET_ERASED);
        }
        break;
    case 1: /* any lane, any number, on a lap that is now or was once */
        atomic_store(slot, es_slot_full((position >> producer->ring.lap_shift) - sim_below(2),
                                        (uint32_t)sim_below(ES_LANE_COUNT_MAX), sim_below(64)));
        sim_fault(FAULT_TICKET_FORGED);
        break;
    default:
        atomic_store(&file->tail,
                     tail + sim_below(2 * producer->ring.slot_count) - producer->ring.slot_count);
        sim_fault(FAULT_TAIL_SPOILT);
        break;
    }
    sim.spoilt_uids |= UINT64_C(1) << (producer->uid - SIM_FIRST_UID);
}

/* The same twice, as a client does that had no answer: only one can be what it expects. */
static void submit_twice(void)
{
    struct requester *first = &requesters[0];
    struct requester *second = &requesters[1];
    struct op *op = NULL;

    if (first->is_busy || second->is_busy || !sim_broker_is_serving()) {
        return;
    }
    op = op_new(SIM_FIRST_UID);
    if (op == NULL) {
        return;
    }
    op_expect_once(op);
    submit(first, op);
    submit(second, op);
    sim_fault(FAULT_REQUEST_TWICE);
}

void sim_clients_fault(void)
{
    switch (sim_below(8)) {
    case 0:
    case 1: spoil_ring(&producers[sim_below(PRODUCERS)]); break;
    case 2: submit_twice(); break;
    default: kill_producer(&producers[sim_below(PRODUCERS)]); break;
    }
}
