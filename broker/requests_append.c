#include <string.h>

#include "broker/request_worker.h"

#define APPEND_TIMEOUT_NS UINT64_C(10000000000)

enum es_status request_submit(struct request_worker *worker, const void *transaction, uint32_t size,
                              uint32_t flags, struct es_text producer,
                              struct es_lane_result *ret_result)
{
    const struct requests_config *config = worker->config;
    uint64_t timeout_ns =
        config->append_timeout_ns == 0 ? APPEND_TIMEOUT_NS : config->append_timeout_ns;
    enum es_status status = ES_OK;

    if (worker->uid == UINT32_MAX) {
        return request_say(worker, ES_E_PERMISSION,
                           "the connection's user is not known: connect again");
    }
    if (size > config->transaction_bytes_max) {
        *ret_result =
            (struct es_lane_result){.status = ES_REJECTED, .reason = ES_REASON_TRANSACTION_SIZE};
        return ES_OK;
    }
    status = inbox_submit(
        config->inbox, &(struct inbox_transaction){transaction, size, flags, worker->uid, producer},
        timeout_ns, ret_result);
    switch (status) {
    case ES_OK: break;
    case ES_NOT_SERVING:
        return request_say(worker, status,
                           "the broker is stopping, or too busy: nothing was stored");
    case ES_FULL: return request_say(worker, status, "too many appends are waiting: try again");
    default:
        return request_say(worker, status,
                           "no answer in time: the transaction may or may not be stored");
    }
    return status;
}

static bool is_given(const uint8_t hash[ES_HASH_SIZE])
{
    static const uint8_t none[ES_HASH_SIZE] = {0};

    return memcmp(hash, none, ES_HASH_SIZE) != 0;
}

struct es_wire_result request_wire_result(const struct es_lane_result *result)
{
    struct es_wire_result wire = {
        .status = (enum es_status)result->status,
        .reason = result->reason,
        .operation = result->operation_index,
        .stream_sequence = result->stream_sequence,
        .position = result->position,
        .has_hash = is_given(result->hash),
        .commit_number = result->commit_number,
        .has_store_hash = is_given(result->store_hash),
        .revision = result->revision,
        .tick = result->tick,
        .time_us = result->time_us,
    };

    memcpy(wire.hash, result->hash, ES_HASH_SIZE);
    memcpy(wire.store_hash, result->store_hash, ES_HASH_SIZE);
    return wire;
}

/* The statuses whose reply carries the result, as docs/protocol.md lists them. */
static bool carries_result(int32_t status)
{
    return status == ES_OK || status == ES_CONFLICT || status == ES_NOT_FOUND ||
           status == ES_REJECTED || status == ES_NO_SPACE;
}

enum es_status request_append(struct request_worker *worker, const struct es_request *request,
                              struct es_bytes *ret_reply)
{
    const struct es_request_append *append = &request->as.append;
    struct es_lane_result result = {0};
    struct es_wire_result wire;
    struct es_pack pack;
    uint64_t position = 0;
    enum es_status status =
        request_submit(worker, append->transaction.data, append->transaction.size, append->flags,
                       append->producer, &result);

    if (status != ES_OK) {
        return status;
    }
    position = result.position;
    if (result.status == ES_E_BUSY) {
        return request_say(worker, ES_E_BUSY, "a process that is alive owns the producer's name");
    }
    if (result.status == ES_E_PERMISSION) {
        return request_say(worker, ES_E_PERMISSION, "the producer's name is another user's");
    }
    if (!carries_result(result.status)) {
        return request_say(worker, (enum es_status)result.status, "%s",
                           es_reason_text(result.reason));
    }
    /* An ack means that a read sees it. Should the reading fail, it is stored all the same. */
    if (reader_begin(worker->reader) == ES_OK) {
        position = request_position(worker);
    }
    wire = request_wire_result(&result);
    es_pack_init(&pack, worker->buffer, worker->buffer_bytes);
    es_reply_begin(&pack, wire.status, position, 1);
    es_result_write(&pack, &wire);
    return request_reply_end(worker, &pack, ret_reply);
}
