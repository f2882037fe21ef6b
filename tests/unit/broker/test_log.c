/*
 * The commit log as its writer sees it: rotation, reuse, the flushed mark, full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/log_format.h"
#include "tests/support/log_fixture.h"

static const struct log_geometry geometry = {.segment_count = FIXTURE_SEGMENT_COUNT,
                                             .segment_bytes = FIXTURE_SEGMENT_BYTES};

/* Dies and starts again, expecting that nothing is missing. */
static void restart(struct log_fixture *f)
{
    uint64_t last_batch = f->last_batch;

    log_fixture_die(f);
    log_fixture_start(f);
    assert_int_equal(f->last_batch, last_batch);
}

static void what_was_appended_is_found_in_order_after_a_restart(void **state)
{
    struct log_fixture *f = *state;

    for (size_t i = 0; i < 20; i++) {
        log_fixture_commit(f, i * 37);
    }
    restart(f);
    assert_int_equal(f->last_batch, 20);
}

/* Segments of 64 KiB with bodies of a few KiB: each file is used again some 200 times. */
static void segments_are_used_again_hundreds_of_times(void **state)
{
    struct log_fixture *f = *state;

    for (uint64_t i = 0; i < 8000; i++) {
        log_fixture_commit(f, (size_t)(i * 2654435761U % 9000));
        if (i % 997 == 0) {
            restart(f);
        }
    }
    restart(f);
    assert_int_equal(f->last_batch, 8000);
}

static void four_of_the_largest_records_fill_a_segment_exactly(void **state)
{
    struct log_fixture *f = *state;
    size_t largest = (size_t)log_body_bytes_max(&geometry);
    bool begun = true;

    assert_int_equal(4 * log_record_stride(largest) + LOG_HEADER_PAGE_BYTES, FIXTURE_SEGMENT_BYTES);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(log_fixture_append(f, largest, &begun), ES_OK);
        assert_false(begun);
    }
    assert_int_equal(log_sync(f->log), ES_OK);
    restart(f);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(log_fixture_append(f, largest, &begun), ES_OK);
        assert_false(begun);
    }
    assert_int_equal(log_fixture_append(f, 0, &begun), ES_OK);
    assert_true(begun);
    restart(f);
    assert_int_equal(f->last_batch, 9);
}

static void a_body_over_the_largest_is_refused_and_changes_nothing(void **state)
{
    struct log_fixture *f = *state;
    size_t largest = (size_t)log_body_bytes_max(&geometry);
    bool begun = false;

    assert_int_equal(log_fixture_append(f, largest + 1, &begun), ES_E_TOO_LARGE);
    assert_int_equal(log_fixture_append(f, 10, &begun), ES_OK);
    restart(f);
    assert_int_equal(f->last_batch, 1);
}

static void a_batch_out_of_turn_is_refused(void **state)
{
    struct log_fixture *f = *state;
    uint8_t byte = 0;
    struct iovec part = {&byte, 1};
    struct log_batch batch = {.previous = fixture_point(1), .parts = &part, .part_count = 1};
    bool begun = false;

    assert_int_equal(log_append(f->log, &batch, &begun), ES_E_INVALID);
    batch.previous = fixture_point(0);
    batch.part_count = LOG_BODY_PARTS_MAX + 1;
    assert_int_equal(log_append(f->log, &batch, &begun), ES_E_INVALID);
    batch.part_count = 1;
    assert_int_equal(log_append(f->log, &batch, &begun), ES_OK);
    f->last_batch = 1;
    f->sizes[1] = 1;
}

