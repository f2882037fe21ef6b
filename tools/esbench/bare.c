/* Encodes commits as the broker does; the contract is in bare.h. */
#include "tools/esbench/bare.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log_format.h"
#include "shm/codec/envelope.h"
#include "shm/codec/head_record.h"
#include "shm/codec/last_record.h"
#include "shm/codec/log_body.h"
#include "shm/codec/pack.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"

#define TIME_US 1700000000000000ULL   /* of the first commit; only its size matters */
#define LANE_INCARNATION (1ULL << 32) /* the same */
#define CATEGORY "bench:main:L0:load"

bool bare_init(struct bare_commits *commits, const struct bench_options *options)
{
    static const uint8_t store_id[ES_STORE_ID_SIZE] = {1};
    uint64_t envelope_bytes_max =
        es_envelope_size_max(LOAD_STREAM_BYTES_MAX, sizeof LOAD_TYPE, options->size_bytes);
    uint64_t batch = options->batch;

    memset(commits, 0, sizeof *commits);
    commits->batch = options->batch;
    commits->envelopes_capacity = envelope_bytes_max * batch;
    commits->record_capacity = 256 + batch * (LOAD_STREAM_BYTES_MAX + 32);
    commits->body_capacity = commits->envelopes_capacity + batch * ES_LOG_ENVELOPE_OVERHEAD +
                             commits->record_capacity + ES_LOG_BODY_OVERHEAD;
    commits->streams = calloc(options->streams, sizeof *commits->streams);
    commits->events = calloc(batch, sizeof *commits->events);
    commits->runs = calloc(batch, sizeof *commits->runs);
    commits->stream_texts = calloc(batch, sizeof *commits->stream_texts);
    commits->envelopes = malloc(commits->envelopes_capacity);
    commits->record = malloc(commits->record_capacity);
    commits->body = malloc(commits->body_capacity);
    es_store_hash_genesis(store_id, commits->store_hash);
    return load_init(&commits->load, options->size_bytes, options->streams) &&
           commits->streams != NULL && commits->events != NULL && commits->runs != NULL &&
           commits->stream_texts != NULL && commits->envelopes != NULL && commits->record != NULL &&
           commits->body != NULL;
}

void bare_deinit(struct bare_commits *commits)
{
    load_deinit(&commits->load);
    free(commits->streams);
    free(commits->events);
    free(commits->runs);
    free(commits->stream_texts);
    free(commits->envelopes);
    free(commits->record);
    free(commits->body);
}

/* Encodes event number 'index' of the commit behind the ones before it. */
static enum es_status encode_event(struct bare_commits *commits, uint32_t index, uint8_t *at)
{
    uint64_t number = commits->position;
    struct bare_event *event = &commits->events[index];
    struct bare_stream *stream = &commits->streams[number % commits->load.streams];
    struct es_text text;
    struct es_event_fields fields = {
        .tick = number,
        .type = es_text_of(LOAD_TYPE),
        .payload = es_bytes_make(load_payload(&commits->load, number), commits->load.size_bytes),
        .previous_hash =
            es_bytes_make(stream->last_hash, stream->last_sequence == 0 ? 0 : ES_HASH_SIZE),
    };
    uint8_t hash[ES_HASH_SIZE];
    size_t left = (size_t)(commits->envelopes + commits->envelopes_capacity - at);
    enum es_status status = ES_OK;

    load_stream(&commits->load, number, commits->stream_texts[index]);
    text = es_text_of(commits->stream_texts[index]);
    if (es_stream_parse(text, &fields.stream) != ES_REASON_NONE) {
        return ES_E_INVALID;
    }
    status = es_envelope_encode(&fields, at, left, &event->envelope_bytes, hash);
    if (status != ES_OK) {
        return status;
    }
    event->envelope = at;
    event->stream = number % commits->load.streams;
    event->sequence = stream->last_sequence + 1;
    event->position = number + 1;
    memcpy(stream->last_hash, hash, sizeof stream->last_hash);
    stream->last_sequence = event->sequence;
    commits->position = event->position;
    return ES_OK;
}

/* Consecutive events of one stream are one run. Returns the number of runs. */
static uint32_t make_runs(struct bare_commits *commits)
{
    uint32_t run_count = 0;

    for (uint32_t i = 0; i < commits->event_count; i++) {
        const struct bare_event *event = &commits->events[i];
        struct bare_stream *stream = &commits->streams[event->stream];

        if (i > 0 && commits->events[i - 1].stream == event->stream) {
            commits->runs[run_count - 1].count++;
        } else {
            commits->runs[run_count++] = (struct es_commit_run){
                .stream = es_text_of(commits->stream_texts[i]),
                .first_sequence = event->sequence,
                .count = 1,
                .previous_position = stream->last_position,
            };
        }
        stream->last_position = event->position;
        stream->commit_number = commits->commit_number;
    }
    return run_count;
}

static enum es_status encode_record(struct bare_commits *commits)
{
    struct es_commit_transaction transaction = {.run_count = make_runs(commits)};
    struct es_commit_record record = {
        .commit_number = commits->commit_number,
        .first_position = commits->events[0].position,
        .count = commits->event_count,
        .time_us = TIME_US + commits->commit_number,
        .transactions = &transaction,
        .runs = commits->runs,
        .transaction_count = 1,
    };
    struct es_hash_state events_hash;

    memcpy(record.previous_store_hash, commits->store_hash, sizeof record.previous_store_hash);
    es_events_hash_begin(&events_hash);
    for (uint32_t i = 0; i < commits->event_count; i++) {
        const struct bare_event *event = &commits->events[i];

        /* The hash is the last member of the envelope. */
        es_events_hash_add(&events_hash, event->envelope + event->envelope_bytes - ES_HASH_SIZE);
    }
    es_events_hash_end(&events_hash, record.events_hash);
    return es_commit_encode(&record, commits->record, commits->record_capacity,
                            &commits->record_bytes, commits->store_hash);
}

