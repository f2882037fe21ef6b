/*
 * The anchor: what it was told last comes back, a write cut short leaves what was
 * told before, and damage is never taken for a state.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/anchor.h"
#include "shm/crc32c.h"
#include "tests/support/golden.h"
#include "tests/support/sim_disk.h"

static const char name[] = "anchor";

static struct anchor_state some_state(uint64_t number)
{
    struct anchor_state state = {.epoch = 0x1122334455667788U,
                                 .start_number = 7,
                                 .durability = number % 2 == 0 ? ANCHOR_FSYNC : ANCHOR_OS,
                                 .clean = number % 3 == 0,
                                 .batch_number = number,
                                 .commit_number = number * 2,
                                 .position = number * 3};

    memset(state.store_id, 0xa1, sizeof state.store_id);
    memset(state.boot_id, 0xb2, sizeof state.boot_id);
    memset(state.store_hash, (int)(number % 251), sizeof state.store_hash);
    return state;
}

static void assert_same(const struct anchor_state *a, const struct anchor_state *b)
{
    assert_memory_equal(a->store_id, b->store_id, sizeof a->store_id);
    assert_memory_equal(a->boot_id, b->boot_id, sizeof a->boot_id);
    assert_memory_equal(a->store_hash, b->store_hash, sizeof a->store_hash);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->start_number, b->start_number);
    assert_int_equal(a->durability, b->durability);
    assert_int_equal(a->clean, b->clean);
    assert_int_equal(a->batch_number, b->batch_number);
    assert_int_equal(a->commit_number, b->commit_number);
    assert_int_equal(a->position, b->position);
}

/* A disk with an anchor on it that was told the states 1..count. */
static struct disk *disk_with(uint64_t count)
{
    struct disk *disk = sim_disk_new(count);
    struct anchor_state state = some_state(1);
    struct anchor *anchor = NULL;

    assert_int_equal(anchor_create(disk, name, &state, &anchor), ES_OK);
    for (uint64_t i = 2; i <= count; i++) {
        state = some_state(i);
        assert_int_equal(anchor_write(anchor, &state), ES_OK);
    }
    anchor_free(anchor);
    return disk;
}

static enum es_status read_state(struct disk *disk, struct anchor_state *ret_state)
{
    struct anchor *anchor = NULL;
    enum es_status status = anchor_open(disk, name, DISK_READ_ONLY, ret_state, &anchor);

    anchor_free(anchor);
    return status;
}

static uint8_t *bytes_of(struct disk *disk)
{
    size_t size = 0;
    uint8_t *bytes = sim_disk_bytes(disk, name, &size);

    assert_non_null(bytes);
    assert_int_equal(size, ANCHOR_FILE_BYTES);
    return bytes;
}

static void the_last_state_comes_back_whatever_their_number(void **state)
{
    (void)state;
    for (uint64_t count = 1; count <= 6; count++) {
        struct disk *disk = disk_with(count);
        struct anchor_state expected = some_state(count);
        struct anchor_state found;

        assert_int_equal(read_state(disk, &found), ES_OK);
        assert_same(&found, &expected);
        disk_free(disk);
    }
}

static void writing_goes_on_after_it_was_opened_again(void **state)
{
    struct disk *disk = disk_with(4);
    struct anchor_state expected = some_state(9);
    struct anchor_state found;
    struct anchor *anchor = NULL;

    (void)state;
    assert_int_equal(anchor_open(disk, name, DISK_READ_WRITE, &found, &anchor), ES_OK);
    assert_int_equal(anchor_write(anchor, &expected), ES_OK);
    anchor_free(anchor);
    assert_int_equal(read_state(disk, &found), ES_OK);
    assert_same(&found, &expected);
    disk_free(disk);
}

/* A cut anywhere leaves the state before or the new one, whatever sectors survive. */
static void a_write_that_is_cut_short_leaves_the_state_before(void **state)
{
    uint64_t old_count = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct disk *whole = disk_with(5);
        struct disk *disk = sim_disk_copy(whole, seed);
        struct anchor_state next = some_state(6);
        struct anchor_state found;
        struct anchor *anchor = NULL;

        assert_int_equal(anchor_open(disk, name, DISK_READ_WRITE, &found, &anchor), ES_OK);
        sim_disk_fail_at(disk, 1 + seed % 2, EIO);
        assert_int_equal(anchor_write(anchor, &next), ES_E_IO);
        anchor_free(anchor);
        sim_disk_power_cut(disk, (unsigned)(seed % 101));
        assert_int_equal(read_state(disk, &found), ES_OK);
        assert_true(found.batch_number == 5 || found.batch_number == 6);
        old_count += found.batch_number == 5 ? 1 : 0;
        disk_free(disk);
        disk_free(whole);
    }
    assert_true(old_count > 10);
}

static void every_flipped_bit_is_found_or_leaves_the_state_before(void **state)
{
    struct disk *disk = disk_with(5);
    struct anchor_state newest = some_state(5);
    struct anchor_state before = some_state(4);

    (void)state;
    for (size_t bit = 0; bit < 8 * (size_t)ANCHOR_FILE_BYTES; bit++) {
        uint8_t *byte = bytes_of(disk) + bit / 8;
        struct anchor_state found;

        *byte ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(read_state(disk, &found), ES_OK);
        assert_same(&found, found.batch_number == 5 ? &newest : &before);
        *byte ^= (uint8_t)(1U << bit % 8);
    }
    disk_free(disk);
}