static void a_body_in_many_parts_reads_as_one(void **state)
{
    struct log_fixture *f = *state;
    struct iovec parts[LOG_BODY_PARTS_MAX];
    struct log_batch batch = {
        .previous = fixture_point(1), .parts = parts, .part_count = LOG_BODY_PARTS_MAX};
    uint8_t whole[LOG_BODY_PARTS_MAX * 3];
    bool begun = false;

    /* The fixture's own body of batch 2, cut into pieces. */
    assert_int_equal(log_fixture_append(f, sizeof whole, &begun), ES_OK);
    assert_int_equal(log_fixture_append(f, sizeof whole, &begun), ES_OK);
    memcpy(whole, f->body, sizeof whole);
    log_fixture_die(f);
    disk_free(f->disk);
    log_fixture_init(f, sim_disk_new(2));
    log_fixture_start(f);
    assert_int_equal(log_fixture_append(f, sizeof whole, &begun), ES_OK);
    for (int i = 0; i < LOG_BODY_PARTS_MAX; i++) {
        parts[i] = (struct iovec){whole + i * 3, 3};
    }
    assert_int_equal(log_append(f->log, &batch, &begun), ES_OK);
    f->last_batch = 2;
    f->sizes[2] = sizeof whole;
    restart(f);
}

/* Full is back-pressure: nothing grows, nothing is overwritten, and it ends with a mark. */
static void a_full_log_waits_until_the_oldest_segment_is_marked_flushed(void **state)
{
    struct log_fixture *f = *state;
    enum es_status status = ES_OK;
    struct log_point first_segment_end = {0};
    bool begun = false;

    while (status == ES_OK) {
        status = log_fixture_append(f, 5000, &begun);
        if (status == ES_OK && begun && first_segment_end.batch_number == 0) {
            first_segment_end = fixture_point(f->last_batch - 1);
        }
    }
    assert_int_equal(status, ES_FULL);
    assert_int_equal(log_fixture_append(f, 5000, &begun), ES_FULL);
    assert_int_equal(log_sync(f->log), ES_OK);
    assert_int_equal(log_mark_flushed(f->log, &(struct log_point){.batch_number = 1}), ES_OK);
    assert_int_equal(log_fixture_append(f, 5000, &begun), ES_FULL);

    assert_int_equal(log_mark_flushed(f->log, &first_segment_end), ES_OK);
    assert_int_equal(log_fixture_append(f, 5000, &begun), ES_OK);
    assert_true(begun);
    restart(f);
}

static void a_full_log_is_found_whole_after_a_restart(void **state)
{
    struct log_fixture *f = *state;
    bool begun = false;

    while (log_fixture_append(f, 3000, &begun) == ES_OK) {
    }
    restart(f);
    assert_int_equal(log_fixture_append(f, 3000, &begun), ES_OK);
    restart(f);
}

static void a_flushed_mark_beyond_what_is_durable_is_refused(void **state)
{
    struct log_fixture *f = *state;
    struct log_point point = fixture_point(1);
    bool begun = false;

    assert_int_equal(log_fixture_append(f, 100, &begun), ES_OK);
    assert_int_equal(log_mark_flushed(f->log, &point), ES_E_INVALID);
    assert_int_equal(log_sync(f->log), ES_OK);
    assert_int_equal(log_mark_flushed(f->log, &point), ES_OK);
    assert_int_equal(log_mark_flushed(f->log, &(struct log_point){0}), ES_OK); /* a no-op */
    log_fixture_die(f);
    log_fixture_start(f);
    assert_int_equal(f->last_batch, 1);
}

static void what_is_flushed_is_not_replayed(void **state)
{
    struct log_fixture *f = *state;
    struct log_point point = fixture_point(7);
    struct log_ending ending;

    for (int i = 0; i < 10; i++) {
        log_fixture_commit(f, 200);
    }
    assert_int_equal(log_mark_flushed(f->log, &point), ES_OK);
    log_fixture_die(f);
    assert_int_equal(log_fixture_replay(f, 10, &ending), ES_OK);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.record_count, 3);
    assert_int_equal(ending.record_bytes, 600);
    assert_int_equal(log_origin(f->log)->flushed.batch_number, 7);
}

static void durable_is_what_was_synced_and_a_new_segment_syncs_the_old(void **state)
{
    struct log_fixture *f = *state;
    bool begun = false;

    assert_int_equal(log_fixture_append(f, 10, &begun), ES_OK);
    assert_int_equal(log_durable_batch(f->log), 0);
    assert_int_equal(log_sync(f->log), ES_OK);
    assert_int_equal(log_durable_batch(f->log), 1);
    while (!begun) {
        assert_int_equal(log_fixture_append(f, 4000, &begun), ES_OK);
    }
    assert_int_equal(log_durable_batch(f->log), f->last_batch - 1);
}

