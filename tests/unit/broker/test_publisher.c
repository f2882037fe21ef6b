/*
 * The publisher, with the transport replaced by one that keeps what is sent.
 * Every message is read as a subscriber reads it, and must follow the one
 * before of its category exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "broker/outgoing.h"
#include "broker/publisher.h"

enum {
    MESSAGES_MAX = 4096,
    EVENTS_MAX = BATCH_EVENTS_MAX,
    CATEGORIES = 5
};

struct message {
    uint8_t *bytes;
    size_t size;
};

/* The transport that keeps. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    struct message messages[MESSAGES_MAX];
    size_t message_count;
    uint32_t subscribers;
    bool held; /* transport_publish() waits */
    bool publishing;
    void (*subscribed)(void *context);
    void *context;
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

enum es_status __wrap_transport_publish(struct transport *transport, const void *bytes,
                                        size_t size);
uint32_t __wrap_transport_subscriber_count(const struct transport *transport);
void __wrap_transport_on_subscribed(struct transport *transport, void (*subscribed)(void *context),
                                    void *context);

enum es_status __wrap_transport_publish(struct transport *transport, const void *bytes, size_t size)
{
    struct message *message = NULL;

    (void)transport;
    pthread_mutex_lock(&kept.mutex);
    kept.publishing = true;
    pthread_cond_broadcast(&kept.moved);
    while (kept.held) {
        pthread_cond_wait(&kept.moved, &kept.mutex);
    }
    kept.publishing = false;
    assert_true(kept.message_count < MESSAGES_MAX);
    message = &kept.messages[kept.message_count];
    message->bytes = malloc(size);
    assert_non_null(message->bytes);
    memcpy(message->bytes, bytes, size);
    message->size = size;
    kept.message_count++;
    pthread_cond_broadcast(&kept.moved);
    pthread_mutex_unlock(&kept.mutex);
    return ES_OK;
}

uint32_t __wrap_transport_subscriber_count(const struct transport *transport)
{
    uint32_t count = 0;

    (void)transport;
    pthread_mutex_lock(&kept.mutex);
    count = kept.subscribers;
    pthread_mutex_unlock(&kept.mutex);
    return count;
}

void __wrap_transport_on_subscribed(struct transport *transport, void (*subscribed)(void *context),
                                    void *context)
{
    (void)transport;
    kept.subscribed = subscribed;
    kept.context = context;
}

static void hold(bool held)
{
    pthread_mutex_lock(&kept.mutex);
    kept.held = held;
    pthread_cond_broadcast(&kept.moved);
    pthread_mutex_unlock(&kept.mutex);
}

static void set_subscribers(uint32_t count)
{
    pthread_mutex_lock(&kept.mutex);
    kept.subscribers = count;
    pthread_mutex_unlock(&kept.mutex);
}

struct fixture {
    struct publisher *publisher;
    struct counters counters;
    struct publication_event events[EVENTS_MAX];
    char streams[EVENTS_MAX][48];
    uint8_t *payload;
    uint64_t position; /* of the last event made */
    uint64_t last_in_category[CATEGORIES];
    uint32_t random;
    /* what a subscriber knows */
    size_t messages_read;
    uint64_t seen_in_category[CATEGORIES];
    uint64_t seen_head;
    uint64_t seen_number;
    uint64_t events_seen;
    uint64_t holes_seen; /* events not seen when a heartbeat or message told of them */
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    static const uint8_t store_id[16] = "0123456789abcde";
    struct publisher_config config = {.store_id = store_id, .epoch = 9, .start_number = 2};

