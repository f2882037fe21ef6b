#include "broker/commit_loop.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "broker/limits.h"
#include "broker/logger.h"
#include "broker/pace.h"
#include "broker/share.h"
#include "shm/doorbell.h"
#include "shm/futex.h"
#include "shm/probe.h"

struct commit_loop {
    struct commit_loop_config config;
    struct es_doorbell doorbell;
    _Atomic bool is_stopping;
    int64_t housekept_ns;
    bool no_space;
    struct pace pace;
    struct batch *filling;
    struct batch *writing; /* handed to the scribe; NULL: nothing is */
    struct batch *spare;   /* NULL while one is being written */
};

enum es_status commit_loop_new(struct commit_loop **ret_loop)
{
    struct commit_loop *loop = calloc(1, sizeof *loop);

    if (loop == NULL) {
        return ES_E_NO_MEMORY;
    }
    *ret_loop = loop;
    return ES_OK;
}

void commit_loop_free(struct commit_loop *loop)
{
    free(loop);
}

void commit_loop_wake(void *loop)
{
    es_doorbell_wake(&((struct commit_loop *)loop)->doorbell);
}

void commit_loop_stop(struct commit_loop *loop)
{
    atomic_store_explicit(&loop->is_stopping, true, memory_order_release);
    commit_loop_wake(loop);
}

static bool is_below_reserve(const struct commit_loop *loop, uint64_t *ret_free_bytes)
{
    return disk_free_bytes(loop->config.disk, ret_free_bytes) == ES_OK &&
           *ret_free_bytes < loop->config.reserve_bytes;
}

static void set_serving(struct commit_loop *loop, bool no_space)
{
    loop->no_space = no_space;
    sequencer_set_no_space(loop->config.sequencer, no_space);
    lanes_set_state(loop->config.lanes, no_space ? ES_BROKER_READ_ONLY : ES_BROKER_SERVING);
    ES_PROBE(start_page_serving);
}

/* Below the reserve nothing is added; as soon as there is room again, it is. */
static void watch_space(struct commit_loop *loop)
{
    uint64_t free_bytes = 0;
    bool no_space = is_below_reserve(loop, &free_bytes);

    if (no_space == loop->no_space) {
        return;
    }
    set_serving(loop, no_space);
    if (no_space) {
        log_warning("%llu bytes are free, below the reserve of %llu: appends are refused until "
                    "there is room",
                    (unsigned long long)free_bytes, (unsigned long long)loop->config.reserve_bytes);
    } else {
        log_info("there is room again: appends are accepted");
    }
}

static uint64_t tickets_waiting(const struct commit_loop *loop)
{
    uint64_t waiting = 0;

    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        const struct lane_ring *ring = lanes_ring(loop->config.lanes, i);

        waiting += ring == NULL ? 0 : es_ring_depth(&ring->reader);
    }
    return waiting;
}

static void keep_house(struct commit_loop *loop, int64_t now_ns)
{
    if (now_ns - loop->housekept_ns < HOUSEKEEPING_INTERVAL_NS) {
        return;
    }
    loop->housekept_ns = now_ns;
    lanes_check_faults(loop->config.lanes);
    lanes_tidy(loop->config.lanes);
    watch_space(loop);
    counter_set(&loop->config.counters->ring_depth, tickets_waiting(loop));
}

static void stop_on_failure(const struct commit_loop *loop, enum es_status status, const char *what)
{
    if (status != ES_OK) {
        loop->config.failed(what, es_status_text(status));
    }
}

/* Gathers what waits. True: there is something to commit. */
static bool fill(struct commit_loop *loop, bool *ret_is_full)
{
    enum es_status status =
        drain_fill(loop->config.drain, loop->filling, es_monotonic_ns(), ret_is_full);

    stop_on_failure(loop, status, "filling a batch");
    return drain_needs_commit(loop->config.drain, loop->filling);
}

/* The batch that was filled is written by the scribe from now on. */
static void hand_over(struct commit_loop *loop)
{
    struct log_point previous;
    enum es_status status = committer_seal(loop->config.committer, loop->filling, &previous);

    stop_on_failure(loop, status, "closing a batch");
    scribe_begin(loop->config.scribe, loop->filling, &previous);
    loop->writing = loop->filling;
    loop->filling = NULL;
}

static void begin_filling(struct commit_loop *loop, struct batch *batch)
{
    loop->filling = batch;
    committer_begin_batch(loop->config.committer, batch);
}

static void limit_first_batch(struct commit_loop *loop)
{
    uint64_t waiting = tickets_waiting(loop);

    if (waiting < BATCH_TRANSACTIONS_MAX) {
        uint32_t share = pace_first_share(&loop->pace, (uint32_t)waiting);

        if (share < waiting) {
            loop->filling->answer_count_max = share;
        }
    }
}

/* Nothing is being written. A few events are written here and now, for handing
 * them over would take longer than it gains; more of them by the scribe. */
static bool commit_first(struct commit_loop *loop)
{
    const char *what = "";
    bool is_full = false;

    assert(loop->filling != NULL);
    limit_first_batch(loop);
    if (!fill(loop, &is_full)) {
        begin_filling(loop, loop->filling);
        return is_full;
    }
    if (loop->filling->event_count < SCRIBE_EVENTS_MIN) {
        enum es_status status = committer_commit(loop->config.committer, loop->filling, &what);

        stop_on_failure(loop, status, what);
        begin_filling(loop, loop->filling);
    } else {
        struct batch *spare = loop->spare;

        hand_over(loop);
        loop->spare = NULL;
        begin_filling(loop, spare);
    }
    return true;
}

