#include "shm/codec/log_body.h"

#include <assert.h>

#define BODY_COUNT 4U

/* Elements of an operation, by kind. */
static const uint32_t operation_counts[] = {0, 7, 5, 10, 5, 6, 2, 5, 3};

void es_log_body_begin(struct es_pack *pack, struct es_bytes commit, uint32_t envelope_count)
{
    es_pack_array(pack, BODY_COUNT);
    if (commit.size > 0) {
        es_pack_raw(pack, commit.data, commit.size);
    } else {
        es_pack_nil(pack);
    }
    es_pack_array(pack, envelope_count);
}

void es_log_body_envelope(struct es_pack *pack, struct es_bytes envelope)
{
    es_pack_bin(pack, envelope.data, envelope.size);
}

void es_log_body_operations(struct es_pack *pack, uint32_t operation_count)
{
    es_pack_array(pack, operation_count);
}

static void kv_write(struct es_pack *pack, const struct es_log_kv *kv, bool is_put)
{
    es_pack_uint(pack, (uint64_t)kv->family);
    es_pack_str(pack, kv->name_space);
    es_pack_str(pack, kv->key);
    es_pack_uint(pack, kv->value.revision);
    if (is_put) {
        es_pack_bin(pack, kv->value.value_hash, ES_HASH_SIZE);
        es_pack_bin(pack, kv->value.value.data, kv->value.value.size);
    }
}

static void snapshot_write(struct es_pack *pack, const struct es_log_snapshot *snapshot,
                           bool is_put)
{
    const struct es_snapshot_value *value = &snapshot->value;

    es_pack_str(pack, snapshot->stream);
    es_pack_uint(pack, value->tick);
    es_pack_uint(pack, value->sequence);
    if (is_put) {
        es_pack_bin(pack, value->event_hash, ES_HASH_SIZE);
    }
    es_pack_str(pack, value->projection);
    if (is_put) {
        es_pack_uint(pack, value->version);
        es_pack_uint(pack, value->created_us);
        es_pack_bin(pack, value->state_hash, ES_HASH_SIZE);
        es_pack_bin(pack, value->state.data, value->state.size);
    }
}

static void checkpoint_write(struct es_pack *pack, const struct es_log_checkpoint *checkpoint,
                             bool is_put)
{
    es_pack_str(pack, checkpoint->consumer);
    if (is_put) {
        es_pack_uint(pack, checkpoint->value.epoch);
        es_pack_uint(pack, checkpoint->value.position);
        es_pack_str(pack, checkpoint->value.owner);
        es_pack_uint(pack, checkpoint->value.updated_us);
    }
}

void es_log_body_operation(struct es_pack *pack, const struct es_log_operation *operation)
{
    es_pack_array(pack, operation_counts[operation->kind]);
    es_pack_uint(pack, (uint64_t)operation->kind);
    switch (operation->kind) {
    case ES_LOG_KV_PUT: kv_write(pack, &operation->as.kv, true); break;
    case ES_LOG_KV_DELETE: kv_write(pack, &operation->as.kv, false); break;
    case ES_LOG_SNAPSHOT_PUT: snapshot_write(pack, &operation->as.snapshot, true); break;
    case ES_LOG_SNAPSHOT_DELETE: snapshot_write(pack, &operation->as.snapshot, false); break;
    case ES_LOG_CHECKPOINT_PUT: checkpoint_write(pack, &operation->as.checkpoint, true); break;
    case ES_LOG_CHECKPOINT_DELETE: checkpoint_write(pack, &operation->as.checkpoint, false); break;
    case ES_LOG_PRODUCER:
        es_pack_str(pack, operation->as.producer.producer);
        es_pack_uint(pack, operation->as.producer.value.owner_incarnation);
        es_pack_uint(pack, operation->as.producer.value.last_sequence);
        es_pack_uint(pack, operation->as.producer.value.owner_uid);
        break;
    case ES_LOG_EPOCH:
        es_pack_uint(pack, operation->as.epoch.epoch);
        es_pack_uint(pack, operation->as.epoch.first_position);
        break;
    }
}

void es_log_body_last(struct es_pack *pack, const struct es_last *last)
{
    uint8_t bytes[ES_LAST_SIZE_MAX];
    uint32_t size = 0;

    enum es_status status = es_last_encode(last, bytes, sizeof bytes, &size);
    assert(status == ES_OK); /* ES_LAST_SIZE_MAX always suffices */
    es_pack_raw(pack, bytes, size);
}

static struct es_text name_read(struct es_unpack *unpack)
{
    struct es_text name = es_unpack_str(unpack, ES_NAME_SIZE_MAX);

    if (es_name_check(name) != ES_REASON_NONE) {
        es_unpack_fail(unpack);
    }
    return name;
}

static void kv_read(struct es_unpack *unpack, bool is_put, struct es_log_kv *ret_kv)
{
    ret_kv->family = (enum es_kv_family)es_unpack_uint_in(unpack, ES_KV_TRUTH, ES_KV_DERIVED);
    ret_kv->name_space = name_read(unpack);
    ret_kv->key = es_unpack_str(unpack, ES_KEY_TEXT_MAX);
    ret_kv->value = (struct es_kv_value){.revision = es_unpack_uint_in(unpack, 1, UINT64_MAX)};
    if (is_put) {
        ret_kv->value.value_hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
        ret_kv->value.value = es_unpack_bin(unpack, UINT32_MAX);
    }
    if (es_key_text_check(ret_kv->key) != ES_REASON_NONE) {
        es_unpack_fail(unpack);
    }
}

