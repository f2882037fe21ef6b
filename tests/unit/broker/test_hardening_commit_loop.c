#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/commit_loop.h"
#include "broker/limits.h"
#include "broker/logger.h"
#include "shm/codec/hash.h"
#include "shm/doorbell.h"
#include "shm/futex.h"
#include "tests/support/commit_parts.h"

#define ORDERS "prod:main:L0:orders:M1"

enum {
    OTHER_UID = 4242
};

/* A clock of which each look takes so long; the scribe's thread looks too. */
static _Atomic int64_t clock_ns;
static _Atomic int64_t look_ns;

int64_t __wrap_es_monotonic_ns(void);
int64_t __wrap_es_monotonic_ns(void)
{
    return atomic_fetch_add(&clock_ns, look_ns) + look_ns;
}

/* Whose bell rings as soon as the broker sleeps, until it does not listen to it any more. */
static struct commit_loop *ringing_loop;
static struct lane_ring *ringing;
static uint32_t rung_count;

enum es_status __wrap_es_doorbell_sleep(struct es_doorbell *doorbell, int64_t deadline_ns);
enum es_status __wrap_es_doorbell_sleep(struct es_doorbell *doorbell, int64_t deadline_ns)
{
    bool listens = false;

    (void)deadline_ns;
    for (uint32_t i = 0; i < doorbell->ring_count; i++) {
        listens = listens || doorbell->rings[i] == ringing->reader.ring.file;
    }
    if (listens && rung_count < 4 * SHARE_VAIN_TURNS_MAX) {
        rung_count++;
        es_doorbell_ring(&ringing->reader.ring);
    } else {
        commit_loop_stop(ringing_loop);
    }
    es_doorbell_disarm(doorbell);
    return listens ? ES_OK : ES_TIMEOUT;
}

static void fail_test(const char *what, const char *why)
{
    fail_msg("%s: %s", what, why);
}

struct looping {
    struct commit_parts parts;
    struct commit_loop *loop;
    struct commit_loop_config config;
    struct batch *other;
};

static int setup(void **state)
{
    static struct looping looping;
    struct commit_parts *parts = &looping.parts;

    atomic_store(&look_ns, 1000000000);
    commit_parts_make(parts, 1024);
    assert_int_equal(batch_new(log_body_bytes_max(&parts->log_geometry), &looping.other), ES_OK);
    assert_int_equal(commit_loop_new(&looping.loop), ES_OK);
    looping.config = (struct commit_loop_config){.failed = fail_test,
                                                 .drain = parts->drain,
                                                 .committer = parts->committer,
                                                 .sequencer = parts->sequencer,
                                                 .lanes = parts->lanes,
                                                 .scribe = parts->scribe,
                                                 .batches = {parts->batch, looping.other},
                                                 .counters = &parts->counters,
                                                 .disk = parts->startup.directory.disk};
    *state = &looping;
    return 0;
}

static int teardown(void **state)
{
    struct looping *looping = *state;

    commit_loop_free(looping->loop);
    batch_free(looping->other);
    commit_parts_remove(&looping->parts);
    return 0;
}

/* The time for the rest is over while the scribe has a batch: it is waited for,
 * finished and answered all the same. */
static void a_stop_finishes_the_batch_that_is_being_written(void **state)
{
    struct looping *looping = *state;
    struct parts_producer producer;
    struct es_lane_result result;

    parts_attach(&looping->parts, &producer);
    for (uint64_t i = 1; i <= SCRIBE_EVENTS_MIN; i++) {
        assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, i, true), ES_OK);
    }

    commit_loop_stop(looping->loop);
    commit_loop_run(looping->loop, &looping->config);

    assert_int_equal(committer_end(looping->parts.committer)->position, SCRIBE_EVENTS_MIN);
    for (uint64_t i = 1; i <= SCRIBE_EVENTS_MIN; i++) {
        assert_int_equal(es_lane_collect(&producer.writer, &result), ES_OK);
        assert_int_equal(result.position, i);
    }
    parts_detach(&producer);
}

/* Beside somebody who appends, a bell without tickets is soon not listened to. */
static void a_bell_that_rings_in_vain_is_not_listened_to(void **state)
{
    struct looping *looping = *state;
    struct lanes_attachment attachment;
    struct parts_producer producer;

    atomic_store(&look_ns, 1);
    parts_attach(&looping->parts, &producer);
    assert_int_equal(lanes_attach(looping->parts.lanes,
                                  &(struct lanes_applicant){OTHER_UID, getpid(), 1, "other", false},
                                  &attachment),
                     ES_OK);
    ringing_loop = looping->loop;
    ringing = lanes_ring(looping->parts.lanes, attachment.ring_index);
    rung_count = 0;
    lanes_ring(looping->parts.lanes, producer.attachment.ring_index)->active_ns =
        atomic_load(&clock_ns);

    commit_loop_run(looping->loop, &looping->config);

    assert_int_equal(rung_count, SHARE_VAIN_TURNS_MAX);
    assert_true(ringing->rests_until_ns > 0);
    close(attachment.control_fd);
    close(attachment.ring_fd);
    close(attachment.lane_fd);
    parts_detach(&producer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_stop_finishes_the_batch_that_is_being_written, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_bell_that_rings_in_vain_is_not_listened_to, setup,
                                        teardown),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: commit loop", tests, NULL, NULL);
}
