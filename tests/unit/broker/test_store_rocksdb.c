/*
 * What only the RocksDB store promises: what a flush makes durable and what not,
 * reading a store without changing a byte of it, checkpoints.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <rocksdb/c.h>

#include "broker/store_rocksdb_settings.h"
#include "tests/support/rocks_fixture.h"

static const char flush_argument[] = "--flush-without-room";

/* A number that changes when any name, byte or time of the store's files does. */
static uint64_t fingerprint(const struct store_fixture *f)
{
    static uint8_t bytes[1 << 20];
    char directory[ROCKS_FIXTURE_PATH_BYTES];
    uint64_t sum = 0;
    struct dirent *entry = NULL;
    DIR *listing = NULL;

    rocks_path(f, "", directory);
    listing = opendir(directory);
    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL) {
        char path[ROCKS_FIXTURE_PATH_BYTES];
        struct stat about;
        uint64_t of_file = 14695981039346656037U;
        int file = -1;
        ssize_t size = 0;

        if (entry->d_name[0] == '.') {
            continue;
        }
        rocks_path(f, entry->d_name, path);
        assert_int_equal(stat(path, &about), 0);
        file = open(path, O_RDONLY);
        assert_true(file >= 0);
        size = read(file, bytes, sizeof bytes);
        assert_int_equal(size, about.st_size);
        close(file);
        for (ssize_t i = 0; i < size; i++) {
            of_file = (of_file ^ bytes[i]) * 1099511628211U;
        }
        for (const char *c = entry->d_name; *c != '\0'; c++) {
            of_file = (of_file ^ (uint8_t)*c) * 1099511628211U;
        }
        sum += of_file ^ (uint64_t)about.st_mtim.tv_nsec ^ (uint64_t)about.st_ino;
    }
    closedir(listing);
    return sum;
}

/* ---- Flushes ------------------------------------------------------------------ */

static void what_was_flushed_is_there_after_a_reopen_and_the_rest_is_not(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put(f, STORE_KV, "k", "flushed");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    fixture_put_event(f, "S:a:E:", 2, "two");
    fixture_put(f, STORE_KV, "k", "only in memory");
    fixture_apply(f);
    rocks_expect_reopen(f, STORE_READ_WRITE);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 1), "one");
    assert_null(fixture_get_event(f, "S:a:E:", 2));
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "k"), "flushed");
}

/* What is applied after the cut is not in it: the log may not have synced it yet. */
static void a_cut_holds_what_was_applied_before_it_and_nothing_after(void **state)
{
    struct store_fixture *f = *state;

    fixture_put(f, STORE_KV, "before", "x");
    fixture_put(f, STORE_COMMITS, "before", "x");
    fixture_apply(f);
    assert_int_equal(store_flush_begin(f->store), ES_OK);
    assert_int_equal(store_flush_begin(f->store), ES_FULL);
    fixture_put(f, STORE_KV, "after", "x");
    fixture_put(f, STORE_COMMITS, "after", "x");
    fixture_apply(f);
    assert_int_equal(store_flush_wait(f->store), ES_OK);
    assert_int_equal(store_flush_wait(f->store), ES_OK); /* nothing is open: at once */
    rocks_expect_reopen(f, STORE_READ_WRITE);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "before"), "x");
    assert_string_equal(fixture_get(f, NULL, STORE_COMMITS, "before"), "x");
    assert_null(fixture_get(f, NULL, STORE_KV, "after"));
    assert_null(fixture_get(f, NULL, STORE_COMMITS, "after"));
}

/* A family never flushes by itself, however much it takes: nothing unsynced reaches the disk. */
static void no_family_flushes_by_itself(void **state)
{
    struct store_fixture *f = *state;
    static char value[16 * 1024];

    memset(value, 'v', sizeof value - 1);
    for (int i = 0; i < 1000; i++) { /* 16 MB, of a log of 1 MB */
        char key[32];

        snprintf(key, sizeof key, "key %d", i);
        fixture_put(f, STORE_SNAPSHOTS, key, value);
        fixture_apply(f);
    }
    rocks_expect_reopen(f, STORE_READ_WRITE);
    assert_null(fixture_get(f, NULL, STORE_SNAPSHOTS, "key 0"));
}

