/*
 * Reading the commit log back after damage, torn writes and tampering. The rule:
 * what was synced is found or its loss is told; nothing else is invented.
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

static int set_up(void **state)
{
    struct log_fixture *f = calloc(1, sizeof *f);

    log_fixture_init(f, sim_disk_new(3));
    log_fixture_start(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    log_fixture_deinit(*state);
    free(*state);
    return 0;
}

static uint8_t *bytes_of(struct log_fixture *f, const char *name)
{
    size_t size = 0;
    uint8_t *bytes = sim_disk_bytes(f->disk, name, &size);

    assert_non_null(bytes);
    return bytes;
}

/* The file that holds the record of 'batch_number', and where; the start file is segment-01. */
static const char *file_with(struct log_fixture *f, uint64_t batch_number, size_t *ret_offset)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *ret_offset = log_fixture_find(f, names[i], batch_number);
        if (*ret_offset != 0) {
            return names[i];
        }
    }
    fail_msg("no file holds batch %d", (int)batch_number);
    return NULL;
}

/* Replays with 'durable_floor' and closes the log again. */
static struct log_ending judge(struct log_fixture *f, uint64_t durable_floor)
{
    struct log_ending ending;

    log_fixture_die(f);
    assert_int_equal(log_fixture_replay(f, durable_floor, &ending), ES_OK);
    log_fixture_die(f);
    return ending;
}

static void commit_some(struct log_fixture *f, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        log_fixture_commit(f, size);
    }
}

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

    commit_some(f, 5, BODY);
    log_fixture_die(f);
    name = file_with(f, 5, &offset);
    memcpy(kept, bytes_of(f, name) + offset, sizeof kept);
    for (size_t cut = 0; cut < sizeof kept; cut++) {
        struct log_ending ending;

        memcpy(bytes_of(f, name) + offset, kept, sizeof kept);
        memset(bytes_of(f, name) + offset + cut, 0, sizeof kept - cut);
        ending = judge(f, 4);
        assert_int_equal(ending.verdict, cut < LOG_RECORD_HEADER_BYTES ? LOG_CLEAN : LOG_TORN);
        assert_int_equal(ending.last_batch, 4);
        /* The same cut is damage once somebody knows that batch 5 was synced. */
        ending = judge(f, 5);
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

    commit_some(f, 3, 200);
    append_unsynced(f, 5, 200);
    name = file_with(f, 5, &offset);
    bytes_of(f, name)[offset + LOG_RECORD_HEADER_BYTES] ^= 1;
    ending = judge(f, 3);
    assert_int_equal(ending.verdict, LOG_TORN);
    assert_int_equal(ending.last_batch, 4);
    assert_int_equal(ending.vouched_batch, 3);

    log_fixture_start(f);
    commit_some(f, 2, 100);
    ending = judge(f, 6);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 6);
}

static void a_hole_that_a_later_record_calls_durable_is_damage(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    size_t offset = 0;
    const char *name = NULL;

    commit_some(f, 8, 200);
    name = file_with(f, 5, &offset);
    bytes_of(f, name)[offset + LOG_RECORD_HEADER_BYTES] ^= 1;
    ending = judge(f, 0); /* nobody but the log itself says so */
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
    name = file_with(f, f->last_batch - 1, &offset);
    memset(bytes_of(f, name) + offset, 0, FIXTURE_SEGMENT_BYTES - offset);
    log_fixture_die(f);
    ending = judge(f, 0);
    assert_int_equal(ending.verdict, LOG_DAMAGED);
    assert_int_equal(ending.vouched_batch, ending.last_batch + 1);
}

