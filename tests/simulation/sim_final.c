/*
 * The last look of sim_model.h: everything is answered, the broker has stopped, and
 * the whole store is held against the whole model.
 */
#include <string.h>

#include "shm/codec/head_record.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/store_key.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_model.h"
#include "tests/simulation/sim_store.h"

static struct store_buffer buffer;

static bool get(enum store_family family, const struct es_key *key)
{
    return store_get(sim_store_contents(), NULL, family,
                     (struct store_slice){key->bytes, key->size}, &buffer) == ES_OK;
}

/* Whether it would have been stored whatever had come before it. */
static bool is_certain(const struct op *op)
{
    if (op->is_malformed || op->sees_no_space || (op->flags & ES_RECORD_ORDERED) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < op->part_count; i++) {
        const struct op_part *part = &op->parts[i];

        if (part->kind == PART_DELETE || part->kind == PART_SNAPSHOT ||
            part->expect.kind != ES_EXPECTED_ANY || part->hash_kind != HASH_NOT_GIVEN) {
            return false;
        }
    }
    return true;
}

/* Somebody has written into the ring of this user: it may have been given up. */
static bool is_spoilt(uint32_t uid)
{
    return (sim.spoilt_uids >> (uid - SIM_FIRST_UID) & 1U) != 0;
}

static void check_op(const struct op *op)
{
    switch (op->fate) {
    case FATE_UNSENT:
        if (op->is_stored) {
            sim_violation("operation %u was never sent and is stored", op->id);
        }
        break;
    case FATE_OPEN: sim_violation("operation %u was never answered", op->id);
    case FATE_ANSWERED:
        if (op->status == ES_OK && !op->is_stored && !op->is_lost) {
            sim_violation("operation %u was answered OK and is not stored", op->id);
        }
        break;
    case FATE_ORPHAN:
        if (!op->is_stored && !op->is_lost && !is_spoilt(op->uid) && is_certain(op)) {
            sim_violation("operation %u was published, its producer died, and it is lost", op->id);
        }
        break;
    case FATE_UNKNOWN: break;
    }
}

static void check_stream(uint32_t index)
{
    const struct model_stream *stream = &model.streams[index];
    struct es_head_value head;
    struct es_key key;

    es_key_head(op_stream(index), &key);
    if (!get(STORE_STREAM_META, &key)) {
        if (stream->last_sequence > 0) {
            sim_violation("stream %u has no head", index);
        }
        return;
    }
    if (es_head_decode(buffer.bytes, buffer.size, &head) != ES_OK ||
        head.last_sequence != stream->last_sequence ||
        head.last_position != stream->last_position || head.last_tick != stream->last_tick ||
        memcmp(head.last_hash, stream->last_hash, ES_HASH_SIZE) != 0) {
        sim_violation("the head of stream %u is not that of its last event", index);
    }
    es_key_event(op_stream(index), stream->last_sequence + 1, &key);
    if (get(STORE_EVENTS, &key)) {
        sim_violation("stream %u has an event that no commit knows", index);
    }
}

static void check_key(uint32_t index)
{
    const struct model_key *model_key = &model.keys[index];
    struct es_kv_value value;
    struct es_key key;

    es_key_kv(es_text_of(OP_NAMESPACE), op_key(index), &key);
    if (!get(STORE_KV, &key)) {
        if (model_key->revision != 0) {
            sim_violation("key %u is missing", index);
        }
        return;
    }
    if (es_kv_value_decode(buffer.bytes, buffer.size, &value) != ES_OK ||
        value.revision != model_key->revision || es_kv_value_verify(&value) != ES_OK ||
        memcmp(value.value_hash, ops[model_key->op].parts[model_key->part].value_hash,
               ES_HASH_SIZE) != 0) {
        sim_violation("key %u has another value than was put last", index);
    }
}

static void check_derived(uint32_t index)
{
    struct es_kv_value value;
    struct es_key key;
    uint32_t part = 0;
    const struct op *op = NULL;

    es_key_kv(es_text_of(OP_NAMESPACE), op_key(index), &key);
    if (!get(STORE_READ_MODELS, &key)) {
        return;
    }
    if (es_kv_value_decode(buffer.bytes, buffer.size, &value) != ES_OK ||
        es_kv_value_verify(&value) != ES_OK) {
        sim_violation("a value of a read model cannot be read");
    }
    op = op_of_value(value.value_hash, &part);
    if (op == NULL || (!op->is_stored && !op->is_lost) || op->parts[part].target != index) {
        sim_violation("a read model holds a value of a transaction that is not stored");
    }
}

static void count_events(void)
{
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *iterator = NULL;
    uint64_t count = 0;

    if (store_iterator_new(sim_store_contents(), NULL, STORE_EVENTS, &all, &iterator) != ES_OK) {
        sim_violation("the events cannot be read");
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        count++;
    }
    store_iterator_free(iterator);
    if (count != model.position) {
        sim_violation("the store holds %lu events, the history %lu", (unsigned long)count,
                      (unsigned long)model.position);
    }
}

void model_check_all(void)
{
    enum sim_zone zone = sim_heap_select(ZONE_HOST);

    for (uint32_t i = 0; i < op_count; i++) {
        check_op(&ops[i]);
    }
    for (uint32_t i = 0; i < STREAM_COUNT; i++) {
        check_stream(i);
    }
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        check_key(i);
    }
    for (uint32_t i = 0; i < DERIVED_COUNT; i++) {
        check_derived(i);
    }
    count_events();
    (void)sim_heap_select(zone);
}
