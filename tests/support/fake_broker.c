#include "tests/support/fake_broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/codec/envelope.h"
#include "shm/codec/hash.h"
#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"
#include "tests/support/fake_broker_state.h"

struct fake_lanes *fake_broker_lanes(struct fake_broker *broker)
{
    return &broker->lanes;
}

/* ---- store -------------------------------------------------------------- */

uint64_t fake_broker_store(struct fake_broker *broker, const char *stream, const char *payload)
{
    struct es_event_fields fields = {.tick = 1, .type = es_text_of("noted")};
    struct fake_event *event = NULL;
    uint64_t capacity = es_envelope_size_max(64, 16, (uint32_t)strlen(payload));
    uint64_t position;

    pthread_mutex_lock(&broker->lock);
    fake_require(broker->position < FAKE_EVENT_COUNT_MAX, "too many events");
    event = &broker->events[broker->position];
    memset(event, 0, sizeof *event);
    (void)snprintf(event->stream, sizeof event->stream, "%s", stream);
    event->sequence = 1;
    for (uint64_t i = 0; i < broker->position; i++) {
        if (strcmp(broker->events[i].stream, stream) == 0) {
            event->sequence = broker->events[i].sequence + 1;
            fields.previous_hash = es_bytes_make(broker->events[i].hash, 32);
        }
    }
    fake_require(es_stream_parse(es_text_of(event->stream), &fields.stream) == ES_REASON_NONE,
                 "not a stream");
    fields.payload = es_bytes_make(payload, (uint32_t)strlen(payload));
    event->envelope = malloc(capacity);
    fake_require(event->envelope != NULL &&
                     es_envelope_encode(&fields, event->envelope, capacity, &event->envelope_bytes,
                                        event->hash) == ES_OK,
                 "no envelope");
    position = ++broker->position;
    pthread_mutex_unlock(&broker->lock);
    return position;
}

