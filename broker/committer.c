/*
 * The order, and why:
 *
 *   stage results   into the lanes; nobody looks at them before the ack
 *   log             one write, one fdatasync (scribe.h): from here on it is history
 *   apply           to the store, so that an ack means that a read sees it
 *   control page    how far each ring and lane has come, for a successor
 *   free slots      of the rings; a successor must not find them freed before
 *                   the page, for then it could not tell what they had been
 *   acknowledge     one word for each lane, then wake who sleeps
 *   publish         to subscribers, who are thus never ahead of the disk
 *
 * If the process dies between any two, the log decides: what is in it is applied
 * again, announced on the control page and acknowledged by the next broker; what
 * is not in it never happened, and its records still lie in their lanes.
 */
#include "broker/committer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/apply.h"
#include "broker/batch_close.h"
#include "shm/futex.h"
#include "shm/probe.h"

struct committer {
    struct committer_config config;
    struct history_point end;    /* of everything finished */
    struct history_point sealed; /* of everything sealed */
    struct store_batch *writes;
    struct publication_event *events;
};

enum es_status committer_new(const struct committer_config *config, const struct history_point *end,
                             struct committer **ret_committer)
{
    struct committer *committer = calloc(1, sizeof *committer);
    enum es_status status = ES_E_NO_MEMORY;

    if (committer == NULL) {
        return ES_E_NO_MEMORY;
    }
    committer->config = *config;
    committer->end = *end;
    committer->sealed = *end;
    committer->events = malloc(BATCH_EVENTS_MAX * sizeof *committer->events);
    if (committer->events != NULL) {
        status = store_batch_new(&committer->writes);
    }
    if (status != ES_OK) {
        committer_free(committer);
        return status;
    }
    *ret_committer = committer;
    return ES_OK;
}

void committer_free(struct committer *committer)
{
    if (committer != NULL) {
        store_batch_free(committer->writes);
        free(committer->events);
        free(committer);
    }
}

const struct history_point *committer_end(const struct committer *committer)
{
    return &committer->end;
}

void committer_begin_batch(const struct committer *committer, struct batch *batch)
{
    batch_begin(batch, committer->sealed.batch_number + 1, committer->sealed.position + 1,
                committer->sealed.store_hash);
}

/* The commit's time never goes backwards, whatever the clock does. */
static uint64_t commit_time_us(const struct committer *committer)
{
    struct timespec now;
    uint64_t now_us = 0;

    clock_gettime(CLOCK_REALTIME, &now);
    now_us = (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
    return now_us > committer->sealed.time_us ? now_us : committer->sealed.time_us;
}

static void stage_results(const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->answer_count; i++) {
        const struct batch_answer *answer = &batch->answers[i];

        if (answer->lane != NULL) {
            es_lane_stage(&answer->lane->reader, &answer->result);
            ES_PROBE(commit_result_staged);
        }
    }
}

static enum es_status apply(struct committer *committer, const struct batch *batch)
{
    int64_t begun_ns = es_monotonic_ns();
    enum es_status status = apply_fill(batch, committer->writes);

    if (status == ES_OK) {
        status = store_apply(committer->config.store, committer->writes, STORE_APPLY_LIVE);
    }
    counter_add(&committer->config.counters->apply_ns_total,
                (uint64_t)(es_monotonic_ns() - begun_ns));
    return status;
}

static void move_past(struct history_point *point, const struct batch *batch)
{
    point->batch_number = batch->number;
    if (batch->commit_number != 0) {
        point->commit_number = batch->commit_number;
        point->position = batch_last_position(batch);
        point->time_us = batch->time_us;
        memcpy(point->store_hash, batch->store_hash, ES_HASH_SIZE);
    }
}

static void write_control_page(struct committer *committer, const struct batch *batch)
{
    struct es_control_head head = {
        .batch_number = committer->end.batch_number,
        .commit_number = committer->end.commit_number,
        .durable_position = committer->end.position,
    };

    memcpy(head.store_hash, committer->end.store_hash, ES_HASH_SIZE);
    lanes_advance(committer->config.lanes, &batch->progress, &head);
}

static void answer_requests(struct committer *committer, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->answer_count; i++) {
        struct submission *submission = batch->answers[i].submission;

        if (submission != NULL) {
            submission->result = batch->answers[i].result;
            inbox_answer(committer->config.inbox, submission);
            ES_PROBE(commit_request_answered);
        }
    }
}

