#include "shm/codec/kv_value.h"

#include "shm/codec/hash.h"
#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#define VERSION 1U
#define ELEMENT_COUNT 4U

enum es_status es_kv_value_encode(const struct es_kv_value *value, void *ret_bytes, size_t capacity,
                                  uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, ELEMENT_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, value->revision);
    es_pack_bin(&pack, value->value_hash, ES_HASH_SIZE);
    es_pack_bin(&pack, value->value.data, value->value.size);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_kv_value_decode(const void *bytes, size_t size, struct es_kv_value *ret_value)
{
    struct es_versioned value;
    struct es_kv_value fields;

    es_versioned_begin(&value, bytes, size, ELEMENT_COUNT, VERSION);
    fields.revision = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    fields.value_hash = es_unpack_bin_of(&value.unpack, ES_HASH_SIZE);
    fields.value = es_unpack_bin(&value.unpack, UINT32_MAX);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        *ret_value = fields;
    }
    return status;
}

enum es_status es_kv_value_verify(const struct es_kv_value *value)
{
    uint8_t hash[ES_HASH_SIZE];

    es_hash(value->value.data, value->value.size, hash);
    return memcmp(hash, value->value_hash, ES_HASH_SIZE) == 0 ? ES_OK : ES_E_CORRUPT;
}
