#include "tests/simulation/sim_model.h"

#include <inttypes.h>
#include <string.h>

#include "tests/simulation/sim.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_commits.h"
#include "tests/simulation/sim_names.h"

struct model model;

void model_clear(void)
{
    memset(&model, 0, offsetof(struct model, streams));
    for (int i = 0; i < STREAM_COUNT; i++) {
        memset(&model.streams[i], 0, offsetof(struct model_stream, positions));
    }
    for (int i = 0; i < KEY_COUNT; i++) {
        memset(&model.keys[i], 0, offsetof(struct model_key, states));
    }
    model.lane_count = 0;
}

uint32_t model_new_lane(uint32_t name, uint64_t incarnation)
{
    if (model.lane_count == LANES_MAX) {
        sim_violation("too many lives of producers");
    }
    memset(&model.lanes[model.lane_count], 0, sizeof model.lanes[0]);
    model.lanes[model.lane_count].name = name;
    model.lanes[model.lane_count].incarnation = incarnation;
    return model.lane_count++;
}

/* It was sent before and answered OK: no more can be learnt. */
static bool is_settled(const struct op *op)
{
    return op->fate == FATE_ANSWERED && op->status == ES_OK;
}

void model_sent(struct op *op)
{
    if (!is_settled(op)) {
        op->fate = FATE_OPEN;
    }
    op->sent_count++;
    op->flying_count++;
    op->sees_no_space = sim.may_lack_space;
    op->sent_after_position = model.answered_position;
    op->sent_after_commit = model.answered_commit;
    names_sent(op);
    sim_trace(10, op->id);
}

/* Of the last key: under a name only those count that the commit record names, for the
 * answer must be the same when it is given again. 0: nobody knows. */
static uint64_t last_revision(const struct op *op)
{
    uint64_t revision = 0;

    if (op->name == OP_UNNAMED) {
        return op->last_revision;
    }
    for (uint32_t i = 0; i < op->part_count; i++) {
        revision = op->parts[i].revision != 0 ? op->parts[i].revision : revision;
    }
    return revision;
}

static void check_stored_answer(const struct op *op, const struct es_lane_result *result)
{
    if (!op->is_stored) {
        sim_violation("operation %u was answered OK and is not stored", op->id);
    }
    if (result->commit_number != op->commit_number ||
        (op->event_count > 0 && result->position != op->last_position) ||
        (last_revision(op) != 0 && result->revision != last_revision(op))) {
        sim_violation("operation %u: answer says commit %" PRIu64 " position %" PRIu64
                      " revision %" PRIu64 ", stored are %" PRIu64 " %" PRIu64 " %" PRIu64,
                      op->id, result->commit_number, result->position, result->revision,
                      op->commit_number, op->last_position, last_revision(op));
    }
    if (op->event_count > 0 &&
        memcmp(result->hash, model.events[result->position].hash, ES_HASH_SIZE) != 0) {
        sim_violation("operation %u was answered with another hash than is stored", op->id);
    }
    if (result->epoch != model.epoch && op->sent_count == 1) {
        sim_violation("operation %u was answered with another epoch", op->id);
    }
}

/* A state of the stream that the broker says it saw must have been one at some time
 * between sending and answering. */
static void check_stream_state(const struct op *op, const struct op_part *part,
                               const struct es_lane_result *result)
{
    const struct model_stream *stream = &model.streams[part->target];
    uint64_t sequence = result->stream_sequence;

    if (sequence > stream->last_sequence) {
        sim_violation("operation %u was told of sequence %" PRIu64 " that is not stored", op->id,
                      sequence);
    }
    if (sequence > 0 &&
        (result->position != stream->positions[sequence] ||
         memcmp(result->hash, model.events[result->position].hash, ES_HASH_SIZE) != 0)) {
        sim_violation("operation %u was told a wrong place of sequence %" PRIu64, op->id, sequence);
    }
    if (sequence < stream->last_sequence &&
        stream->positions[sequence + 1] <= op->sent_after_position) {
        sim_violation("operation %u was told of a head that was older when it was sent", op->id);
    }
}

