#include "broker/publisher.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/heartbeat.h"
#include "broker/limits.h"
#include "broker/logger.h"
#include "broker/outgoing.h"
#include "shm/probe.h"

#define NS_PER_S UINT64_C(1000000000)

struct publisher {
    struct transport *transport;
    struct counters *counters;
    uint64_t epoch;
    pthread_t thread;
    bool running;
    struct outgoing_buffer message; /* the thread's own */
    uint8_t beat[ES_HEARTBEAT_SIZE_MAX];

    pthread_mutex_t mutex; /* of everything below */
    pthread_cond_t changed;
    bool stopping;
    bool subscribed; /* somebody connected since the last look */
    struct heartbeat heartbeat;
    struct outgoing *first;
    struct outgoing *last;
    size_t queued_bytes;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- the commit thread's side ---- */

/* Takes the oldest commit out; the mutex is held. */
static struct outgoing *queue_take(struct publisher *publisher)
{
    struct outgoing *outgoing = publisher->first;

    if (outgoing != NULL) {
        publisher->first = outgoing->next;
        if (publisher->first == NULL) {
            publisher->last = NULL;
        }
        publisher->queued_bytes -= outgoing->bytes;
    }
    return outgoing;
}

/* Makes room by dropping the oldest: the next heartbeat names what it held. */
static void queue_drop(struct publisher *publisher, uint64_t now)
{
    struct outgoing *outgoing = queue_take(publisher);

    outgoing_note_copy(outgoing, &publisher->heartbeat.changes);
    heartbeat_commit(&publisher->heartbeat, outgoing->head_position, outgoing->store_hash, true,
                     now);
    counter_add(&publisher->counters->published_dropped, outgoing->event_count);
    free(outgoing);
}

static void queue_put(struct publisher *publisher, struct outgoing *outgoing, uint64_t now)
{
    while (publisher->first != NULL &&
           publisher->queued_bytes + outgoing->bytes > PUBLISHER_QUEUE_BYTES_MAX) {
        queue_drop(publisher, now);
    }
    if (publisher->last == NULL) {
        publisher->first = outgoing;
    } else {
        publisher->last->next = outgoing;
    }
    publisher->last = outgoing;
    publisher->queued_bytes += outgoing->bytes;
}

void publisher_commit(struct publisher *publisher, const struct publication *publication)
{
    bool subscribers = transport_subscriber_count(publisher->transport) > 0;
    struct outgoing *outgoing = subscribers ? outgoing_copy(publication) : NULL;
    uint64_t now = now_ns();
    bool wake = false;

    pthread_mutex_lock(&publisher->mutex);
    if (outgoing != NULL) {
        wake = publisher->first == NULL;
        queue_put(publisher, outgoing, now);
    } else {
        /* The thread sleeps for up to a second unless a commit is untold already. What is
         * queued is older, and must be told no later than this one. */
        wake = publisher->heartbeat.commit_due_ns == UINT64_MAX;
        while (publisher->first != NULL) {
            queue_drop(publisher, now);
        }
        (void)outgoing_note_changes(publication, &publisher->heartbeat.changes);
        heartbeat_commit(&publisher->heartbeat, publication->head_position, publication->store_hash,
                         subscribers, now);
        if (subscribers) {
            counter_add(&publisher->counters->published_dropped, publication->event_count);
        }
    }
    if (wake) {
        pthread_cond_signal(&publisher->changed);
    }
    pthread_mutex_unlock(&publisher->mutex);
}

/* On the thread of the transport. */
static void on_subscribed(void *context)
{
    struct publisher *publisher = context;

    pthread_mutex_lock(&publisher->mutex);
    publisher->subscribed = true;
    pthread_cond_signal(&publisher->changed);
    pthread_mutex_unlock(&publisher->mutex);
}

/* ---- the thread ---- */

static void send_events(void *context, const void *bytes, size_t size, uint32_t event_count)
{
    struct publisher *publisher = context;

    if (transport_publish(publisher->transport, bytes, size) == ES_OK) {
        ES_PROBE(publish_events_sent);
        counter_add(&publisher->counters->published_messages, 1);
        counter_add(&publisher->counters->published_events, event_count);
    }
}

/* Sends one commit without the mutex; with it, tells the heartbeat. */
static void publish_one(struct publisher *publisher)
{
    struct outgoing *outgoing = queue_take(publisher);

    pthread_mutex_unlock(&publisher->mutex);
    if (outgoing_send(outgoing, publisher->epoch, MESSAGE_BYTES_MAX, &publisher->message,
                      send_events, publisher) != ES_OK) {
        log_warning("publisher: no memory for the events up to position %" PRIu64
                    ": subscribers read them",
                    outgoing->head_position);
    }
    pthread_mutex_lock(&publisher->mutex);
    outgoing_note_copy(outgoing, &publisher->heartbeat.changes);
    heartbeat_commit(&publisher->heartbeat, outgoing->head_position, outgoing->store_hash,
                     outgoing->category_count > 1, now_ns());
    free(outgoing);
}

static void send_heartbeat(struct publisher *publisher, uint64_t now)
{
    struct es_pack pack;
    uint32_t size = 0;

    es_pack_init(&pack, publisher->beat, sizeof publisher->beat);
    heartbeat_take(&publisher->heartbeat, now, &pack);
    pthread_mutex_unlock(&publisher->mutex);
    if (es_pack_finish(&pack, &size) == ES_OK &&
        transport_publish(publisher->transport, publisher->beat, size) == ES_OK) {
        counter_add(&publisher->counters->heartbeats, 1);
        ES_PROBE(publish_heartbeat_sent);
    }
    counter_set(&publisher->counters->subscribers,
                transport_subscriber_count(publisher->transport));
    pthread_mutex_lock(&publisher->mutex);
}

static void wait_until(struct publisher *publisher, uint64_t due)
{
    const struct timespec deadline = {
        .tv_sec = (time_t)(due / NS_PER_S),
        .tv_nsec = (long)(due % NS_PER_S),
    };

    (void)pthread_cond_timedwait(&publisher->changed, &publisher->mutex, &deadline);
}

static void *publish(void *context)
{
    struct publisher *publisher = context;

    pthread_mutex_lock(&publisher->mutex);
    while (!publisher->stopping || publisher->first != NULL) {
        uint64_t now = now_ns();

        if (publisher->subscribed) {
            publisher->subscribed = false;
            heartbeat_subscribed(&publisher->heartbeat, now);
        }
        if (heartbeat_due_ns(&publisher->heartbeat) <= now) {
            send_heartbeat(publisher, now);
        } else if (publisher->first != NULL) {
            publish_one(publisher);
        } else {
            wait_until(publisher, heartbeat_due_ns(&publisher->heartbeat));
        }
    }
    send_heartbeat(publisher, now_ns());
    pthread_mutex_unlock(&publisher->mutex);
    return NULL;
}

/* ---- life ---- */

static void primitives_init(struct publisher *publisher)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&publisher->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&publisher->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum es_status publisher_new(const struct publisher_config *config,
                             struct publisher **ret_publisher)
{
    struct publisher *publisher = calloc(1, sizeof *publisher);
    struct es_heartbeat identity = {
        .epoch = config->epoch,
        .start_number = config->start_number,
        .head_position = config->head_position,
    };