/* A program of its own: files may not grow any more, then a flush. 0: told to have failed. */
static int flush_without_room(const char *directory)
{
    struct rlimit limit = {.rlim_cur = 8192, .rlim_max = 8192};
    struct rlimit no_core = {.rlim_cur = 0, .rlim_max = 0};
    struct store_fixture f = {.kind = FIXTURE_ROCKSDB};
    char why[STORE_WHY_BYTES];

    if (fixture_open_rocksdb(directory, STORE_READ_WRITE, why, &f.store) != ES_OK ||
        store_batch_new(&f.batch) != ES_OK || signal(SIGXFSZ, SIG_IGN) == SIG_ERR) {
        return 1;
    }
    for (int i = 0; i < 2000; i++) {
        char key[16];

        snprintf(key, sizeof key, "key %d", i * 7919);
        fixture_put(&f, STORE_KV, key, key);
    }
    fixture_apply(&f);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || setrlimit(RLIMIT_CORE, &no_core) != 0) {
        return 1;
    }
    return store_flush_all(f.store) == ES_E_IO ? 0 : 2;
}

/* Debian's RocksDB, built with its assertions, may abort instead of telling: fail-stop too. */
static void a_flush_that_fails_is_never_called_done(void **state)
{
    struct store_fixture *f = *state;
    int status = 0;
    pid_t child = 0;

    fixture_put(f, STORE_KV, "k", "flushed before");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    store_free(f->store);
    f->store = NULL;
    child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* as a new program: RocksDB's threads do not survive a fork */
        execl("/proc/self/exe", "test_store_rocksdb", flush_argument, f->directory, (char *)NULL);
        _exit(3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
    rocks_expect_reopen(f, STORE_READ_WRITE);
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "k=flushed before ");
}

static void events_stay_immutable_after_a_reopen(void **state)
{
    struct store_fixture *f = *state;

    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put_event(f, "S:a:E:", 2, "two");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    rocks_expect_reopen(f, STORE_READ_WRITE);
    fixture_put_event(f, "S:a:E:", 2, "zwei");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
    rocks_expect_reopen(f, STORE_READ_WRITE);
    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_put_event(f, "S:a:E:", 2, "two");
    fixture_put_event(f, "S:a:E:", 3, "three");
    assert_int_equal(fixture_try(f, STORE_APPLY_REPLAY), ES_OK);
    fixture_put_event(f, "S:a:E:", 3, "drei");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
}

/* Files are passed over by the streams in them: ranges across streams, and the look for a
 * stream's highest sequence, must find all of it all the same. */
static void streams_spread_over_many_files_are_read_and_guarded_whole(void **state)
{
    enum {
        STREAMS = 40,
        FILES = 9
    };
    struct store_fixture *f = *state;
    struct store_range range = {{"S:00:A:8 bytes..", 15}, {"S;", 2}}; /* a stream in no file */
    struct store_iterator *iterator = NULL;
    char prefix[32];
    int count = 0;

    for (uint64_t file = 1; file <= FILES; file++) {
        for (int i = 0; i < STREAMS; i++) {
            if ((uint64_t)i % FILES + 1 >= file) { /* each stream ends in another file */
                snprintf(prefix, sizeof prefix, "S:%02d:E:", i);
                fixture_put_event(f, prefix, file, prefix);
                count++;
            }
        }
        fixture_apply(f);
        assert_int_equal(store_flush_all(f->store), ES_OK);
    }
    rocks_expect_reopen(f, STORE_READ_WRITE);
    assert_int_equal(store_iterator_new(f->store, NULL, STORE_EVENTS, &range, &iterator), ES_OK);
    for (store_iterator_seek_first(iterator); store_iterator_valid(iterator);
         store_iterator_next(iterator)) {
        count--;
    }
    assert_int_equal(store_iterator_status(iterator), ES_OK);
    assert_int_equal(count, 0);
    store_iterator_free(iterator);
    for (int i = 0; i < STREAMS; i++) {
        uint64_t last = (uint64_t)i % FILES + 1;

        snprintf(prefix, sizeof prefix, "S:%02d:E:", i);
        fixture_put_event(f, prefix, last, "twice");
        assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_EXISTS);
        fixture_put_event(f, prefix, last + 1, "next");
        fixture_apply(f);
    }
}

