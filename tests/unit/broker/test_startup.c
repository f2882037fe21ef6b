#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/limits.h"
#include "broker/logger.h"
#include "broker/store.h"
#include "shm/codec/hash.h"
#include "shm/codec/store_key.h"
#include "shm/codec/store_value.h"
#include "tests/support/commit_parts.h"
#include "tests/support/parts_files.h"

static void overwrite(const struct commit_parts *parts, const char *name, off_t offset,
                      const void *bytes, size_t size)
{
    char path[512];
    int fd = -1;

    parts_path(parts, name, path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, offset), size);
    close(fd);
}

static void a_killed_broker_goes_on_where_it_was(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct history_point before;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 50);
    before = *committer_end(parts->committer);
    commit_parts_drop(parts);

    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->startup.end.position, 50);
    assert_int_equal(parts->startup.end.batch_number, before.batch_number);
    assert_memory_equal(parts->startup.end.store_hash, before.store_hash, ES_HASH_SIZE);
    assert_int_equal(parts->startup.state.start_number, 2);
    assert_true(parts->startup.remains.is_usable);
    parts_append(parts, &producer, 1);
    parts_detach(&producer);
}

/* What lies in the lanes was written for the sizes of then. */
static void other_sizes_wait_until_the_lanes_are_given_back(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    struct es_geometry found = parts->geometry;
    struct es_lane_result result;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 3);
    assert_int_equal(parts_publish(&producer, PARTS_ORDERS, PARTS_ANY, 3, true), ES_OK);
    commit_parts_drop(parts);

    assert_int_equal(
        es_geometry_make(found.slot_count * 2, ES_ARENA_BYTES_MIN * 2, &parts->geometry), ES_OK);
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->geometry.slot_count, found.slot_count);
    assert_int_equal(commit_parts_round(parts, 1), ES_OK);
    assert_int_equal(es_lane_collect(&producer.writer, &result), ES_OK);
    assert_int_equal(result.position, 4);

    es_lane_close(&producer.writer);
    parts_detach(&producer);
    lanes_tidy(parts->lanes);
    commit_parts_drop(parts);
    assert_int_equal(es_geometry_make(found.slot_count * 2, ES_ARENA_BYTES_MIN, &parts->geometry),
                     ES_OK);
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->geometry.slot_count, found.slot_count * 2);
    assert_int_equal(parts->startup.end.position, 4);
}

static void a_start_may_itself_be_cut_short(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 20);
    for (int i = 0; i < 5; i++) {
        commit_parts_drop(parts);
        assert_int_equal(commit_parts_open(parts), ES_OK);
        assert_int_equal(parts->startup.end.position, 20);
    }
    parts_append(parts, &producer, 3);
    parts_detach(&producer);
}

/* An older copy of the whole directory: the control page of this boot knows more. */
static void an_older_copy_is_refused(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 10);
    commit_parts_drop(parts);
    parts_copy(parts, "data", "older");
    assert_int_equal(commit_parts_open(parts), ES_OK);
    parts_append(parts, &producer, 10);
    commit_parts_drop(parts);
    parts_copy(parts, "data", "newer");
    parts_copy(parts, "older", "data");

    parts_assert_refused(parts, ES_E_CORRUPT, "positions 11 to 20");
    parts_copy(parts, "newer", "data");
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->startup.end.position, 20);
    parts_detach(&producer);
}

static void files_of_different_times_are_refused(void **state)
{
    static const char *const parts_of_store[] = {"log", "rocksdb"};
    static const char *const says[] = {"are lost", "rocksdb/ is older than log/"};
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    char from[64];
    char to[64];

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 10);
    commit_parts_drop(parts);
    parts_copy(parts, "data", "older");
    assert_int_equal(commit_parts_open(parts), ES_OK);
    parts_append(parts, &producer, 400); /* more than the log holds: it has gone round */
    commit_parts_drop(parts);
    parts_copy(parts, "data", "newer");
    for (size_t i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "older/%s", parts_of_store[i]);
        snprintf(to, sizeof to, "data/%s", parts_of_store[i]);
        parts_copy(parts, from, to);
        parts_assert_refused(parts, ES_E_CORRUPT, says[i]);
        parts_copy(parts, "newer", "data");
    }
    /* The anchor is a witness that can only refuse: an older one is no contradiction. */
    parts_copy(parts, "older/anchor", "data/anchor");
    assert_int_equal(commit_parts_open(parts), ES_OK);
    parts_detach(&producer);
}

