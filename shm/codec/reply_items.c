/*
 * The items of replies, each one array: writers and readers side by side, so
 * that neither changes without the other. replies.c has the frame around them.
 */
#include "shm/codec/replies.h"

#define RESULT_COUNT 11U
#define STREAM_COUNT 5U
#define HEAD_COUNT 6U
#define SNAPSHOT_COUNT 9U
#define KV_COUNT 3U
#define KV_EXPORT_COUNT 4U
#define SCAN_COUNT 2U
#define FINDING_COUNT 5U
#define PRODUCER_COUNT 4U

/* A stream that must be valid. */
static struct es_text stream_read(struct es_unpack *unpack)
{
    struct es_stream_parts parts;
    struct es_text stream = es_unpack_str(unpack, ES_STREAM_SIZE_MAX);

    if (es_stream_parse(stream, &parts) != ES_REASON_NONE) {
        es_unpack_fail(unpack);
    }
    return stream;
}

static uint32_t uint32_read(struct es_unpack *unpack)
{
    return (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
}

/* A hash or bin(0), copied out; says which it was. */
static bool hash_read(struct es_unpack *unpack, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct es_bytes hash = es_unpack_hash_or_empty(unpack);

    memset(ret_hash, 0, ES_HASH_SIZE);
    memcpy(ret_hash, hash.data, hash.size);
    return hash.size > 0;
}

void es_result_write(struct es_pack *pack, const struct es_wire_result *result)
{
    es_pack_array(pack, RESULT_COUNT);
    es_pack_int(pack, (int64_t)result->status);
    es_pack_uint(pack, result->reason);
    es_pack_uint(pack, result->operation);
    es_pack_uint(pack, result->stream_sequence);
    es_pack_uint(pack, result->position);
    es_pack_bin(pack, result->hash, result->has_hash ? ES_HASH_SIZE : 0);
    es_pack_uint(pack, result->commit_number);
    es_pack_bin(pack, result->store_hash, result->has_store_hash ? ES_HASH_SIZE : 0);
    es_pack_uint(pack, result->revision);
    es_pack_uint(pack, result->tick);
    es_pack_uint(pack, result->time_us);
}

void es_result_read(struct es_unpack *unpack, struct es_wire_result *ret_result)
{
    uint32_t count = es_unpack_array_in(unpack, RESULT_COUNT, UINT32_MAX);
    int64_t status = es_unpack_int(unpack);

    if (status < INT32_MIN || status > INT32_MAX) {
        es_unpack_fail(unpack);
        status = 0;
    }
    ret_result->status = (enum es_status)status;
    ret_result->reason = uint32_read(unpack);
    ret_result->operation = uint32_read(unpack);
    ret_result->stream_sequence = es_unpack_uint(unpack);
    ret_result->position = es_unpack_uint(unpack);
    ret_result->has_hash = hash_read(unpack, ret_result->hash);
    ret_result->commit_number = es_unpack_uint(unpack);
    ret_result->has_store_hash = hash_read(unpack, ret_result->store_hash);
    ret_result->revision = es_unpack_uint(unpack);
    ret_result->tick = es_unpack_uint(unpack);
    ret_result->time_us = es_unpack_uint(unpack);
    es_unpack_skip_count(unpack, count - RESULT_COUNT);
}

void es_event_item_write(struct es_pack *pack, const struct es_published_event *event)
{
    es_published_add(pack, event);
}

void es_event_item_read(struct es_unpack *unpack, struct es_published_event *ret_event)
{
    es_published_event_read(unpack, ret_event);
}

static void stream_fields_write(struct es_pack *pack, const struct es_stream_item *stream)
{
    es_pack_str(pack, stream->stream);
    es_pack_uint(pack, stream->sequence);
    es_pack_bin(pack, stream->hash, ES_HASH_SIZE);
    es_pack_uint(pack, stream->tick);
    es_pack_uint(pack, stream->position);
}

static void stream_fields_read(struct es_unpack *unpack, struct es_stream_item *ret_stream)
{
    ret_stream->stream = stream_read(unpack);
    ret_stream->sequence = es_unpack_uint(unpack);
    ret_stream->hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
    ret_stream->tick = es_unpack_uint_in(unpack, 0, ES_TICK_MAX);
    ret_stream->position = es_unpack_uint(unpack);
}

void es_head_item_write(struct es_pack *pack, const struct es_stream_item *head)
{
    es_pack_array(pack, HEAD_COUNT);
    stream_fields_write(pack, head);
    es_pack_uint(pack, head->first_sequence);
}

void es_head_item_read(struct es_unpack *unpack, struct es_stream_item *ret_head)
{
    uint32_t count = es_unpack_array_in(unpack, HEAD_COUNT, UINT32_MAX);

    stream_fields_read(unpack, ret_head);
    ret_head->first_sequence = es_unpack_uint(unpack);
    es_unpack_skip_count(unpack, count - HEAD_COUNT);
}

void es_stream_item_write(struct es_pack *pack, const struct es_stream_item *stream)
{
    es_pack_array(pack, STREAM_COUNT);
    stream_fields_write(pack, stream);
}

void es_stream_item_read(struct es_unpack *unpack, struct es_stream_item *ret_stream)
{
    uint32_t count = es_unpack_array_in(unpack, STREAM_COUNT, UINT32_MAX);

    stream_fields_read(unpack, ret_stream);
    ret_stream->first_sequence = 0;
    es_unpack_skip_count(unpack, count - STREAM_COUNT);
}

void es_snapshot_item_write(struct es_pack *pack, const struct es_snapshot_item *snapshot)
{
    es_pack_array(pack, SNAPSHOT_COUNT);
    es_pack_str(pack, snapshot->stream);
    es_pack_uint(pack, snapshot->tick);
    es_pack_uint(pack, snapshot->sequence);
    es_pack_bin(pack, snapshot->hash, ES_HASH_SIZE);
    es_pack_str(pack, snapshot->projection);
    es_pack_uint(pack, snapshot->version);
    es_pack_uint(pack, snapshot->created_us);
    es_pack_uint(pack, snapshot->state_size);
    es_pack_bool(pack, snapshot->valid);
}

void es_snapshot_item_read(struct es_unpack *unpack, struct es_snapshot_item *ret_snapshot)
{
    uint32_t count = es_unpack_array_in(unpack, SNAPSHOT_COUNT, UINT32_MAX);

    ret_snapshot->stream = stream_read(unpack);
    ret_snapshot->tick = es_unpack_uint_in(unpack, 0, ES_TICK_MAX);
    ret_snapshot->sequence = es_unpack_uint(unpack);
    ret_snapshot->hash = es_unpack_bin_of(unpack, ES_HASH_SIZE);
    ret_snapshot->projection = es_unpack_utf8(unpack, ES_NAME_SIZE_MAX);
    ret_snapshot->version = es_unpack_uint(unpack);
    ret_snapshot->created_us = es_unpack_uint(unpack);
    ret_snapshot->state_size = es_unpack_uint(unpack);
    ret_snapshot->valid = es_unpack_bool(unpack);
    es_unpack_skip_count(unpack, count - SNAPSHOT_COUNT);
}

static void kv_fields_read(struct es_unpack *unpack, struct es_kv_item *ret_item)
{
    ret_item->key = es_unpack_utf8(unpack, ES_KEY_TEXT_MAX);
    ret_item->revision = es_unpack_uint(unpack);
    ret_item->value = es_unpack_bin(unpack, UINT32_MAX);
}

static void kv_fields_write(struct es_pack *pack, const struct es_kv_item *item)
{
    es_pack_str(pack, item->key);
    es_pack_uint(pack, item->revision);
    es_pack_bin(pack, item->value.data, item->value.size);
}

void es_kv_item_write(struct es_pack *pack, const struct es_kv_item *item)
{
    es_pack_array(pack, KV_COUNT);
    kv_fields_write(pack, item);
}

void es_kv_item_read(struct es_unpack *unpack, struct es_kv_item *ret_item)
{
    uint32_t count = es_unpack_array_in(unpack, KV_COUNT, UINT32_MAX);

    ret_item->name_space = es_text_make("", 0);
    kv_fields_read(unpack, ret_item);
    es_unpack_skip_count(unpack, count - KV_COUNT);
}

void es_kv_export_item_write(struct es_pack *pack, const struct es_kv_item *item)
{
    es_pack_array(pack, KV_EXPORT_COUNT);
    es_pack_str(pack, item->name_space);
    kv_fields_write(pack, item);
}

void es_kv_export_item_read(struct es_unpack *unpack, struct es_kv_item *ret_item)
{
    uint32_t count = es_unpack_array_in(unpack, KV_EXPORT_COUNT, UINT32_MAX);

    ret_item->name_space = es_unpack_utf8(unpack, ES_NAME_SIZE_MAX);
    kv_fields_read(unpack, ret_item);
    es_unpack_skip_count(unpack, count - KV_EXPORT_COUNT);
}

void es_scan_item_write(struct es_pack *pack, const struct es_scan_item *item)
{
    es_pack_array(pack, SCAN_COUNT);
    es_pack_uint(pack, item->sequence);
    es_pack_bin(pack, item->envelope.data, item->envelope.size);
}

void es_scan_item_read(struct es_unpack *unpack, struct es_scan_item *ret_item)
{
    uint32_t count = es_unpack_array_in(unpack, SCAN_COUNT, UINT32_MAX);

    ret_item->sequence = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    ret_item->envelope = es_unpack_bin(unpack, UINT32_MAX);
    es_unpack_skip_count(unpack, count - SCAN_COUNT);
}

void es_producer_item_write(struct es_pack *pack, const struct es_producer_item *item)
{
    es_pack_array(pack, PRODUCER_COUNT);
    es_pack_str(pack, item->name);
    es_pack_uint(pack, item->last_number);
    es_pack_uint(pack, item->owner_incarnation);
    es_pack_uint(pack, item->uid);
}

void es_producer_item_read(struct es_unpack *unpack, struct es_producer_item *ret_item)
{
    uint32_t count = es_unpack_array_in(unpack, PRODUCER_COUNT, UINT32_MAX);

    ret_item->name = es_unpack_str(unpack, ES_NAME_SIZE_MAX);
    if (es_name_check(ret_item->name) != ES_REASON_NONE) {
        es_unpack_fail(unpack);
    }
    ret_item->last_number = es_unpack_uint(unpack);
    ret_item->owner_incarnation = es_unpack_uint(unpack);
    ret_item->uid = uint32_read(unpack);
    es_unpack_skip_count(unpack, count - PRODUCER_COUNT);
}

void es_finding_write(struct es_pack *pack, const struct es_finding *finding)
{
    es_pack_array(pack, FINDING_COUNT);
    es_pack_uint(pack, finding->kind);
    es_pack_str(pack, finding->stream);
    es_pack_uint(pack, finding->sequence);
    es_pack_uint(pack, finding->position);
    es_pack_str(pack, finding->message);
}

void es_finding_read(struct es_unpack *unpack, struct es_finding *ret_finding)
{
    uint32_t count = es_unpack_array_in(unpack, FINDING_COUNT, UINT32_MAX);

    ret_finding->kind = uint32_read(unpack);
    ret_finding->stream = es_unpack_utf8(unpack, ES_STREAM_SIZE_MAX);
    ret_finding->sequence = es_unpack_uint(unpack);
    ret_finding->position = es_unpack_uint(unpack);
    ret_finding->message = es_unpack_utf8(unpack, ES_REPLY_MESSAGE_MAX);
    es_unpack_skip_count(unpack, count - FINDING_COUNT);
}
