#include "tests/simulation/sim_commits.h"

#include <inttypes.h>
#include <string.h>

#include "shm/codec/chain.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/envelope.h"
#include "shm/codec/hash.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/store_key.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_names.h"
#include "tests/simulation/sim_store.h"

enum {
    TOUCHED_MAX = 512
};

/* One commit while it is read. */
struct reading {
    struct es_commit_view view;
    struct es_hash_state events_hash;
    uint32_t uid; /* of the transaction entry at hand, as what follows */
    uint32_t name;
    uint64_t number;
    uint8_t content_hash[ES_CONTENT_HASH_SIZE];
    struct op *touched[TOUCHED_MAX];
    uint32_t touched_count;
};

static struct op *op_at(uint32_t id)
{
    if (id >= op_count) {
        sim_violation("the store holds something of operation %u, which never was", id);
    }
    return &ops[id];
}

/* Each number once, in order, by the owner of the name. */
static void check_number(const struct reading *reading, const struct op *op)
{
    struct model_name *name = NULL;

    if (op->name != reading->name || op->number != reading->number) {
        sim_violation("operation %u is stored under another name or number", op->id);
    }
    if (op->name == OP_UNNAMED) {
        return;
    }
    if (op->is_foreign) {
        sim_violation("operation %u is stored under another user's name", op->id);
    }
    name = &model.names[op->name];
    if (op->number <= name->last_number ||
        (op->number != name->last_number + 1 && (op->flags & ES_RECORD_ALLOW_GAP) == 0)) {
        sim_violation("number %" PRIu64 " is stored after number %" PRIu64, op->number,
                      name->last_number);
    }
    names_check_stored(op);
    if (memcmp(reading->content_hash, op->content_hash, ES_CONTENT_HASH_SIZE) != 0) {
        sim_violation("operation %u is stored with another content hash", op->id);
    }
    name->last_number = op->number;
    name->stored[op->number] = op->id + 1;
}

/* The operation shows in this commit for the first time. */
static void begin_op(struct reading *reading, struct op *op)
{
    if (op->is_stored) {
        sim_violation("operation %u is stored twice, in commits %" PRIu64 " and %" PRIu64, op->id,
                      op->commit_number, reading->view.commit_number);
    }
    if (op->fate == FATE_UNSENT || op->is_malformed || op->is_mistake ||
        (op->fate == FATE_ANSWERED && op->status != ES_OK && op->sent_count == 1)) {
        sim_violation("operation %u is stored, though it was %s", op->id,
                      op->fate == FATE_UNSENT ? "never sent" : "refused");
    }
    if (op->uid != reading->uid) {
        sim_violation("operation %u of uid %u is stored as of uid %u", op->id, op->uid,
                      reading->uid);
    }
    check_number(reading, op);
    if (reading->view.commit_number <= op->sent_after_commit && !op->is_lost) {
        sim_violation("operation %u lies before what was answered before it was sent", op->id);
    }
    if (reading->touched_count == TOUCHED_MAX) {
        sim_violation("too many operations in a commit");
    }
    op->is_stored = true;
    op->commit_number = reading->view.commit_number;
    op->first_position = 0;
    op->last_position = 0;
    op->last_revision = 0;
    op->part_at = 0;
    op->event_at = 0;
    op->kv_found = 0;
    reading->touched[reading->touched_count++] = op;
}

static void check_lane_order(const struct op *op)
{
    struct model_lane *lane = NULL;

    if (op->lane == UINT32_MAX || model.is_read_anew) {
        return;
    }
    lane = &model.lanes[op->lane];
    if (op->lane_sequence <= lane->stored_sequence) {
        sim_violation("record %" PRIu64 " of a lane is stored after record %" PRIu64,
                      op->lane_sequence, lane->stored_sequence);
    }
    lane->stored_sequence = op->lane_sequence;
}

