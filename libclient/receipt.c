/*
 * Receipts as bytes that a program keeps, and what a broker says when it is shown
 * one, or a checkpoint: whether its store continues what was seen.
 */
#include "libclient/receipt.h"

#include <assert.h>
#include <string.h>

#include "libclient/asking.h"
#include "shm/codec/receipt.h"

static_assert(ES_RECEIPT_BYTES_MAX == ES_RECEIPT_SIZE_MAX, "the public size is the codec's");

enum es_status es_receipt_pack(const struct es_receipt *receipt, const char *stream,
                               void *ret_bytes, size_t capacity, size_t *ret_size)
{
    struct es_receipt_fields fields = {0};
    struct es_receipt_fields read;
    uint8_t bytes[ES_RECEIPT_SIZE_MAX];
    uint32_t size = 0;
    enum es_status status;

    if (receipt == NULL || stream == NULL || ret_bytes == NULL || ret_size == NULL ||
        strlen(stream) > ES_STREAM_BYTES_MAX) {
        return ES_E_INVALID;
    }
    memcpy(fields.store_id, receipt->store_id, sizeof fields.store_id);
    fields.epoch = receipt->epoch;
    fields.stream = es_text_of(stream);
    fields.sequence = receipt->sequence;
    fields.position = receipt->position;
    memcpy(fields.event_hash, receipt->hash, sizeof fields.event_hash);
    fields.commit_number = receipt->commit_number;
    memcpy(fields.store_hash, receipt->store_hash, sizeof fields.store_hash);
    status = es_receipt_encode(&fields, bytes, sizeof bytes, &size);
    /* What cannot be read back, a transaction of keys or no stream, is no receipt. */
    if (status == ES_OK && es_receipt_decode(bytes, size, &read) != ES_OK) {
        return ES_E_INVALID;
    }
    if (status == ES_OK && size > capacity) {
        return ES_E_TOO_LARGE;
    }
    if (status == ES_OK) {
        memcpy(ret_bytes, bytes, size);
        *ret_size = size;
    }
    return status;
}

enum es_status es_claim_present(struct es_connection *connection,
                                const struct es_request_hello *claim)
{
    struct es_request request = {.verb = ES_VERB_HELLO, .as.hello = *claim};

    request.as.hello.client_name = es_text_of(connection->client_name);
    return es_ask(connection, &request, 0, true, NULL, NULL);
}

enum es_status es_receipt_check(struct es_connection *connection, const void *receipt,
                                size_t receipt_bytes)
{
    struct es_receipt_fields fields;
    struct es_request_hello claim = {.has_checkpoint = false};

    if (connection == NULL || receipt == NULL || receipt_bytes > ES_RECEIPT_SIZE_MAX ||
        es_receipt_decode(receipt, receipt_bytes, &fields) != ES_OK) {
        return ES_E_INVALID;
    }
    claim.receipt = es_bytes_make(receipt, (uint32_t)receipt_bytes);
    return es_claim_present(connection, &claim);
}

enum es_status es_connection_greet(struct es_connection *connection)
{
    return connection->receipt_bytes == 0
               ? ES_OK
               : es_receipt_check(connection, connection->receipt, connection->receipt_bytes);
}
