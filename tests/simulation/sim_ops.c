#include "tests/simulation/sim_ops.h"

#include <stdio.h>
#include <string.h>

#include "shm/codec/hash.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_model.h"

enum {
    VALUES_MAX = 4096 /* of the table below; a power of two, never half full */
};

struct op ops[OPS_MAX];
uint32_t op_count;

/* Where the value with a hash came from: op * OP_PARTS_MAX + part + 1, or 0. */
static uint32_t values[VALUES_MAX];

static const char *const stream_names[STREAM_COUNT] = {
    "prod:main:L0:orders:M1", "prod:main:L0:orders:M2", "prod:main:L0:stock:M1",
    "prod:main:L0:stock:M2",  "test:main:L1:orders:M1", "test:main:L1:orders:M3",
};
static const char *const key_names[KEY_COUNT] = {"a", "b", "c", "d", "e"};

struct es_text op_stream(uint32_t index)
{
    return es_text_of(stream_names[index]);
}

struct es_text op_key(uint32_t index)
{
    return es_text_of(key_names[index]);
}

const char *op_name(uint32_t index)
{
    static const char *const names[NAME_COUNT] = {"tills", "depot", "clerk"};

    return names[index];
}

uint32_t op_stream_index(struct es_text stream)
{
    for (uint32_t i = 0; i < STREAM_COUNT; i++) {
        if (es_text_equal(op_stream(i), stream)) {
            return i;
        }
    }
    return UINT32_MAX;
}

void ops_clear(void)
{
    op_count = 0;
    memset(values, 0, sizeof values);
}

/* ---- payloads ------------------------------------------------------------------ */

enum {
    NAME_BYTES = 12 /* op, part, event: four bytes each */
};

const uint8_t *op_payload(uint32_t id, uint32_t part, uint32_t event, uint32_t size)
{
    static uint8_t bytes[PAYLOAD_BYTES_MAX + 8];
    uint32_t name[3] = {id, part, event};
    uint64_t word = ((uint64_t)id << 16 | part << 8 | event) * UINT64_C(0x9e3779b97f4a7c15);

    memcpy(bytes, name, NAME_BYTES);
    for (uint32_t at = NAME_BYTES; at < size; at += 8) {
        memcpy(bytes + at, &word, 8);
        word = word * UINT64_C(0xbf58476d1ce4e5b9) + 1;
    }
    return bytes;
}

bool op_of_payload(struct es_bytes payload, uint32_t *ret_id, uint32_t *ret_part,
                   uint32_t *ret_event)
{
    uint32_t name[3];

    if (payload.size < NAME_BYTES || payload.size > PAYLOAD_BYTES_MAX) {
        return false;
    }
    memcpy(name, payload.data, NAME_BYTES);
    *ret_id = name[0];
    *ret_part = name[1];
    *ret_event = name[2];
    return memcmp(op_payload(name[0], name[1], name[2], payload.size), payload.data,
                  payload.size) == 0;
}

static uint32_t value_slot(const uint8_t *value_hash)
{
    uint32_t slot = 0;

    memcpy(&slot, value_hash, sizeof slot);
    return slot & (VALUES_MAX - 1);
}

static void note_value(const struct op *op, uint32_t part)
{
    uint32_t slot = value_slot(op->parts[part].value_hash);

    while (values[slot] != 0) {
        slot = (slot + 1) & (VALUES_MAX - 1);
    }
    values[slot] = op->id * OP_PARTS_MAX + part + 1;
}

struct op *op_of_value(const uint8_t *value_hash, uint32_t *ret_part)
{
    for (uint32_t slot = value_slot(value_hash); values[slot] != 0;
         slot = (slot + 1) & (VALUES_MAX - 1)) {
        struct op *op = &ops[(values[slot] - 1) / OP_PARTS_MAX];
        uint32_t part = (values[slot] - 1) % OP_PARTS_MAX;

        if (memcmp(op->parts[part].value_hash, value_hash, ES_HASH_SIZE) == 0) {
            *ret_part = part;
            return op;
        }
    }
    return NULL;
}

/* ---- drawing ------------------------------------------------------------------- */