/* A batch is being written: gathers the next one meanwhile, and when the disk is
 * done gives it that one at once; only then is the written one finished, while
 * the disk is busy again. */
static void commit_next(struct commit_loop *loop)
{
    struct batch *written = loop->writing;
    struct scribe_outcome outcome;
    const char *what = "";
    int64_t begun_ns = 0;
    bool is_full = false;
    bool has_next = fill(loop, &is_full);

    outcome = scribe_wait(loop->config.scribe);
    has_next = fill(loop, &is_full) || has_next;
    loop->writing = NULL;
    if (has_next && outcome.status == ES_OK) {
        hand_over(loop);
    }
    begun_ns = es_monotonic_ns();
    stop_on_failure(loop, committer_finish(loop->config.committer, written, &outcome, &what), what);
    pace_note_write(&loop->pace, outcome.took_ns);
    pace_note_work(&loop->pace, written->event_count, es_monotonic_ns() - begun_ns);
    if (loop->writing != NULL) {
        begin_filling(loop, written);
    } else {
        loop->spare = written;
        begin_filling(loop, loop->filling);
    }
}

/* False: nothing waited. */
static bool commit_once(struct commit_loop *loop)
{
    if (loop->writing == NULL) {
        return commit_first(loop);
    }
    commit_next(loop);
    return true;
}

/* Looks again for a moment: the next record is often already on its way, and a
 * sleep and its wake cost more than the fsync on a fast disk. Producers that
 * have no core of their own get this one. */
static bool is_worth_staying(struct commit_loop *loop)
{
    int64_t until_ns = es_monotonic_ns() + COMMIT_SPIN_NS;
    int64_t now_ns = 0;

    do {
        now_ns = es_monotonic_ns();
        for (int i = 0; i < 16; i++) {
            if (drain_has_work(loop->config.drain, now_ns)) {
                return true;
            }
            es_cpu_relax();
        }
        sched_yield();
    } while (now_ns < until_ns);
    return false;
}

/* Whoever rings for nothing is not listened to for long. */
static void note_vain_bells(struct commit_loop *loop, struct lane_ring *const *rings,
                            uint32_t ring_count)
{
    int64_t now_ns = es_monotonic_ns();

    for (uint32_t i = 0; i < ring_count; i++) {
        if (es_doorbell_was_called(&loop->doorbell, i) && !share_is_ready(rings[i], now_ns)) {
            share_note_vain_turn(loop->config.lanes, rings[i], now_ns);
        }
    }
}

/* Producers whose ring rests need not wake anybody: its end is waited for. */
static void sleep_until_something_waits(struct commit_loop *loop)
{
    struct lane_ring *listened[ES_RING_COUNT_MAX];
    const struct es_ring *rings[ES_RING_COUNT_MAX];
    uint32_t ring_count = 0;
    int64_t now_ns = es_monotonic_ns();
    int64_t until_ns = now_ns + SWEEP_INTERVAL_NS;
    int64_t rests_until_ns = share_rests_until(loop->config.lanes, now_ns);

    for (uint32_t i = 0; i < ES_RING_COUNT_MAX; i++) {
        struct lane_ring *ring = lanes_ring(loop->config.lanes, i);

        if (ring != NULL && ring->rests_until_ns <= now_ns) {
            listened[ring_count] = ring;
            rings[ring_count++] = &ring->reader.ring;
        }
    }
    es_doorbell_arm(&loop->doorbell, rings, ring_count);
    if (drain_has_work(loop->config.drain, now_ns) ||
        atomic_load_explicit(&loop->is_stopping, memory_order_acquire)) {
        es_doorbell_disarm(&loop->doorbell);
        return;
    }
    if (rests_until_ns < until_ns) {
        until_ns = rests_until_ns;
    }
    if (es_doorbell_sleep(&loop->doorbell, until_ns) == ES_OK) {
        note_vain_bells(loop, listened, ring_count);
    } /* else the deadline: time to sweep, or for who rested */
}

/* What is in the rings was accepted: it is committed, also what no ticket tells
 * of. Bounded, for a producer might go on publishing whatever the page says; what
 * is left then lies in its lane, for the next broker. */
static void commit_the_rest(struct commit_loop *loop)
{
    int64_t until_ns = es_monotonic_ns() + STOP_DRAIN_NS;
    const char *what = "";

    lanes_set_state(loop->config.lanes, ES_BROKER_STOPPING);
    ES_PROBE(stop_page_stopping);
    while ((commit_once(loop) || lanes_backlog(loop->config.lanes) > 0) &&
           es_monotonic_ns() < until_ns) {
        sched_yield();
    }
    if (loop->writing != NULL) {
        struct scribe_outcome outcome = scribe_wait(loop->config.scribe);

        stop_on_failure(
            loop, committer_finish(loop->config.committer, loop->writing, &outcome, &what), what);
    }
    drain_end(loop->config.drain);
}

void commit_loop_run(struct commit_loop *loop, const struct commit_loop_config *config)
{
    bool is_busy = false;

    loop->config = *config;
    loop->spare = config->batches[1];
    begin_filling(loop, config->batches[0]);
    set_serving(loop, false);
    watch_space(loop);
    while (!atomic_load_explicit(&loop->is_stopping, memory_order_acquire)) {
        if (commit_once(loop)) {
            is_busy = true;
        } else if (!is_busy || !is_worth_staying(loop)) {
            is_busy = false;
            sleep_until_something_waits(loop);
        }
        keep_house(loop, es_monotonic_ns());
    }
    commit_the_rest(loop);
}