static void a_missing_part_is_refused(void **state)
{
    static const char *const names[] = {"log", "rocksdb", "anchor", "log/segment-01"};
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 10);
    commit_parts_drop(parts);
    parts_copy(parts, "data", "whole");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char from[600];
        char to[600];

        snprintf(from, sizeof from, "%s/data/%s", parts->root, names[i]);
        snprintf(to, sizeof to, "%s/aside", parts->root);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(commit_parts_open(parts), ES_E_CORRUPT);
        assert_int_equal(rename(to, from), 0);
    }
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->startup.end.position, 10);
    parts_detach(&producer);
}

static void a_newer_format_is_refused(void **state)
{
    struct commit_parts *parts = *state;
    uint8_t value[ES_STORE_VALUE_SIZE_MAX];
    struct es_store_identity identity = {.format_version = ES_STORE_FORMAT_VERSION + 1};
    struct store_batch *writes = NULL;
    struct es_key key;
    uint32_t size = 0;

    memcpy(identity.store_id, parts->startup.state.store_id, sizeof identity.store_id);
    assert_int_equal(es_store_identity_encode(&identity, value, sizeof value, &size), ES_OK);
    es_key_store(&key);
    assert_int_equal(store_batch_new(&writes), ES_OK);
    assert_int_equal(store_batch_put(writes, STORE_DEFAULT,
                                     (struct store_slice){key.bytes, key.size},
                                     (struct store_slice){value, size}),
                     ES_OK);
    assert_int_equal(store_apply(parts->startup.store, writes, STORE_APPLY_LIVE), ES_OK);
    assert_int_equal(store_flush_all(parts->startup.store), ES_OK);
    store_batch_free(writes);
    commit_parts_drop(parts);

    parts_assert_refused(parts, ES_E_VERSION, "newer Eventspine");
}

static void a_creation_that_was_cut_short_begins_again(void **state)
{
    struct commit_parts *parts = *state;
    char path[512];
    int fd = -1;

    commit_parts_drop(parts);
    parts_path(parts, "data/creating", path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
    parts_path(parts, "data/anchor", path);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->startup.end.position, 0);
    assert_int_equal(parts->startup.state.start_number, 1);
    parts_path(parts, "data/creating", path);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_directory_of_others_is_refused(void **state)
{
    struct commit_parts *parts = *state;
    char path[512];
    struct startup_options options = {
        .data_path = path, .durability = ANCHOR_FSYNC, .geometry = parts->log_geometry};
    struct startup startup;
    char link[512];

    parts_path(parts, "open", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(startup_open(&options, &parts->counters, &startup, parts->why),
                     ES_E_PERMISSION);
    assert_non_null(strstr(parts->why, "chmod go-w"));

    parts_path(parts, "link", link);
    assert_int_equal(symlink("data", link), 0);
    options.data_path = link;
    assert_int_equal(startup_open(&options, &parts->counters, &startup, parts->why),
                     ES_E_PERMISSION);
    assert_non_null(strstr(parts->why, "not a link"));
}

static void a_second_broker_is_told_who_has_the_directory(void **state)
{
    struct commit_parts *parts = *state;
    char path[512];
    char pid[64];
    struct startup_options options = {
        .data_path = path, .durability = ANCHOR_FSYNC, .geometry = parts->log_geometry};
    struct startup startup;

    parts_path(parts, "data", path);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_int_equal(startup_open(&options, &parts->counters, &startup, parts->why), ES_E_BUSY);
    assert_non_null(strstr(parts->why, pid));
}

/* Where the last byte of a file is that is not zero. */
static off_t last_byte(const char *path)
{
    struct stat stat_of_file;
    uint8_t byte = 0;
    int fd = open(path, O_RDONLY);
    off_t at = 0;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &stat_of_file), 0);
    for (at = stat_of_file.st_size - 1; byte == 0; at--) {
        assert_true(at > 0);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
    }
    close(fd);
    return at;
}

/* The last record torn by a power cut: without anybody who vouches for it the
 * history ends before it; where the anchor or the control page of this boot
 * knows of it, it is damage. */
static void a_torn_tail_is_damage_only_where_somebody_vouches_for_it(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    uint8_t zeros[40] = {0};
    char log_path[512];
    char control_path[512];

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 4);
    commit_parts_drop(parts);
    parts_copy(parts, "data/anchor", "anchor-of-4");
    assert_int_equal(commit_parts_open(parts), ES_OK);
    parts_append(parts, &producer, 1);
    assert_int_equal(witness_stop_clean(parts->witness), ES_OK);
    commit_parts_drop(parts);
    parts_path(parts, "data/log/segment-02", log_path); /* the second start's */
    overwrite(parts, "data/log/segment-02", last_byte(log_path) - 40, zeros, sizeof zeros);

    parts_assert_refused(parts, ES_E_CORRUPT, "positions 5 to 5"); /* anchor and control page */
    snprintf(control_path, sizeof control_path, "%s/control", parts->segments);
    assert_int_equal(unlink(control_path), 0);
    parts_assert_refused(parts, ES_E_CORRUPT, "positions 5 to 5"); /* the anchor alone */
    parts_copy(parts, "anchor-of-4", "data/anchor");
    assert_int_equal(commit_parts_open(parts), ES_OK);
    assert_int_equal(parts->startup.end.position, 4);
    assert_false(parts->startup.remains.is_usable);
    parts_detach(&producer);
}

