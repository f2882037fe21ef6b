/*
 * RocksDB's MANIFEST with an entry at its end that a power cut has torn: what is known to be
 * synced is opened, reading changes nothing, writing cuts the rest off. A byte less than is
 * known to be synced is damage.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/store.h"
#include "tests/support/temp_directory.h"

enum {
    PATH_BYTES = 512,
    TORN_BYTES = 300
};

struct fixture {
    char root[TEMP_DIRECTORY_BYTES_MAX];
    char data[PATH_BYTES];
    char logs[PATH_BYTES];
    struct store_books books;
};

static enum es_status open_store(struct fixture *f, enum store_mode mode,
                                 const struct store_books *books, struct store **ret_store)
{
    char why[STORE_WHY_BYTES];
    const struct store_rocksdb_options options = {.directory = f->data,
                                                  .logs_directory = f->logs,
                                                  .mode = mode,
                                                  .unflushed_bytes_max = 1 << 20,
                                                  .books = *books};

    return store_rocksdb_open(&options, why, ret_store);
}

static void manifest_path(const struct fixture *f, char path[PATH_BYTES + 64])
{
    snprintf(path, PATH_BYTES + 64, "%s/MANIFEST-%06llu", f->data,
             (unsigned long long)f->books.number);
}

static uint64_t manifest_size(const struct fixture *f)
{
    char path[PATH_BYTES + 64];
    struct stat about;

    manifest_path(f, path);
    assert_int_equal(stat(path, &about), 0);
    return (uint64_t)about.st_size;
}

/* What a power cut may leave of an entry: its CRC does not fit. */
static void append_half(const struct fixture *f)
{
    const uint8_t half[TORN_BYTES] = {1, 2, 3, 4, 100, 0, 1};
    char path[PATH_BYTES + 64];
    int file = -1;

    manifest_path(f, path);
    file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(file, half, sizeof half), sizeof half);
    close(file);
}

/* A store with one key, whose books are known, and behind them half an entry. */
static void make_torn(struct fixture *f)
{
    const struct store_slice key = {"key", 3};
    const struct store_books none = {0};
    struct store_batch *writes = NULL;
    struct store *store = NULL;

    temp_directory_make_tmpfs(f->root);
    snprintf(f->data, sizeof f->data, "%s/rocksdb", f->root);
    snprintf(f->logs, sizeof f->logs, "%s/logs", f->root);
    assert_int_equal(mkdir(f->logs, 0700), 0);
    assert_int_equal(open_store(f, STORE_CREATE, &none, &store), ES_OK);
    assert_int_equal(store_batch_new(&writes), ES_OK);
    assert_int_equal(store_batch_put(writes, STORE_KV, key, key), ES_OK);
    assert_int_equal(store_apply(store, writes, STORE_APPLY_LIVE), ES_OK);
    assert_int_equal(store_flush_all(store), ES_OK);
    assert_int_equal(store_books(store, &f->books), ES_OK);
    store_batch_free(writes);
    store_free(store);
    assert_int_equal(manifest_size(f), f->books.bytes);
    append_half(f);
}

static void assert_key_is_there(struct store *store)
{
    struct store_buffer value = {0};

    assert_int_equal(store_get(store, NULL, STORE_KV, (struct store_slice){"key", 3}, &value),
                     ES_OK);
    assert_int_equal(value.size, 3);
    store_buffer_deinit(&value);
}

static void a_torn_entry_is_read_past_and_nothing_is_changed(void **state)
{
    struct store *store = NULL;
    struct fixture f;

    (void)state;
    make_torn(&f);
    assert_int_equal(open_store(&f, STORE_READ_ONLY, &f.books, &store), ES_OK);
    assert_key_is_there(store);
    store_free(store);
    assert_int_equal(manifest_size(&f), f.books.bytes + TORN_BYTES);
    temp_directory_remove(f.root);
}

static void books_that_nobody_was_told_of_may_be_torn_behind_their_beginning(void **state)
{
    struct store_books older = {0};
    struct store *store = NULL;
    char path[PATH_BYTES + 64];
    struct fixture f;

    (void)state;
    make_torn(&f);
    older = f.books;
    assert_int_equal(open_store(&f, STORE_READ_WRITE, &older, &store), ES_OK); /* begins new ones */
    assert_int_equal(store_books(store, &f.books), ES_OK);
    store_free(store);
    assert_true(f.books.number > older.number);
    append_half(&f);
    assert_int_equal(open_store(&f, STORE_READ_ONLY, &older, &store), ES_OK);
    assert_key_is_there(store);
    store_free(store);
    manifest_path(&f, path);
    assert_int_equal(truncate(path, 400), 0); /* not even the families are all there */
    assert_int_equal(open_store(&f, STORE_READ_ONLY, &older, &store), ES_E_CORRUPT);
    temp_directory_remove(f.root);
}

static void a_torn_entry_is_cut_off_to_write(void **state)
{
    const struct store_books none = {0};
    struct store *store = NULL;
    struct fixture f;

    (void)state;
    make_torn(&f);
    assert_int_equal(open_store(&f, STORE_READ_WRITE, &f.books, &store), ES_OK);
    assert_key_is_there(store);
    store_free(store);
    assert_int_equal(open_store(&f, STORE_READ_ONLY, &none, &store), ES_OK);
    assert_key_is_there(store);
    store_free(store);
    temp_directory_remove(f.root);
}

static void a_torn_entry_that_was_synced_is_damage(void **state)
{
    struct store_books wrong[3] = {{0}, {0}, {0}};
    struct store *store = NULL;
    struct fixture f;

    (void)state;
    make_torn(&f);
    wrong[1] = (struct store_books){f.books.number, f.books.bytes + 1};
    wrong[2] = (struct store_books){f.books.number + 1, f.books.bytes};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(open_store(&f, STORE_READ_ONLY, &wrong[i], &store), ES_E_CORRUPT);
        assert_int_equal(open_store(&f, STORE_READ_WRITE, &wrong[i], &store), ES_E_CORRUPT);
    }
    assert_int_equal(manifest_size(&f), f.books.bytes + TORN_BYTES);
    temp_directory_remove(f.root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_entry_is_read_past_and_nothing_is_changed),
        cmocka_unit_test(books_that_nobody_was_told_of_may_be_torn_behind_their_beginning),
        cmocka_unit_test(a_torn_entry_is_cut_off_to_write),
        cmocka_unit_test(a_torn_entry_that_was_synced_is_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