static void expect_of_stream(struct op_part *part)
{
    const struct model_stream *stream = &model.streams[part->target];

    switch (sim_below(8)) {
    case 0: part->expect.kind = ES_EXPECTED_NONE; break;
    case 1: part->expect.kind = ES_EXPECTED_EXISTS; break;
    case 2:
    case 3:
        part->expect.kind = stream->last_sequence == 0 ? ES_EXPECTED_NONE : ES_EXPECTED_EXACT;
        part->expect.number = stream->last_sequence;
        break;
    case 4:
        part->expect.kind = ES_EXPECTED_EXACT;
        part->expect.number = stream->last_sequence + 1 + sim_below(2);
        break;
    default: break;
    }
    if (sim_one_in(6)) {
        part->hash_kind = stream->last_sequence == 0 ? HASH_GENESIS : HASH_GIVEN;
        memcpy(part->hash, stream->last_hash, ES_HASH_SIZE);
        part->hash[0] ^= sim_one_in(4) ? 1 : 0;
    }
}

static void draw_append(struct op *op, struct op_part *part)
{
    part->kind = PART_APPEND;
    part->target = (uint32_t)sim_below(STREAM_COUNT);
    part->event_count = sim_one_in(3) ? 1 + (uint32_t)sim_below(PART_EVENTS_MAX) : 1;
    part->payload_bytes =
        NAME_BYTES + (uint32_t)sim_below(sim.is_heavy ? 700 : (sim_one_in(8) ? 280 : 60));
    part->tick = sim_below(1000);
    expect_of_stream(part);
    op->event_count += part->event_count;
}

static void expect_of_key(struct op_part *part)
{
    const struct model_key *key = &model.keys[part->target];

    switch (sim_below(6)) {
    case 0: part->expect.kind = ES_EXPECTED_NONE; break;
    case 1:
    case 2:
        part->expect.kind = key->revision == 0 ? ES_EXPECTED_NONE : ES_EXPECTED_EXACT;
        part->expect.number = key->revision;
        break;
    case 3:
        part->expect.kind = ES_EXPECTED_EXACT;
        part->expect.number = key->revision + 1;
        break;
    default: break;
    }
    if (part->kind == PART_DELETE && part->expect.kind == ES_EXPECTED_NONE) {
        part->expect.kind = ES_EXPECTED_ANY;
        part->expect.number = 0;
    }
}

static void draw_put(struct op *op, struct op_part *part, uint32_t index, bool is_derived)
{
    part->kind = is_derived ? PART_DERIVED_PUT : PART_PUT;
    part->target = (uint32_t)sim_below(is_derived ? DERIVED_COUNT : KEY_COUNT);
    part->payload_bytes = NAME_BYTES + (uint32_t)sim_below(80);
    if (!is_derived) {
        expect_of_key(part);
    }
    es_hash(op_payload(op->id, index, 0, part->payload_bytes), part->payload_bytes,
            part->value_hash);
}

static void draw_snapshot(struct op_part *part)
{
    part->kind = PART_SNAPSHOT;
    part->target = (uint32_t)sim_below(STREAM_COUNT);
    part->sequence = model.streams[part->target].last_sequence;
    part->tick = model.streams[part->target].last_tick;
    part->payload_bytes = NAME_BYTES + (uint32_t)sim_below(80);
    if (part->sequence == 0) {
        part->sequence = 1;
    }
}

/* The first part is an append or a put, so that every operation shows in its commit. */
static void draw_part(struct op *op, uint32_t index)
{
    struct op_part *part = &op->parts[index];
    uint64_t kind = sim_below(index == 0 ? 8 : 12);

    memset(part, 0, sizeof *part);
    if (kind < 6) {
        draw_append(op, part);
    } else if (kind < 8) {
        draw_put(op, part, index, false);
    } else if (kind == 8) {
        part->kind = PART_DELETE;
        part->target = (uint32_t)sim_below(KEY_COUNT);
        expect_of_key(part);
    } else if (kind == 9) {
        draw_snapshot(part);
    } else if (op->event_count > 0) {
        draw_put(op, part, index, true);
    } else {
        draw_append(op, part);
    }
    if (part->kind == PART_PUT || part->kind == PART_DERIVED_PUT) {
        note_value(op, index);
    }
}

struct op *op_new(uint32_t uid)
{
    struct op *op = &ops[op_count];

    if (op_count == OPS_MAX) {
        return NULL;
    }
    memset(op, 0, sizeof *op);
    op->id = op_count++;
    op->uid = uid;
    op->lane = UINT32_MAX;
    op->name = OP_UNNAMED;
    op->owned_by = UINT32_MAX;
    op->is_malformed = sim_one_in(60);
    op->part_count = sim_one_in(3) ? 1 + (uint32_t)sim_below(OP_PARTS_MAX) : 1;
    for (uint32_t i = 0; i < op->part_count; i++) {
        draw_part(op, i);
    }
    sim.counts.operations++;
    return op;
}

