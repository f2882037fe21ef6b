#include "tests/simulation/sim_producers.h"

#include <string.h>

#include "shm/doorbell.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"
#include "tests/simulation/sim_producers_state.h"

enum {
    PRODUCERS = 5,
    GONE_MAX = 64,
    FIRST_PID = 1000
};

static struct producer producers[PRODUCERS];
static pid_t next_pid;
static struct {
    pid_t pid;
    uint32_t lane; /* the one that it held; UINT32_MAX: none */
} gone[GONE_MAX];  /* processes whose end the broker has not noticed */
static uint32_t gone_count;

void sim_producers_begin(void)
{
    memset(producers, 0, sizeof producers);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i].uid = SIM_FIRST_UID + i % 2;
        producers[i].control_segment = ES_SEGMENT_NONE;
        producers[i].ring_segment = ES_SEGMENT_NONE;
        producers[i].lane_segment = ES_SEGMENT_NONE;
    }
    next_pid = FIRST_PID;
    gone_count = 0;
}

bool sim_producers_is_alive(pid_t pid)
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
        model_lane_left(producer->lane);
    }
    if (producer->at >= AT_LEISURE && producer->is_mapped) {
        for (uint64_t sequence = producer->writer.collected + 1;
             sequence <= producer->writer.published; sequence++) {
            model_unanswered(*flying_at(producer, sequence), fate);
        }
        es_segment_unmap(&producer->control_segment);
        es_segment_unmap(&producer->ring_segment);
        es_segment_unmap(&producer->lane_segment);
    }
    if (producer->writing != NULL && producer->writing->sent_count == 0) {
        producer->writing->fate = FATE_UNSENT;
    }
    if (producer->writing != NULL) {
        producer->writing->is_chosen = false;
    }
    producer->writing = NULL;
    producer->is_mapped = false;
    producer->at = AT_NOTHING;
}

void producer_die(struct producer *producer, enum op_fate fate)
{
    uint32_t lane = producer->at >= AT_LEISURE ? producer->lane : UINT32_MAX;

    let_go(producer, fate);
    producer->is_alive = false;
    if (gone_count < GONE_MAX) {
        gone[gone_count].pid = producer->pid;
        gone[gone_count++].lane = lane;
    }
}

static void attached(struct sim_attach *attach)
{
    struct producer *producer = attach->context;

    sim_trace(20, (uint64_t)attach->status);
    producer->at = attach->status == ES_OK ? AT_LEISURE : AT_NOTHING;
    producer->is_mapped = false;
    if (attach->status != ES_OK) {
        if (producer->name != OP_UNNAMED) {
            model_not_claimed(producer->name);
        }
        return;
    }
    producer->lane = model_new_lane(producer->name, attach->attachment.incarnation);
    producer->must_resume = false;
    producer->is_fenced = false;
    producer->had_published = false;
    producer->again_at = 0;
    producer->last_number = attach->last_number;
    producer->next_number = attach->last_number + 1;
    if (producer->name != OP_UNNAMED) {
        model_claimed(producer->name, producer->lane, attach->last_number);
        if (attach->take_over) {
            sim_fault(FAULT_TAKEOVER);
        }
    }
}

/* The first never has one, two want the same; a name belongs to its first user. */
static uint32_t choose_name(const struct producer *producer)
{
    if (producer == &producers[0] || (producer == &producers[1] && sim_one_in(2))) {
        return OP_UNNAMED;
    }
    return producer->uid - SIM_FIRST_UID;
}

static void attach(struct producer *producer)
{
    if (!sim_broker_is_serving() || (sim.is_checking && sim_producers_are_done())) {
        return;
    }
    producer->attach = (struct sim_attach){
        .uid = producer->uid, .pid = producer->pid, .done = attached, .context = producer};
    producer->name = choose_name(producer);
    if (producer->name != OP_UNNAMED) {
        producer->attach.name = op_name(producer->name);
        producer->attach.take_over = sim_one_in(3);
        model_claims(producer->name);
    }
    producer->at = AT_ATTACHING;
    sim_broker_attach(&producer->attach);
}

static void must(enum es_status status)
{
    if (status != ES_OK) {
        sim_violation("a producer was given memory that it cannot use: %d", (int)status);
    }
}

static enum es_status map_all(struct producer *producer)
{
    const struct lanes_attachment *attachment = &producer->attach.attachment;
    uint32_t slot_count = sim.geometry.slot_count;
    uint32_t arena_bytes = sim.geometry.arena_bytes;
    uint32_t credit_count = sim.geometry.credit_count;
    struct es_control_ring ring;
    enum es_status status = es_segment_map(attachment->control_fd, es_control_bytes(), false,
                                           &producer->control_segment);