static void a_sync_of_what_is_synced_costs_no_system_call(void **state)
{
    struct log_fixture *f = *state;
    uint64_t before = 0;

    log_fixture_commit(f, 10);
    before = sim_disk_syncs(f->disk);
    assert_int_equal(log_sync(f->log), ES_OK);
    assert_int_equal(sim_disk_syncs(f->disk), before);
}

static void a_new_epoch_stands_in_the_headers_from_then_on(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    struct log_point end = fixture_point(3);

    for (int i = 0; i < 3; i++) {
        log_fixture_commit(f, 100);
    }
    log_fixture_die(f);
    assert_int_equal(log_fixture_replay(f, 0, &ending), ES_OK);
    assert_int_equal(log_begin(f->log, 4711, &end), ES_OK);
    log_fixture_commit(f, 100);
    log_fixture_die(f);
    assert_int_equal(log_fixture_replay(f, 0, &ending), ES_OK);
    assert_int_equal(log_origin(f->log)->identity.epoch, 4711);
    assert_int_equal(f->last_batch, 4);
}

static void a_log_is_not_made_where_one_is(void **state)
{
    struct log_fixture *f = *state;
    struct log_identity identity = {.epoch = 1};
    struct log_point start = {0};

    assert_int_equal(log_create(f->disk, &identity, &geometry, &start), ES_E_EXISTS);
    restart(f);
}

static void impossible_geometries_are_refused(void **state)
{
    static const struct log_geometry bad[] = {{2, FIXTURE_SEGMENT_BYTES},
                                              {17, FIXTURE_SEGMENT_BYTES},
                                              {3, FIXTURE_SEGMENT_BYTES - 4096},
                                              {3, FIXTURE_SEGMENT_BYTES + 512},
                                              {3, (uint64_t)LOG_SEGMENT_BYTES_MAX + 4096}};
    struct log_identity identity = {.epoch = 1};
    struct log_point start = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct disk *disk = sim_disk_new(i);
        char why[LOG_WHY_BYTES];
        struct log *log = NULL;

        assert_int_equal(log_create(disk, &identity, &bad[i], &start), ES_E_INVALID);
        assert_int_equal(log_open(disk, DISK_READ_ONLY, why, &log), ES_NOT_FOUND);
        disk_free(disk);
    }
}

static void a_log_opened_read_only_is_not_begun(void **state)
{
    struct log_fixture *f = *state;
    char why[LOG_WHY_BYTES];
    struct log_point end = fixture_point(0);
    struct log_ending ending;
    uint64_t syncs = 0;

    log_fixture_die(f);
    syncs = sim_disk_syncs(f->disk);
    assert_int_equal(log_fixture_replay(f, 0, &ending), ES_OK);
    log_fixture_die(f);
    assert_int_equal(log_open(f->disk, DISK_READ_ONLY, why, &f->log), ES_OK);
    assert_int_equal(log_replay(f->log, 0, NULL, NULL, &ending), ES_OK);
    assert_int_equal(log_begin(f->log, 1, &end), ES_E_PERMISSION);
    assert_int_equal(sim_disk_syncs(f->disk), syncs);
}

/* Each call of the disk fails once: the log says so, then refuses everything; what had been
 * synced before is there after a restart, whatever the failed call has left. */
