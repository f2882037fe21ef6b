#include "broker/scribe.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "broker/batch_close.h"
#include "broker/slice.h"
#include "shm/futex.h"
#include "shm/probe.h"

enum turn {
    TURN_IDLE,
    TURN_BEGUN,
    TURN_DONE,
    TURN_END
};

struct scribe {
    struct scribe_config config;
    pthread_t thread;
    _Atomic uint32_t turn;
    const struct batch *batch;
    struct log_point previous;
    struct scribe_outcome outcome;
};

/* A full log means that RocksDB is behind: everybody waits for its flush. */
static enum es_status append(struct scribe *scribe, const struct log_batch *entry,
                             bool *ret_segment_begun)
{
    enum es_status status = log_append(scribe->config.log, entry, ret_segment_begun);

    if (status == ES_FULL) {
        counter_add(&scribe->config.counters->log_full_waits, 1);
        flusher_wait(scribe->config.flusher);
        status = log_append(scribe->config.log, entry, ret_segment_begun);
    }
    return status == ES_FULL ? ES_E_IO : status;
}

/* A batch of refusals alone needs no sync: it says only how far the rings have
 * come, and they do not outlive the machine. */
static enum es_status sync_log(struct scribe *scribe, const struct batch *batch)
{
    struct counters *counters = scribe->config.counters;
    int64_t begun_ns = es_monotonic_ns();
    uint64_t took_ns = 0;
    enum es_status status = ES_OK;

    if (!scribe->config.syncs_commits || batch->commit_number == 0) {
        return ES_OK;
    }
    status = log_sync(scribe->config.log);
    took_ns = (uint64_t)(es_monotonic_ns() - begun_ns);
    counter_add(&counters->sync_count, 1);
    counter_add(&counters->sync_ns_total, took_ns);
    counter_raise(&counters->sync_ns_max, took_ns);
    return status;
}

struct scribe_outcome scribe_write(struct scribe *scribe, const struct batch *batch,
                                   const struct log_point *previous)
{
    struct scribe_outcome outcome = {.segment_begun = false};
    int64_t begun_ns = es_monotonic_ns();
    struct iovec parts[LOG_BODY_PARTS_MAX];
    struct log_batch entry = {
        .previous = *previous, .parts = parts, .part_count = batch_body(batch, parts)};

    outcome.status = append(scribe, &entry, &outcome.segment_begun);
    if (outcome.status == ES_OK) {
        outcome.status = sync_log(scribe, batch);
    }
    ES_PROBE(commit_logged);
    for (int i = 0; i < entry.part_count; i++) {
        counter_add(&scribe->config.counters->log_bytes, parts[i].iov_len);
    }
    outcome.took_ns = es_monotonic_ns() - begun_ns;
    return outcome;
}

static void wait_while(const struct scribe *scribe, uint32_t turn)
{
    const struct es_futex_word word = {.word = &scribe->turn, .expected = turn};

    while (atomic_load_explicit(&scribe->turn, memory_order_acquire) == turn) { /* [S1] */
        if (es_futex_wait(&word, 1, ES_DEADLINE_NEVER) != ES_OK) {
            continue; /* a deadline that never comes */
        }
    }
}

static void set_turn(struct scribe *scribe, enum turn turn)
{
    atomic_store_explicit(&scribe->turn, (uint32_t)turn, memory_order_release); /* [S1] */
    es_futex_wake(&scribe->turn, false);
}

static void *run(void *context)
{
    struct scribe *scribe = context;

    pthread_setname_np(pthread_self(), "es-scribe");
    slice_shorten();
    for (;;) {
        uint32_t turn = atomic_load_explicit(&scribe->turn, memory_order_acquire); /* [S1] */

        if (turn == TURN_END) {
            return NULL;
        }
        if (turn == TURN_BEGUN) {
            scribe->outcome = scribe_write(scribe, scribe->batch, &scribe->previous);
            set_turn(scribe, TURN_DONE);
        } else {
            wait_while(scribe, turn);
        }
    }
}

enum es_status scribe_new(const struct scribe_config *config, struct scribe **ret_scribe)
{
    struct scribe *scribe = calloc(1, sizeof *scribe);

    if (scribe == NULL) {
        return ES_E_NO_MEMORY;
    }
    scribe->config = *config;
    if (pthread_create(&scribe->thread, NULL, run, scribe) != 0) {
        free(scribe);
        return ES_E_NO_MEMORY;
    }
    *ret_scribe = scribe;
    return ES_OK;
}

void scribe_free(struct scribe *scribe)
{
    if (scribe != NULL) {
        assert(atomic_load_explicit(&scribe->turn, memory_order_acquire) != TURN_BEGUN);
        set_turn(scribe, TURN_END);
        pthread_join(scribe->thread, NULL);
        free(scribe);
    }
}

void scribe_begin(struct scribe *scribe, const struct batch *batch,
                  const struct log_point *previous)
{
    assert(atomic_load_explicit(&scribe->turn, memory_order_relaxed) == TURN_IDLE);
    scribe->batch = batch;
    scribe->previous = *previous;
    set_turn(scribe, TURN_BEGUN);
}

bool scribe_is_done(const struct scribe *scribe)
{
    return atomic_load_explicit(&scribe->turn, memory_order_acquire) == TURN_DONE; /* [S1] */
}

struct scribe_outcome scribe_wait(struct scribe *scribe)
{
    wait_while(scribe, TURN_BEGUN);
    assert(scribe_is_done(scribe));
    atomic_store_explicit(&scribe->turn, TURN_IDLE, memory_order_relaxed);
    return scribe->outcome;
}
