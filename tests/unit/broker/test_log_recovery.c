/*
 * Reading the commit log back after damage, torn writes and tampering. The rule:
 * what was synced is found or its loss is told; nothing else is invented.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/log_format.h"
#include "tests/support/log_fixture.h"

static void append_unsynced(struct log_fixture *f, int count, size_t size)
{
    bool begun = false;

    for (int i = 0; i < count; i++) {
        assert_int_equal(log_fixture_append(f, size, &begun), ES_OK);
    }
}

/* ---- A torn tail ------------------------------------------------------------- */

/* Cut at each byte, the last record is gone or whole; the ones before are always there. */
static void the_last_record_may_be_cut_at_every_byte(void **state)
{
    struct log_fixture *f = *state;
    enum {
        BODY = 300
    };
    uint8_t kept[LOG_RECORD_HEADER_BYTES + BODY];
    size_t offset = 0;
    const char *name = NULL;

    log_fixture_commit_some(f, 5, BODY);
    log_fixture_die(f);
    name = log_fixture_file_with(f, 5, &offset);
    memcpy(kept, log_fixture_bytes(f, name) + offset, sizeof kept);
    for (size_t cut = 0; cut < sizeof kept; cut++) {
        struct log_ending ending;

        memcpy(log_fixture_bytes(f, name) + offset, kept, sizeof kept);
        memset(log_fixture_bytes(f, name) + offset + cut, 0, sizeof kept - cut);
        ending = log_fixture_judge(f, 4);
        assert_int_equal(ending.verdict, cut < LOG_RECORD_HEADER_BYTES ? LOG_CLEAN : LOG_TORN);
        assert_int_equal(ending.last_batch, 4);
        /* The same cut is damage once somebody knows that batch 5 was synced. */
        ending = log_fixture_judge(f, 5);
        assert_int_equal(ending.verdict, LOG_DAMAGED);
        assert_int_equal(ending.last_batch, 4);
        assert_int_equal(ending.vouched_batch, 5);
    }
}

/* Unsynced records of durability os: the history ends at the first hole, and goes on from there. */
static void a_hole_among_unsynced_records_is_a_torn_tail(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    size_t offset = 0;
    const char *name = NULL;

    log_fixture_commit_some(f, 3, 200);
    append_unsynced(f, 5, 200);
    name = log_fixture_file_with(f, 5, &offset);
    log_fixture_bytes(f, name)[offset + LOG_RECORD_HEADER_BYTES] ^= 1;
    ending = log_fixture_judge(f, 3);
    assert_int_equal(ending.verdict, LOG_TORN);
    assert_int_equal(ending.last_batch, 4);
    assert_int_equal(ending.vouched_batch, 3);

    log_fixture_start(f);
    log_fixture_commit_some(f, 2, 100);
    ending = log_fixture_judge(f, 6);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 6);
}

static void a_hole_that_a_later_record_calls_durable_is_damage(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    size_t offset = 0;
    const char *name = NULL;

    log_fixture_commit_some(f, 8, 200);
    name = log_fixture_file_with(f, 5, &offset);
    log_fixture_bytes(f, name)[offset + LOG_RECORD_HEADER_BYTES] ^= 1;
    ending = log_fixture_judge(f, 0); /* nobody but the log itself says so */
    assert_int_equal(ending.verdict, LOG_DAMAGED);
    assert_int_equal(ending.last_batch, 4);
    assert_int_equal(ending.vouched_batch, 7);
    assert_non_null(strstr(ending.what, "batches 5 to 7"));
}

static void a_hole_in_a_segment_that_was_followed_by_another_is_damage(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    bool begun = false;
    size_t offset = 0;
    const char *name = NULL;

    while (!begun) {
        assert_int_equal(log_fixture_append(f, 5000, &begun), ES_OK);
    }
    name = log_fixture_file_with(f, f->last_batch - 1, &offset);
    memset(log_fixture_bytes(f, name) + offset, 0, FIXTURE_SEGMENT_BYTES - offset);
    log_fixture_die(f);
    ending = log_fixture_judge(f, 0);
    assert_int_equal(ending.verdict, LOG_DAMAGED);
    assert_int_equal(ending.vouched_batch, ending.last_batch + 1);
}

/* What a cut-off history left in the old segment never comes back, however sound it is. */
static void records_behind_an_accepted_end_stay_void(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    struct log_point end = fixture_point(4);

    log_fixture_commit_some(f, 9, 200);
    log_fixture_die(f);
    assert_int_equal(log_fixture_replay(f, 0, &ending), ES_OK);
    f->last_batch = 4; /* the caller ends the history here */
    assert_int_equal(log_begin(f->log, FIXTURE_EPOCH + 1, &end), ES_OK);
    ending = log_fixture_judge(f, 0);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 4);
    log_fixture_start(f);
    log_fixture_commit_some(f, 1, 200);
    ending = log_fixture_judge(f, 5);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 5);
}

/* After three starts without a batch the file of the torn segment is used again, from the same
 * batch number on: what is left of the old segment fits exactly, but for its segment number. */
