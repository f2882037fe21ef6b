#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "shm/codec/pack.h"
#include "shm/codec/published.h"
#include "tests/support/fake_broker_state.h"

#define MESSAGE_BYTES_MAX (4u << 20)

void fake_broker_await_subscriber(struct fake_broker *broker)
{
    while (atomic_load(&broker->sockets.subscriber_count) == 0) {
        sched_yield();
    }
}

uint32_t fake_broker_subscriber_count(struct fake_broker *broker)
{
    return atomic_load(&broker->sockets.subscriber_count);
}

static void send_published(struct fake_broker *broker, struct es_pack *pack)
{
    uint32_t size = 0;

    fake_require(es_pack_finish(pack, &size) == ES_OK, "a message that is too large");
    fake_sockets_publish(&broker->sockets, pack->begin, size);
}

static bool is_of(const struct fake_event *event, const char *category)
{
    return es_text_equal(es_stream_category(es_text_of(event->stream)), es_text_of(category)) &&
           !event->is_hidden;
}

static void publish(struct fake_broker *broker, const char *category, uint64_t first, uint64_t last,
                    bool is_damaged)
{
    struct es_published_head head = {.epoch = broker->epoch};
    uint8_t *bytes = malloc(MESSAGE_BYTES_MAX);
    struct es_pack pack;

    fake_require(bytes != NULL, "no memory");
    pthread_mutex_lock(&broker->lock);
    for (uint64_t at = 1; at <= last; at++) {
        if (is_of(&broker->events[at - 1], category)) {
            head.previous_position = at < first ? at : head.previous_position;
            head.first_position = at >= first && head.event_count == 0 ? at : head.first_position;
            head.last_position = at >= first ? at : head.last_position;
            head.event_count += at >= first ? 1 : 0;
        }
    }
    fake_require(head.event_count > 0, "nothing to publish");
    es_pack_init(&pack, bytes, MESSAGE_BYTES_MAX);
    es_published_begin(&pack, es_text_of(category), &head);
    for (uint64_t at = first; at <= last; at++) {
        const struct fake_event *event = &broker->events[at - 1];

        if (is_of(event, category)) {
            const struct es_published_event published = {
                .position = at,
                .sequence = event->sequence,
                .time_us = 1000000 + at,
                .envelope = es_bytes_make(event->envelope, event->envelope_bytes)};

            es_published_add(&pack, &published);
        }
    }
    if (is_damaged) {
        pack.at[-1] ^= 1;
    }
    pthread_mutex_unlock(&broker->lock);
    send_published(broker, &pack);
    free(bytes);
}

void fake_broker_publish(struct fake_broker *broker, const char *category, uint64_t first,
                         uint64_t last)
{
    publish(broker, category, first, last, false);
}

void fake_broker_publish_damaged(struct fake_broker *broker, const char *category, uint64_t first,
                                 uint64_t last)
{
    publish(broker, category, first, last, true);
}

/* Which categories have events after what the heartbeat before told. */
static uint32_t find_changed(struct fake_broker *broker, struct es_category_position *changed)
{
    uint32_t count = 0;

    for (uint64_t at = broker->heartbeat_position + 1; at <= broker->position; at++) {
        struct es_text category = es_stream_category(es_text_of(broker->events[at - 1].stream));
        uint32_t i = 0;

        while (i < count && !es_text_equal(changed[i].category, category)) {
            i++;
        }
        fake_require(i < ES_HEARTBEAT_CHANGED_MAX, "too many categories");
        changed[i].category = category;
        changed[i].last_position = at;
        count = i == count ? count + 1 : count;
    }
    return count;
}

static void heartbeat(struct fake_broker *broker, bool is_sent)
{
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX];
    struct es_heartbeat heartbeat = {.changed_known = true};
    uint8_t *bytes = malloc(ES_HEARTBEAT_SIZE_MAX);
    struct es_pack pack;

    fake_require(bytes != NULL, "no memory");
    pthread_mutex_lock(&broker->lock);
    memset(heartbeat.store_id, 7, sizeof heartbeat.store_id);
    heartbeat.epoch = broker->epoch;
    heartbeat.start_number = broker->start_number;
    heartbeat.number = ++broker->heartbeat_number;
    heartbeat.head_position = broker->position;
    heartbeat.changed_count = find_changed(broker, changed);
    broker->heartbeat_position = broker->position;
    es_pack_init(&pack, bytes, ES_HEARTBEAT_SIZE_MAX);
    es_heartbeat_write(&pack, &heartbeat, changed);
    pthread_mutex_unlock(&broker->lock);
    if (is_sent) {
        send_published(broker, &pack);
    }
    free(bytes);
}

void fake_broker_heartbeat(struct fake_broker *broker)
{
    heartbeat(broker, true);
}

void fake_broker_lose_heartbeat(struct fake_broker *broker)
{
    heartbeat(broker, false);
}