/* ---- Reading only ---------------------------------------------------------------- */

static void reading_only_changes_no_byte_and_refuses_to_write(void **state)
{
    struct store_fixture *f = *state;
    uint64_t before = 0;

    fixture_put_event(f, "S:a:E:", 1, "one");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    store_free(f->store);
    f->store = NULL;
    before = fingerprint(f);
    rocks_expect_reopen(f, STORE_READ_ONLY);
    assert_string_equal(fixture_get_event(f, "S:a:E:", 1), "one");
    assert_string_equal(fixture_list(f, NULL, STORE_KV, "", ""), "");
    fixture_put(f, STORE_KV, "k", "v");
    assert_int_equal(fixture_try(f, STORE_APPLY_LIVE), ES_E_PERMISSION);
    assert_int_equal(store_flush_begin(f->store), ES_E_PERMISSION);
    store_free(f->store);
    f->store = NULL;
    assert_int_equal(fingerprint(f), before);
}

static void rocksdbs_own_logs_lie_outside_of_the_store(void **state)
{
    struct store_fixture *f = *state;
    char path[ROCKS_FIXTURE_PATH_BYTES];

    rocks_expect_reopen(f, STORE_READ_WRITE);
    rocks_path(f, "LOG", path);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- Checkpoints --------------------------------------------------------------------- */

static void a_checkpoint_is_a_store_of_its_own(void **state)
{
    struct store_fixture *f = *state;
    char copy[TEMP_DIRECTORY_BYTES_MAX];
    char path[ROCKS_FIXTURE_PATH_BYTES];
    char why[STORE_WHY_BYTES] = "";
    struct store *original = f->store;

    temp_directory_make(copy);
    snprintf(path, sizeof path, "%s/db", copy);
    fixture_put(f, STORE_KV, "k", "in both"); /* not flushed before */
    fixture_apply(f);
    assert_int_equal(store_checkpoint(f->store, path), ES_OK);
    assert_int_equal(store_checkpoint(f->store, path), ES_E_EXISTS);
    fixture_put(f, STORE_KV, "k", "in the original alone");
    fixture_apply(f);
    assert_int_equal(fixture_open_rocksdb(copy, STORE_READ_WRITE, why, &f->store), ES_OK);
    assert_string_equal(fixture_get(f, NULL, STORE_KV, "k"), "in both");
    store_free(f->store);
    f->store = original;
    temp_directory_remove(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rocks_set_up, fixture_tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_flushed_is_there_after_a_reopen_and_the_rest_is_not),
        TEST(a_cut_holds_what_was_applied_before_it_and_nothing_after),
        TEST(no_family_flushes_by_itself),
        TEST(a_flush_that_fails_is_never_called_done),
        TEST(events_stay_immutable_after_a_reopen),
        TEST(streams_spread_over_many_files_are_read_and_guarded_whole),
        TEST(reading_only_changes_no_byte_and_refuses_to_write),
        TEST(rocksdbs_own_logs_lie_outside_of_the_store),
        TEST(a_checkpoint_is_a_store_of_its_own),
    };

    if (argc == 3 && strcmp(argv[1], flush_argument) == 0) {
        _exit(flush_without_room(argv[2]));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