    assert_non_null(f);
    f->payload = calloc(1, 2 * MESSAGE_BYTES_MAX);
    assert_non_null(f->payload);
    f->random = 20260131;
    kept.message_count = 0;
    kept.subscribers = 0;
    kept.held = false;
    config.counters = &f->counters;
    config.transport = (struct transport *)(void *)f; /* never looked into */
    assert_int_equal(publisher_new(&config, &f->publisher), ES_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    publisher_free(f->publisher);
    for (size_t i = 0; i < kept.message_count; i++) {
        free(kept.messages[i].bytes);
    }
    free(f->payload);
    free(f);
    return 0;
}

static uint32_t next_random(struct fixture *f, uint32_t bound)
{
    f->random = f->random * 1664525u + 1013904223u;
    return (f->random >> 8) % bound;
}

/* One event of category 'v:b:L0:c<category>' with an envelope of 'bytes'. */
static void make_event(struct fixture *f, uint32_t index, uint32_t category, uint32_t bytes)
{
    struct publication_event *event = &f->events[index];
    int length = snprintf(f->streams[index], sizeof f->streams[index], "v:b:L0:c%u:M%u", category,
                          (unsigned)next_random(f, 3));

    f->position++;
    *event = (struct publication_event){
        .stream = f->streams[index],
        .stream_bytes = (uint32_t)length,
        .category_bytes = (uint32_t)strlen("v:b:L0:c0"),
        .position = f->position,
        .sequence = f->position * 3,
        .previous_position_in_category = f->last_in_category[category],
        .envelope = f->payload,
        .envelope_bytes = bytes,
    };
    f->last_in_category[category] = f->position;
}

static void commit(struct fixture *f, uint32_t event_count)
{
    struct publication publication = {
        .head_position = f->position,
        .time_us = 1000 + f->position,
        .events = f->events,
        .event_count = event_count,
    };

    memset(publication.store_hash, (int)(f->position & 0xff), sizeof publication.store_hash);
    memset(f->payload, (int)(publication.time_us & 0xff), 2 * MESSAGE_BYTES_MAX);
    publisher_commit(f->publisher, &publication);
    memset(f->payload, 0xee, 2 * MESSAGE_BYTES_MAX);
    memset(f->events, 0xee, event_count * sizeof f->events[0]); /* views end with the call */
    memset(f->streams, 'x', event_count * sizeof f->streams[0]);
}

static uint32_t category_index(struct es_text category)
{
    assert_int_equal(category.size, strlen("v:b:L0:c0"));
    return (uint32_t)(category.data[category.size - 1] - '0');
}

static void read_events(struct fixture *f, struct es_text topic, struct es_bytes body)
{
    struct es_published_reader reader;
    struct es_published_event event;
    uint32_t category = category_index(es_text_make(topic.data + 2, topic.size - 3));
    uint64_t last = 0;
    uint32_t count = 0;

    assert_int_equal(es_published_read(&reader, body), ES_OK);
    assert_int_equal(reader.head.epoch, 9);
    if (reader.head.previous_position != f->seen_in_category[category]) {
        assert_true(reader.head.previous_position > f->seen_in_category[category]);
        f->holes_seen++;
    }
    while (es_published_next(&reader, &event) == ES_OK) {
        assert_true(event.position > last);
        assert_int_equal(event.sequence, event.position * 3);
        assert_true(event.time_us >= 1000 + event.position);
        assert_int_equal(event.envelope.data[0], event.time_us & 0xff);
        assert_int_equal(event.envelope.data[event.envelope.size - 1], event.time_us & 0xff);
        if (count == 0) {
            assert_int_equal(event.position, reader.head.first_position);
        }
        last = event.position;
        count++;
    }
    assert_int_equal(last, reader.head.last_position);
    assert_int_equal(count, reader.head.event_count);
    f->seen_in_category[category] = last;
    f->events_seen += count;
}

static void read_heartbeat(struct fixture *f, struct es_bytes body)
{
    struct es_heartbeat heartbeat;
    struct es_category_position changed[ES_HEARTBEAT_CHANGED_MAX];

    assert_int_equal(es_heartbeat_read(body, &heartbeat, changed), ES_OK);
    assert_int_equal(heartbeat.number, f->seen_number + 1);
    assert_int_equal(heartbeat.start_number, 2);
    assert_true(heartbeat.head_position >= f->seen_head);
    assert_int_equal(heartbeat.store_hash[0], heartbeat.head_position & 0xff);
    f->seen_number = heartbeat.number;
    f->seen_head = heartbeat.head_position;
    assert_true(heartbeat.changed_known);
    for (uint32_t i = 0; i < heartbeat.changed_count; i++) {
        uint32_t category = category_index(changed[i].category);

        assert_true(changed[i].last_position <= heartbeat.head_position);
        if (changed[i].last_position > f->seen_in_category[category]) {
            f->holes_seen++;
            f->seen_in_category[category] = changed[i].last_position; /* it reads now */
        }
    }
    for (uint32_t i = 0; i < CATEGORIES; i++) {
        /* nothing at or before the head may still come as a surprise */
        assert_true(f->seen_in_category[i] <= heartbeat.head_position);
        if (f->last_in_category[i] <= heartbeat.head_position) {
            assert_int_equal(f->seen_in_category[i], f->last_in_category[i]);
        }
    }
}

/* Reads what has come so far. */
static void read_messages(struct fixture *f)
{
    pthread_mutex_lock(&kept.mutex);
    for (; f->messages_read < kept.message_count; f->messages_read++) {
        const struct message *message = &kept.messages[f->messages_read];
        struct es_text topic;
        struct es_bytes body;

        assert_int_equal(es_published_split(es_bytes_make(message->bytes, (uint32_t)message->size),
                                            &topic, &body),
                         ES_OK);
        if (topic.data[0] == 'H') {
            read_heartbeat(f, body);
        } else {
            read_events(f, topic, body);
            assert_true(message->size <= MESSAGE_BYTES_MAX || f->events_seen > 0);
        }
    }
    pthread_mutex_unlock(&kept.mutex);
}

/* Waits until the publisher is inside transport_publish(), where it is held. */
static void wait_until_publishing(void)
{
    pthread_mutex_lock(&kept.mutex);
    while (!kept.publishing) {
        pthread_cond_wait(&kept.moved, &kept.mutex);
    }
    pthread_mutex_unlock(&kept.mutex);
}

static void every_message_names_its_predecessor_in_the_category(void **state)
{
    struct fixture *f = *state;

    set_subscribers(1);
    for (int i = 0; i < 50; i++) {
        uint32_t count = 1 + next_random(f, 200);

        for (uint32_t j = 0; j < count; j++) {
            make_event(f, j, next_random(f, CATEGORIES), 1 + next_random(f, 3000));
        }
        commit(f, count);
    }
    publisher_stop(f->publisher);
    read_messages(f);
    assert_int_equal(f->holes_seen, 0);
    assert_int_equal(f->events_seen, f->position);
    assert_int_equal(f->seen_head, f->position);
    assert_int_equal(counter_get(&f->counters.published_events), f->position);
    assert_int_equal(counter_get(&f->counters.published_dropped), 0);
}

static void one_category_of_one_batch_is_cut_into_messages_that_chain(void **state)
{
    struct fixture *f = *state;

    set_subscribers(1);
    for (uint32_t i = 0; i < 300; i++) {
        make_event(f, i, i % 3 == 0 ? 1 : 2, 1000);
    }
    commit(f, 300);
    publisher_stop(f->publisher);
    read_messages(f);
    assert_int_equal(f->holes_seen, 0);
    assert_int_equal(f->events_seen, 300);
    assert_int_equal(counter_get(&f->counters.published_messages), 2 + 4); /* 100 kB and 200 kB */
}

static void no_message_is_larger_than_the_limit_but_for_one_large_event(void **state)
{
    struct fixture *f = *state;
    size_t too_large = 0;

    set_subscribers(1);
    for (uint32_t i = 0; i < 20; i++) {
        make_event(f, i, 0, i == 10 ? 2 * MESSAGE_BYTES_MAX : MESSAGE_BYTES_MAX / 3);
    }
    commit(f, 20);
    publisher_stop(f->publisher);
    read_messages(f);
    assert_int_equal(f->holes_seen, 0);
    assert_int_equal(f->events_seen, 20);
    for (size_t i = 0; i < kept.message_count; i++) {
        too_large += kept.messages[i].size > MESSAGE_BYTES_MAX ? 1 : 0;
    }
    assert_int_equal(too_large, 1);
}

/* The committer must never wait, so somebody misses something: but is told. */
static void a_full_queue_drops_the_oldest_and_the_heartbeat_tells(void **state)
{
    struct fixture *f = *state;

    set_subscribers(1);
    hold(true);
    kept.subscribed(kept.context); /* a heartbeat, which is held */
    wait_until_publishing();
    for (int i = 0; i < 40; i++) { /* 40 MiB into a queue of 16 */
        for (uint32_t j = 0; j < 16; j++) {
            make_event(f, j, next_random(f, CATEGORIES), 64 * 1024);
        }
        commit(f, 16);
    }
    assert_true(counter_get(&f->counters.published_dropped) > 16 * 20);
    hold(false);
    publisher_stop(f->publisher);
    read_messages(f);
    assert_true(f->holes_seen > 0);
    assert_int_equal(f->events_seen + counter_get(&f->counters.published_dropped), f->position);
    assert_true(f->events_seen >= 16 * 14);
    assert_int_equal(f->seen_head, f->position);
    for (uint32_t i = 0; i < CATEGORIES; i++) {
        assert_int_equal(f->seen_in_category[i], f->last_in_category[i]);
    }
}

static void without_subscribers_the_next_heartbeat_names_what_changed(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 100; i++) {
        make_event(f, i, i % 4, 100);
    }
    commit(f, 100);
    publisher_stop(f->publisher);
    read_messages(f);
    assert_int_equal(f->events_seen, 0);
    assert_int_equal(f->holes_seen, 4);
    assert_int_equal(f->seen_head, 100);
}