static void two_damaged_slots_are_damage(void **state)
{
    struct disk *disk = disk_with(5);
    struct anchor_state found = some_state(77);

    (void)state;
    bytes_of(disk)[10] ^= 1;
    bytes_of(disk)[ANCHOR_FILE_BYTES / 2 + 100] ^= 1;
    assert_int_equal(read_state(disk, &found), ES_E_CORRUPT);
    assert_int_equal(found.batch_number, 77); /* outputs stay untouched */
    memset(bytes_of(disk), 0, ANCHOR_FILE_BYTES);
    assert_int_equal(read_state(disk, &found), ES_E_CORRUPT);
    disk_free(disk);
}

static void another_size_is_damage_and_no_file_is_not_found(void **state)
{
    static const size_t sizes[] = {0, 1, ANCHOR_FILE_BYTES - 1, ANCHOR_FILE_BYTES + 1};
    struct anchor_state found;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct disk *disk = disk_with(2);

        sim_disk_resize(disk, name, sizes[i]);
        assert_int_equal(read_state(disk, &found), ES_E_CORRUPT);
        assert_int_equal(disk_unlink(disk, name), ES_OK);
        assert_int_equal(read_state(disk, &found), ES_NOT_FOUND);
        disk_free(disk);
    }
}

static void it_is_not_made_twice_and_not_written_read_only(void **state)
{
    struct disk *disk = disk_with(2);
    struct anchor_state other = some_state(3);
    struct anchor_state found;
    struct anchor *anchor = NULL;

    (void)state;
    assert_int_equal(anchor_create(disk, name, &other, &anchor), ES_E_EXISTS);
    assert_null(anchor);
    assert_int_equal(anchor_open(disk, name, DISK_READ_ONLY, &found, &anchor), ES_OK);
    assert_int_equal(anchor_write(anchor, &other), ES_E_PERMISSION);
    anchor_free(anchor);
    anchor_free(NULL);
    assert_int_equal(read_state(disk, &found), ES_OK);
    assert_int_equal(found.batch_number, 2);
    disk_free(disk);
}

static void seal(uint8_t *slot)
{
    uint32_t crc32c = es_crc32c(0, slot, 252);

    for (int i = 0; i < 4; i++) {
        slot[252 + i] = (uint8_t)(crc32c >> 8 * i);
    }
}

/* Sound by its checksum, and still nothing this program may take for a state. */
static void a_sound_slot_with_impossible_fields_is_refused(void **state)
{
    static const struct {
        size_t offset;
        uint8_t value;
        enum es_status expected;
    } cases[] = {{8, 2, ES_E_VERSION},  {8, 0, ES_E_CORRUPT},   {12, 0, ES_E_CORRUPT},
                 {12, 3, ES_E_CORRUPT}, {120, 2, ES_E_CORRUPT}, {0, 'X', ES_E_CORRUPT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct disk *disk = disk_with(5);
        struct anchor_state found;

        for (size_t slot = 0; slot < 2; slot++) {
            uint8_t *bytes = bytes_of(disk) + slot * ANCHOR_FILE_BYTES / 2;

            bytes[cases[i].offset] = cases[i].value;
            seal(bytes);
        }
        assert_int_equal(read_state(disk, &found), cases[i].expected);
        disk_free(disk);
    }
}

static void the_bytes_are_those_of_the_golden_file(void **state)
{
    uint8_t golden[GOLDEN_SIZE_MAX];
    struct disk *disk = disk_with(6);

    (void)state;
    assert_int_equal(golden_read("anchor", "slot_of_state_6", golden), 256);
    assert_memory_equal(bytes_of(disk), golden, 256);
    assert_int_equal(golden_read("anchor", "slot_of_state_5", golden), 256);
    assert_memory_equal(bytes_of(disk) + ANCHOR_FILE_BYTES / 2, golden, 256);
    disk_free(disk);
}

static void each_failing_call_of_a_creation_is_told(void **state)
{
    struct anchor_state first = some_state(1);

    (void)state;
    for (uint64_t call = 1; call <= 4; call++) {
        struct disk *disk = sim_disk_new(call);
        struct anchor *anchor = NULL;

        sim_disk_fail_at(disk, call, EIO);
        assert_int_equal(anchor_create(disk, name, &first, &anchor), ES_E_IO);
        assert_null(anchor);
        disk_free(disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_state_comes_back_whatever_their_number),
        cmocka_unit_test(writing_goes_on_after_it_was_opened_again),
        cmocka_unit_test(a_write_that_is_cut_short_leaves_the_state_before),
        cmocka_unit_test(every_flipped_bit_is_found_or_leaves_the_state_before),
        cmocka_unit_test(two_damaged_slots_are_damage),
        cmocka_unit_test(another_size_is_damage_and_no_file_is_not_found),
        cmocka_unit_test(it_is_not_made_twice_and_not_written_read_only),
        cmocka_unit_test(a_sound_slot_with_impossible_fields_is_refused),
        cmocka_unit_test(the_bytes_are_those_of_the_golden_file),
        cmocka_unit_test(each_failing_call_of_a_creation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
