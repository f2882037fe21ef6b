#include "tests/support/recode.h"

#include "shm/codec/attach.h"
#include "shm/codec/log_body.h"
#include "shm/codec/published.h"
#include "shm/codec/requests.h"
#include "shm/codec/transaction.h"

/* The events of the append read last, written again. */
static enum es_reason recode_events(struct es_transaction_reader *reader, struct es_pack *pack)
{
    enum es_reason reason = ES_REASON_NONE;
    struct es_append_event event;
    bool found = true;

    while (reason == ES_REASON_NONE && found) {
        reason = es_transaction_read_event(reader, &event, &found);
        if (reason == ES_REASON_NONE && found) {
            es_transaction_write_event(pack, &event);
        }
    }
    return reason;
}

int recode_transaction(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                       uint32_t *ret_size)
{
    struct es_transaction_reader reader;
    struct es_operation operation;
    struct es_pack pack;
    bool found = true;
    enum es_reason reason = es_transaction_read(&reader, bytes, size);

    es_pack_init(&pack, ret_bytes, capacity);
    if (reason == ES_REASON_NONE) {
        es_transaction_write_begin(&pack, reader.producer_sequence, reader.operation_count);
    }
    while (reason == ES_REASON_NONE && found) {
        reason = es_transaction_read_operation(&reader, &operation, &found);
        if (reason == ES_REASON_NONE && found) {
            es_transaction_write_operation(&pack, &operation);
            reason = operation.kind == ES_OPERATION_APPEND ? recode_events(&reader, &pack)
                                                           : ES_REASON_NONE;
        }
    }
    return reason != ES_REASON_NONE ? (int)reason : (int)es_pack_finish(&pack, ret_size);
}

int recode_log_body(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                    uint32_t *ret_size)
{
    struct es_log_operation operation;
    struct es_bytes envelope;
    struct es_log_body body;
    struct es_pack pack;
    int status = es_log_body_decode(bytes, size, &body);

    if (status != ES_OK) {
        return status;
    }
    es_pack_init(&pack, ret_bytes, capacity);
    es_log_body_begin(&pack, body.commit, body.envelope_count);
    while (es_log_body_next_envelope(&body, &envelope)) {
        es_log_body_envelope(&pack, envelope);
    }
    es_log_body_operations(&pack, body.operation_count);
    while (es_log_body_next_operation(&body, &operation)) {
        es_log_body_operation(&pack, &operation);
    }
    es_pack_raw(&pack, body.last.data, body.last.size);
    return es_pack_finish(&pack, ret_size);
}

static int recode_heartbeat(struct es_bytes body, struct es_pack *pack)
{
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX];
    struct es_heartbeat heartbeat;
    int status = es_heartbeat_read(body, &heartbeat, changed);

    if (status == ES_OK) {
        es_heartbeat_write(pack, &heartbeat, changed);
    }
    return status;
}

static int recode_events_message(struct es_text topic, struct es_bytes body, struct es_pack *pack)
{
    struct es_text category = es_text_make(topic.data + 2, topic.size - 3);
    struct es_published_reader reader;
    struct es_published_event event;

    if (es_category_check(category) != ES_REASON_NONE) {
        return ES_E_PROTOCOL;
    }
    int status = es_published_read(&reader, body);
    if (status != ES_OK) {
        return status;
    }
    es_published_begin(pack, category, &reader.head);
    while ((status = es_published_next(&reader, &event)) == ES_OK) {
        es_published_add(pack, &event);
    }
    return status == ES_EMPTY ? ES_OK : status;
}

int recode_published(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                     uint32_t *ret_size)
{
    struct es_text topic;
    struct es_bytes body;
    struct es_pack pack;
    int status = es_published_split(es_bytes_make(bytes, (uint32_t)size), &topic, &body);

    if (status != ES_OK) {
        return status;
    }
    es_pack_init(&pack, ret_bytes, capacity);
    if (es_text_equal(topic, es_text_of(ES_HEARTBEAT_TOPIC))) {
        status = recode_heartbeat(body, &pack);
    } else if (topic.size > 3 && topic.data[0] == 'S' && topic.data[1] == ':' &&
               topic.data[topic.size - 1] == ':') {
        status = recode_events_message(topic, body, &pack);
    } else {
        status = ES_E_PROTOCOL;
    }
    return status == ES_OK ? (int)es_pack_finish(&pack, ret_size) : status;
}

int recode_request(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                   uint32_t *ret_size)
{
    enum es_reason reason = ES_REASON_NONE;
    struct es_request request;
    struct es_pack pack;
    int status = es_request_decode(es_bytes_make(bytes, (uint32_t)size), &request, &reason);

    if (status != ES_OK) {
        return status;
    }
    es_pack_init(&pack, ret_bytes, capacity);
    es_request_encode(&pack, &request);
    return es_pack_finish(&pack, ret_size);
}

int recode_attach_request(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                          uint32_t *ret_size)
{
    struct es_attach_request request;
    int status = es_attach_request_decode(bytes, size, &request);

    return status == ES_OK ? (int)es_attach_request_encode(&request, ret_bytes, capacity, ret_size)
                           : status;
}

int recode_attach_reply(const uint8_t *bytes, size_t size, uint8_t *ret_bytes, size_t capacity,
                        uint32_t *ret_size)
{
    struct es_attach_reply reply;
    int status = es_attach_reply_decode(bytes, size, &reply);

    return status == ES_OK ? (int)es_attach_reply_encode(&reply, ret_bytes, capacity, ret_size)
                           : status;
}

/* The first that fits counts: particular values before their whole file. */
static const struct recoder recoders[] = {
    {"envelope", "first_preimage", NULL, true},
    {"envelope", "wide_preimage", NULL, true},
    {"envelope", NULL, recode_envelope, true},
    {"commit", "events_and_keys", recode_commit, false},
    {"commit", "keys_only", recode_commit, false},
    {"value", "head", recode_head, false},
    {"value", "head_truncated", recode_head, false},
    {"value", "pos", recode_pos, true},
    {"value", "kv", recode_kv_value, false},
    {"value", "snapshot", recode_snapshot_value, false},
    {"value", "snapshot_named", recode_snapshot_value, false},
    {"value", "producer", recode_producer_value, false},
    {"value", "consumer", recode_consumer_value, false},
    {"value", "category", recode_category_value, false},
    {"value", "revision", recode_category_value, false},
    {"value", "store", recode_store_identity, false},
    {"value", "epochs", recode_epochs, false},
    {"value", "last", recode_last, false},
    {"value", "last_empty", recode_last, false},
    {"value", "receipt", recode_receipt, false},
    {"transaction", NULL, recode_transaction, true},
    {"log", NULL, recode_log_body, true},
    {"published", NULL, recode_published, false},
    {"request", NULL, recode_request, true},
    {"attach", "request", recode_attach_request, true},
    {"attach", "request_named", recode_attach_request, true},
    {"attach", NULL, recode_attach_reply, false},
};

const struct recoder *recoder_find(const char *file, const char *name)
{
    for (size_t i = 0; i < sizeof recoders / sizeof recoders[0]; i++) {
        const struct recoder *recoder = &recoders[i];
        bool is_name = recoder->name == NULL || strcmp(recoder->name, name) == 0;

        if (strcmp(recoder->file, file) == 0 && is_name) {
            return recoder->recode != NULL ? recoder : NULL;
        }
    }
    return NULL;
}