/* The last subscriber leaves while commits are queued: a heartbeat about a later
 * commit must not go out before they are told. read_heartbeat() would see it. */
static void what_is_queued_is_told_no_later_than_what_came_after_it(void **state)
{
    struct fixture *f = *state;

    set_subscribers(1);
    hold(true);
    kept.subscribed(kept.context);
    wait_until_publishing();
    make_event(f, 0, 0, 100);
    commit(f, 1);
    set_subscribers(0);
    make_event(f, 0, 1, 100);
    make_event(f, 1, 2, 100);
    commit(f, 2);
    set_subscribers(1);
    make_event(f, 0, 3, 100);
    commit(f, 1);
    hold(false);
    publisher_stop(f->publisher);
    read_messages(f);
    assert_int_equal(f->seen_head, 4);
    assert_int_equal(f->events_seen, 1);
}

static void a_commit_of_keys_only_changes_the_store_hash_and_no_category(void **state)
{
    struct fixture *f = *state;

    set_subscribers(1);
    make_event(f, 0, 0, 100);
    commit(f, 1);
    commit(f, 0);
    publisher_stop(f->publisher);
    read_messages(f);
    assert_int_equal(f->events_seen, 1);
    assert_int_equal(f->holes_seen, 0);
}

static void a_commit_of_several_categories_is_followed_by_a_heartbeat(void **state)
{
    struct fixture *f = *state;

    set_subscribers(1);
    make_event(f, 0, 0, 100);
    make_event(f, 1, 1, 100);
    commit(f, 2);
    pthread_mutex_lock(&kept.mutex);
    while (kept.message_count < 3) {
        pthread_cond_wait(&kept.moved, &kept.mutex);
    }
    assert_int_equal(kept.messages[2].bytes[0], 'H');
    pthread_mutex_unlock(&kept.mutex);
    read_messages(f);
    assert_int_equal(f->seen_head, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(every_message_names_its_predecessor_in_the_category),
        TEST(one_category_of_one_batch_is_cut_into_messages_that_chain),
        TEST(no_message_is_larger_than_the_limit_but_for_one_large_event),
        TEST(a_full_queue_drops_the_oldest_and_the_heartbeat_tells),
        TEST(without_subscribers_the_next_heartbeat_names_what_changed),
        TEST(what_is_queued_is_told_no_later_than_what_came_after_it),
        TEST(a_commit_of_keys_only_changes_the_store_hash_and_no_category),
        TEST(a_commit_of_several_categories_is_followed_by_a_heartbeat),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