static bool stream_expectation_holds(const struct op_part *part, uint64_t sequence,
                                     const uint8_t *hash)
{
    if ((part->expect.kind == ES_EXPECTED_NONE && sequence != 0) ||
        (part->expect.kind == ES_EXPECTED_EXISTS && sequence == 0) ||
        (part->expect.kind == ES_EXPECTED_EXACT && sequence != part->expect.number) ||
        (part->expect.kind == ES_EXPECTED_EXACT && sequence == 0)) {
        return false;
    }
    return part->hash_kind == HASH_NOT_GIVEN ||
           (part->hash_kind == HASH_GENESIS && sequence == 0) ||
           (part->hash_kind == HASH_GIVEN && sequence != 0 &&
            memcmp(part->hash, hash, ES_HASH_SIZE) == 0);
}

static bool key_expectation_holds(const struct op_part *part, uint64_t revision)
{
    if (part->kind == PART_DELETE && revision == 0) {
        return false;
    }
    return part->expect.kind == ES_EXPECTED_ANY ||
           (part->expect.kind == ES_EXPECTED_NONE && revision == 0) ||
           (part->expect.kind == ES_EXPECTED_EXACT && revision != 0 &&
            revision == part->expect.number);
}

bool model_stream_accepts(const struct op_part *part)
{
    const struct model_stream *stream = &model.streams[part->target];

    return stream_expectation_holds(part, stream->last_sequence, stream->last_hash);
}

bool model_key_accepts(const struct op_part *part)
{
    return key_expectation_holds(part, model.keys[part->target].revision);
}

/* Whether an earlier part of the operation had changed the same thing. */
static bool is_touched_before(const struct op *op, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        bool both_streams =
            op->parts[i].kind == PART_APPEND && op->parts[index].kind == PART_APPEND;
        bool both_keys = (op->parts[i].kind == PART_PUT || op->parts[i].kind == PART_DELETE) &&
                         op->parts[index].kind != PART_APPEND;

        if ((both_streams || both_keys) && op->parts[i].target == op->parts[index].target) {
            return true;
        }
    }
    return false;
}

static bool has_had(const struct model_key *key, uint64_t revision)
{
    for (uint32_t i = 0; i < key->state_count; i++) {
        if (key->states[i] == revision) {
            return true;
        }
    }
    return revision == 0;
}

static void check_conflict(const struct op *op, const struct es_lane_result *result)
{
    const struct op_part *part = &op->parts[result->operation_index];

    if (result->operation_index >= op->part_count) {
        sim_violation("operation %u has no part %u that could fail", op->id,
                      result->operation_index);
    }
    if (part->kind == PART_APPEND) {
        check_stream_state(op, part, result);
        if (!is_touched_before(op, result->operation_index) &&
            stream_expectation_holds(part, result->stream_sequence, result->hash)) {
            sim_violation("operation %u was refused though its expectation held", op->id);
        }
    } else if (part->kind == PART_PUT || part->kind == PART_DELETE) {
        if (!has_had(&model.keys[part->target], result->revision)) {
            sim_violation("operation %u was told of a revision that never was", op->id);
        }
        if (!is_touched_before(op, result->operation_index) &&
            key_expectation_holds(part, result->revision)) {
            sim_violation("operation %u was refused though its key was as expected", op->id);
        }
    } else if (result->status == ES_CONFLICT) {
        sim_violation("operation %u was refused for a part without an expectation", op->id);
    }
}

/* The number is another's, or was skipped, or is too high. */
static bool is_wrong_number(const struct op *op)
{
    return op->name != OP_UNNAMED && (op->is_mistake || op->was_high ||
                                      (op->number <= model.names[op->name].last_number &&
                                       model.names[op->name].stored[op->number] != op->id + 1));
}

/* A library does not send it; a program that writes its lane itself may. */
static bool is_too_large(const struct op *op, const struct es_lane_result *result)
{
    return result->reason == ES_REASON_BATCH_LIMIT && op->encoded_bytes > sim.transaction_bytes_max;
}

