#include "shm/codec/envelope.h"

#include "shm/codec/hash.h"
#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"

#define ELEMENT_COUNT 10U

/* The preimage begins with these, where the envelope has its first byte alone. */
static const uint8_t PREIMAGE_HEAD[2] = {ES_ENVELOPE_FIRST_BYTE, ES_ENVELOPE_SCHEMA};

uint64_t es_envelope_size_max(uint32_t stream_size, uint32_t type_size, uint32_t payload_size)
{
    /* The first byte; five headers of parts of at most 2 bytes and a level of 5; a tick of
     * 9; the headers of type (2) and payload (5); two hashes of 34. */
    return 1ULL + 4 * 2 + 5 + stream_size + 9 + 2 + type_size + 5 + payload_size + 2 * 34;
}

static void preimage_hash(const void *tail, size_t tail_size, uint8_t ret_hash[ES_HASH_SIZE])
{
    struct es_hash_state state;

    es_hash_begin(&state);
    es_hash_update(&state, PREIMAGE_HEAD, sizeof PREIMAGE_HEAD);
    es_hash_update(&state, tail, tail_size);
    es_hash_end(&state, ret_hash);
}

enum es_status es_envelope_encode(const struct es_event_fields *fields, void *ret_bytes,
                                  size_t capacity, uint32_t *ret_size,
                                  uint8_t ret_hash[ES_HASH_SIZE])
{
    const struct es_stream_parts *stream = &fields->stream;
    uint8_t hash[ES_HASH_SIZE];
    struct es_pack pack;

    if ((fields->previous_hash.size != 0 && fields->previous_hash.size != ES_HASH_SIZE) ||
        fields->tick > ES_TICK_MAX || stream->level > ES_LEVEL_MAX) {
        return ES_E_INVALID;
    }
    es_pack_init(&pack, ret_bytes, capacity);
    es_pack_array(&pack, ELEMENT_COUNT);
    const uint8_t *tail = pack.at;
    es_pack_str(&pack, stream->variant);
    es_pack_str(&pack, stream->branch);
    es_pack_uint(&pack, stream->level);
    es_pack_str(&pack, stream->domain);
    es_pack_str(&pack, stream->model);
    es_pack_uint(&pack, fields->tick);
    es_pack_str(&pack, fields->type);
    es_pack_bin(&pack, fields->payload.data, fields->payload.size);
    es_pack_bin(&pack, fields->previous_hash.data, fields->previous_hash.size);
    if (pack.overflow) {
        return ES_E_TOO_LARGE;
    }
    preimage_hash(tail, (size_t)(pack.at - tail), hash);
    es_pack_bin(&pack, hash, ES_HASH_SIZE);
    enum es_status status = es_pack_finish(&pack, ret_size);
    if (status == ES_OK) {
        memcpy(ret_hash, hash, ES_HASH_SIZE);
    }
    return status;
}

enum es_status es_envelope_decode(const void *bytes, size_t size, struct es_event_view *ret_view)
{
    struct es_event_view view;
    struct es_event_fields *event = &view.event;
    struct es_unpack unpack;

    es_unpack_init(&unpack, bytes, size);
    uint32_t count = es_unpack_array(&unpack);
    if (es_unpack_ok(&unpack) && count != ELEMENT_COUNT) {
        return ES_E_VERSION;
    }
    const uint8_t *tail = unpack.at;
    event->stream.variant = es_unpack_str(&unpack, ES_NAME_SIZE_MAX);
    event->stream.branch = es_unpack_str(&unpack, ES_NAME_SIZE_MAX);
    event->stream.level = (uint32_t)es_unpack_uint_in(&unpack, 0, ES_LEVEL_MAX);
    event->stream.domain = es_unpack_str(&unpack, ES_NAME_SIZE_MAX);
    event->stream.model = es_unpack_str(&unpack, ES_NAME_SIZE_MAX);
    event->tick = es_unpack_uint_in(&unpack, 0, ES_TICK_MAX);
    event->type = es_unpack_str(&unpack, ES_TYPE_SIZE_MAX);
    event->payload = es_unpack_bin(&unpack, UINT32_MAX);
    event->previous_hash = es_unpack_hash_or_empty(&unpack);
    view.preimage_tail = es_bytes_make(tail, (uint32_t)(unpack.at - tail));
    view.hash = es_unpack_bin_of(&unpack, ES_HASH_SIZE);
    if (!es_unpack_done(&unpack) || es_stream_check(&event->stream) != ES_REASON_NONE ||
        es_type_check(event->type) != ES_REASON_NONE) {
        return ES_E_CORRUPT;
    }
    *ret_view = view;
    return ES_OK;
}

void es_event_hash(const struct es_event_view *view, uint8_t ret_hash[ES_HASH_SIZE])
{
    preimage_hash(view->preimage_tail.data, view->preimage_tail.size, ret_hash);
}
