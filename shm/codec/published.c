#include "shm/codec/published.h"

#include "shm/codec/versioned.h"

#define VERSION 1U
#define BODY_COUNT 6U
#define EVENT_COUNT 4U
#define HEARTBEAT_COUNT 8U

enum es_status es_published_split(struct es_bytes message, struct es_text *ret_topic,
                                  struct es_bytes *ret_body)
{
    const uint8_t *zero =
        message.size > 0 ? (const uint8_t *)memchr(message.data, 0, message.size) : NULL;

    if (zero == NULL) {
        return ES_E_PROTOCOL;
    }
    uint32_t topic_size = (uint32_t)(zero - message.data);
    *ret_topic = es_text_make((const char *)message.data, topic_size);
    *ret_body = es_bytes_make(zero + 1, message.size - topic_size - 1);
    return ES_OK;
}

void es_published_begin(struct es_pack *pack, struct es_text category,
                        const struct es_published_head *head)
{
    char topic[ES_TOPIC_SIZE_MAX];
    uint32_t topic_size = es_category_topic(category, topic);

    es_pack_raw(pack, topic, topic_size);
    es_pack_raw(pack, "", 1); /* the zero byte */
    es_pack_array(pack, BODY_COUNT);
    es_pack_uint(pack, VERSION);
    es_pack_uint(pack, head->epoch);
    es_pack_uint(pack, head->previous_position);
    es_pack_uint(pack, head->first_position);
    es_pack_uint(pack, head->last_position);
    es_pack_array(pack, head->event_count);
}

void es_published_add(struct es_pack *pack, const struct es_published_event *event)
{
    es_pack_array(pack, EVENT_COUNT);
    es_pack_uint(pack, event->position);
    es_pack_uint(pack, event->sequence);
    es_pack_uint(pack, event->time_us);
    es_pack_bin(pack, event->envelope.data, event->envelope.size);
}

enum es_status es_published_read(struct es_published_reader *reader, struct es_bytes body)
{
    struct es_published_head *head = &reader->head;
    struct es_unpack *unpack = &reader->unpack;

    es_unpack_init(unpack, body.data, body.size);
    uint32_t count = es_unpack_array_in(unpack, 1, UINT32_MAX);
    uint64_t version = es_unpack_uint(unpack);
    if (es_unpack_ok(unpack) && version != VERSION) {
        return ES_E_VERSION;
    }
    head->epoch = es_unpack_uint(unpack);
    head->previous_position = es_unpack_uint(unpack);
    head->first_position = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    head->last_position = es_unpack_uint_in(unpack, head->first_position, UINT64_MAX);
    head->event_count = es_unpack_array_in(unpack, 1, UINT32_MAX);
    reader->events_left = head->event_count;
    reader->trailing_count = count - BODY_COUNT;
    reader->position_last = head->previous_position;
    if (!es_unpack_ok(unpack) || count < BODY_COUNT ||
        head->previous_position >= head->first_position) {
        return ES_E_PROTOCOL;
    }
    return ES_OK;
}

/* After the last event: it was the one announced, and the body ends as it should. */
static enum es_status published_end(struct es_published_reader *reader)
{
    es_unpack_skip_count(&reader->unpack, reader->trailing_count);
    reader->trailing_count = 0;
    if (!es_unpack_done(&reader->unpack) || reader->position_last != reader->head.last_position) {
        return ES_E_PROTOCOL;
    }
    return ES_EMPTY;
}

void es_published_event_read(struct es_unpack *unpack, struct es_published_event *ret_event)
{
    uint32_t count = es_unpack_array_in(unpack, EVENT_COUNT, UINT32_MAX);

    ret_event->position = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    ret_event->sequence = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    ret_event->time_us = es_unpack_uint(unpack);
    ret_event->envelope = es_unpack_bin(unpack, UINT32_MAX);
    es_unpack_skip_count(unpack, count - EVENT_COUNT);
}

