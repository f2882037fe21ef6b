/*
 * The commit log over a disk that loses unsynced sectors, fails calls and dies at
 * any moment, in both durabilities: whatever was synced is found after every
 * restart, nothing else is invented, and damage is never cried without reason.
 *
 * ES_SEED starts the seeds; each round of the test uses the next one. The last
 * one is printed at the end: ES_SEED set to it runs what failed first of all.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/log_fixture.h"
#include "tests/support/prng.h"

enum {
    ROUNDS = 4000,
    LIVES_MAX = 6,
    STEPS_MAX = 60
};

struct life_counts {
    uint64_t power_cuts;
    uint64_t kills;
    uint64_t failed_calls;
    uint64_t torn;
    uint64_t replayed;
    uint64_t full;
};

struct trial {
    struct log_fixture log;
    struct prng prng;
    bool sync_each;         /* durability fsync */
    uint64_t durable_batch; /* told to be durable by a sync that returned */
    struct life_counts *counts;
};

/* The body sizes that matter: tiny, common, the largest. */
static size_t some_size(struct trial *trial)
{
    switch (prng_below(&trial->prng, 8)) {
    case 0: return 0;
    case 1: return 15312; /* log_body_bytes_max() of these segments */
    default: return (size_t)prng_below(&trial->prng, 6000);
    }
}

/* One step of a running broker; its status is that of the call that failed, if any. */
static enum es_status step(struct trial *trial)
{
    struct log_fixture *f = &trial->log;
    bool begun = false;
    enum es_status status = ES_OK;

    if (prng_one_in(&trial->prng, 12)) {
        /* RocksDB has flushed some of what is durable. */
        struct log_point point =
            fixture_point(prng_below(&trial->prng, log_durable_batch(f->log) + 1));

        return log_mark_flushed(f->log, &point);
    }
    status = log_fixture_append(f, some_size(trial), &begun);
    if (status == ES_FULL) {
        struct log_point point = fixture_point(f->last_batch);

        trial->counts->full++;
        status = log_sync(f->log);
        if (status == ES_OK) {
            trial->durable_batch = f->last_batch;
            status = log_mark_flushed(f->log, &point);
        }
        return status;
    }
    if (status == ES_OK && (trial->sync_each || prng_one_in(&trial->prng, 10))) {
        status = log_sync(f->log);
        if (status == ES_OK) {
            trial->durable_batch = f->last_batch;
        }
    }
    return status;
}

static void die(struct trial *trial)
{
    static const unsigned keep_percents[] = {0, 25, 50, 75, 100};

    log_fixture_die(&trial->log);
    sim_disk_fail_at(trial->log.disk, 0, 0);
    if (prng_one_in(&trial->prng, 3)) {
        trial->counts->kills++; /* the page cache survives */
    } else {
        trial->counts->power_cuts++;
        sim_disk_power_cut(trial->log.disk, keep_percents[prng_below(&trial->prng, 5)]);
    }
}

/* Starts again; the start itself may die, any number of times. */
static void start(struct trial *trial)
{
    struct log_fixture *f = &trial->log;

    for (int attempt = 0;; attempt++) {
        struct log_ending ending = {.verdict = LOG_CLEAN};
        enum es_status status = ES_OK;

        if (prng_one_in(&trial->prng, 2)) {
            sim_disk_fail_at(f->disk, 1 + prng_below(&trial->prng, 24), EIO);
        }
        status = log_fixture_replay(f, trial->durable_batch, &ending);
        if (status == ES_OK) {
            struct log_point end = fixture_point(f->last_batch);

            assert_int_not_equal(ending.verdict, LOG_DAMAGED);
            assert_true(f->last_batch >= trial->durable_batch);
            trial->counts->torn += ending.verdict == LOG_TORN ? 1 : 0;
            trial->counts->replayed += ending.record_count;
            /* Replayed and flushed into RocksDB: who says less from here on has lost it. */
            trial->durable_batch = f->last_batch;
            status = log_begin(f->log, FIXTURE_EPOCH, &end);
        }
        if (status == ES_OK) {
            sim_disk_fail_at(f->disk, 0, 0);
            return;
        }
        assert_int_equal(status, ES_E_IO);
        assert_true(attempt < 100);
        trial->counts->failed_calls++;
        die(trial);
    }
}

static void run(uint64_t seed, struct life_counts *counts)
{
    struct trial *trial = calloc(1, sizeof *trial);
    uint64_t lives = 0;

    assert_non_null(trial);
    prng_seed(&trial->prng, seed);
    trial->counts = counts;
    trial->sync_each = prng_one_in(&trial->prng, 2);
    log_fixture_init(&trial->log, sim_disk_new(seed));
    lives = 1 + prng_below(&trial->prng, LIVES_MAX);
    for (uint64_t life = 0; life < lives; life++) {
        uint64_t steps = prng_below(&trial->prng, STEPS_MAX);
        enum es_status status = ES_OK;

        start(trial);
        if (prng_one_in(&trial->prng, 3)) {
            sim_disk_fail_at(trial->log.disk, 1 + prng_below(&trial->prng, 100), EIO);
        }
        for (uint64_t i = 0; i < steps && status == ES_OK; i++) {
            status = step(trial);
        }
        if (status != ES_OK) {
            assert_int_equal(status, ES_E_IO);
            counts->failed_calls++;
        }
        die(trial);
    }
    start(trial);
    log_fixture_deinit(&trial->log);
    free(trial);
}

static uint64_t last_seed;

static int tell_last_seed(void **state)
{
    (void)state;
    printf("the last round: ES_SEED=0x%016" PRIx64 "\n", last_seed);
    return 0;
}

static void what_was_synced_is_found_and_nothing_is_invented(void **state)
{
    struct life_counts counts = {0};
    struct prng seeds;
    uint64_t first = 0;

    (void)state;
    prng_begin(&seeds, "test_log_power_cuts");
    first = seeds.state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        last_seed = first + round;
        run(last_seed, &counts);
    }
    printf("%d rounds: %" PRIu64 " power cuts, %" PRIu64 " kills, %" PRIu64
           " failed calls, %" PRIu64 " torn tails, %" PRIu64 " times full, %" PRIu64
           " records replayed\n",
           ROUNDS, counts.power_cuts, counts.kills, counts.failed_calls, counts.torn, counts.full,
           counts.replayed);
    assert_true(counts.power_cuts > ROUNDS);
    assert_true(counts.kills > ROUNDS / 4);
    assert_true(counts.failed_calls > ROUNDS / 4);
    assert_true(counts.torn > ROUNDS / 20);
    assert_true(counts.full > ROUNDS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_synced_is_found_and_nothing_is_invented, tell_last_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