static void a_record_of_an_older_segment_is_not_taken_for_the_next(void **state)
{
    struct log_fixture *f = *state;
    size_t offset = 0;
    const char *name = NULL;

    log_fixture_commit_some(f, 3, 200);
    append_unsynced(f, 3, 200);
    name = log_fixture_file_with(f, 4, &offset);
    log_fixture_bytes(f, name)[offset + LOG_RECORD_HEADER_BYTES] ^= 1;
    for (int i = 0; i < 3; i++) {
        log_fixture_die(f);
        log_fixture_start(f);
        assert_int_equal(f->last_batch, 3);
    }
    /* Each record took 256 bytes: this one ends where the old batch 5 begins. */
    log_fixture_commit_some(f, 1, 4 * 256 - LOG_RECORD_HEADER_BYTES);
    assert_string_equal(log_fixture_file_with(f, 4, &offset), name);
    log_fixture_die(f);
    log_fixture_start(f);
    assert_int_equal(f->last_batch, 4);
}

/* A payload cannot pass for a record: it does not know the log's secret. */
static void a_payload_that_looks_like_a_record_is_not_one(void **state)
{
    struct log_fixture *f = *state;
    uint8_t forged[64 * LOG_RECORD_ALIGNMENT];
    struct iovec part = {forged, sizeof forged};
    struct log_batch batch = {.previous = fixture_point(3), .parts = &part, .part_count = 1};
    struct log_ending ending;
    size_t offset = 0;
    const char *name = NULL;
    bool begun = false;

    log_fixture_commit_some(
        f, 3, 16); /* 48 + 16: the next body begins 48 bytes behind a multiple of 64 */
    for (size_t i = 0; i < 64; i++) {
        struct log_record_header header = {.body_bytes = 1,
                                           .secret = i,
                                           .segment_number = 2,
                                           .batch_number = 9,
                                           .durable_batch = 9};

        memset(forged + i * 64, 0, 64);
        log_record_header_encode(&header, forged + i * 64 + 16);
    }
    assert_int_equal(log_append(f->log, &batch, &begun), ES_OK);
    f->last_batch = 4;
    f->sizes[4] = sizeof forged;
    name = log_fixture_file_with(f, 4, &offset);
    memset(log_fixture_bytes(f, name) + offset, 0,
           LOG_RECORD_HEADER_BYTES); /* its own header is torn off */
    ending = log_fixture_judge(f, 3);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 3);
}

/* ---- Damage -------------------------------------------------------------------- */

/* Each bit of each record header, with the anchor's word: found, and nothing false is read. */
static void every_flipped_bit_of_a_record_header_is_found(void **state)
{
    struct log_fixture *f = *state;

    log_fixture_commit_some(f, 4, 100);
    log_fixture_die(f);
    for (uint64_t batch = 1; batch <= 4; batch++) {
        size_t offset = 0;
        const char *name = log_fixture_file_with(f, batch, &offset);

        for (size_t bit = 0; bit < 8 * (LOG_RECORD_HEADER_BYTES + 100); bit++) {
            uint8_t *byte = log_fixture_bytes(f, name) + offset + bit / 8;
            struct log_ending ending;

            *byte ^= (uint8_t)(1U << bit % 8);
            ending = log_fixture_judge(f, 4);
            assert_int_equal(ending.verdict, LOG_DAMAGED);
            assert_int_equal(ending.last_batch, batch - 1);
            *byte ^= (uint8_t)(1U << bit % 8);
        }
    }
    assert_int_equal(log_fixture_judge(f, 4).verdict, LOG_CLEAN);
}

/* Damage in what RocksDB holds already is harmless, and not a reason to refuse. */
static void damage_in_flushed_records_is_passed_over(void **state)
{
    struct log_fixture *f = *state;
    struct log_point flushed = fixture_point(3);

    log_fixture_commit_some(f, 6, 100);
    assert_int_equal(log_mark_flushed(f->log, &flushed), ES_OK);
    log_fixture_die(f);
    for (uint64_t batch = 1; batch <= 3; batch++) {
        size_t offset = 0;
        const char *name = log_fixture_file_with(f, batch, &offset);

        memset(log_fixture_bytes(f, name) + offset, 0xa5, LOG_RECORD_HEADER_BYTES + 100);
    }
    assert_int_equal(log_fixture_judge(f, 6).verdict, LOG_CLEAN);
    assert_int_equal(log_fixture_judge(f, 6).record_count, 3);
}

/* Reading fails like everything else: once by each call, told, and nothing is taken for an end. */
static void a_failed_read_is_an_error_and_not_an_end(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    uint64_t failed = 0;

    log_fixture_commit_some(f, 40, 4000);
    log_fixture_die(f);
    for (uint64_t call = 1; call < 100; call++) {
        enum es_status status = ES_OK;

        sim_disk_fail_at(f->disk, call, 5);
        status = log_fixture_replay(f, 40, &ending);
        log_fixture_die(f);
        sim_disk_fail_at(f->disk, 0, 0);
        if (status == ES_OK) {
            assert_int_equal(ending.last_batch, 40);
            break;
        }
        assert_int_equal(status, ES_E_IO);
        failed++;
    }
    assert_true(failed > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_fixture_set_up, log_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_record_may_be_cut_at_every_byte),
        TEST(a_hole_among_unsynced_records_is_a_torn_tail),
        TEST(a_hole_that_a_later_record_calls_durable_is_damage),
        TEST(a_hole_in_a_segment_that_was_followed_by_another_is_damage),
        TEST(records_behind_an_accepted_end_stay_void),
        TEST(a_record_of_an_older_segment_is_not_taken_for_the_next),
        TEST(a_payload_that_looks_like_a_record_is_not_one),
        TEST(every_flipped_bit_of_a_record_header_is_found),
        TEST(damage_in_flushed_records_is_passed_over),
        TEST(a_failed_read_is_an_error_and_not_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
