#include "tests/support/commit_parts.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/lanes_take_over.h"
#include "broker/process.h"
#include "shm/codec/hash.h"
#include "shm/codec/transaction.h"

static void fail_test(const char *what, const char *why)
{
    fail_msg("%s: %s", what, why);
}

/* In each category every event names the one before. */
static void check_category(struct commit_parts *parts, const struct publication_event *event)
{
    char category[64] = {0};
    size_t i = 0;

    assert_true(event->category_bytes < sizeof category);
    memcpy(category, event->stream, event->category_bytes);
    while (parts->categories[i].category[0] != '\0' &&
           strcmp(parts->categories[i].category, category) != 0) {
        i++;
        assert_true(i < sizeof parts->categories / sizeof parts->categories[0]);
    }
    if (parts->categories[i].category[0] != '\0') {
        assert_int_equal(event->previous_position_in_category, parts->categories[i].position);
    }
    memcpy(parts->categories[i].category, category, sizeof category);
    parts->categories[i].position = event->position;
}

static void note_publication(void *context, const struct publication *publication)
{
    struct commit_parts *parts = context;

    for (uint32_t i = 0; i < publication->event_count; i++) {
        assert_int_equal(publication->events[i].position, parts->published_position + 1);
        parts->published_position++;
        check_category(parts, &publication->events[i]);
        parts->published_events++;
    }
}

static struct lanes_config lanes_config_of(struct commit_parts *parts, const uint8_t *store_id,
                                           const uint8_t *boot_id)
{
    struct lanes_config config = {
        .directory_fd = parts->segments_fd, .group = ES_GROUP_NONE, .counters = &parts->counters};

    memcpy(config.identity.store_id, store_id, sizeof config.identity.store_id);
    memcpy(config.identity.boot_id, boot_id, sizeof config.identity.boot_id);
    config.identity.geometry = parts->geometry;
    config.identity.durability = ES_DURABILITY_FSYNC;
    config.identity.broker_pid = (uint32_t)getpid();
    config.identity.transaction_bytes_max = parts->geometry.payload_bytes_max;
    return config;
}

static void look(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains)
{
    struct commit_parts *parts = context;
    struct lanes_config config = lanes_config_of(parts, store_id, boot_id);

    lanes_look(parts->segments_fd, &config, ret_remains);
}

static void wake_nobody(void *context)
{
    (void)context;
}

static enum es_status take_over(void *context, const struct startup *startup)
{
    struct commit_parts *parts = context;
    struct lanes_config config;
    struct es_control_head head = {.batch_number = startup->end.batch_number,
                                   .commit_number = startup->end.commit_number,
                                   .durable_position = startup->end.position};

    if (startup->remains.is_usable) {
        parts->geometry = startup->remains.identity.geometry;
    }
    config = lanes_config_of(parts, startup->state.store_id, startup->boot_id);
    memcpy(head.store_hash, startup->end.store_hash, sizeof head.store_hash);
    config.identity.start_number = startup->state.start_number;
    config.identity.epoch = startup->state.epoch;
    assert_int_equal(startup->remains.is_usable
                         ? lanes_take_over(&config, &head, &startup->ahead, &parts->lanes)
                         : lanes_new(&config, &head, &parts->lanes),
                     ES_OK);
    return ES_OK;
}

enum es_status commit_parts_open(struct commit_parts *parts)
{
    struct startup *startup = &parts->startup;
    char data[TEMP_DIRECTORY_BYTES_MAX + 8];
    struct startup_options options = {.data_path = data,
                                      .durability = ANCHOR_FSYNC,
                                      .geometry = parts->log_geometry,
                                      .look = look,
                                      .look_context = parts,
                                      .take_over = take_over,
                                      .take_over_context = parts};
    struct drain_config drain = {.counters = &parts->counters,
                                 .record_bytes_max = parts->geometry.record_bytes_max};
    struct committer_config committer = {
        .counters = &parts->counters, .publish = note_publication, .publish_context = parts};
    struct scribe_config scribe = {.counters = &parts->counters,
                                   .syncs_commits = !parts->never_syncs};
    enum es_status status = ES_OK;