/* The event must be the next one of its operation. */
static void take_event(struct reading *reading, uint32_t stream_index,
                       const struct es_event_view *view, uint64_t position)
{
    uint32_t id = 0;
    uint32_t part_index = 0;
    uint32_t event_index = 0;
    struct op *op = NULL;
    const struct op_part *part = NULL;

    if (!op_of_payload(view->event.payload, &id, &part_index, &event_index)) {
        sim_violation("the payload at position %" PRIu64 " is not what was sent", position);
    }
    op = op_at(id);
    if (!op->is_stored || op->commit_number != reading->view.commit_number) {
        begin_op(reading, op);
    }
    if (op->first_position == 0) {
        op->first_position = position;
        check_lane_order(op);
        if (position <= op->sent_after_position && !op->is_lost) {
            sim_violation("operation %u lies before what was answered before it was sent", id);
        }
    } else if (position != op->last_position + 1) {
        sim_violation("something lies between the events of operation %u", id);
    }
    op->last_position = position;
    while (op->part_at < op->part_count && op->parts[op->part_at].kind != PART_APPEND) {
        op->part_at++;
    }
    if (op->part_at == op->part_count || part_index != op->part_at || event_index != op->event_at) {
        sim_violation("operation %u: part %u event %u is out of order", id, part_index,
                      event_index);
    }
    part = &op->parts[op->part_at];
    if (part->target != stream_index || view->event.tick != part->tick + event_index ||
        view->event.payload.size != part->payload_bytes) {
        sim_violation("operation %u: an event is stored otherwise than sent", id);
    }
    if (event_index == 0 && !model_stream_accepts(part)) {
        sim_violation("operation %u is stored though its expectation did not hold", id);
    }
    op->event_at++;
    if (op->event_at == part->event_count) {
        op->part_at++;
        op->event_at = 0;
    }
}

static void read_event(struct reading *reading, uint32_t stream_index, uint64_t sequence,
                       uint64_t position)
{
    static struct store_buffer value; /* kept: the host's own memory */
    struct model_stream *stream = &model.streams[stream_index];
    struct es_event_view view;
    struct es_key key;
    uint8_t hash[ES_HASH_SIZE];
    enum es_status status = ES_OK;

    es_key_event(op_stream(stream_index), sequence, &key);
    status = store_get(sim_store_contents(), NULL, STORE_EVENTS,
                       (struct store_slice){key.bytes, key.size}, &value);
    if (status != ES_OK || es_envelope_decode(value.bytes, value.size, &view) != ES_OK) {
        sim_violation("the event at position %" PRIu64 " cannot be read", position);
    }
    es_event_hash(&view, hash);
    if (memcmp(hash, view.hash, ES_HASH_SIZE) != 0 ||
        (sequence == 1
             ? view.event.previous_hash.size != 0
             : view.event.previous_hash.size != ES_HASH_SIZE ||
                   memcmp(view.event.previous_hash.data, stream->last_hash, ES_HASH_SIZE) != 0)) {
        sim_violation("the chain is broken at position %" PRIu64, position);
    }
    if (sequence != stream->last_sequence + 1 || position != model.position + 1 ||
        position >= POSITIONS_MAX) {
        sim_violation("sequence %" PRIu64 " at position %" PRIu64 " does not follow", sequence,
                      position);
    }
    take_event(reading, stream_index, &view, position);
    es_events_hash_add(&reading->events_hash, hash);
    memcpy(stream->last_hash, hash, ES_HASH_SIZE);
    stream->last_sequence = sequence;
    stream->last_tick = view.event.tick;
    stream->last_position = position;
    stream->positions[sequence] = (uint32_t)position;
    model.position = position;
    memcpy(model.events[position].hash, hash, ES_HASH_SIZE);
    model.events[position].time_us = reading->view.time_us;
    sim_trace(14, hash[0]);
}

/* The revision that a part must have, for those of an operation follow each other;
 * 0: none before it is known. */
