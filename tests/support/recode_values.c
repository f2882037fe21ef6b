#include "tests/support/recode.h"

#include "shm/codec/commit_record.h"
#include "shm/codec/envelope.h"
#include "shm/codec/head_record.h"
#include "shm/codec/kv_value.h"
#include "shm/codec/last_record.h"
#include "shm/codec/receipt.h"
#include "shm/codec/snapshot_value.h"
#include "shm/codec/store_value.h"

#define COMMIT_PARTS_MAX 256U

int recode_envelope(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                    uint32_t *ret_size)
{
    struct es_event_view view;
    uint8_t hash[ES_HASH_SIZE];
    int status = es_envelope_decode(bytes, size, &view);

    if (status == ES_OK) {
        status = es_envelope_encode(&view.event, ret_bytes, capacity, ret_size, hash);
    }
    if (status == ES_OK) {
        memcpy(ret_bytes + *ret_size - ES_HASH_SIZE, view.hash, ES_HASH_SIZE);
    }
    return status;
}

int recode_commit(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                  uint32_t *ret_size)
{
    static struct es_commit_transaction transactions[COMMIT_PARTS_MAX];
    static struct es_commit_run runs[COMMIT_PARTS_MAX];
    static struct es_commit_kv kvs[COMMIT_PARTS_MAX];
    struct es_commit_record record = {.transactions = transactions, .runs = runs, .kvs = kvs};
    struct es_commit_walk walk;
    struct es_commit_view view;
    uint8_t hash[ES_HASH_SIZE];
    uint64_t position = 0;
    uint32_t run_count = 0;
    uint32_t kv_count = 0;
    int status = es_commit_decode(bytes, size, &view);

    if (status != ES_OK || view.transaction_count > COMMIT_PARTS_MAX ||
        view.run_count > COMMIT_PARTS_MAX || view.kv_count > COMMIT_PARTS_MAX) {
        return status != ES_OK ? status : ES_E_LIMIT;
    }
    es_commit_walk_begin(&view, &walk);
    while (es_commit_walk_transaction(&walk, &transactions[record.transaction_count])) {
        record.transaction_count++;
        while (es_commit_walk_run(&walk, &runs[run_count], &position)) {
            run_count++;
        }
        while (es_commit_walk_kv(&walk, &kvs[kv_count])) {
            kv_count++;
        }
    }
    record.commit_number = view.commit_number;
    record.first_position = view.first_position;
    record.count = view.count;
    record.time_us = view.time_us;
    memcpy(record.previous_store_hash, view.previous_store_hash, ES_HASH_SIZE);
    memcpy(record.events_hash, view.events_hash, ES_HASH_SIZE);
    status = es_commit_encode(&record, ret_bytes, capacity, ret_size, hash);
    if (status == ES_OK) {
        memcpy(ret_bytes + *ret_size - ES_HASH_SIZE, view.store_hash, ES_HASH_SIZE);
    }
    return status;
}

int recode_receipt(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                   uint32_t *ret_size)
{
    struct es_receipt_fields receipt;
    int status = es_receipt_decode(bytes, size, &receipt);

    return status == ES_OK ? (int)es_receipt_encode(&receipt, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_last(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                uint32_t *ret_size)
{
    struct es_last last;
    int status = es_last_decode(bytes, size, &last);

    return status == ES_OK ? (int)es_last_encode(&last, ret_bytes, capacity, ret_size) : status;
}

int recode_head(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                uint32_t *ret_size)
{
    struct es_head_value head;
    int status = es_head_decode(bytes, size, &head);

    return status == ES_OK ? (int)es_head_encode(&head, ret_bytes, capacity, ret_size) : status;
}

int recode_pos(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
               uint32_t *ret_size)
{
    uint64_t position = 0;
    int status = es_pos_decode(bytes, size, &position);

    return status == ES_OK ? (int)es_pos_encode(position, ret_bytes, capacity, ret_size) : status;
}

int recode_kv_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                    uint32_t *ret_size)
{
    struct es_kv_value value;
    int status = es_kv_value_decode(bytes, size, &value);

    return status == ES_OK ? (int)es_kv_value_encode(&value, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_snapshot_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size)
{
    struct es_snapshot_value value;
    int status = es_snapshot_value_decode(bytes, size, &value);

    return status == ES_OK ? (int)es_snapshot_value_encode(&value, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_producer_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size)
{
    struct es_producer_value value;
    int status = es_producer_value_decode(bytes, size, &value);

    return status == ES_OK ? (int)es_producer_value_encode(&value, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_consumer_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size)
{
    struct es_consumer_value value;
    int status = es_consumer_value_decode(bytes, size, &value);

    return status == ES_OK ? (int)es_consumer_value_encode(&value, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_category_value(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size)
{
    uint64_t position = 0;
    int status = es_category_value_decode(bytes, size, &position);

    return status == ES_OK ? (int)es_category_value_encode(position, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_store_identity(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size)
{
    struct es_store_identity identity;
    int status = es_store_identity_decode(bytes, size, &identity);

    return status == ES_OK ? (int)es_store_identity_encode(&identity, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_epochs(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                  uint32_t *ret_size)
{
    struct es_epochs epochs;
    int status = es_epochs_decode(bytes, size, &epochs);

    return status == ES_OK ? (int)es_epochs_encode(&epochs, ret_bytes, capacity, ret_size) : status;
}