    status = status != ES_OK ? status
                             : es_control_attach(&producer->control, &producer->control_segment);
    status = status != ES_OK ? status
                             : es_control_ring(&producer->control, attachment->ring_index, &ring);
    status = status != ES_OK ? status
                             : es_segment_map(attachment->ring_fd, es_ring_bytes(slot_count), true,
                                              &producer->ring_segment);
    status = status != ES_OK ? status
                             : es_ring_attach(&producer->ring, &producer->ring_segment,
                                              ring.ring_id, slot_count);
    status = status != ES_OK
                 ? status
                 : es_segment_map(attachment->lane_fd, es_lane_bytes(arena_bytes, credit_count),
                                  true, &producer->lane_segment);
    return status != ES_OK
               ? status
               : es_lane_writer_attach(&producer->writer, &producer->lane_segment,
                                       attachment->incarnation, arena_bytes, credit_count);
}

/* The descriptors have come: maps what they name. */
static void map(struct producer *producer)
{
    enum es_status status = map_all(producer);

    producer->is_mapped = true;
    producer->is_ordered = producer->name != OP_UNNAMED || sim_one_in(3);
    if (status == ES_OK) {
        return;
    }
    /* A restart takes back lanes with a name in which nothing was published. */
    if (producer->name == OP_UNNAMED) {
        sim_violation("a producer was given memory that it cannot use: %d", (int)status);
    }
    producer->writer.published = producer->writer.collected;
    let_go(producer, FATE_UNKNOWN);
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
    if (producer->name == OP_UNNAMED) {
        return true;
    }
    if (result.status == ES_OK) {
        if (op->number > producer->last_number) {
            producer->last_number = op->number;
        }
    } else {
        producer->must_resume = true;
        producer->is_fenced = producer->is_fenced || result.status == ES_FENCED;
    }
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
    op = producer_choose(producer);
    if (op == NULL) {
        return false;
    }
    producer->writing_bytes = op_encode(op, bytes);
    if (es_lane_claim(&producer->writer, producer->writing_bytes, &payload) != ES_OK) {
        sim_violation("a lane has credits and no room");
    }
    memcpy(payload, bytes, producer->writing_bytes / (sim_one_in(4) ? 2 : 1));
    memcpy(payload, bytes, producer->writing_bytes);
    producer->writing = op;
    op->is_chosen = true;
    producer->at = AT_CLAIMED;
    return true;
}

static void publish(struct producer *producer)
{
    struct op *op = producer->writing;
    uint64_t sequence = 0;

    op->lane = producer->lane;
    model_sent(op);
    must(es_lane_publish(&producer->writer, producer->writing_bytes, op->flags, &sequence));
    op->lane_sequence = sequence;
    *flying_at(producer, sequence) = op;
    producer->writing = NULL;
    op->is_chosen = false;
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
    if (!producer->is_mapped) {
        map(producer);
        return true;
    }
    if (producer->is_fenced && producer->writer.published == producer->writer.collected) {
        es_lane_close(&producer->writer);
        model_lane_over(producer->lane);
        let_go(producer, FATE_UNKNOWN);
        return true;
    }
    if (!is_known(producer)) {
        /* One with a name may be that had not mapped it: lanes_take_over.c, take_over_lane(). */
        if (producer->name == OP_UNNAMED &&
            (sim.spoilt_uids >> (producer->uid - SIM_FIRST_UID) & 1U) == 0) {
            sim_violation("the lane of a living producer was given up");
        }
        let_go(producer, FATE_UNKNOWN);
        return true;
    }
    return collect(producer) || (!producer->is_fenced && claim(producer));
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

/* ---- all together ----------------------------------------------------------------- */

bool sim_producers_step(uint32_t which)
{
    return step_producer(&producers[which % PRODUCERS]);
}

bool sim_producers_note_gone(void)
{
    if (gone_count == 0 || !sim_broker_is_serving() || !sim_one_in(3)) {
        return false;
    }
    gone_count--;
    sim_broker_owner_gone(gone[gone_count].pid, gone[gone_count].lane);
    return true;
}

void sim_producers_broker_ended(bool machine)
{
    for (int i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &producers[i];

        if (producer->is_alive && machine) {
            producer_die(producer, FATE_UNKNOWN);
        } else if (producer->at == AT_ATTACHING) {
            producer->at = AT_NOTHING;
        } else if (producer->is_mapped) {
            producer->had_published = producer->writer.published > 0;
        }
    }
    for (uint32_t i = 0; i < op_count && machine; i++) {
        ops[i].fate = ops[i].fate == FATE_ORPHAN ? FATE_UNKNOWN : ops[i].fate;
    }
    gone_count = 0; /* the next broker looks for itself */
}

bool sim_producers_are_done(void)
{
    for (int i = 0; i < PRODUCERS; i++) {
        const struct producer *producer = &producers[i];

        if (producer->is_alive && producer->at >= AT_LEISURE && producer->is_mapped &&
            (producer->at != AT_LEISURE ||
             producer->writer.published != producer->writer.collected)) {
            return false;
        }
    }
    return true;
}

void sim_producers_fault(void)
{
    struct producer *producer = &producers[sim_below(PRODUCERS)];

    if (sim_one_in(4)) {
        producer_spoil_ring(producer);
    } else {
        producer_kill(producer);
    }
}