/* What a cut-off history left in the old segment never comes back, however sound it is. */
static void records_behind_an_accepted_end_stay_void(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    struct log_point end = fixture_point(4);

    commit_some(f, 9, 200);
    log_fixture_die(f);
    assert_int_equal(log_fixture_replay(f, 0, &ending), ES_OK);
    f->last_batch = 4; /* the caller ends the history here */
    assert_int_equal(log_begin(f->log, FIXTURE_EPOCH + 1, &end), ES_OK);
    ending = judge(f, 0);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 4);
    log_fixture_start(f);
    commit_some(f, 1, 200);
    ending = judge(f, 5);
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

    commit_some(f, 3, 200);
    append_unsynced(f, 3, 200);
    name = file_with(f, 4, &offset);
    bytes_of(f, name)[offset + LOG_RECORD_HEADER_BYTES] ^= 1;
    for (int i = 0; i < 3; i++) {
        log_fixture_die(f);
        log_fixture_start(f);
        assert_int_equal(f->last_batch, 3);
    }
    /* Each record took 256 bytes: this one ends where the old batch 5 begins. */
    commit_some(f, 1, 4 * 256 - LOG_RECORD_HEADER_BYTES);
    assert_string_equal(file_with(f, 4, &offset), name);
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

    commit_some(f, 3, 16); /* 48 + 16: the next body begins 48 bytes behind a multiple of 64 */
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
    name = file_with(f, 4, &offset);
    memset(bytes_of(f, name) + offset, 0, LOG_RECORD_HEADER_BYTES); /* its own header is torn off */
    ending = judge(f, 3);
    assert_int_equal(ending.verdict, LOG_CLEAN);
    assert_int_equal(ending.last_batch, 3);
}

/* ---- Damage -------------------------------------------------------------------- */

/* Each bit of each record header, with the anchor's word: found, and nothing false is read. */
static void every_flipped_bit_of_a_record_header_is_found(void **state)
{
    struct log_fixture *f = *state;

    commit_some(f, 4, 100);
    log_fixture_die(f);
    for (uint64_t batch = 1; batch <= 4; batch++) {
        size_t offset = 0;
        const char *name = file_with(f, batch, &offset);

        for (size_t bit = 0; bit < 8 * (LOG_RECORD_HEADER_BYTES + 100); bit++) {
            uint8_t *byte = bytes_of(f, name) + offset + bit / 8;
            struct log_ending ending;

            *byte ^= (uint8_t)(1U << bit % 8);
            ending = judge(f, 4);
            assert_int_equal(ending.verdict, LOG_DAMAGED);
            assert_int_equal(ending.last_batch, batch - 1);
            *byte ^= (uint8_t)(1U << bit % 8);
        }
    }
    assert_int_equal(judge(f, 4).verdict, LOG_CLEAN);
}

/* Damage in what RocksDB holds already is harmless, and not a reason to refuse. */
static void damage_in_flushed_records_is_passed_over(void **state)
{
    struct log_fixture *f = *state;
    struct log_point flushed = fixture_point(3);

    commit_some(f, 6, 100);
    assert_int_equal(log_mark_flushed(f->log, &flushed), ES_OK);
    log_fixture_die(f);
    for (uint64_t batch = 1; batch <= 3; batch++) {
        size_t offset = 0;
        const char *name = file_with(f, batch, &offset);

        memset(bytes_of(f, name) + offset, 0xa5, LOG_RECORD_HEADER_BYTES + 100);
    }
    assert_int_equal(judge(f, 6).verdict, LOG_CLEAN);
    assert_int_equal(judge(f, 6).record_count, 3);
}

/* Each bit of each header: found, or harmless since the other slot says the same or less. Of the
 * rest of the page, which nobody reads, a bit here and there. */
static void every_flipped_bit_of_a_segment_header_is_found_or_harmless(void **state)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    struct log_fixture *f = *state;

    commit_some(f, 40, 4000); /* into the third segment */
    log_fixture_die(f);
    for (size_t file = 0; file < 3; file++) {
        for (size_t bit = 0; bit < 8 * (size_t)LOG_HEADER_PAGE_BYTES;) {
            uint8_t *byte = bytes_of(f, names[file]) + bit / 8;
            bool in_slot = bit / 8 % LOG_HEADER_SLOT_STRIDE < LOG_HEADER_SLOT_BYTES;
            struct log_ending ending;

            *byte ^= (uint8_t)(1U << bit % 8);
            ending = judge(f, 40);
            if (ending.verdict != LOG_DAMAGED) {
                assert_int_equal(ending.last_batch, 40);
            }
            *byte ^= (uint8_t)(1U << bit % 8);
            bit += in_slot ? 1 : 401;
        }
    }
}

static void a_header_page_wiped_out_is_damage(void **state)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    static const int fillings[] = {0x00, 0xff, 0x5a};
    struct log_fixture *f = *state;

    commit_some(f, 40, 4000);
    log_fixture_die(f);
    for (size_t file = 0; file < 3; file++) {
        for (size_t i = 0; i < 3; i++) {
            uint8_t kept[LOG_HEADER_PAGE_BYTES];

            memcpy(kept, bytes_of(f, names[file]), sizeof kept);
            memset(bytes_of(f, names[file]), fillings[i], sizeof kept);
            assert_int_equal(judge(f, 0).verdict, LOG_DAMAGED);
            memcpy(bytes_of(f, names[file]), kept, sizeof kept);
        }
    }
}