void fake_broker_set_epoch(struct fake_broker *broker, uint64_t epoch)
{
    pthread_mutex_lock(&broker->lock);
    broker->epoch = epoch;
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_truncate(struct fake_broker *broker, uint64_t position)
{
    pthread_mutex_lock(&broker->lock);
    while (broker->position > position) {
        free(broker->events[--broker->position].envelope);
    }
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_damage(struct fake_broker *broker, uint64_t position, uint32_t from_end)
{
    struct fake_event *event = &broker->events[position - 1];

    pthread_mutex_lock(&broker->lock);
    event->envelope[event->envelope_bytes - from_end] ^= 1;
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_hide(struct fake_broker *broker, uint64_t position)
{
    pthread_mutex_lock(&broker->lock);
    broker->events[position - 1].is_hidden = true;
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_set_page(struct fake_broker *broker, uint32_t event_count)
{
    pthread_mutex_lock(&broker->lock);
    broker->page_event_count = event_count;
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_hold_requests(struct fake_broker *broker, bool is_held)
{
    pthread_mutex_lock(&broker->lock);
    broker->is_held = is_held;
    pthread_cond_broadcast(&broker->changed);
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_break_requests(struct fake_broker *broker, uint32_t count)
{
    pthread_mutex_lock(&broker->lock);
    broker->break_count = count;
    pthread_mutex_unlock(&broker->lock);
}

void fake_broker_answer_bytes(struct fake_broker *broker, const void *bytes, uint32_t size)
{
    pthread_mutex_lock(&broker->lock);
    free(broker->canned);
    broker->canned = NULL;
    if (bytes != NULL) {
        broker->canned = malloc(size + (size_t)1);
        fake_require(broker->canned != NULL, "no memory");
        memcpy(broker->canned, bytes, size);
        broker->canned_bytes = size;
    }
    pthread_mutex_unlock(&broker->lock);
}

uint64_t fake_broker_request_count(struct fake_broker *broker)
{
    return atomic_load(&broker->request_count);
}

/* ---- requests ----------------------------------------------------------- */

static void begin_reply(struct fake_broker *broker, struct es_pack *pack, uint32_t element_count)
{
    es_pack_array(pack, 3 + element_count);
    es_pack_uint(pack, 1);
    es_pack_int(pack, 0);
    es_pack_uint(pack, broker->position);
}

static void add_event(struct es_pack *pack, const struct fake_event *event, uint64_t position)
{
    es_pack_array(pack, 4);
    es_pack_uint(pack, position);
    es_pack_uint(pack, event->sequence);
    es_pack_uint(pack, 1000000 + position);
    es_pack_bin(pack, event->envelope, event->envelope_bytes);
}

static bool is_wanted(const struct fake_event *event, struct es_text filter)
{
    struct es_text stream = es_text_of(event->stream);
    bool is_prefix;

    if (event->is_hidden) {
        return false;
    }
    if (filter.size == 0) {
        return true;
    }
    is_prefix = filter.data[filter.size - 1] == '*';
    filter.size -= is_prefix ? 1 : 0;
    return es_text_starts_with(stream, filter) &&
           (is_prefix || (stream.size > filter.size && stream.data[filter.size] == ':'));
}

static void answer_read_all(struct fake_broker *broker, struct es_unpack *request,
                            struct es_pack *pack)
{
    uint64_t from = es_unpack_uint(request);
    uint64_t count = es_unpack_uint(request);
    struct es_text filter = {0};
    uint64_t found[FAKE_EVENT_COUNT_MAX];
    uint32_t found_count = 0;
    uint64_t at = from > 0 ? from : 1;

    if (!es_unpack_try_nil(request)) {
        filter = es_unpack_str(request, 1024);
    }
    fake_require(es_unpack_done(request) && count >= 1, "a malformed read all");
    for (; at <= broker->position && found_count < broker->page_event_count; at++) {
        if (is_wanted(&broker->events[at - 1], filter)) {
            found[found_count++] = at;
        }
    }
    begin_reply(broker, pack, 3);
    es_pack_array(pack, found_count);
    for (uint32_t i = 0; i < found_count; i++) {
        add_event(pack, &broker->events[found[i] - 1], found[i]);
    }
    es_pack_bool(pack, at > broker->position);
    es_pack_uint(pack, at);
}

static void answer_read_stream(struct fake_broker *broker, struct es_unpack *request,
                               struct es_pack *pack)
{
    struct es_text stream = es_unpack_str(request, 1024);
    uint64_t from = es_unpack_uint(request);
    uint64_t count = es_unpack_uint(request);
    bool is_backwards = es_unpack_bool(request);
    uint64_t positions[FAKE_EVENT_COUNT_MAX + 1];
    uint64_t last = 0;
    uint64_t next;
    uint32_t given = 0;

    fake_require(es_unpack_done(request) && count >= 1, "a malformed read stream");
    for (uint64_t at = 1; at <= broker->position; at++) {
        if (es_text_equal(es_text_of(broker->events[at - 1].stream), stream)) {
            positions[++last] = at;
        }
    }
    if (from == 0) {
        from = is_backwards ? last : 1;
    }
    next = from;
    if (from >= 1 && from <= last) {
        uint64_t left = is_backwards ? from : last - from + 1;

        given = left < broker->page_event_count ? (uint32_t)left : broker->page_event_count;
    }
    begin_reply(broker, pack, 3);
    es_pack_array(pack, given);
    for (uint32_t i = 0; i < given; i++) {
        add_event(pack, &broker->events[positions[next] - 1], positions[next]);
        next = is_backwards ? next - 1 : next + 1;
    }
    es_pack_bool(pack, is_backwards ? next == 0 || given == 0 : next > last);
    es_pack_uint(pack, next);
}

static void answer_store_head(struct fake_broker *broker, struct es_pack *pack)
{
    uint8_t zeros[32] = {0};
    uint8_t store_id[16];

    memset(store_id, 7, sizeof store_id);
    begin_reply(broker, pack, 5);
    es_pack_bin(pack, zeros, sizeof zeros);
    es_pack_bin(pack, store_id, sizeof store_id);
    es_pack_uint(pack, broker->epoch);
    es_pack_uint(pack, broker->position);
    es_pack_uint(pack, broker->start_number);
}

static void refuse(const struct fake_broker *broker, struct es_pack *pack, enum es_status status,
                   const char *message)
{
    es_pack_array(pack, 4);
    es_pack_uint(pack, 1);
    es_pack_int(pack, status);
    es_pack_uint(pack, broker->position);
    es_pack_str(pack, es_text_of(message));
}

/* Knows one epoch, and judges the checkpoint alone. */
static void answer_hello(struct fake_broker *broker, struct es_unpack *request,
                         struct es_pack *pack)
{
    uint64_t epoch;

    (void)es_unpack_skip(request);
    (void)es_unpack_skip(request);
    (void)es_unpack_array(request);
    (void)es_unpack_skip(request);
    epoch = es_unpack_uint(request);
    if (epoch != broker->epoch) {
        refuse(broker, pack, ES_DIVERGED, "another history");
    } else if (es_unpack_uint(request) > broker->position) {
        refuse(broker, pack, ES_REGRESSED, "the store ends before that");
    } else {
        begin_reply(broker, pack, 0);
    }
}

static void answer_request(struct fake_broker *broker, const void *bytes, size_t size,
                           struct es_pack *pack)
{
    struct es_unpack request;
    uint64_t verb;

    if (broker->canned != NULL) {
        es_pack_raw(pack, broker->canned, broker->canned_bytes);
        return;
    }
    es_unpack_init(&request, bytes, size);
    (void)es_unpack_array(&request);
    fake_require(es_unpack_uint(&request) == 1, "another protocol");
    verb = es_unpack_uint(&request);
    switch (verb) {
    case 1: answer_hello(broker, &request, pack); break;
    case 3: answer_read_stream(broker, &request, pack); break;
    case 4: answer_read_all(broker, &request, pack); break;
    case 7: answer_store_head(broker, pack); break;
    case 18:
    case 19:
        pthread_mutex_lock(&broker->lanes.lock);
        fake_producers_answer(&broker->lanes.producers, verb, &request, broker->position,
                              fake_lanes_is_alive, &broker->lanes, pack);
        pthread_mutex_unlock(&broker->lanes.lock);
        break;
    default: refuse(broker, pack, ES_E_INVALID, "the fake broker does not know this verb");
    }
}

static size_t answer(void *context, const void *request, size_t size, uint8_t *reply,
                     size_t reply_capacity)
{
    struct fake_broker *broker = context;
    size_t reply_size = SIZE_MAX;
    struct es_pack pack;

    atomic_fetch_add(&broker->request_count, 1);
    pthread_mutex_lock(&broker->lock);
    while (broker->is_held) {
        pthread_cond_wait(&broker->changed, &broker->lock);
    }
    if (broker->break_count > 0) {
        broker->break_count--;
    } else {
        es_pack_init(&pack, reply, reply_capacity);
        answer_request(broker, request, size, &pack);
        reply_size = es_pack_size(&pack);
    }
    pthread_mutex_unlock(&broker->lock);
    return reply_size;
}

/* ---- life --------------------------------------------------------------- */

struct fake_broker *fake_broker_start(const char *run_dir, uint64_t start_number)
{
    struct fake_broker *broker = calloc(1, sizeof *broker);

    fake_require(broker != NULL, "no memory");
    es_hash_warm_up();
    broker->events = calloc(FAKE_EVENT_COUNT_MAX, sizeof *broker->events);
    fake_require(broker->events != NULL, "no memory");
    broker->epoch = FAKE_EPOCH;
    broker->start_number = start_number;
    broker->page_event_count = 10;
    pthread_mutex_init(&broker->lock, NULL);
    pthread_cond_init(&broker->changed, NULL);
    fake_sockets_start(&broker->sockets, run_dir, answer, broker);
    fake_lanes_start(&broker->lanes, run_dir, start_number);
    return broker;
}

void fake_broker_stop(struct fake_broker *broker)
{
    fake_lanes_stop(&broker->lanes); /* first: whoever looks for a broker finds none */
    fake_broker_hold_requests(broker, false);
    fake_sockets_stop(&broker->sockets);
    fake_broker_truncate(broker, 0);
    free(broker->events);
    free(broker->canned);
    pthread_mutex_destroy(&broker->lock);
    pthread_cond_destroy(&broker->changed);
    free(broker);
}
