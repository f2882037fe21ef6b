/*
 * An original, and what was restored from its backup: until the next commit their bytes say
 * the same but for the epoch. Parts of the two are told from each other, and a start that was
 * cut short, which leaves the same picture, is not taken for it.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/anchor.h"
#include "broker/disk.h"
#include "broker/epochs.h"
#include "broker/logger.h"
#include "broker/store.h"
#include "shm/codec/hash.h"
#include "shm/codec/store_key.h"
#include "tests/support/parts_files.h"

struct fixture {
    struct commit_parts parts;
    uint64_t original; /* the epoch of the copy "original" */
    uint64_t restored; /* the epoch of the copy "restored", which is in "data" too */
};

static void mark_as_backup(struct fixture *f)
{
    char path[PARTS_PATH_BYTES];
    FILE *mark = NULL;

    parts_path(&f->parts, "data/" DATA_BACKUP_NAME, path);
    mark = fopen(path, "we");
    assert_non_null(mark);
    fclose(mark);
}

static int setup(void **state)
{
    static struct fixture f;
    struct parts_producer producer;

    commit_parts_make(&f.parts, 64);
    parts_attach(&f.parts, &producer);
    parts_append(&f.parts, &producer, 10);
    parts_detach(&producer);
    commit_parts_drop(&f.parts);
    assert_int_equal(commit_parts_open(&f.parts), ES_OK);
    f.original = f.parts.startup.state.epoch;
    commit_parts_drop(&f.parts);
    parts_copy(&f.parts, "data", "original");
    mark_as_backup(&f);
    assert_int_equal(commit_parts_open(&f.parts), ES_OK);
    f.restored = f.parts.startup.state.epoch;
    commit_parts_drop(&f.parts);
    parts_copy(&f.parts, "data", "restored");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    commit_parts_remove(&f->parts);
    return 0;
}

static void assert_goes_on(struct fixture *f, uint64_t epoch)
{
    assert_int_equal(commit_parts_open(&f->parts), ES_OK);
    assert_int_equal(f->parts.startup.state.epoch, epoch);
    assert_int_equal(f->parts.startup.end.position, 10);
    commit_parts_drop(&f->parts);
}

static void a_log_and_a_store_of_two_epochs_are_refused(void **state)
{
    static const char *const from[] = {"original/log", "original/rocksdb"};
    static const char *const to[] = {"data/log", "data/rocksdb"};
    struct fixture *f = *state;
    const uint64_t of_log[] = {f->original, f->restored};
    const uint64_t of_store[] = {f->restored, f->original};
    char text[128];

    assert_int_not_equal(f->original, f->restored);
    for (size_t i = 0; i < 2; i++) {
        parts_copy(&f->parts, from[i], to[i]);
        snprintf(text, sizeof text,
                 "log is of epoch %016" PRIx64 ", and rocksdb/ of epoch %016" PRIx64, of_log[i],
                 of_store[i]);
        parts_assert_refused(&f->parts, ES_E_CORRUPT, text);
        parts_copy(&f->parts, "restored", "data");
    }
    assert_goes_on(f, f->restored);
}

/* It can refuse, but supplies nothing: not its epoch either. */
static void an_anchor_of_an_earlier_epoch_does_not_bring_it_back(void **state)
{
    struct fixture *f = *state;

    parts_copy(&f->parts, "original/anchor", "data/anchor");
    assert_goes_on(f, f->restored);
    assert_goes_on(f, f->restored);
}

static void an_anchor_of_a_later_epoch_is_refused(void **state)
{
    struct fixture *f = *state;
    char text[128];

    parts_copy(&f->parts, "original", "data");
    parts_copy(&f->parts, "restored/anchor", "data/anchor");
    snprintf(text, sizeof text, "anchor is of epoch %016" PRIx64, f->restored);
    parts_assert_refused(&f->parts, ES_E_CORRUPT, text);
    parts_copy(&f->parts, "restored", "data");
    assert_goes_on(f, f->restored);
}

/* The next start of one that has begun an epoch in the store and not in the log. */
static void assert_begins_once_more(struct fixture *f)
{
    uint64_t epoch = 0;

    assert_int_equal(commit_parts_open(&f->parts), ES_OK);
    epoch = f->parts.startup.state.epoch;
    commit_parts_drop(&f->parts);
    assert_int_not_equal(epoch, f->original);
    assert_int_not_equal(epoch, f->restored);
    assert_goes_on(f, epoch);
}

static void a_restore_that_is_cut_short_begins_an_epoch_once_more(void **state)
{
    struct fixture *f = *state;

    parts_copy(&f->parts, "original/log", "data/log");
    parts_copy(&f->parts, "original/anchor", "data/anchor");
    mark_as_backup(f);
    assert_begins_once_more(f);
}

/* The anchor of a broker that did not wait for the disk, and of another boot. */
static void write_anchor_of_a_crash(struct fixture *f)
{
    char path[PARTS_PATH_BYTES];
    struct anchor_state crash;
    struct anchor *anchor = NULL;
    struct disk *disk = NULL;

    parts_path(&f->parts, "data", path);
    assert_int_equal(disk_posix_new(path, &disk), ES_OK);
    assert_int_equal(anchor_open(disk, DATA_ANCHOR_NAME, DISK_READ_WRITE, &crash, &anchor), ES_OK);
    crash.durability = ANCHOR_OS;
    crash.clean = false;
    crash.boot_id[0] ^= 1U;
    assert_int_equal(anchor_write(anchor, &crash), ES_OK);
    anchor_free(anchor);
    disk_free(disk);
}

