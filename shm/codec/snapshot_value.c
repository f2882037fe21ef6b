#include "shm/codec/snapshot_value.h"

#include "shm/codec/hash.h"
#include "shm/codec/names.h"
#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#define VERSION 1U
#define ELEMENT_COUNT 9U

enum es_status es_snapshot_value_encode(const struct es_snapshot_value *value, void *ret_bytes,
                                        size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, ELEMENT_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, value->tick);
    es_pack_uint(&pack, value->sequence);
    es_pack_bin(&pack, value->event_hash, ES_HASH_SIZE);
    es_pack_str(&pack, value->projection);
    es_pack_uint(&pack, value->version);
    es_pack_uint(&pack, value->created_us);
    es_pack_bin(&pack, value->state_hash, ES_HASH_SIZE);
    es_pack_bin(&pack, value->state.data, value->state.size);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_snapshot_value_decode(const void *bytes, size_t size,
                                        struct es_snapshot_value *ret_value)
{
    struct es_versioned value;
    struct es_snapshot_value fields;

    es_versioned_begin(&value, bytes, size, ELEMENT_COUNT, VERSION);
    fields.tick = es_unpack_uint_in(&value.unpack, 0, ES_TICK_MAX);
    fields.sequence = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    fields.event_hash = es_unpack_bin_of(&value.unpack, ES_HASH_SIZE);
    fields.projection = es_unpack_str(&value.unpack, ES_NAME_SIZE_MAX);
    fields.version = es_unpack_uint(&value.unpack);
    fields.created_us = es_unpack_uint(&value.unpack);
    fields.state_hash = es_unpack_bin_of(&value.unpack, ES_HASH_SIZE);
    fields.state = es_unpack_bin(&value.unpack, UINT32_MAX);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK && fields.projection.size > 0 &&
        es_name_check(fields.projection) != ES_REASON_NONE) {
        status = ES_E_CORRUPT;
    }
    if (status == ES_OK) {
        *ret_value = fields;
    }
    return status;
}

enum es_status es_snapshot_value_verify(const struct es_snapshot_value *value)
{
    uint8_t hash[ES_HASH_SIZE];

    es_hash(value->state.data, value->state.size, hash);
    return memcmp(hash, value->state_hash, ES_HASH_SIZE) == 0 ? ES_OK : ES_E_CORRUPT;
}