static void snapshot_read(struct es_unpack *unpack, bool is_put,
                          struct es_log_snapshot *ret_snapshot)
{
    struct es_snapshot_value value = {.event_hash = NULL};
    struct es_stream_parts parts;

    ret_snapshot->stream = es_unpack_str(unpack, ES_STREAM_SIZE_MAX);
    value.tick = es_unpack_uint_in(unpack, 0, ES_TICK_MAX);
    value.sequence = es_unpack_uint_in(unpack, is_put ? 1 : 0, UINT64_MAX);
    if (is_put) {
        value.event_hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
    }
    value.projection = es_unpack_str(unpack, ES_NAME_SIZE_MAX);
    if (is_put) {
        value.version = es_unpack_uint(unpack);
        value.created_us = es_unpack_uint(unpack);
        value.state_hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
        value.state = es_unpack_bin(unpack, UINT32_MAX);
    }
    if (es_stream_parse(ret_snapshot->stream, &parts) != ES_REASON_NONE ||
        (value.projection.size > 0 && es_name_check(value.projection) != ES_REASON_NONE)) {
        es_unpack_fail(unpack);
    }
    ret_snapshot->value = value;
}

static void checkpoint_read(struct es_unpack *unpack, bool is_put,
                            struct es_log_checkpoint *ret_checkpoint)
{
    ret_checkpoint->consumer = name_read(unpack);
    ret_checkpoint->value = (struct es_consumer_value){.epoch = 0};
    if (is_put) {
        ret_checkpoint->value.epoch = es_unpack_uint(unpack);
        ret_checkpoint->value.position = es_unpack_uint(unpack);
        ret_checkpoint->value.owner = es_unpack_utf8(unpack, ES_NAME_SIZE_MAX);
        ret_checkpoint->value.updated_us = es_unpack_uint(unpack);
    }
}

static void operation_read(struct es_unpack *unpack, struct es_log_operation *ret_operation)
{
    uint32_t count = es_unpack_array(unpack);
    uint64_t kind = es_unpack_uint_in(unpack, ES_LOG_KV_PUT, ES_LOG_EPOCH);

    if (!es_unpack_ok(unpack) || count != operation_counts[kind]) {
        es_unpack_fail(unpack);
        return;
    }
    ret_operation->kind = (enum es_log_kind)kind;
    switch (ret_operation->kind) {
    case ES_LOG_KV_PUT: kv_read(unpack, true, &ret_operation->as.kv); break;
    case ES_LOG_KV_DELETE: kv_read(unpack, false, &ret_operation->as.kv); break;
    case ES_LOG_SNAPSHOT_PUT: snapshot_read(unpack, true, &ret_operation->as.snapshot); break;
    case ES_LOG_SNAPSHOT_DELETE: snapshot_read(unpack, false, &ret_operation->as.snapshot); break;
    case ES_LOG_CHECKPOINT_PUT: checkpoint_read(unpack, true, &ret_operation->as.checkpoint); break;
    case ES_LOG_CHECKPOINT_DELETE:
        checkpoint_read(unpack, false, &ret_operation->as.checkpoint);
        break;
    case ES_LOG_PRODUCER:
        ret_operation->as.producer.producer = name_read(unpack);
        ret_operation->as.producer.value.owner_incarnation = es_unpack_uint(unpack);
        ret_operation->as.producer.value.last_sequence = es_unpack_uint(unpack);
        ret_operation->as.producer.value.owner_uid =
            (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
        break;
    case ES_LOG_EPOCH:
        ret_operation->as.epoch.epoch = es_unpack_uint(unpack);
        ret_operation->as.epoch.first_position = es_unpack_uint_in(unpack, 1, UINT64_MAX);
        break;
    }
}

/* The bytes of the next value, which must be an array. */
static struct es_bytes array_skip(struct es_unpack *unpack)
{
    if (es_unpack_peek(unpack) != ES_MSGPACK_ARRAY) {
        es_unpack_fail(unpack);
    }
    return es_unpack_skip(unpack);
}

enum es_status es_log_body_decode(const void *bytes, size_t size, struct es_log_body *ret_body)
{
    struct es_log_body body = {.commit = {.size = 0}};
    struct es_log_operation operation;
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    (void)es_unpack_array_in(&unpack, BODY_COUNT, BODY_COUNT);
    if (!es_unpack_try_nil(&unpack)) {
        body.commit = array_skip(&unpack);
    }
    body.envelope_count = es_unpack_array(&unpack);
    body.envelopes = unpack;
    for (uint32_t i = 0; i < body.envelope_count && es_unpack_ok(&unpack); i++) {
        (void)es_unpack_bin(&unpack, UINT32_MAX);
    }
    body.operation_count = es_unpack_array(&unpack);
    body.operations = unpack;
    for (uint32_t i = 0; i < body.operation_count && es_unpack_ok(&unpack); i++) {
        operation_read(&unpack, &operation);
    }
    body.last = array_skip(&unpack);
    if (!es_unpack_done(&unpack)) {
        return ES_E_CORRUPT;
    }
    body.envelopes_left = body.envelope_count;
    body.operations_left = body.operation_count;
    *ret_body = body;
    return ES_OK;
}

bool es_log_body_next_envelope(struct es_log_body *body, struct es_bytes *ret_envelope)
{
    if (body->envelopes_left == 0) {
        return false;
    }
    body->envelopes_left--;
    *ret_envelope = es_unpack_bin(&body->envelopes, UINT32_MAX);
    return true;
}

bool es_log_body_next_operation(struct es_log_body *body, struct es_log_operation *ret_operation)
{
    if (body->operations_left == 0) {
        return false;
    }
    body->operations_left--;
    operation_read(&body->operations, ret_operation);
    return true;
}
