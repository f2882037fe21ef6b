#include "shm/codec/requests_form.h"

static void str_or_nil_write(struct es_pack *pack, bool is_nil, struct es_text text)
{
    if (is_nil) {
        es_pack_nil(pack);
    } else {
        es_pack_str(pack, text);
    }
}

static void uint_or_nil_write(struct es_pack *pack, bool is_nil, uint64_t number)
{
    if (is_nil) {
        es_pack_nil(pack);
    } else {
        es_pack_uint(pack, number);
    }
}

static void bytes_write(struct es_pack *pack, struct es_bytes bytes)
{
    es_pack_bin(pack, bytes.data, bytes.size);
}

static void read_requests_write(struct es_pack *pack, const struct es_request *request)
{
    switch (request->verb) {
    case ES_VERB_READ_STREAM:
        es_pack_str(pack, request->as.read_stream.stream);
        es_pack_uint(pack, request->as.read_stream.from_sequence);
        es_pack_uint(pack, request->as.read_stream.count);
        es_pack_bool(pack, request->as.read_stream.backwards);
        break;
    case ES_VERB_READ_ALL:
        es_pack_uint(pack, request->as.read_all.from_position);
        es_pack_uint(pack, request->as.read_all.count);
        str_or_nil_write(pack, request->as.read_all.category.size == 0,
                         request->as.read_all.category);
        break;
    case ES_VERB_SCAN:
        bytes_write(pack, request->as.scan.after_key);
        es_pack_str(pack, request->as.scan.stream_prefix);
        es_pack_uint(pack, request->as.scan.count);
        break;
    case ES_VERB_STREAMS:
        es_pack_str(pack, request->as.streams.prefix);
        es_pack_str(pack, request->as.streams.after);
        es_pack_uint(pack, request->as.streams.count);
        break;
    case ES_VERB_VERIFY:
        bytes_write(pack, request->as.verify.cursor);
        es_pack_uint(pack, request->as.verify.budget_ms);
        break;
    default: break;
    }
}

static void snapshot_requests_write(struct es_pack *pack, const struct es_request *request)
{
    switch (request->verb) {
    case ES_VERB_SNAPSHOT_SAVE:
        es_pack_str(pack, request->as.snapshot_save.stream);
        es_pack_uint(pack, request->as.snapshot_save.tick);
        es_pack_uint(pack, request->as.snapshot_save.sequence);
        es_pack_str(pack, request->as.snapshot_save.projection);
        es_pack_uint(pack, request->as.snapshot_save.version);
        bytes_write(pack, request->as.snapshot_save.state);
        break;
    case ES_VERB_SNAPSHOT_LOAD:
        es_pack_str(pack, request->as.snapshot_load.stream);
        uint_or_nil_write(pack, request->as.snapshot_load.newest, request->as.snapshot_load.tick);
        es_pack_str(pack, request->as.snapshot_load.projection);
        break;
    case ES_VERB_SNAPSHOT_LIST:
        es_pack_str(pack, request->as.snapshot_list.prefix);
        bytes_write(pack, request->as.snapshot_list.after_key);
        es_pack_uint(pack, request->as.snapshot_list.count);
        break;
    case ES_VERB_SNAPSHOT_DELETE:
        es_pack_str(pack, request->as.snapshot_delete.stream);
        uint_or_nil_write(pack, request->as.snapshot_delete.every_tick,
                          request->as.snapshot_delete.tick);
        str_or_nil_write(pack, request->as.snapshot_delete.every_projection,
                         request->as.snapshot_delete.projection);
        break;
    default: break;
    }
}

static void kv_requests_write(struct es_pack *pack, const struct es_request *request)
{
    switch (request->verb) {
    case ES_VERB_KV_GET:
        es_pack_uint(pack, (uint64_t)request->as.kv_get.family);
        es_pack_str(pack, request->as.kv_get.name_space);
        es_pack_str(pack, request->as.kv_get.key);
        break;
    case ES_VERB_KV_LIST:
        es_pack_uint(pack, (uint64_t)request->as.kv_list.family);
        es_pack_str(pack, request->as.kv_list.name_space);
        es_pack_str(pack, request->as.kv_list.after);
        es_pack_uint(pack, request->as.kv_list.count);
        break;
    case ES_VERB_KV_EXPORT:
        bytes_write(pack, request->as.kv_export.after_key);
        es_pack_uint(pack, request->as.kv_export.count);
        break;
    default: break;
    }
}

static void append_write(struct es_pack *pack, const struct es_request_append *append)
{
    bytes_write(pack, append->transaction);
    es_pack_uint(pack, append->flags);
    if (append->producer.size > 0) {
        es_pack_str(pack, append->producer);
    }
}

static uint32_t hello_optional_count(const struct es_request_hello *hello)
{
    return hello->has_checkpoint ? 2 : hello->receipt.size > 0 ? 1 : 0;
}

static void hello_write(struct es_pack *pack, const struct es_request_hello *hello)
{
    es_pack_str(pack, hello->client_name);
    if (hello->receipt.size > 0) {
        bytes_write(pack, hello->receipt);
    } else if (hello->has_checkpoint) {
        es_pack_nil(pack);
    }
    if (!hello->has_checkpoint) {
        return;
    }
    es_pack_array(pack, ES_REQUEST_CHECKPOINT_COUNT);
    es_pack_bin(pack, hello->store_id, ES_STORE_ID_SIZE);
    es_pack_uint(pack, hello->epoch);
    es_pack_uint(pack, hello->position);
}

/* The arguments at the end that may be left out, and are there. */
static uint32_t optional_count(const struct es_request *request)
{
    if (request->verb == ES_VERB_HELLO) {
        return hello_optional_count(&request->as.hello);
    }
    return request->verb == ES_VERB_APPEND && request->as.append.producer.size > 0 ? 1 : 0;
}

void es_request_encode(struct es_pack *pack, const struct es_request *request)
{
    es_pack_array(pack, es_request_count(request->verb) + optional_count(request));
    es_pack_uint(pack, ES_PROTOCOL_VERSION);
    es_pack_uint(pack, (uint64_t)request->verb);
    switch (request->verb) {
    case ES_VERB_HELLO: hello_write(pack, &request->as.hello); break;
    case ES_VERB_BACKUP: es_pack_str(pack, request->as.backup); break;
    case ES_VERB_APPEND: append_write(pack, &request->as.append); break;
    case ES_VERB_HEAD: es_pack_str(pack, request->as.stream); break;
    case ES_VERB_STORE_HEAD:
    case ES_VERB_STATUS: break;
    case ES_VERB_READ_STREAM:
    case ES_VERB_READ_ALL:
    case ES_VERB_SCAN:
    case ES_VERB_STREAMS:
    case ES_VERB_VERIFY: read_requests_write(pack, request); break;
    case ES_VERB_SNAPSHOT_SAVE:
    case ES_VERB_SNAPSHOT_LOAD:
    case ES_VERB_SNAPSHOT_LIST:
    case ES_VERB_SNAPSHOT_DELETE: snapshot_requests_write(pack, request); break;
    case ES_VERB_KV_GET:
    case ES_VERB_KV_LIST:
    case ES_VERB_KV_EXPORT: kv_requests_write(pack, request); break;
    case ES_VERB_PRODUCER:
        es_pack_str(pack, request->as.producer.name);
        es_pack_uint(pack, request->as.producer.number);
        break;
    case ES_VERB_PRODUCERS:
        es_pack_str(pack, request->as.producers.after);
        es_pack_uint(pack, request->as.producers.count);
        break;
    }
}