enum es_status es_published_next(struct es_published_reader *reader,
                                 struct es_published_event *ret_event)
{
    struct es_published_event event;

    if (reader->events_left == 0) {
        return published_end(reader);
    }
    bool is_first = reader->events_left == reader->head.event_count;
    es_published_event_read(&reader->unpack, &event);
    if (!es_unpack_ok(&reader->unpack) || event.position <= reader->position_last ||
        (is_first && event.position != reader->head.first_position)) {
        es_unpack_fail(&reader->unpack);
        return ES_E_PROTOCOL;
    }
    reader->events_left--;
    reader->position_last = event.position;
    *ret_event = event;
    return ES_OK;
}

void es_heartbeat_write(struct es_pack *pack, const struct es_heartbeat *heartbeat,
                        const struct es_category_position *changed)
{
    es_pack_raw(pack, ES_HEARTBEAT_TOPIC, sizeof ES_HEARTBEAT_TOPIC); /* with the zero byte */
    es_pack_array(pack, HEARTBEAT_COUNT);
    es_pack_uint(pack, VERSION);
    es_pack_bin(pack, heartbeat->store_id, ES_STORE_ID_SIZE);
    es_pack_uint(pack, heartbeat->epoch);
    es_pack_uint(pack, heartbeat->start_number);
    es_pack_uint(pack, heartbeat->number);
    es_pack_uint(pack, heartbeat->head_position);
    es_pack_bin(pack, heartbeat->store_hash, ES_HASH_SIZE);
    if (!heartbeat->changed_known) {
        es_pack_nil(pack);
        return;
    }
    es_pack_array(pack, heartbeat->changed_count);
    for (uint32_t i = 0; i < heartbeat->changed_count; i++) {
        es_pack_array(pack, 2);
        es_pack_str(pack, changed[i].category);
        es_pack_uint(pack, changed[i].last_position);
    }
}

static void changed_read(struct es_unpack *unpack, struct es_category_position *ret_changed)
{
    uint32_t count = es_unpack_array_in(unpack, 2, UINT32_MAX);

    ret_changed->category = es_unpack_str(unpack, ES_CATEGORY_SIZE_MAX);
    ret_changed->last_position = es_unpack_uint_in(unpack, 1, UINT64_MAX);
    es_unpack_skip_count(unpack, count - 2);
    if (es_category_check(ret_changed->category) != ES_REASON_NONE) {
        es_unpack_fail(unpack);
    }
}

enum es_status es_heartbeat_read(struct es_bytes body, struct es_heartbeat *ret_heartbeat,
                                 struct es_category_position *ret_changed)
{
    struct es_heartbeat heartbeat;
    struct es_versioned value;
    struct es_unpack *unpack = &value.unpack;

    es_versioned_begin(&value, body.data, body.size, HEARTBEAT_COUNT, VERSION);
    es_unpack_bin_copy(unpack, heartbeat.store_id, ES_STORE_ID_SIZE);
    heartbeat.epoch = es_unpack_uint(unpack);
    heartbeat.start_number = es_unpack_uint(unpack);
    heartbeat.number = es_unpack_uint(unpack);
    heartbeat.head_position = es_unpack_uint(unpack);
    es_unpack_bin_copy(unpack, heartbeat.store_hash, ES_HASH_SIZE);
    heartbeat.changed_known = !es_unpack_try_nil(unpack);
    heartbeat.changed_count = 0;
    if (heartbeat.changed_known) {
        heartbeat.changed_count = es_unpack_array_in(unpack, 0, ES_HEARTBEAT_CHANGED_MAX);
    }
    for (uint32_t i = 0; i < heartbeat.changed_count && es_unpack_ok(unpack); i++) {
        changed_read(unpack, &ret_changed[i]);
    }
    enum es_status status = es_versioned_end(&value);
    if (status == ES_OK) {
        *ret_heartbeat = heartbeat;
    }
    return status == ES_E_CORRUPT ? ES_E_PROTOCOL : status;
}
