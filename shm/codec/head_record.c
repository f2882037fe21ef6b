#include "shm/codec/head_record.h"

#include "shm/codec/names.h"
#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#define VERSION 1U
#define ELEMENT_COUNT 9U

enum es_status es_head_encode(const struct es_head_value *head, void *ret_bytes, size_t capacity,
                              uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, ELEMENT_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, head->last_sequence);
    es_pack_bin(&pack, head->last_hash, ES_HASH_SIZE);
    es_pack_uint(&pack, head->last_tick);
    es_pack_uint(&pack, head->first_sequence);
    es_pack_bin(&pack, head->hash_before_first, head->has_hash_before_first ? ES_HASH_SIZE : 0);
    es_pack_uint(&pack, head->last_position);
    es_pack_uint(&pack, head->flags);
    es_pack_nil(&pack);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_head_decode(const void *bytes, size_t size, struct es_head_value *ret_head)
{
    struct es_versioned value;
    struct es_head_value head;

    es_versioned_begin(&value, bytes, size, ELEMENT_COUNT, VERSION);
    head.last_sequence = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    es_unpack_bin_copy(&value.unpack, head.last_hash, ES_HASH_SIZE);
    head.last_tick = es_unpack_uint_in(&value.unpack, 0, ES_TICK_MAX);
    head.first_sequence = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    struct es_bytes before = es_unpack_hash_or_empty(&value.unpack);
    head.last_position = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    head.flags = es_unpack_uint(&value.unpack);
    bool has_parent = !es_unpack_try_nil(&value.unpack);
    if (has_parent) {
        (void)es_unpack_skip(&value.unpack);
    }
    head.has_hash_before_first = before.size > 0;
    memset(head.hash_before_first, 0, ES_HASH_SIZE);
    memcpy(head.hash_before_first, before.data, before.size);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK && has_parent) {
        status = ES_E_VERSION;
    }
    if (status == ES_OK) {
        *ret_head = head;
    }
    return status;
}

enum es_status es_pos_encode(uint64_t position, void *ret_bytes, size_t capacity,
                             uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_uint(&pack, position);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_pos_decode(const void *bytes, size_t size, uint64_t *ret_position)
{
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    uint64_t position = es_unpack_uint_in(&unpack, 1, UINT64_MAX);
    if (!es_unpack_done(&unpack)) {
        return ES_E_CORRUPT;
    }
    *ret_position = position;
    return ES_OK;
}
