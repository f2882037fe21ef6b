/*
 * Segment files damaged, lost, swapped, older than they should be: found, or
 * harmless because another copy says the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/log_format.h"
#include "tests/support/log_fixture.h"

/* Each bit of each header: found, or harmless since the other slot says the same or less. Of the
 * rest of the page, which nobody reads, a bit here and there. */
static void every_flipped_bit_of_a_segment_header_is_found_or_harmless(void **state)
{
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    struct log_fixture *f = *state;

    log_fixture_commit_some(f, 40, 4000); /* into the third segment */
    log_fixture_die(f);
    for (size_t file = 0; file < 3; file++) {
        for (size_t bit = 0; bit < 8 * (size_t)LOG_HEADER_PAGE_BYTES;) {
            uint8_t *byte = log_fixture_bytes(f, names[file]) + bit / 8;
            bool in_slot = bit / 8 % LOG_HEADER_SLOT_STRIDE < LOG_HEADER_SLOT_BYTES;
            struct log_ending ending;

            *byte ^= (uint8_t)(1U << bit % 8);
            ending = log_fixture_judge(f, 40);
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

    log_fixture_commit_some(f, 40, 4000);
    log_fixture_die(f);
    for (size_t file = 0; file < 3; file++) {
        for (size_t i = 0; i < 3; i++) {
            uint8_t kept[LOG_HEADER_PAGE_BYTES];

            memcpy(kept, log_fixture_bytes(f, names[file]), sizeof kept);
            memset(log_fixture_bytes(f, names[file]), fillings[i], sizeof kept);
            assert_int_equal(log_fixture_judge(f, 0).verdict, LOG_DAMAGED);
            memcpy(log_fixture_bytes(f, names[file]), kept, sizeof kept);
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

    log_fixture_commit_some(f, 40, 4000);
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
            ending = log_fixture_judge(f, 0);
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

    log_fixture_commit_some(f, 40, 4000);
    log_fixture_die(f);
    assert_int_equal(disk_rename(f->disk, "segment-00", "aside"), ES_OK);
    assert_int_equal(disk_rename(f->disk, "segment-02", "segment-00"), ES_OK);
    assert_int_equal(disk_rename(f->disk, "aside", "segment-02"), ES_OK);
    assert_int_equal(log_fixture_judge(f, 40).verdict, LOG_CLEAN);
}

static void the_same_segment_twice_is_damage(void **state)
{
    struct log_fixture *f = *state;

    log_fixture_commit_some(f, 40, 4000);
    log_fixture_die(f);
    memcpy(log_fixture_bytes(f, "segment-00"), log_fixture_bytes(f, "segment-01"),
           FIXTURE_SEGMENT_BYTES);
    assert_int_equal(log_fixture_judge(f, 0).verdict, LOG_DAMAGED);
}

static void an_older_copy_of_a_segment_is_damage_by_the_anchors_word(void **state)
{
    static uint8_t old[3][FIXTURE_SEGMENT_BYTES];
    static const char *const names[] = {"segment-00", "segment-01", "segment-02"};
    struct log_fixture *f = *state;

    log_fixture_commit_some(f, 20, 4000);
    for (size_t i = 0; i < 3; i++) {
        memcpy(old[i], log_fixture_bytes(f, names[i]), FIXTURE_SEGMENT_BYTES);
    }
    log_fixture_commit_some(f, 30, 4000);
    log_fixture_die(f);
    for (size_t i = 0; i < 3; i++) {
        uint8_t kept[FIXTURE_SEGMENT_BYTES];

        memcpy(kept, log_fixture_bytes(f, names[i]), sizeof kept);
        memcpy(log_fixture_bytes(f, names[i]), old[i], sizeof kept);
        if (memcmp(kept, old[i], sizeof kept) != 0) {
            struct log_ending ending = log_fixture_judge(f, 50);

            /* Harmless only where every batch of the newer copy was flushed. */
            assert_true(ending.verdict == LOG_DAMAGED || ending.last_batch == 50);
        }
        memcpy(log_fixture_bytes(f, names[i]), kept, sizeof kept);
    }
    for (size_t i = 0; i < 3; i++) {
        memcpy(log_fixture_bytes(f, names[i]), old[i], FIXTURE_SEGMENT_BYTES);
    }
    assert_int_equal(log_fixture_judge(f, 50).verdict, LOG_DAMAGED);
    assert_int_equal(log_fixture_judge(f, 0).last_batch,
                     20); /* nobody else remembers: as old as it looks */
}

/* A damaged log is not written on: it is moved aside and made anew. */
static void a_log_with_a_lost_file_is_not_begun(void **state)
{
    struct log_fixture *f = *state;
    struct log_ending ending;
    struct log_point end;

    log_fixture_commit_some(f, 10, 100);
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
    page =
        log_fixture_bytes(f, "segment-00"); /* of the fixture's three segments the last one begun */
    assert_int_equal(log_header_page_decode(page, &header), ES_OK);
    newest = header.segment_number;
    page = log_fixture_bytes(f, "segment-01");
    assert_int_equal(log_header_page_decode(page, &header), ES_OK);
    assert_true(header.segment_number < newest);
    header.segment_number = newest + 1;
    header.first_batch = f->last_batch + 1;
    for (int i = 0; i < 2; i++) {
        header.revision++;
        log_segment_header_encode(&header, page + log_header_slot_offset(header.revision));
    }
    ending = log_fixture_judge(f, 0);
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

    log_fixture_commit_some(f, 40, 4000);
    log_fixture_die(f);
    page = log_fixture_bytes(f, "segment-02");
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
        memset(log_fixture_bytes(f, names[i]), 0xa5, LOG_HEADER_PAGE_BYTES);
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
    fixture_make_newer(log_fixture_bytes(f, "segment-00"));
    assert_int_equal(log_open(f->disk, DISK_READ_ONLY, why, &log), ES_E_VERSION);
    assert_non_null(strstr(why, "newer"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, log_fixture_set_up, log_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