static void a_missing_cut_or_grown_segment_file_is_damage(void **state)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    static const size_t sizes[] = {0, 100, LOG_HEADER_PAGE_BYTES, FIXTURE_SEGMENT_BYTES - 1,
                                   FIXTURE_SEGMENT_BYTES + 4096};
    struct log_fixture *f = *state;
    struct disk *whole = NULL;

    commit_some(f, 40, 4000);
    log_fixture_die(f);
    whole = f->disk;
    for (size_t file = 0; file < 3; file++) {
        for (size_t i = 0; i <= sizeof sizes / sizeof sizes[0]; i++) {
            struct log_ending ending;

            f->disk = sim_disk_copy(whole, 1);
            if (i == 0) {
                assert_int_equal(disk_unlink(f->disk, names[file]), ES_OK);
            } else {
                sim_disk_resize(f->disk, names[file], sizes[i - 1]);
            }
            ending = judge(f, 0);
            assert_int_equal(ending.verdict, LOG_DAMAGED);
            assert_non_null(strstr(ending.what, names[file]));
            disk_free(f->disk);
        }
    }
    f->disk = whole;
}

/* Segments are known by what is in them: under each other's names they are the same log. */
static void swapped_segment_files_are_harmless(void **state)
{
    struct log_fixture *f = *state;

    commit_some(f, 40, 4000);
    log_fixture_die(f);
    assert_int_equal(disk_rename(f->disk, "segment-00", "aside"), ES_OK);
    assert_int_equal(disk_rename(f->disk, "segment-02", "segment-00"), ES_OK);
    assert_int_equal(disk_rename(f->disk, "aside", "segment-02"), ES_OK);
    assert_int_equal(judge(f, 40).verdict, LOG_CLEAN);
}

static void the_same_segment_twice_is_damage(void **state)
{
    struct log_fixture *f = *state;

    commit_some(f, 40, 4000);
    log_fixture_die(f);
    memcpy(bytes_of(f, "segment-00"), bytes_of(f, "segment-01"), FIXTURE_SEGMENT_BYTES);
    assert_int_equal(judge(f, 0).verdict, LOG_DAMAGED);
}

static void an_older_copy_of_a_segment_is_damage_by_the_anchors_word(void **state)
{
    static uint8_t old[3][FIXTURE_SEGMENT_BYTES];
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    struct log_fixture *f = *state;

    commit_some(f, 20, 4000);
    for (size_t i = 0; i < 3; i++) {
        memcpy(old[i], bytes_of(f, names[i]), FIXTURE_SEGMENT_BYTES);
    }
    commit_some(f, 30, 4000);
    log_fixture_die(f);
    for (size_t i = 0; i < 3; i++) {
        uint8_t kept[FIXTURE_SEGMENT_BYTES];

        memcpy(kept, bytes_of(f, names[i]), sizeof kept);
        memcpy(bytes_of(f, names[i]), old[i], sizeof kept);
        if (memcmp(kept, old[i], sizeof kept) != 0) {
            struct log_ending ending = judge(f, 50);

            /* Harmless only where every batch of the newer copy was flushed. */
            assert_true(ending.verdict == LOG_DAMAGED || ending.last_batch == 50);
        }
        memcpy(bytes_of(f, names[i]), kept, sizeof kept);
    }
    for (size_t i = 0; i < 3; i++) {
        memcpy(bytes_of(f, names[i]), old[i], FIXTURE_SEGMENT_BYTES);
    }
    assert_int_equal(judge(f, 50).verdict, LOG_DAMAGED);
    assert_int_equal(judge(f, 0).last_batch, 20); /* nobody else remembers: as old as it looks */
}

/* A damaged log is not written on: it is moved aside and made anew. */
static void a_log_with_a_lost_file_is_not_begun(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    struct log_point end;

    commit_some(f, 10, 100);
    log_fixture_die(f);
    assert_int_equal(disk_unlink(f->disk, "segment-02"), ES_OK);
    assert_int_equal(log_fixture_replay(f, 0, &ending), ES_OK);
    assert_int_equal(ending.last_batch, 10);
    end = fixture_point(10);
    assert_int_equal(log_begin(f->log, 1, &end), ES_E_CORRUPT);
}

