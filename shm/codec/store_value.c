#include "shm/codec/store_value.h"

#include "shm/codec/names.h"
#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#include <assert.h>

#define VERSION 1U
#define PRODUCER_COUNT 4U
#define IDENTITY_COUNT 2U
#define EPOCH_COUNT 2U

enum es_status es_producer_value_encode(const struct es_producer_value *value, void *ret_bytes,
                                        size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, PRODUCER_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, value->owner_incarnation);
    es_pack_uint(&pack, value->last_sequence);
    es_pack_uint(&pack, value->owner_uid);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_producer_value_decode(const void *bytes, size_t size,
                                        struct es_producer_value *ret_value)
{
    struct es_versioned value;
    struct es_producer_value fields;

    es_versioned_begin(&value, bytes, size, PRODUCER_COUNT, VERSION);
    fields.owner_incarnation = es_unpack_uint(&value.unpack);
    fields.last_sequence = es_unpack_uint(&value.unpack);
    fields.owner_uid = (uint32_t)es_unpack_uint_in(&value.unpack, 0, UINT32_MAX);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        *ret_value = fields;
    }
    return status;
}

enum es_status es_consumer_value_encode(const struct es_consumer_value *value, void *ret_bytes,
                                        size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, 5);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, value->epoch);
    es_pack_uint(&pack, value->position);
    es_pack_str(&pack, value->owner);
    es_pack_uint(&pack, value->updated_us);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_consumer_value_decode(const void *bytes, size_t size,
                                        struct es_consumer_value *ret_value)
{
    struct es_versioned value;
    struct es_consumer_value fields;

    es_versioned_begin(&value, bytes, size, 5, VERSION);
    fields.epoch = es_unpack_uint(&value.unpack);
    fields.position = es_unpack_uint(&value.unpack);
    fields.owner = es_unpack_utf8(&value.unpack, ES_NAME_SIZE_MAX);
    fields.updated_us = es_unpack_uint(&value.unpack);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        *ret_value = fields;
    }
    return status;
}

/* [1, number]: a category's last position, and the last revision. */
static enum es_status number_encode(uint64_t number, void *ret_bytes, size_t capacity,
                                    uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, 2);
    es_pack_uint(&pack, VERSION);
    es_pack_uint(&pack, number);
    return es_pack_finish(&pack, ret_size);
}

static enum es_status number_decode(const void *bytes, size_t size, uint64_t *ret_number)
{
    struct es_versioned value;

    es_versioned_begin(&value, bytes, size, 2, VERSION);
    uint64_t number = es_unpack_uint(&value.unpack);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        *ret_number = number;
    }
    return status;
}

enum es_status es_category_value_encode(uint64_t last_position, void *ret_bytes, size_t capacity,
                                        uint32_t *ret_size)
{
    return number_encode(last_position, ret_bytes, capacity, ret_size);
}

enum es_status es_category_value_decode(const void *bytes, size_t size, uint64_t *ret_last_position)
{
    return number_decode(bytes, size, ret_last_position);
}

enum es_status es_revision_value_encode(uint64_t last_revision, void *ret_bytes, size_t capacity,
                                        uint32_t *ret_size)
{
    return number_encode(last_revision, ret_bytes, capacity, ret_size);
}

enum es_status es_revision_value_decode(const void *bytes, size_t size, uint64_t *ret_last_revision)
{
    return number_decode(bytes, size, ret_last_revision);
}

enum es_status es_store_identity_encode(const struct es_store_identity *identity, void *ret_bytes,
                                        size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, IDENTITY_COUNT);
    es_pack_uint(&pack, identity->format_version);
    es_pack_bin(&pack, identity->store_id, ES_STORE_ID_SIZE);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_store_identity_decode(const void *bytes, size_t size,
                                        struct es_store_identity *ret_identity)
{
    struct es_store_identity identity;
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    uint32_t count = es_unpack_array_in(&unpack, IDENTITY_COUNT, UINT32_MAX);
    identity.format_version = es_unpack_uint_in(&unpack, 1, UINT64_MAX);
    es_unpack_bin_copy(&unpack, identity.store_id, ES_STORE_ID_SIZE);
    es_unpack_skip_count(&unpack, count - IDENTITY_COUNT);
    if (!es_unpack_done(&unpack)) {
        return ES_E_CORRUPT;
    }
    *ret_identity = identity;
    return ES_OK;
}

enum es_status es_epochs_encode(const struct es_epochs *epochs, void *ret_bytes, size_t capacity,
                                uint32_t *ret_size)
{
    struct es_pack pack;

    assert(epochs->count >= 1);
    assert(epochs->count <= ES_EPOCH_COUNT_MAX);
    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, epochs->count);
    for (uint32_t i = 0; i < epochs->count; i++) {
        es_pack_array(&pack, EPOCH_COUNT);
        es_pack_uint(&pack, epochs->entries[i].epoch);
        es_pack_uint(&pack, epochs->entries[i].first_position);
    }
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_epochs_decode(const void *bytes, size_t size, struct es_epochs *ret_epochs)
{
    struct es_epochs epochs = {.count = 0};
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    epochs.count = es_unpack_array_in(&unpack, 1, ES_EPOCH_COUNT_MAX);
    for (uint32_t i = 0; i < epochs.count && es_unpack_ok(&unpack); i++) {
        uint32_t count = es_unpack_array_in(&unpack, EPOCH_COUNT, UINT32_MAX);

        epochs.entries[i].epoch = es_unpack_uint(&unpack);
        epochs.entries[i].first_position = es_unpack_uint_in(&unpack, 1, UINT64_MAX);
        es_unpack_skip_count(&unpack, count - EPOCH_COUNT);
    }
    if (!es_unpack_done(&unpack)) {
        return ES_E_CORRUPT;
    }
    *ret_epochs = epochs;
    return ES_OK;
}