    snprintf(data, sizeof data, "%s/data", parts->root);
    status = startup_open(&options, &parts->counters, startup, parts->why);
    if (status != ES_OK) {
        lanes_free(parts->lanes);
        parts->lanes = NULL;
        return status;
    }
    lanes_set_state(parts->lanes, ES_BROKER_SERVING);
    parts->published_position = startup->end.position;
    memset(parts->categories, 0, sizeof parts->categories);
    assert_int_equal(inbox_new(wake_nobody, NULL, &parts->inbox), ES_OK);
    assert_int_equal(sequencer_new(startup->store, startup->heads, &parts->sequencer), ES_OK);
    assert_int_equal(
        batch_new(log_body_bytes_max(&log_origin(startup->log)->geometry), &parts->batch), ES_OK);
    drain.lanes = parts->lanes;
    drain.inbox = parts->inbox;
    drain.sequencer = parts->sequencer;
    drain.heads = startup->heads;
    assert_int_equal(drain_new(&drain, &parts->drain), ES_OK);
    assert_int_equal(flusher_new(&(struct flusher_config){startup->store, startup->log,
                                                          &parts->counters, fail_test},
                                 &parts->flusher),
                     ES_OK);
    assert_int_equal(witness_new(&(struct witness_config){.anchor = startup->anchor,
                                                          .log = startup->log,
                                                          .failed = fail_test},
                                 &startup->state, &parts->witness),
                     ES_OK);
    scribe.log = startup->log;
    scribe.flusher = parts->flusher;
    assert_int_equal(scribe_new(&scribe, &parts->scribe), ES_OK);
    committer.scribe = parts->scribe;
    committer.store = startup->store;
    committer.heads = startup->heads;
    committer.lanes = parts->lanes;
    committer.inbox = parts->inbox;
    committer.flusher = parts->flusher;
    committer.witness = parts->witness;
    committer.epoch = startup->state.epoch;
    assert_int_equal(committer_new(&committer, &startup->end, &parts->committer), ES_OK);
    return ES_OK;
}

void commit_parts_drop(struct commit_parts *parts)
{
    committer_free(parts->committer);
    witness_free(parts->witness);
    scribe_free(parts->scribe);
    flusher_free(parts->flusher);
    drain_free(parts->drain);
    batch_free(parts->batch);
    sequencer_free(parts->sequencer);
    inbox_free(parts->inbox);
    lanes_free(parts->lanes);
    startup_close(&parts->startup);
    parts->committer = NULL;
    parts->witness = NULL;
    parts->scribe = NULL;
    parts->flusher = NULL;
    parts->drain = NULL;
    parts->batch = NULL;
    parts->sequencer = NULL;
    parts->inbox = NULL;
    parts->lanes = NULL;
}