/* Whatever sizes are wanted now: it still says what was durable. */
static void a_control_page_of_other_sizes_is_a_witness(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;
    uint8_t zeros[40] = {0};
    char log_path[512];
    uint32_t slot_count = parts->geometry.slot_count;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 4);
    parts_copy(parts, "data/anchor", "anchor-of-4");
    parts_append(parts, &producer, 1);
    es_lane_close(&producer.writer);
    parts_detach(&producer);
    lanes_tidy(parts->lanes);
    commit_parts_drop(parts);
    parts_path(parts, "data/log/segment-01", log_path);
    overwrite(parts, "data/log/segment-01", last_byte(log_path) - 40, zeros, sizeof zeros);
    parts_copy(parts, "anchor-of-4", "data/anchor");
    assert_int_equal(es_geometry_make(slot_count * 2, ES_ARENA_BYTES_MIN, &parts->geometry), ES_OK);

    parts_assert_refused(parts, ES_E_CORRUPT, "positions 5 to 5");
}

/* RocksDB holds a commit that the log does not: whichever family tells it. */
static void put_commit_ahead(const struct commit_parts *parts)
{
    char data[512];
    char logs[512];
    char why[STORE_WHY_BYTES];
    const struct store_rocksdb_options options = {.directory = data,
                                                  .logs_directory = logs,
                                                  .mode = STORE_READ_WRITE,
                                                  .unflushed_bytes_max = 1 << 20};
    struct store_range all = {.first = {NULL, 0}, .end = {NULL, 0}};
    struct store_iterator *newest = NULL;
    struct store_batch *writes = NULL;
    struct store *store = NULL;
    struct es_key key;

    parts_path(parts, "data/rocksdb", data);
    parts_path(parts, "data/rocksdb-logs", logs);
    assert_int_equal(store_rocksdb_open(&options, why, &store), ES_OK);
    assert_int_equal(store_iterator_new(store, NULL, STORE_COMMITS, &all, &newest), ES_OK);
    store_iterator_seek_last(newest);
    assert_true(store_iterator_valid(newest));
    assert_int_equal(store_batch_new(&writes), ES_OK);
    es_key_commit(5, 5, &key);
    assert_int_equal(store_batch_put(writes, STORE_COMMITS,
                                     (struct store_slice){key.bytes, key.size},
                                     store_iterator_value(newest)),
                     ES_OK);
    store_iterator_free(newest);
    assert_int_equal(store_apply(store, writes, STORE_APPLY_LIVE), ES_OK);
    assert_int_equal(store_flush_all(store), ES_OK);
    store_batch_free(writes);
    store_free(store);
}

static void a_log_that_ends_before_the_store_is_refused(void **state)
{
    struct commit_parts *parts = *state;
    struct parts_producer producer;

    parts_attach(parts, &producer);
    parts_append(parts, &producer, 4);
    parts_detach(&producer);
    commit_parts_drop(parts);
    assert_int_equal(commit_parts_open(parts), ES_OK);
    commit_parts_drop(parts);

    put_commit_ahead(parts);
    parts_assert_refused(parts, ES_E_CORRUPT, "commit 5: the end of the log is missing");
}

#define STARTUP_TEST(name) \
    cmocka_unit_test_setup_teardown(name, commit_parts_setup, commit_parts_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STARTUP_TEST(a_killed_broker_goes_on_where_it_was),
        STARTUP_TEST(other_sizes_wait_until_the_lanes_are_given_back),
        STARTUP_TEST(a_control_page_of_other_sizes_is_a_witness),
        STARTUP_TEST(a_start_may_itself_be_cut_short),
        STARTUP_TEST(an_older_copy_is_refused),
        STARTUP_TEST(files_of_different_times_are_refused),
        STARTUP_TEST(a_missing_part_is_refused),
        STARTUP_TEST(a_newer_format_is_refused),
        STARTUP_TEST(a_creation_that_was_cut_short_begins_again),
        STARTUP_TEST(a_directory_of_others_is_refused),
        STARTUP_TEST(a_second_broker_is_told_who_has_the_directory),
        STARTUP_TEST(a_log_that_ends_before_the_store_is_refused),
        STARTUP_TEST(a_torn_tail_is_damage_only_where_somebody_vouches_for_it),
    };

    logger_set_level(LOGGER_ERROR);
    es_hash_warm_up();
    return cmocka_run_group_tests_name("start-up", tests, NULL, NULL);
}