static void check_refusal(const struct op *op, const struct es_lane_result *result)
{
    if (op->is_foreign && result->status != ES_E_PERMISSION) {
        sim_violation("operation %u under another user's name was answered %d", op->id,
                      result->status);
    }
    if (op->is_stored && op->sent_count == 1) {
        sim_violation("operation %u was refused (%d) and is stored", op->id, result->status);
    }
    if (op->is_stored && op->name != OP_UNNAMED && result->status != ES_FENCED &&
        result->status != ES_PREVIOUS_FAILED && result->status != ES_E_BUSY) {
        sim_violation("number %" PRIu64 " was refused (%d) when it was sent again", op->number,
                      result->status);
    }
    switch (result->status) {
    case ES_CONFLICT:
    case ES_NOT_FOUND: check_conflict(op, result); break;
    case ES_PREVIOUS_FAILED: break; /* see check_order() */
    case ES_NO_SPACE:
        if (!op->sees_no_space) {
            sim_violation("operation %u was refused for want of space that there was", op->id);
        }
        break;
    case ES_FENCED:
        if (op->name == OP_UNNAMED || op->lane == UINT32_MAX ||
            model.names[op->name].claims_begun == model.lanes[op->lane].claims_begun) {
            sim_violation("operation %u was fenced, and nobody had claimed its name", op->id);
        }
        break;
    case ES_E_BUSY:
        if (!names_may_be_busy(op)) {
            sim_violation("operation %u was refused for a live owner of its name: there is none",
                          op->id);
        }
        break;
    case ES_E_PERMISSION:
        if (!op->is_foreign) {
            sim_violation("operation %u was refused for a name that is its user's", op->id);
        }
        break;
    case ES_REJECTED:
        if (!op->is_malformed && !is_wrong_number(op) && !is_too_large(op, result)) {
            sim_violation("operation %u was rejected: reason %u", op->id, result->reason);
        }
        break;
    default: sim_violation("operation %u was answered %d", op->id, result->status);
    }
}

/* ORDERED records: after a refusal nothing but refusals, until one says RESUME. */
static void check_order(const struct op *op, const struct es_lane_result *result)
{
    bool is_ordered = (op->flags & ES_RECORD_ORDERED) != 0;
    struct model_lane *lane = NULL;
    bool must_fail = false;

    if (op->lane == UINT32_MAX) {
        return;
    }
    lane = &model.lanes[op->lane];
    if (is_ordered && (op->flags & ES_RECORD_RESUME) != 0) {
        lane->order_broken = false;
    }
    must_fail = is_ordered && lane->order_broken;
    if (result->status == ES_FENCED) { /* before anything else, and for ever */
        lane->order_broken = true;
        return;
    }
    if (must_fail != (result->status == ES_PREVIOUS_FAILED)) {
        sim_violation("operation %u was answered %d where the order was %s", op->id, result->status,
                      lane->order_broken ? "broken" : "whole");
    }
    if (is_ordered && result->status != ES_OK) {
        lane->order_broken = true;
    }
}

void model_unanswered(struct op *op, enum op_fate fate)
{
    op->flying_count--;
    if (!is_settled(op)) {
        op->fate = fate;
        sim.counts.unknown += fate != FATE_UNSENT;
    }
}

/* A number that is sent again gets its first answer. */
static void check_same(const struct op *op, const struct es_lane_result *result)
{
    const struct es_lane_result *first = &op->result;

    if (first->position != result->position || first->stream_sequence != result->stream_sequence ||
        first->commit_number != result->commit_number || first->revision != result->revision ||
        first->tick != result->tick || first->time_us != result->time_us ||
        memcmp(first->hash, result->hash, ES_HASH_SIZE) != 0 ||
        memcmp(first->store_hash, result->store_hash, ES_HASH_SIZE) != 0) {
        sim_violation("number %" PRIu64 " of operation %u got another answer the second time",
                      op->number, op->id);
    }
}

void model_answered(struct op *op, const struct es_lane_result *result)
{
    op->flying_count--;
    if (sim_broker_has_served() && sim.end == SIM_RUNNING) {
        commits_read(); /* whoever has an answer can read what it speaks of */
    }
    if (is_settled(op)) {
        check_order(op, result);
        if (result->status != ES_OK) {
            check_refusal(op, result);
        } else if (op->name == OP_UNNAMED) {
            sim_violation("operation %u was sent twice and both were answered OK", op->id);
        } else {
            check_same(op, result);
        }
        return;
    }
    op->fate = FATE_ANSWERED;
    op->status = (enum es_status)result->status;
    op->result = *result;
    op->epoch = model.epoch;
    check_order(op, result);
    if (result->status == ES_OK) {
        if (op->is_malformed || op->is_mistake || op->is_foreign) {
            sim_violation("malformed operation %u was answered OK", op->id);
        }
        check_stored_answer(op, result);
        if (op->event_count > 0 && result->position > model.answered_position) {
            model.answered_position = result->position;
        }
        if (result->commit_number > model.answered_commit) {
            model.answered_commit = result->commit_number;
        }
        sim.counts.stored++;
    } else {
        check_refusal(op, result);
        sim.counts.refused++;
    }
    sim_trace(11, (uint64_t)op->id << 8 | (uint8_t)result->status);
    sim_trace(12, result->position);
}