static uint64_t revision_of(const struct op *op, uint32_t index)
{
    uint64_t following = 0;

    for (uint32_t i = 0; i < index; i++) {
        if (op->parts[i].kind == PART_PUT || op->parts[i].kind == PART_DELETE) {
            following = op->parts[i].revision + 1;
        } else if (op->parts[i].kind == PART_DERIVED_PUT && following != 0) {
            following++;
        }
    }
    return following;
}

/* A deletion is known by its neighbours: the part of an operation of this commit, for
 * this key, that must have this revision; else one that may. */
static struct op_part *find_delete(struct reading *reading, uint32_t key, uint64_t revision,
                                   struct op **ret_op)
{
    struct op_part *found = NULL;

    for (uint32_t i = 0; i < reading->touched_count; i++) {
        struct op *op = reading->touched[i];

        for (uint32_t index = 0; index < op->part_count; index++) {
            struct op_part *part = &op->parts[index];
            uint64_t wanted = revision_of(op, index);

            if (part->kind != PART_DELETE || part->target != key || part->revision != 0 ||
                (wanted == 0 ? found != NULL : wanted != revision)) {
                continue;
            }
            found = part;
            *ret_op = op;
            if (wanted == revision) {
                return found;
            }
        }
    }
    if (found == NULL) {
        sim_violation("a deleted key that nobody asked to delete");
    }
    return found;
}

static void take_kv(struct reading *reading, const struct es_commit_kv *kv)
{
    struct model_key *key = NULL;
    struct op_part *part = NULL;
    struct op *op = NULL;
    uint32_t index = 0;
    uint32_t key_index = 0;

    while (key_index < KEY_COUNT && !es_text_equal(op_key(key_index), kv->key)) {
        key_index++;
    }
    if (key_index == KEY_COUNT) {
        sim_violation("a key that nobody has put");
    }
    key = &model.keys[key_index];
    if (kv->op == ES_COMMIT_KV_PUT) {
        op = op_of_value(kv->value_hash, &index);
        if (op == NULL) {
            sim_violation("a value that nobody has put");
        }
        part = &op->parts[index];
    } else {
        part = find_delete(reading, key_index, kv->revision, &op);
        index = (uint32_t)(part - op->parts);
    }
    if (!op->is_stored || op->commit_number != reading->view.commit_number) {
        begin_op(reading, op);
    }
    if (part->target != key_index || part->revision != 0) {
        sim_violation("operation %u: a key is stored otherwise than sent", op->id);
    }
    if (!model_key_accepts(part)) {
        sim_violation("operation %u is stored though its key was not as expected", op->id);
    }
    if (kv->revision <= model.revision) {
        sim_violation("revision %" PRIu64 " was given out twice", kv->revision);
    }
    part->revision = kv->revision;
    model.revision = kv->revision;
    op->kv_found++;
    key->revision = kv->op == ES_COMMIT_KV_PUT ? kv->revision : 0;
    key->op = op->id;
    key->part = index;
    if (key->state_count < STATES_MAX) {
        key->states[key->state_count++] = key->revision;
    }
}

/* All of it, or it should not be there at all; and its revisions follow each other. */
static void check_whole(struct op *op)
{
    uint64_t revision = 0;
    uint32_t found = 0;

    for (uint32_t i = 0; i < op->part_count; i++) {
        const struct op_part *part = &op->parts[i];
        bool is_kv = part->kind != PART_APPEND && part->kind != PART_SNAPSHOT;

        revision += is_kv && revision != 0 ? 1 : 0;
        if (part->kind == PART_PUT || part->kind == PART_DELETE) {
            found += part->revision != 0;
            if (revision != 0 && part->revision != revision) {
                sim_violation("operation %u: its revisions do not follow each other", op->id);
            }
            revision = part->revision;
        } else if (part->kind == PART_APPEND && i >= op->part_at) {
            sim_violation("operation %u is stored in part", op->id);
        }
        op->last_revision = is_kv && revision != 0 ? revision : op->last_revision;
    }
    if (found != op->kv_found) {
        sim_violation("operation %u is stored in part", op->id);
    }
    model.revision = op->last_revision > model.revision ? op->last_revision : model.revision;
}