static void a_start_after_a_crash_that_is_cut_short_begins_an_epoch_once_more(void **state)
{
    struct fixture *f = *state;

    parts_copy(&f->parts, "original/log", "data/log");
    parts_copy(&f->parts, "original/anchor", "data/anchor");
    write_anchor_of_a_crash(f);
    assert_begins_once_more(f);
}

static void a_list_of_epochs_that_cannot_be_read_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store_batch *writes = NULL;
    struct es_key key;

    assert_int_equal(commit_parts_open(&f->parts), ES_OK);
    es_key_epochs(&key);
    assert_int_equal(store_batch_new(&writes), ES_OK);
    assert_int_equal(store_batch_put(writes, STORE_DEFAULT,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){"?", 1}),
                     ES_OK);
    assert_int_equal(store_apply(f->parts.startup.store, writes, STORE_APPLY_LIVE), ES_OK);
    assert_int_equal(store_flush_all(f->parts.startup.store), ES_OK);
    store_batch_free(writes);
    commit_parts_drop(&f->parts);

    parts_assert_refused(&f->parts, ES_E_CORRUPT, "the list of epochs");
    mark_as_backup(f);
    parts_assert_refused(&f->parts, ES_E_CORRUPT, "the list of epochs");
}

/* A full list, as after many restores without a commit in between: the newest is the last. */
static void fill_list(struct fixture *f)
{
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    struct store *store = NULL;
    struct store_batch *writes = NULL;
    struct es_epochs epochs;
    struct es_key key;
    uint32_t size = 0;

    assert_int_equal(commit_parts_open(&f->parts), ES_OK);
    store = f->parts.startup.store;
    assert_int_equal(epochs_load(store, NULL, &epochs), ES_OK);
    while (epochs.count < ES_EPOCH_COUNT_MAX) {
        epochs.entries[epochs.count] = epochs.entries[epochs.count - 1];
        epochs.entries[epochs.count - 1].epoch = epochs.count;
        epochs.count++;
    }
    assert_int_equal(es_epochs_encode(&epochs, value, sizeof value, &size), ES_OK);
    es_key_epochs(&key);
    assert_int_equal(store_batch_new(&writes), ES_OK);
    assert_int_equal(store_batch_put(writes, STORE_DEFAULT,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){value, size}),
                     ES_OK);
    assert_int_equal(store_apply(store, writes, STORE_APPLY_REPLAY), ES_OK);
    assert_int_equal(store_flush_all(store), ES_OK);
    store_batch_free(writes);
    commit_parts_drop(&f->parts);
    parts_copy(&f->parts, "data", "full");
}

static void put_back_log_and_anchor(struct fixture *f)
{
    parts_copy(&f->parts, "full/log", "data/log");
    parts_copy(&f->parts, "full/anchor", "data/anchor");
    write_anchor_of_a_crash(f);
}

static void assert_starts(struct fixture *f)
{
    assert_int_equal(commit_parts_open(&f->parts), ES_OK);
    commit_parts_drop(&f->parts);
}

/* The first dies behind its control page, the second before its own. */
static void two_starts_that_are_cut_short_are_begun_once_more_though_the_list_is_full(void **state)
{
    struct fixture *f = *state;

    fill_list(f);
    write_anchor_of_a_crash(f);
    assert_starts(f);
    put_back_log_and_anchor(f); /* of the first, the page and the store's list are left */
    parts_keep_page(&f->parts);
    assert_starts(f);
    put_back_log_and_anchor(f); /* of the second, the list alone */
    parts_put_page_back(&f->parts);
    assert_starts(f);
}

/* As a recovery leaves it, in the boot in which the store was served: the page is of the
 * epoch before. */
static void a_page_of_the_epoch_before_is_of_this_store_though_the_list_is_full(void **state)
{
    struct fixture *f = *state;

    fill_list(f);
    parts_keep_page(&f->parts);
    mark_as_backup(f);
    assert_starts(f);
    parts_put_page_back(&f->parts);
    assert_starts(f);
}

#define EPOCH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EPOCH_TEST(a_log_and_a_store_of_two_epochs_are_refused),
        EPOCH_TEST(an_anchor_of_an_earlier_epoch_does_not_bring_it_back),
        EPOCH_TEST(an_anchor_of_a_later_epoch_is_refused),
        EPOCH_TEST(a_restore_that_is_cut_short_begins_an_epoch_once_more),
        EPOCH_TEST(a_start_after_a_crash_that_is_cut_short_begins_an_epoch_once_more),
        EPOCH_TEST(a_list_of_epochs_that_cannot_be_read_is_refused),
        EPOCH_TEST(two_starts_that_are_cut_short_are_begun_once_more_though_the_list_is_full),
        EPOCH_TEST(a_page_of_the_epoch_before_is_of_this_store_though_the_list_is_full),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("start-up and epochs", tests, NULL, NULL);
}