void op_expect_once(struct op *op)
{
    struct op_part *part = &op->parts[0];

    memset(part, 0, sizeof *part);
    op->part_count = 1;
    op->event_count = 0;
    draw_append(op, part);
    part->hash_kind = HASH_NOT_GIVEN;
    part->expect.number = model.streams[part->target].last_sequence;
    part->expect.kind = part->expect.number == 0 ? ES_EXPECTED_NONE : ES_EXPECTED_EXACT;
}

/* ---- encoding ------------------------------------------------------------------ */

static void write_append(struct es_pack *pack, const struct op *op, uint32_t index)
{
    const struct op_part *part = &op->parts[index];
    struct es_operation operation = {.kind = ES_OPERATION_APPEND};
    struct es_append_event event = {.type = es_text_of("Simulated")};

    operation.as.append.stream = op_stream(part->target);
    operation.as.append.event_count = part->event_count;
    operation.as.append.expect = part->expect;
    operation.as.append.expect_hash.given = part->hash_kind != HASH_NOT_GIVEN;
    if (part->hash_kind == HASH_GIVEN) {
        operation.as.append.expect_hash.hash = es_bytes_make(part->hash, ES_HASH_SIZE);
    }
    es_transaction_write_operation(pack, &operation);
    for (uint32_t i = 0; i < part->event_count; i++) {
        event.tick = part->tick + i;
        event.payload =
            es_bytes_make(op_payload(op->id, index, i, part->payload_bytes), part->payload_bytes);
        es_transaction_write_event(pack, &event);
    }
}

static void write_kv(struct es_pack *pack, const struct op *op, uint32_t index)
{
    const struct op_part *part = &op->parts[index];
    struct es_operation operation = {.kind = part->kind == PART_DELETE ? ES_OPERATION_KV_DELETE
                                                                       : ES_OPERATION_KV_PUT};

    operation.as.kv.family = part->kind == PART_DERIVED_PUT ? ES_KV_DERIVED : ES_KV_TRUTH;
    operation.as.kv.name_space = es_text_of(OP_NAMESPACE);
    operation.as.kv.key = op_key(part->target);
    operation.as.kv.expect = part->expect;
    if (part->kind != PART_DELETE) {
        operation.as.kv.value =
            es_bytes_make(op_payload(op->id, index, 0, part->payload_bytes), part->payload_bytes);
    }
    es_transaction_write_operation(pack, &operation);
}

static void write_snapshot(struct es_pack *pack, const struct op *op, uint32_t index)
{
    const struct op_part *part = &op->parts[index];
    struct es_operation operation = {.kind = ES_OPERATION_SNAPSHOT_SAVE};

    operation.as.snapshot_save = (struct es_snapshot_save_operation){
        .stream = op_stream(part->target),
        .tick = part->tick,
        .sequence = part->sequence,
        .projection = es_text_of("sums"),
        .version = 1,
        .state =
            es_bytes_make(op_payload(op->id, index, 0, part->payload_bytes), part->payload_bytes),
    };
    es_transaction_write_operation(pack, &operation);
}

uint32_t op_encode(struct op *op, uint8_t ret_bytes[OP_BYTES_MAX])
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, ret_bytes, OP_BYTES_MAX);
    es_transaction_write_begin(&pack, op->number, op->part_count);
    for (uint32_t i = 0; i < op->part_count; i++) {
        switch (op->parts[i].kind) {
        case PART_APPEND: write_append(&pack, op, i); break;
        case PART_SNAPSHOT: write_snapshot(&pack, op, i); break;
        default: write_kv(&pack, op, i); break;
        }
    }
    if (es_pack_finish(&pack, &size) != ES_OK) {
        sim_violation("an operation has no room");
    }
    if (op->name != OP_UNNAMED) {
        struct es_transaction_reader reader;

        if (es_transaction_read(&reader, ret_bytes, size) == ES_REASON_NONE) {
            es_transaction_content_hash(&reader, op->content_hash);
        }
    }
    if (op->is_malformed) {
        ret_bytes[size++] = 0xc0; /* what is behind the end breaks a rule */
    }
    op->encoded_bytes = size;
    return size;
}
