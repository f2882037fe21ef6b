#include "shm/codec/receipt.h"

#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#define VERSION 1U
#define ELEMENT_COUNT 9U

enum es_status es_receipt_encode(const struct es_receipt_fields *receipt, void *ret_bytes,
                                 size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, ELEMENT_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_bin(&pack, receipt->store_id, ES_STORE_ID_SIZE);
    es_pack_uint(&pack, receipt->epoch);
    es_pack_str(&pack, receipt->stream);
    es_pack_uint(&pack, receipt->sequence);
    es_pack_uint(&pack, receipt->position);
    es_pack_bin(&pack, receipt->event_hash, ES_HASH_SIZE);
    es_pack_uint(&pack, receipt->commit_number);
    es_pack_bin(&pack, receipt->store_hash, ES_HASH_SIZE);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_receipt_decode(const void *bytes, size_t size,
                                 struct es_receipt_fields *ret_receipt)
{
    struct es_receipt_fields receipt;
    struct es_stream_parts parts;
    struct es_versioned value;

    es_versioned_begin(&value, bytes, size, ELEMENT_COUNT, VERSION);
    es_unpack_bin_copy(&value.unpack, receipt.store_id, ES_STORE_ID_SIZE);
    receipt.epoch = es_unpack_uint(&value.unpack);
    receipt.stream = es_unpack_str(&value.unpack, ES_STREAM_SIZE_MAX);
    receipt.sequence = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    receipt.position = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    es_unpack_bin_copy(&value.unpack, receipt.event_hash, ES_HASH_SIZE);
    receipt.commit_number = es_unpack_uint_in(&value.unpack, 1, UINT64_MAX);
    es_unpack_bin_copy(&value.unpack, receipt.store_hash, ES_HASH_SIZE);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK && es_stream_parse(receipt.stream, &parts) != ES_REASON_NONE) {
        status = ES_E_CORRUPT;
    }
    if (status == ES_OK) {
        *ret_receipt = receipt;
    }
    return status;
}