static void check_chain(const struct es_commit_view *view)
{
    if (view->commit_number != model.commit_number + 1 ||
        view->first_position != model.position + 1) {
        sim_violation("commit %" PRIu64 " at position %" PRIu64 " does not follow commit %" PRIu64
                      " at position %" PRIu64,
                      view->commit_number, view->first_position, model.commit_number,
                      model.position);
    }
    if (es_commit_verify_hash(view) != ES_OK ||
        memcmp(view->previous_store_hash, model.store_hash, ES_HASH_SIZE) != 0) {
        sim_violation("the store hash is broken at commit %" PRIu64, view->commit_number);
    }
    if (view->time_us < model.time_us) {
        sim_violation("time goes back at commit %" PRIu64, view->commit_number);
    }
}

static void begin_transaction(struct reading *reading,
                              const struct es_commit_transaction *transaction)
{
    reading->uid = transaction->origin_uid;
    reading->number = transaction->producer_sequence;
    reading->name = OP_UNNAMED;
    memcpy(reading->content_hash, transaction->content_hash, ES_CONTENT_HASH_SIZE);
    for (uint32_t i = 0; i < NAME_COUNT; i++) {
        if (es_text_equal(transaction->producer, es_text_of(op_name(i)))) {
            reading->name = i;
        }
    }
}

static void read_commit(struct store_slice value)
{
    static struct reading reading;
    struct es_commit_transaction transaction;
    struct es_commit_run run;
    struct es_commit_kv kv;
    struct es_commit_walk walk;
    uint64_t position = 0;
    uint8_t hash[ES_HASH_SIZE];

    reading.touched_count = 0;
    if (es_commit_decode(value.bytes, value.size, &reading.view) != ES_OK) {
        sim_violation("commit %" PRIu64 " cannot be read", model.commit_number + 1);
    }
    check_chain(&reading.view);
    es_events_hash_begin(&reading.events_hash);
    es_commit_walk_begin(&reading.view, &walk);
    while (es_commit_walk_transaction(&walk, &transaction)) {
        begin_transaction(&reading, &transaction);
        while (es_commit_walk_run(&walk, &run, &position)) {
            uint32_t stream = op_stream_index(run.stream);

            if (stream == UINT32_MAX ||
                run.previous_position != model.streams[stream].last_position) {
                sim_violation("a run of commit %" PRIu64 " does not follow",
                              reading.view.commit_number);
            }
            for (uint64_t i = 0; i < run.count; i++) {
                read_event(&reading, stream, run.first_sequence + i, position + i);
            }
        }
        while (es_commit_walk_kv(&walk, &kv)) {
            take_kv(&reading, &kv);
        }
    }
    es_events_hash_end(&reading.events_hash, hash);
    if (memcmp(hash, reading.view.events_hash, ES_HASH_SIZE) != 0) {
        sim_violation("the events hash is broken at commit %" PRIu64, reading.view.commit_number);
    }
    for (uint32_t i = 0; i < reading.touched_count; i++) {
        check_whole(reading.touched[i]);
    }
    model.commit_number = reading.view.commit_number;
    model.time_us = reading.view.time_us;
    memcpy(model.store_hash, reading.view.store_hash, ES_HASH_SIZE);
    sim_trace(15, model.store_hash[0]);
}

void commits_read(void)
{
    struct store_range range = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    struct es_key first;
    enum sim_zone zone = sim_heap_select(ZONE_HOST);

    es_key_commit(model.position, model.commit_number + 1, &first);
    range.first = (struct store_slice){first.bytes, first.size};
    if (store_iterator_new(sim_store_contents(), NULL, STORE_COMMITS, &range, &iterator) != ES_OK) {
        sim_violation("the commits cannot be read");
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        read_commit(store_iterator_value(iterator));
    }
    store_iterator_free(iterator);
    (void)sim_heap_select(zone);
}