static void make_last(const struct bare_commits *commits, struct es_last *last)
{
    last->batch_number = commits->commit_number;
    last->commit_number = commits->commit_number;
    last->ring_count = 1;
    last->lane_count = 1;
    last->rings[0] = (struct es_last_ring){.ring_id = UINT64_MAX, .cursor = commits->position};
    last->lanes[0] = (struct es_last_lane){.incarnation = LANE_INCARNATION,
                                           .last_sequence = commits->position,
                                           .next_offset = 1U << 20};
}

static enum es_status encode_body(struct bare_commits *commits)
{
    struct es_last last;
    struct es_pack pack;

    make_last(commits, &last);
    es_pack_init(&pack, commits->body, commits->body_capacity);
    es_log_body_begin(&pack, es_bytes_make(commits->record, commits->record_bytes),
                      commits->event_count);
    for (uint32_t i = 0; i < commits->event_count; i++) {
        es_log_body_envelope(
            &pack, es_bytes_make(commits->events[i].envelope, commits->events[i].envelope_bytes));
    }
    es_log_body_operations(&pack, 0);
    es_log_body_last(&pack, &last);
    return es_pack_finish(&pack, &commits->body_bytes);
}

enum es_status bare_encode(struct bare_commits *commits, uint32_t event_count)
{
    uint8_t *at = commits->envelopes;
    enum es_status status = ES_OK;

    assert(event_count > 0);
    assert(event_count <= commits->batch);
    commits->commit_number++;
    commits->event_count = event_count;
    for (uint32_t i = 0; i < event_count && status == ES_OK; i++) {
        status = encode_event(commits, i, at);
        at += commits->events[i].envelope_bytes;
    }
    if (status == ES_OK) {
        status = encode_record(commits);
    }
    if (status == ES_OK) {
        status = encode_body(commits);
    }
    return status;
}

static enum es_status put(struct store_batch *batch, enum store_family family,
                          const struct es_key *key, const void *value, uint32_t value_bytes)
{
    return store_batch_put(batch, family, (struct store_slice){key->bytes, key->size},
                           (struct store_slice){value, value_bytes});
}

/* The event, where due the position of its sequence, and at its stream's last event the head. */
static enum es_status put_event(const struct bare_commits *commits, uint32_t index,
                                struct store_batch *batch)
{
    const struct bare_event *event = &commits->events[index];
    const struct bare_stream *stream = &commits->streams[event->stream];
    struct es_text text = es_text_of(commits->stream_texts[index]);
    uint8_t value[ES_HEAD_SIZE_MAX];
    uint32_t value_bytes = 0;
    struct es_key key;
    enum es_status status = ES_OK;

    es_key_event(text, event->sequence, &key);
    status = put(batch, STORE_EVENTS, &key, event->envelope, event->envelope_bytes);
    if (status == ES_OK && event->sequence % ES_POS_INTERVAL == 0) {
        es_key_pos(text, event->sequence, &key);
        status = es_pos_encode(event->position, value, sizeof value, &value_bytes);
        if (status == ES_OK) {
            status = put(batch, STORE_STREAM_META, &key, value, value_bytes);
        }
    }
    if (status == ES_OK && event->sequence == stream->last_sequence) {
        struct es_head_value head = {
            .last_sequence = stream->last_sequence,
            .last_tick = event->position - 1,
            .first_sequence = 1,
            .last_position = event->position,
        };

        memcpy(head.last_hash, stream->last_hash, sizeof head.last_hash);
        es_key_head(text, &key);
        status = es_head_encode(&head, value, sizeof value, &value_bytes);
        if (status == ES_OK) {
            status = put(batch, STORE_STREAM_META, &key, value, value_bytes);
        }
    }
    return status;
}

enum es_status bare_keys(const struct bare_commits *commits, struct store_batch *batch)
{
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    uint8_t last_value[ES_LAST_SIZE_MAX];
    uint32_t value_bytes = 0;
    struct es_last last;
    struct es_key key;
    enum es_status status = ES_OK;

    for (uint32_t i = 0; i < commits->event_count && status == ES_OK; i++) {
        status = put_event(commits, i, batch);
    }
    if (status == ES_OK) {
        es_key_commit(commits->position, commits->commit_number, &key);
        status = put(batch, STORE_COMMITS, &key, commits->record, commits->record_bytes);
    }
    if (status == ES_OK) {
        status = es_category_value_encode(commits->position, value, sizeof value, &value_bytes);
    }
    if (status == ES_OK) {
        es_key_category(es_text_of(CATEGORY), &key);
        status = put(batch, STORE_DEFAULT, &key, value, value_bytes);
    }
    if (status == ES_OK) {
        make_last(commits, &last);
        status = es_last_encode(&last, last_value, sizeof last_value, &value_bytes);
    }
    if (status == ES_OK) {
        es_key_last(&key);
        status = put(batch, STORE_DEFAULT, &key, last_value, value_bytes);
    }
    return status;
}

bool bare_record_bytes(const struct bench_options *options, uint32_t *ret_bytes)
{
    struct bench_options alone = *options;
    struct bare_commits commits;
    bool done = false;

    /* A run for each event; and the second commit has previous hashes, as nearly all have. */
    alone.streams = options->batch;
    done = bare_init(&commits, &alone);
    for (int i = 0; i < 2 && done; i++) {
        done = bare_encode(&commits, options->batch) == ES_OK;
    }
    if (done) {
        *ret_bytes = (uint32_t)log_record_stride(commits.body_bytes);
    }
    bare_deinit(&commits);
    return done;
}