static void after_the_first_failed_call_nothing_is_written_any_more(void **state)
{
    uint64_t fault_count = 0;

    (void)state;
    for (uint64_t call = 1;; call++) {
        struct log_fixture *f = calloc(1, sizeof *f);
        enum es_status status = ES_OK;
        uint64_t durable = 0;
        bool begun = false;

        log_fixture_init(f, sim_disk_new(call));
        log_fixture_start(f);
        sim_disk_fail_at(f->disk, call, 5);
        for (int i = 0; i < 40 && status == ES_OK; i++) {
            status = log_fixture_append(f, 4000, &begun);
            if (status == ES_OK) {
                status = log_sync(f->log);
                durable = status == ES_OK ? f->last_batch : durable;
            }
            if (status == ES_OK && begun) {
                struct log_point before = fixture_point(f->last_batch - 1);

                status = log_mark_flushed(f->log, &before);
            }
        }
        if (status == ES_OK) {
            log_fixture_deinit(f);
            free(f);
            break; /* more calls than there are */
        }
        fault_count++;
        assert_int_equal(status, ES_E_IO);
        assert_string_not_equal(log_why(f->log), "");
        assert_int_equal(log_fixture_append(f, 10, &begun), ES_E_CLOSED);
        assert_int_equal(log_sync(f->log), ES_E_CLOSED);
        assert_int_equal(log_mark_flushed(f->log, &(struct log_point){0}), ES_E_CLOSED);
        log_fixture_die(f);
        if (call % 2 == 0) {
            sim_disk_power_cut(f->disk, 50);
        }
        log_fixture_start(f);
        assert_true(f->last_batch >= durable);
        log_fixture_deinit(f);
        free(f);
    }
    assert_true(fault_count > 80);
}

/* A start may be cut short at any call too, and the next one goes on from there. */
static void a_creation_and_a_start_that_fail_anywhere_can_be_repeated(void **state)
{
    static const struct log_identity identity = {.epoch = 1, .secret = 2};
    struct log_point start = fixture_point(0);

    (void)state;
    for (uint64_t call = 1; call < 60; call++) {
        struct disk *disk = sim_disk_new(call);
        char why[LOG_WHY_BYTES];
        struct log_ending ending;
        struct log *log = NULL;
        enum es_status status = ES_OK;

        sim_disk_fail_at(disk, call, 5);
        status = log_create(disk, &identity, &geometry, &start);
        if (status == ES_OK) {
            status = log_open(disk, DISK_READ_WRITE, why, &log);
        }
        if (status == ES_OK) {
            status = log_replay(log, 0, NULL, NULL, &ending);
        }
        if (status == ES_OK) {
            status = log_begin(log, 1, &start);
        }
        log_free(log);
        log = NULL;
        assert_true(status == ES_OK || status == ES_E_IO);
        sim_disk_fail_at(disk, 0, 0);
        sim_disk_power_cut(disk, 50);

        status = log_open(disk, DISK_READ_WRITE, why, &log);
        if (status == ES_NOT_FOUND) {
            assert_int_equal(log_create(disk, &identity, &geometry, &start), ES_OK);
            status = log_open(disk, DISK_READ_WRITE, why, &log);
        }
        assert_int_equal(status, ES_OK);
        assert_int_equal(log_replay(log, 0, NULL, NULL, &ending), ES_OK);
        assert_int_equal(ending.verdict, LOG_CLEAN);
        assert_int_equal(log_begin(log, 1, &start), ES_OK);
        log_free(log);
        disk_free(disk);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_fixture_set_up, log_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_appended_is_found_in_order_after_a_restart),
        TEST(segments_are_used_again_hundreds_of_times),
        TEST(four_of_the_largest_records_fill_a_segment_exactly),
        TEST(a_body_over_the_largest_is_refused_and_changes_nothing),
        TEST(a_batch_out_of_turn_is_refused),
        TEST(a_body_in_many_parts_reads_as_one),
        TEST(a_full_log_waits_until_the_oldest_segment_is_marked_flushed),
        TEST(a_full_log_is_found_whole_after_a_restart),
        TEST(a_flushed_mark_beyond_what_is_durable_is_refused),
        TEST(what_is_flushed_is_not_replayed),
        TEST(durable_is_what_was_synced_and_a_new_segment_syncs_the_old),
        TEST(a_sync_of_what_is_synced_costs_no_system_call),
        TEST(a_new_epoch_stands_in_the_headers_from_then_on),
        TEST(a_log_is_not_made_where_one_is),
        TEST(impossible_geometries_are_refused),
        TEST(a_log_opened_read_only_is_not_begun),
        cmocka_unit_test(after_the_first_failed_call_nothing_is_written_any_more),
        cmocka_unit_test(a_creation_and_a_start_that_fail_anywhere_can_be_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