/*
 * Planted: a writer that takes the next file without asking whether its batches are
 * flushed. Recovery must see that records are gone, not start after the hole.
 */
static void a_segment_reused_before_its_batches_were_flushed_is_caught(void **state)
{
    struct log_fixture *f = *state;
    struct log_segment_header header;
    struct log_ending ending;
    bool begun = false;
    uint8_t *page = NULL;
    uint64_t newest = 0;

    while (log_fixture_append(f, 5000, &begun) == ES_OK) {
    }
    assert_int_equal(log_sync(f->log), ES_OK);
    log_fixture_die(f);
    page = bytes_of(f, "segment-00"); /* of the fixture's three segments the last one begun */
    assert_int_equal(log_header_page_decode(page, &header), ES_OK);
    newest = header.segment_number;
    page = bytes_of(f, "segment-01");
    assert_int_equal(log_header_page_decode(page, &header), ES_OK);
    assert_true(header.segment_number < newest);
    header.segment_number = newest + 1;
    header.first_batch = f->last_batch + 1;
    for (int i = 0; i < 2; i++) {
        header.revision++;
        log_segment_header_encode(&header, page + log_header_slot_offset(header.revision));
    }
    ending = judge(f, 0);
    assert_int_equal(ending.verdict, LOG_DAMAGED);
    assert_int_equal(ending.last_batch, 0);
}

static void two_logs_in_one_directory_are_refused(void **state)
{
    struct log_fixture *f = *state;
    struct log_segment_header header;
    char why[LOG_WHY_BYTES];
    struct log *log = NULL;
    uint8_t *page = NULL;

    commit_some(f, 40, 4000);
    log_fixture_die(f);
    page = bytes_of(f, "segment-02");
    assert_int_equal(log_header_page_decode(page, &header), ES_OK);
    header.identity.store_id[3] ^= 1;
    for (int i = 0; i < 2; i++) {
        header.revision++;
        log_segment_header_encode(&header, page + log_header_slot_offset(header.revision));
    }
    assert_int_equal(log_open(f->disk, DISK_READ_ONLY, why, &log), ES_E_CORRUPT);
    assert_non_null(strstr(why, "different logs"));
}

static void a_log_without_any_sound_header_is_refused(void **state)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    struct log_fixture *f = *state;
    char why[LOG_WHY_BYTES];
    struct log *log = NULL;

    log_fixture_die(f);
    for (size_t i = 0; i < 3; i++) {
        memset(bytes_of(f, names[i]), 0xa5, LOG_HEADER_PAGE_BYTES);
    }
    assert_int_equal(log_open(f->disk, DISK_READ_ONLY, why, &log), ES_E_CORRUPT);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(disk_unlink(f->disk, names[i]), ES_OK);
    }
    assert_int_equal(log_open(f->disk, DISK_READ_ONLY, why, &log), ES_NOT_FOUND);
}

static void a_newer_format_is_refused_as_such(void **state)
{
    struct log_fixture *f = *state;
    char why[LOG_WHY_BYTES];
    struct log *log = NULL;

    log_fixture_die(f);
    fixture_make_newer(bytes_of(f, "segment-00"));
    assert_int_equal(log_open(f->disk, DISK_READ_ONLY, why, &log), ES_E_VERSION);
    assert_non_null(strstr(why, "newer"));
}

/* Reading fails like everything else: once by each call, told, and nothing is taken for an end. */
static void a_failed_read_is_an_error_and_not_an_end(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    uint64_t failed = 0;

    commit_some(f, 40, 4000);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(every_flipped_bit_of_a_segment_header_is_found_or_harmless),
        TEST(a_header_page_wiped_out_is_damage),
        TEST(a_missing_cut_or_grown_segment_file_is_damage),
        TEST(swapped_segment_files_are_harmless),
        TEST(the_same_segment_twice_is_damage),
        TEST(an_older_copy_of_a_segment_is_damage_by_the_anchors_word),
        TEST(a_log_with_a_lost_file_is_not_begun),
        TEST(a_segment_reused_before_its_batches_were_flushed_is_caught),
        TEST(two_logs_in_one_directory_are_refused),
        TEST(a_log_without_any_sound_header_is_refused),
        TEST(a_newer_format_is_refused_as_such),
        TEST(a_failed_read_is_an_error_and_not_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
