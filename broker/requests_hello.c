/* Hello: who this store is, and whether it continues what the client has seen. */
#include <string.h>

#include "broker/proof.h"
#include "broker/request_worker.h"

enum {
    NS_PER_MS = 1000000,
    MS_OF_HEARTBEAT = HEARTBEAT_IDLE_NS / NS_PER_MS
};

/* Holds the claims of the client against the store. */
static enum es_status judge(struct request_worker *worker, const struct es_request_hello *hello)
{
    char why[PROOF_WHY_BYTES] = "";
    struct es_receipt_fields receipt;
    struct es_epochs epochs;
    struct proof proof = {worker->reader, worker->config->store_id, &epochs};
    enum es_status status =
        epochs_load(worker->config->store, reader_snapshot(worker->reader), &epochs);

    if (status != ES_OK) {
        return request_say(worker, status, "the list of epochs cannot be read: %s",
                           es_status_text(status));
    }
    if (hello->receipt.size > 0) {
        if (es_receipt_decode(hello->receipt.data, hello->receipt.size, &receipt) != ES_OK) {
            return request_say(worker, ES_E_INVALID, "these bytes are no receipt");
        }
        status = proof_of_receipt(&proof, &receipt, why);
    }
    if (status == ES_OK && hello->has_checkpoint) {
        status = proof_of_checkpoint(&proof, hello->store_id, hello->epoch, hello->position, why);
    }
    return status == ES_OK ? ES_OK : request_say(worker, status, "%s", why);
}

enum es_status request_hello(struct request_worker *worker, const struct es_request *request,
                             struct es_bytes *ret_reply)
{
    const struct requests_config *config = worker->config;
    const struct es_request_hello *asked = &request->as.hello;
    struct es_hello hello = {
        .epoch = config->epoch,
        .start_number = config->start_number,
        .durability = config->durability,
        .transaction_bytes_max = config->transaction_bytes_max,
        .page_bytes_max = PAGE_BYTES_MAX,
        .heartbeat_ms = MS_OF_HEARTBEAT,
    };
    struct es_pack pack;

    /* The client's name is for whoever reads the wire. */
    if (asked->receipt.size > 0 || asked->has_checkpoint) {
        enum es_status status = judge(worker, asked);

        if (status != ES_OK) {
            return status;
        }
    }
    memcpy(hello.store_id, config->store_id, ES_STORE_ID_SIZE);
    memcpy(hello.store_hash, reader_head(worker->reader)->store_hash, ES_HASH_SIZE);
    request_reply_begin(worker, &pack, ES_HELLO_COUNT);
    es_hello_write(&pack, &hello);
    return request_reply_end(worker, &pack, ret_reply);
}
