/*
 * The commit log and the memory store as the broker's threads use them together:
 * one appends, one syncs, one marks what is flushed; one applies, others read.
 * Made for the thread sanitizer.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/log.h"
#include "broker/store.h"
#include "tests/support/temp_directory.h"

enum {
    BATCHES = 3000,
    READERS = 2,
    KEYS = 16,
    WRITES = 4000
};

struct shared {
    struct log *log;
    struct store *store;
    atomic_bool done;
    atomic_uint failures;
};

static void *sync_now_and_then(void *context)
{
    struct shared *shared = context;

    while (!atomic_load(&shared->done)) {
        if (log_sync(shared->log) != ES_OK) {
            atomic_fetch_add(&shared->failures, 1);
        }
    }
    return NULL;
}

static void *mark_what_is_durable(void *context)
{
    struct shared *shared = context;

    while (!atomic_load(&shared->done)) {
        struct log_point point = {.batch_number = log_durable_batch(shared->log)};

        if (log_mark_flushed(shared->log, &point) != ES_OK) {
            atomic_fetch_add(&shared->failures, 1);
        }
    }
    return NULL;
}

static enum es_status count_record(void *context, const struct log_record *record)
{
    uint64_t *last_batch = context;

    *last_batch = record->batch_number;
    return ES_OK;
}

static void start_log(struct disk *disk, struct log **ret_log, uint64_t *ret_last_batch)
{
    char why[LOG_WHY_BYTES];
    struct log_ending ending;

    assert_int_equal(log_open(disk, DISK_READ_WRITE, why, ret_log), ES_OK);
    assert_int_equal(log_replay(*ret_log, 0, count_record, ret_last_batch, &ending), ES_OK);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    *ret_last_batch = ending.last_batch;
}

static void appends_syncs_and_marks_go_on_side_by_side(void **state)
{
    static const struct log_geometry geometry = {3, LOG_SEGMENT_BYTES_MIN};
    struct log_identity identity = {.epoch = 1, .secret = 2};
    struct log_point at = {0};
    struct shared shared = {.done = false};
    char path[TEMP_DIRECTORY_BYTES_MAX];
    uint8_t body[700] = {1};
    struct iovec part = {body, sizeof body};
    pthread_t threads[2];
    struct disk *disk = NULL;
    uint64_t last_batch = 0;

    (void)state;
    temp_directory_make_tmpfs(path);
    assert_int_equal(disk_posix_new(path, &disk), ES_OK);
    assert_int_equal(log_create(disk, &identity, &geometry, &at), ES_OK);
    start_log(disk, &shared.log, &last_batch);
    assert_int_equal(log_begin(shared.log, 1, &at), ES_OK);
    assert_int_equal(pthread_create(&threads[0], NULL, sync_now_and_then, &shared), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, mark_what_is_durable, &shared), 0);
    while (at.batch_number < BATCHES) {
        struct log_batch batch = {.previous = at, .parts = &part, .part_count = 1};
        bool begun = false;
        enum es_status status = log_append(shared.log, &batch, &begun);

        if (status == ES_OK) {
            at.batch_number++;
        } else {
            assert_int_equal(status, ES_FULL); /* the marking thread will make room */
        }
    }
    atomic_store(&shared.done, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(atomic_load(&shared.failures), 0);
    log_free(shared.log);
    start_log(disk, &shared.log, &last_batch);
    assert_int_equal(last_batch, BATCHES);
    log_free(shared.log);
    disk_free(disk);
    temp_directory_remove(path);
}

static struct store_slice key_of(uint64_t index, char text[24])
{
    return (struct store_slice){text, (size_t)snprintf(text, 24, "key %02u", (unsigned)index)};
}

/* In one state of the store every key has the same value: batches are seen whole. */
static bool is_one_state(struct store *store, const struct store_snapshot *snapshot)
{
    struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    uint64_t first = 0;
    uint64_t count = 0;
    bool same = true;

    if (store_iterator_new(store, snapshot, STORE_KV, &all, &iterator) != ES_OK) {
        return false;
    }
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        uint64_t value = 0;

        memcpy(&value, store_iterator_value(iterator).bytes, sizeof value);
        first = count == 0 ? value : first;
        same = same && value == first;
        count++;
    }
    store_iterator_free(iterator);
    return same && (count == 0 || count == KEYS);
}

static void *read_on(void *context)
{
    struct shared *shared = context;
    struct store_buffer value = {0};
    char text[24];

    while (!atomic_load(&shared->done)) {
        struct store_snapshot *snapshot = NULL;
        bool good = store_snapshot_new(shared->store, &snapshot) == ES_OK;

        good = good && is_one_state(shared->store, snapshot);
        good = good && is_one_state(shared->store, NULL);
        store_snapshot_free(shared->store, snapshot);
        if (!good || store_get(shared->store, NULL, STORE_KV, key_of(3, text), &value) < 0) {
            atomic_fetch_add(&shared->failures, 1);
        }
    }
    store_buffer_deinit(&value);
    return NULL;
}

static void *flush_on(void *context)
{
    struct shared *shared = context;

    while (!atomic_load(&shared->done)) {
        if (store_flush_wait(shared->store) != ES_OK) {
            atomic_fetch_add(&shared->failures, 1);
        }
    }
    return NULL;
}

static void readers_see_batches_whole_while_another_thread_applies(void **state)
{
    struct shared shared = {.done = false};
    struct store_batch *batch = NULL;
    pthread_t threads[READERS + 1];

    (void)state;
    assert_int_equal(store_memory_new(&shared.store), ES_OK);
    assert_int_equal(store_batch_new(&batch), ES_OK);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &shared), 0);
    }
    assert_int_equal(pthread_create(&threads[READERS], NULL, flush_on, &shared), 0);
    for (uint64_t write = 1; write <= WRITES; write++) {
        char text[24];

        store_batch_clear(batch);
        for (uint64_t i = 0; i < KEYS; i++) {
            assert_int_equal(store_batch_put(batch, STORE_KV, key_of(i, text),
                                             (struct store_slice){&write, sizeof write}),
                             ES_OK);
        }
        assert_int_equal(store_apply(shared.store, batch, STORE_APPLY_LIVE), ES_OK);
        if (write % 64 == 0) {
            enum es_status status = store_flush_begin(shared.store);

            assert_true(status == ES_OK || status == ES_FULL);
        }
    }
    atomic_store(&shared.done, true);
    for (int i = 0; i <= READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&shared.failures), 0);
    store_batch_free(batch);
    store_free(shared.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_syncs_and_marks_go_on_side_by_side),
        cmocka_unit_test(readers_see_batches_whole_while_another_thread_applies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
