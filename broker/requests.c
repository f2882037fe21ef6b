#include "broker/requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/logger.h"
#include "broker/request_worker.h"

/* The table of verbs: a new one is a line here and a handler beside its siblings. */
static const struct verb {
    request_handler_fn handle;
    bool writes; /* it goes through the inbox: the handler takes the snapshot after that */
} verbs[] = {
    [ES_VERB_HELLO] = {request_hello, false},
    [ES_VERB_APPEND] = {request_append, true},
    [ES_VERB_READ_STREAM] = {request_read_stream, false},
    [ES_VERB_READ_ALL] = {request_read_all, false},
    [ES_VERB_SCAN] = {request_scan, false},
    [ES_VERB_HEAD] = {request_head, false},
    [ES_VERB_STORE_HEAD] = {request_store_head, false},
    [ES_VERB_STREAMS] = {request_streams, false},
    [ES_VERB_SNAPSHOT_SAVE] = {request_snapshot_save, true},
    [ES_VERB_SNAPSHOT_LOAD] = {request_snapshot_load, false},
    [ES_VERB_SNAPSHOT_LIST] = {request_snapshot_list, false},
    [ES_VERB_SNAPSHOT_DELETE] = {request_snapshot_delete, true},
    [ES_VERB_KV_GET] = {request_kv_get, false},
    [ES_VERB_KV_LIST] = {request_kv_list, false},
    [ES_VERB_STATUS] = {request_status, false},
    [ES_VERB_VERIFY] = {request_verify, false},
    [ES_VERB_KV_EXPORT] = {request_kv_export, false},
    [ES_VERB_PRODUCER] = {request_producer, true},
    [ES_VERB_PRODUCERS] = {request_producers, false},
    [ES_VERB_BACKUP] = {request_backup, false},
};

static enum es_status handle(struct request_worker *worker, const struct es_request *request,
                             struct es_bytes *ret_reply)
{
    const struct verb *verb = &verbs[request->verb];
    enum es_status status = ES_OK;

    if (!verb->writes) {
        status = reader_begin(worker->reader);
        if (status != ES_OK) {
            return request_say_reader(worker, status);
        }
    }
    status = request_reserve(worker, REQUEST_BUFFER_BYTES);
    return status == ES_OK ? verb->handle(worker, request, ret_reply) : status;
}

/* Whatever the bytes are, there is an answer. */
static void answer(struct request_worker *worker, const struct transport_request *received)
{
    struct counters *counters = worker->config->request_counters;
    struct es_bytes reply = {NULL, 0};
    uint8_t refusal[ES_REPLY_OVERHEAD_MAX];
    struct es_request request;
    struct es_pack pack;
    enum es_reason reason = ES_REASON_NONE;
    enum es_status status = ES_OK;

    atomic_fetch_add_explicit(&counters->requests, 1, memory_order_relaxed);
    worker->uid = received->uid;
    worker->message[0] = '\0';
    status = es_request_decode(es_bytes_make(received->bytes, (uint32_t)received->size), &request,
                               &reason);
    if (status == ES_OK) {
        status = handle(worker, &request, &reply);
    } else {
        atomic_fetch_add_explicit(&counters->requests_malformed, 1, memory_order_relaxed);
        (void)request_say(worker, status, "not a valid request: %s", es_reason_text(reason));
        transport_rest(worker->transport);
    }
    if (status != ES_OK) {
        es_pack_init(&pack, refusal, sizeof refusal);
        es_reply_refuse(&pack, status, request_position(worker),
                        worker->message[0] != '\0' ? worker->message : es_status_text(status));
        reply = es_bytes_make(refusal, (uint32_t)es_pack_size(&pack));
    }
    if (transport_reply(worker->transport, reply.data, reply.size) != ES_OK) {
        log_warning("requests: no memory for a reply: its client gets none");
    }
    reader_end(worker->reader);
}

static void *work(void *context)
{
    struct request_worker *worker = context;
    struct transport_request received;

    while (transport_receive(worker->transport, &received) == ES_OK) {
        answer(worker, &received);
    }
    return NULL;
}

/* ---- life ---- */

static enum es_status worker_init(struct request_worker *worker, struct requests *requests)
{
    enum es_status status = ES_OK;

    worker->requests = requests;
    worker->config = &requests->config;
    status = transport_worker_new(requests->config.transport, &worker->transport);
    if (status == ES_OK) {
        status = reader_new(requests->config.store, &worker->reader);
    }
    if (status == ES_OK) {
        status = request_reserve(worker, REQUEST_BUFFER_BYTES);
    }
    if (status == ES_OK && pthread_create(&worker->thread, NULL, work, worker) != 0) {
        status = ES_E_NO_MEMORY;
    }
    worker->running = status == ES_OK;
    return status;
}

static void worker_deinit(struct request_worker *worker)
{
    transport_worker_free(worker->transport);
    reader_free(worker->reader);
    store_buffer_deinit(&worker->value);
    free(worker->buffer);
    free(worker->scratch);
}

enum es_status requests_new(const struct requests_config *config, struct requests **ret_requests)
{
    struct requests *requests = calloc(1, sizeof *requests);
    enum es_status status = ES_OK;

    if (requests == NULL) {
        return ES_E_NO_MEMORY;
    }
    requests->config = *config;
    pthread_mutex_init(&requests->verify_mutex, NULL);
    status = verify_new(config->store, config->store_id, &requests->verify);
    for (size_t i = 0; i < REQUEST_WORKERS && status == ES_OK; i++) {
        status = worker_init(&requests->workers[i], requests);
    }
    if (status == ES_OK) {
        *ret_requests = requests;
    } else {
        requests_free(requests);
    }
    return status;
}

void requests_stop(struct requests *requests)
{
    transport_stop(requests->config.transport);
    for (size_t i = 0; i < REQUEST_WORKERS; i++) {
        if (requests->workers[i].running) {
            pthread_join(requests->workers[i].thread, NULL);
            requests->workers[i].running = false;
        }
    }
}

void requests_free(struct requests *requests)
{
    if (requests == NULL) {
        return;
    }
    requests_stop(requests);
    for (size_t i = 0; i < REQUEST_WORKERS; i++) {
        worker_deinit(&requests->workers[i]);
    }
    verify_free(requests->verify);
    pthread_mutex_destroy(&requests->verify_mutex);
    free(requests);
}