static void publish(struct committer *committer, const struct batch *batch)
{
    struct publication publication = {.head_position = committer->end.position,
                                      .commit_number = batch->commit_number,
                                      .time_us = batch->time_us,
                                      .events = committer->events,
                                      .event_count = batch->event_count};

    if (batch->commit_number == 0) {
        return;
    }
    memcpy(publication.store_hash, batch->store_hash, ES_HASH_SIZE);
    for (uint32_t i = 0; i < batch->event_count; i++) {
        const struct batch_event *event = &batch->events[i];
        const struct batch_run *run = &batch->runs[event->run_index];
        const struct es_commit_run *commit = &batch->commit_runs[event->run_index];
        uint64_t position = batch->first_position + i;

        committer->events[i] = (struct publication_event){
            .stream = commit->stream.data,
            .stream_bytes = commit->stream.size,
            .category_bytes = run->category_bytes,
            .position = position,
            .sequence = commit->first_sequence + (position - run->first_position),
            .previous_position_in_category =
                position == run->first_position ? run->previous_in_category : position - 1,
            .envelope = batch->envelopes + event->offset,
            .envelope_bytes = event->size,
        };
    }
    committer->config.publish(committer->config.publish_context, &publication);
    ES_PROBE(commit_published);
}

static void count(struct committer *committer, const struct batch *batch)
{
    struct counters *counters = committer->config.counters;

    counter_add(&counters->batches, 1);
    counter_add(&counters->transactions, batch->answer_count);
    for (uint32_t i = 0; i < batch->answer_count; i++) {
        if (batch->answers[i].result.status != ES_OK) {
            counter_add(&counters->refusals, 1);
            counter_add(&counters->conflicts, batch->answers[i].result.status == ES_CONFLICT);
        }
    }
    if (batch->commit_number != 0) {
        counter_add(&counters->commits, 1);
        counter_add(&counters->events, batch->event_count);
        counter_add(&counters->key_operations, batch->operation_count - batch->producer_count);
        counter_add(&counters->event_bytes, batch->bytes);
        counter_raise(&counters->batch_events_max, batch->event_count);
        counter_raise(&counters->batch_bytes_max, batch->bytes);
    }
}

enum es_status committer_seal(struct committer *committer, struct batch *batch,
                              struct log_point *ret_previous)
{
    enum es_status status = ES_OK;

    assert(batch->number == committer->sealed.batch_number + 1);
    lanes_fill_last(committer->config.lanes, batch->number, &batch->progress);
    status = batch_close(batch, committer->config.heads, committer->sealed.commit_number + 1,
                         commit_time_us(committer), committer->config.epoch);
    if (status != ES_OK) {
        return status;
    }
    stage_results(batch);
    ES_PROBE(commit_staged);
    ret_previous->batch_number = committer->sealed.batch_number;
    memcpy(ret_previous->store_hash, committer->sealed.store_hash, ES_HASH_SIZE);
    move_past(&committer->sealed, batch);
    return ES_OK;
}

/* Before the first batch of a segment is applied: then the cut is exactly what
 * the segments before it hold. */
static enum es_status cut_store(struct committer *committer)
{
    struct log_point point = {.batch_number = committer->end.batch_number};

    counter_add(&committer->config.counters->log_segments_begun, 1);
    memcpy(point.store_hash, committer->end.store_hash, ES_HASH_SIZE);
    return flusher_begin(committer->config.flusher, &point);
}

enum es_status committer_finish(struct committer *committer, struct batch *batch,
                                const struct scribe_outcome *outcome, const char **ret_what)
{
    struct lanes *lanes = committer->config.lanes;
    enum es_status status = outcome->status;

    assert(batch->number == committer->end.batch_number + 1);
    *ret_what = "writing the commit log";
    if (status == ES_OK && outcome->segment_begun) {
        status = cut_store(committer);
        ES_PROBE(commit_store_cut);
    }
    if (status != ES_OK) {
        return status;
    }
    *ret_what = "applying a batch to the store";
    status = apply(committer, batch);
    if (status != ES_OK) {
        return status;
    }
    ES_PROBE(commit_applied);
    move_past(&committer->end, batch);
    if (batch->commit_number != 0) { /* a batch without one was not synced: scribe.h */
        witness_note(committer->config.witness, committer->end.batch_number,
                     committer->end.commit_number, committer->end.position,
                     committer->end.store_hash);
    }
    write_control_page(committer, batch);
    lanes_free_slots(lanes, &batch->progress);
    ES_PROBE(commit_slots_freed);
    lanes_acknowledge(lanes, &batch->progress);
    ES_PROBE(commit_acknowledged);
    answer_requests(committer, batch);
    publish(committer, batch);
    heads_set_applied(committer->config.heads, batch->number);
    count(committer, batch);
    return ES_OK;
}

enum es_status committer_commit(struct committer *committer, struct batch *batch,
                                const char **ret_what)
{
    struct log_point previous;
    struct scribe_outcome outcome;
    enum es_status status = committer_seal(committer, batch, &previous);

    *ret_what = "closing a batch";
    if (status != ES_OK) {
        return status;
    }
    outcome = scribe_write(committer->config.scribe, batch, &previous);
    return committer_finish(committer, batch, &outcome, ret_what);
}