    if (publisher == NULL) {
        return ES_E_NO_MEMORY;
    }
    memcpy(identity.store_id, config->store_id, ES_STORE_ID_SIZE);
    memcpy(identity.store_hash, config->store_hash, ES_HASH_SIZE);
    publisher->transport = config->transport;
    publisher->counters = config->counters;
    publisher->epoch = config->epoch;
    primitives_init(publisher);
    heartbeat_init(&publisher->heartbeat, &identity, now_ns());
    if (pthread_create(&publisher->thread, NULL, publish, publisher) != 0) {
        publisher_free(publisher);
        return ES_E_NO_MEMORY;
    }
    publisher->running = true;
    transport_on_subscribed(publisher->transport, on_subscribed, publisher);
    *ret_publisher = publisher;
    return ES_OK;
}

void publisher_stop(struct publisher *publisher)
{
    if (publisher->running) {
        transport_on_subscribed(publisher->transport, NULL, NULL);
        pthread_mutex_lock(&publisher->mutex);
        publisher->stopping = true;
        pthread_cond_signal(&publisher->changed);
        pthread_mutex_unlock(&publisher->mutex);
        pthread_join(publisher->thread, NULL);
        publisher->running = false;
    }
}

void publisher_free(struct publisher *publisher)
{
    if (publisher == NULL) {
        return;
    }
    publisher_stop(publisher);
    while (publisher->first != NULL) { /* committed after the thread's end */
        free(queue_take(publisher));
    }
    outgoing_buffer_deinit(&publisher->message);
    pthread_cond_destroy(&publisher->changed);
    pthread_mutex_destroy(&publisher->mutex);
    free(publisher);
}
