#include "shm/codec/attach.h"

#include "shm/codec/names.h"
#include "shm/codec/pack.h"
#include "shm/codec/versioned.h"

#define VERSION 1U
#define REQUEST_COUNT 4U
#define NAMED_REQUEST_COUNT 6U
#define REPLY_COUNT 7U

static const struct es_text ATTACH = {"attach", 6};

enum es_status es_attach_request_encode(const struct es_attach_request *request, void *ret_bytes,
                                        size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    bool is_named = request->producer.size > 0;

    if (request->client_name.size > ES_ATTACH_NAME_MAX ||
        request->producer.size > ES_ATTACH_NAME_MAX) {
        return ES_E_TOO_LARGE;
    }
    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, is_named ? NAMED_REQUEST_COUNT : REQUEST_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_str(&pack, ATTACH);
    es_pack_uint(&pack, request->layout_id);
    es_pack_str(&pack, request->client_name);
    if (is_named) {
        es_pack_str(&pack, request->producer);
        es_pack_bool(&pack, request->take_over);
    }
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_attach_request_decode(const void *bytes, size_t size,
                                        struct es_attach_request *ret_request)
{
    struct es_attach_request request = {.take_over = false};
    struct es_versioned value;
    struct es_unpack *unpack = &value.unpack;

    es_versioned_begin(&value, bytes, size, REQUEST_COUNT, VERSION);
    struct es_text word = es_unpack_str(unpack, ATTACH.size);
    request.layout_id = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    request.client_name = es_unpack_utf8(unpack, ES_ATTACH_NAME_MAX);
    bool is_named = value.count == NAMED_REQUEST_COUNT;
    if (is_named) {
        request.producer = es_unpack_utf8(unpack, ES_ATTACH_NAME_MAX);
        request.take_over = es_unpack_bool(unpack);
        value.count_min = NAMED_REQUEST_COUNT;
    }
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK &&
        ((value.count != REQUEST_COUNT && !is_named) || !es_text_equal(word, ATTACH) ||
         es_utf8_has_control(request.client_name) || (is_named && request.producer.size == 0))) {
        status = ES_E_CORRUPT;
    }
    if (status == ES_OK) {
        *ret_request = request;
    }
    return status == ES_E_CORRUPT ? ES_E_PROTOCOL : status;
}

enum es_status es_attach_reply_encode(const struct es_attach_reply *reply, void *ret_bytes,
                                      size_t capacity, uint32_t *ret_size)
{
    struct es_pack pack;

    if (reply->message.size > ES_ATTACH_MESSAGE_MAX) {
        return ES_E_TOO_LARGE;
    }
    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, REPLY_COUNT);
    es_pack_uint(&pack, VERSION);
    es_pack_int(&pack, (int64_t)reply->status);
    es_pack_str(&pack, reply->message);
    es_pack_uint(&pack, reply->lane_index);
    es_pack_uint(&pack, reply->incarnation);
    es_pack_uint(&pack, reply->ring_index);
    es_pack_uint(&pack, reply->last_number);
    return es_pack_finish(&pack, ret_size);
}

enum es_status es_attach_reply_decode(const void *bytes, size_t size,
                                      struct es_attach_reply *ret_reply)
{
    struct es_attach_reply reply;
    struct es_versioned value;
    struct es_unpack *unpack = &value.unpack;

    es_versioned_begin(&value, bytes, size, REPLY_COUNT, VERSION);
    int64_t answer = es_unpack_int(unpack);
    if (answer < INT32_MIN || answer > INT32_MAX) {
        es_unpack_fail(unpack);
        answer = 0;
    }
    reply.status = (enum es_status)answer;
    reply.message = es_unpack_utf8(unpack, ES_ATTACH_MESSAGE_MAX);
    reply.lane_index = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    reply.incarnation = es_unpack_uint(unpack);
    reply.ring_index = (uint32_t)es_unpack_uint_in(unpack, 0, UINT32_MAX);
    reply.last_number = es_unpack_uint(unpack);
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        *ret_reply = reply;
    }
    return status == ES_E_CORRUPT ? ES_E_PROTOCOL : status;
}
