#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker/commit_loop.h"
#include "broker/limits.h"
#include "broker/logger.h"
#include "shm/codec/hash.h"
#include "shm/futex.h"
#include "tests/support/commit_parts.h"

#define ORDERS "prod:main:L0:orders:M1"

/* A clock of which each look takes a second; the scribe's thread looks too. */
static _Atomic int64_t clock_ns;

int64_t __wrap_es_monotonic_ns(void);
int64_t __wrap_es_monotonic_ns(void)
{
    return atomic_fetch_add(&clock_ns, 1000000000) + 1000000000;
}

static void fail_test(const char *what, const char *why)
{
    fail_msg("%s: %s", what, why);
}

/* The time for the rest is over while the scribe has a batch: it is waited for,
 * finished and answered all the same. */
static void a_stop_finishes_the_batch_that_is_being_written(void **state)
{
    static struct commit_parts parts;
    struct parts_producer producer;
    struct es_lane_result result;
    struct commit_loop *loop = NULL;
    struct batch *other = NULL;
    struct commit_loop_config config = {.failed = fail_test};

    (void)state;
    commit_parts_make(&parts, 1024);
    assert_int_equal(batch_new(log_body_bytes_max(&parts.log_geometry), &other), ES_OK);
    assert_int_equal(commit_loop_new(&loop), ES_OK);
    config.drain = parts.drain;
    config.committer = parts.committer;
    config.sequencer = parts.sequencer;
    config.lanes = parts.lanes;
    config.scribe = parts.scribe;
    config.batches[0] = parts.batch;
    config.batches[1] = other;
    config.counters = &parts.counters;
    config.disk = parts.startup.directory.disk;
    parts_attach(&parts, &producer);
    for (uint64_t i = 1; i <= SCRIBE_EVENTS_MIN; i++) {
        assert_int_equal(parts_publish(&producer, ORDERS, PARTS_ANY, i, true), ES_OK);
    }

    commit_loop_stop(loop);
    commit_loop_run(loop, &config);

    assert_int_equal(committer_end(parts.committer)->position, SCRIBE_EVENTS_MIN);
    for (uint64_t i = 1; i <= SCRIBE_EVENTS_MIN; i++) {
        assert_int_equal(es_lane_collect(&producer.writer, &result), ES_OK);
        assert_int_equal(result.position, i);
    }
    parts_detach(&producer);
    commit_loop_free(loop);
    batch_free(other);
    commit_parts_remove(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_finishes_the_batch_that_is_being_written),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("hardening: commit loop", tests, NULL, NULL);
}