void commit_parts_make(struct commit_parts *parts, uint32_t slot_count)
{
    memset(parts, 0, sizeof *parts);
    temp_directory_make_tmpfs(parts->root); /* what is tested is not how slow a disk is */
    temp_directory_make_tmpfs(parts->segments);
    parts->segments_fd = open(parts->segments, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(parts->segments_fd >= 0);
    assert_int_equal(es_geometry_make(slot_count, ES_ARENA_BYTES_MIN, &parts->geometry), ES_OK);
    parts->log_geometry = (struct log_geometry){LOG_SEGMENT_COUNT_DEFAULT, LOG_SEGMENT_BYTES_MIN};
    assert_int_equal(commit_parts_open(parts), ES_OK);
}

void commit_parts_remove(struct commit_parts *parts)
{
    commit_parts_drop(parts);
    close(parts->segments_fd);
    temp_directory_remove(parts->root);
    temp_directory_remove(parts->segments);
}

enum es_status commit_parts_round(struct commit_parts *parts, int64_t now_ns)
{
    const char *what = "";
    bool is_full = false;
    enum es_status status = ES_OK;

    committer_begin_batch(parts->committer, parts->batch);
    if (parts->answers_max != 0) {
        parts->batch->answer_count_max = parts->answers_max;
    }
    status = drain_fill(parts->drain, parts->batch, now_ns, &is_full);
    if (status == ES_OK && drain_needs_commit(parts->drain, parts->batch)) {
        status = committer_commit(parts->committer, parts->batch, &what);
    }
    return status;
}

static enum es_status attach_as(struct commit_parts *parts, struct parts_producer *producer,
                                const char *name, bool is_producer)
{
    const struct lanes_applicant applicant = {geteuid(), getpid(), process_start_time(getpid()),
                                              name, is_producer};

    producer->flags = 0;
    producer->is_named = is_producer;
    return lanes_attach(parts->lanes, &applicant, &producer->attachment);
}

/* What a producer's process does with its three descriptors. */
static void map(struct commit_parts *parts, struct parts_producer *producer)
{
    struct lanes_attachment *attachment = &producer->attachment;
    struct es_control_ring ring;
    struct es_control control;
    struct es_segment control_segment = ES_SEGMENT_NONE;

    assert_int_equal(
        es_segment_map(attachment->control_fd, es_control_bytes(), false, &control_segment), ES_OK);
    assert_int_equal(es_control_attach(&control, &control_segment), ES_OK);
    assert_int_equal(es_control_ring(&control, attachment->ring_index, &ring), ES_OK);
    es_segment_unmap(&control_segment);
    assert_int_equal(es_segment_map(attachment->ring_fd, es_ring_bytes(parts->geometry.slot_count),
                                    true, &producer->ring_segment),
                     ES_OK);
    assert_int_equal(es_ring_attach(&producer->ring, &producer->ring_segment, ring.ring_id,
                                    parts->geometry.slot_count),
                     ES_OK);
    assert_int_equal(
        es_segment_map(attachment->lane_fd,
                       es_lane_bytes(parts->geometry.arena_bytes, parts->geometry.credit_count),
                       true, &producer->lane_segment),
        ES_OK);
    assert_int_equal(es_lane_writer_attach(&producer->writer, &producer->lane_segment,
                                           attachment->incarnation, parts->geometry.arena_bytes,
                                           parts->geometry.credit_count),
                     ES_OK);
}

void parts_attach(struct commit_parts *parts, struct parts_producer *producer)
{
    assert_int_equal(attach_as(parts, producer, "test", false), ES_OK);
    map(parts, producer);
}

static enum es_status make_lane(void *context, uint64_t *ret_incarnation)
{
    struct parts_claim *claim = context;
    enum es_status status = attach_as(claim->parts, claim->producer, claim->name, true);

    *ret_incarnation = claim->producer->attachment.incarnation;
    return status;
}

static void *run_claim(void *context)
{
    struct parts_claim *claim = context;

    claim->status = inbox_run(claim->parts->inbox, &claim->errand);
    atomic_store(&claim->is_over, true);
    return NULL;
}

void parts_claim_begin(struct commit_parts *parts, struct parts_claim *claim,
                       struct parts_producer *producer, const char *name, bool take_over)
{
    *claim = (struct parts_claim){.parts = parts, .producer = producer, .name = name};
    claim->errand = (struct errand){.producer = es_text_of(name),
                                    .uid = geteuid(),
                                    .make_lane = producer != NULL ? make_lane : NULL,
                                    .context = claim,
                                    .take_over = take_over};
    assert_int_equal(pthread_create(&claim->thread, NULL, run_claim, claim), 0);
    while (!inbox_has_work(parts->inbox)) {
        sched_yield();
    }
}

enum es_status parts_claim_end(struct parts_claim *claim)
{
    while (!atomic_load(&claim->is_over)) {
        assert_int_equal(commit_parts_round(claim->parts, 0), ES_OK);
    }
    pthread_join(claim->thread, NULL);
    if (claim->status == ES_OK && claim->producer != NULL) {
        map(claim->parts, claim->producer);
    }
    return claim->status;
}

void parts_claim_give_up(struct parts_claim *claim)
{
    struct batch *batch = claim->parts->batch;

    drain_end(claim->parts->drain);
    for (uint32_t i = 0; i < batch->answer_count; i++) {
        if (batch->answers[i].submission != NULL) {
            inbox_refuse(claim->parts->inbox, batch->answers[i].submission);
        }
    }
    inbox_close(claim->parts->inbox);
    pthread_join(claim->thread, NULL);
}

enum es_status parts_claim(struct commit_parts *parts, struct parts_producer *producer,
                           const char *name, bool take_over, uint64_t *ret_last_number)
{
    struct parts_claim claim;
    enum es_status status = ES_OK;

    parts_claim_begin(parts, &claim, producer, name, take_over);
    status = parts_claim_end(&claim);
    *ret_last_number = claim.errand.last_number;
    return status;
}

void parts_detach(struct parts_producer *producer)
{
    es_segment_unmap(&producer->lane_segment);
    es_segment_unmap(&producer->ring_segment);
}

enum es_status parts_publish(struct parts_producer *producer, const char *stream, int64_t expected,
                             uint64_t number, bool with_ticket)
{
    struct es_operation operation = {.kind = ES_OPERATION_APPEND};
    struct es_append_event event = {.tick = number,
                                    .type = es_text_of("Counted"),
                                    .payload = es_bytes_make(&number, sizeof number)};
    struct es_pack pack;
    void *payload = NULL;
    uint32_t size = 0;
    uint64_t sequence = 0;
    enum es_status status = es_lane_claim(&producer->writer, 512, &payload);

    if (status != ES_OK) {
        return status;
    }
    operation.as.append.stream = es_text_of(stream);
    operation.as.append.event_count = 1;
    if (expected >= 0) {
        operation.as.append.expect.kind = expected == 0 ? ES_EXPECTED_NONE : ES_EXPECTED_EXACT;
        operation.as.append.expect.number = (uint64_t)expected;
    }
    es_pack_init(&pack, payload, 512);
    es_transaction_write_begin(&pack, producer->is_named ? number : 0, 1);
    es_transaction_write_operation(&pack, &operation);
    es_transaction_write_event(&pack, &event);
    assert_int_equal(es_pack_finish(&pack, &size), ES_OK);
    assert_int_equal(es_lane_publish(&producer->writer, size, producer->flags, &sequence), ES_OK);
    if (with_ticket) {
        assert_int_equal(es_ring_place(&producer->ring, producer->attachment.lane_index, sequence),
                         ES_OK);
    }
    return ES_OK;
}

struct es_lane_result parts_collect(struct parts_producer *producer)
{
    struct es_lane_result result;

    assert_int_equal(es_lane_collect(&producer->writer, &result), ES_OK);
    return result;
}

int commit_parts_setup(void **state)
{
    static struct commit_parts parts;

    commit_parts_make(&parts, 64);
    *state = &parts;
    return 0;
}

int commit_parts_teardown(void **state)
{
    commit_parts_remove(*state);
    return 0;
}
