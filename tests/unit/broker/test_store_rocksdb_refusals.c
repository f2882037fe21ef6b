/*
 * What a RocksDB store is not opened for: none there, one there already, in use, of
 * other families or settings, or damaged.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <rocksdb/c.h>

#include "broker/store_rocksdb_settings.h"
#include "tests/support/rocks_fixture.h"

static void where_there_is_no_store_none_is_opened(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";
    char empty[TEMP_DIRECTORY_BYTES_MAX];
    struct store *store = NULL;

    (void)f;
    temp_directory_make(empty);
    assert_int_equal(fixture_open_rocksdb(empty, STORE_READ_WRITE, why, &store), ES_NOT_FOUND);
    assert_int_equal(fixture_open_rocksdb(empty, STORE_READ_ONLY, why, &store), ES_NOT_FOUND);
    assert_string_not_equal(why, "");
    temp_directory_remove(empty);
}

static void where_there_is_a_store_none_is_created(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";

    assert_int_equal(rocks_reopen(f, STORE_CREATE, why), ES_E_EXISTS);
    rocks_expect_reopen(f, STORE_READ_WRITE);
}

static void a_store_is_opened_for_writing_by_one_at_a_time(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";
    struct store *second = NULL;

    assert_int_equal(fixture_open_rocksdb(f->directory, STORE_READ_WRITE, why, &second), ES_E_BUSY);
    assert_null(second);
}

/* Adds a family to the closed store, or drops one, as another program might. */
static void change_families(struct store_fixture *f, const char *add, const char *drop)
{
    char path[ROCKS_FIXTURE_PATH_BYTES];
    char *why = NULL;
    const char *names[STORE_FAMILY_COUNT];
    const rocksdb_options_t *all[STORE_FAMILY_COUNT];
    rocksdb_column_family_handle_t *handles[STORE_FAMILY_COUNT];
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_t *db = NULL;

    store_free(f->store);
    f->store = NULL;
    rocks_path(f, "", path);
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        names[i] = store_family_name((enum store_family)i);
        all[i] = options;
    }
    db = rocksdb_open_column_families(options, path, STORE_FAMILY_COUNT, names, all, handles, &why);
    assert_null(why);
    if (add != NULL) {
        rocksdb_column_family_handle_destroy(rocksdb_create_column_family(db, options, add, &why));
    }
    for (int i = 0; i < STORE_FAMILY_COUNT; i++) {
        if (drop != NULL && strcmp(drop, names[i]) == 0) {
            rocksdb_drop_column_family(db, handles[i], &why);
        }
        rocksdb_column_family_handle_destroy(handles[i]);
    }
    assert_null(why);
    rocksdb_close(db);
    rocksdb_options_destroy(options);
}

static void a_store_with_other_families_is_refused(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";

    change_families(f, "of_a_newer_program", NULL);
    assert_int_equal(rocks_reopen(f, STORE_READ_WRITE, why), ES_E_VERSION);
    assert_int_equal(rocks_reopen(f, STORE_READ_ONLY, why), ES_E_VERSION);
    assert_non_null(strstr(why, "newer"));
}

static void a_store_that_lacks_a_family_is_damaged(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";

    change_families(f, NULL, "commits");
    assert_int_equal(rocks_reopen(f, STORE_READ_ONLY, why), ES_E_CORRUPT);
    assert_non_null(strstr(why, "missing"));
}

static void a_missing_or_cut_manifest_is_damage(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";
    char path[ROCKS_FIXTURE_PATH_BYTES];

    fixture_put(f, STORE_KV, "k", "v");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    rocks_find_file(f, "MANIFEST", path);
    assert_int_equal(truncate(path, 200), 0);
    assert_int_not_equal(rocks_reopen(f, STORE_READ_ONLY, why), ES_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_open_rocksdb(f->directory, STORE_READ_ONLY, why, &f->store),
                     ES_E_CORRUPT);
    rocks_path(f, "CURRENT", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_open_rocksdb(f->directory, STORE_READ_WRITE, why, &f->store),
                     ES_E_CORRUPT);
}

/* Damage in a file of values is an error of the read, never "not found" and never other bytes. */
static void a_damaged_value_is_told_and_not_served(void **state)
{
    struct store_fixture *f = *state;
    char path[ROCKS_FIXTURE_PATH_BYTES];
    struct store_range all = {{NULL, 0}, {NULL, 0}};
    struct store_iterator *iterator = NULL;
    struct store_buffer value = {0};

    fixture_put_event(f, "S:a:E:", 1, "a value to be damaged");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    rocks_find_file(f, ".sst", path);
    rocks_expect_reopen(f, STORE_READ_ONLY);
    rocks_overwrite(path, 10, "\x55\xaa\x55", 3);
    assert_int_equal(store_get(f->store, NULL, STORE_EVENTS,
                               (struct store_slice){"S:a:E:\0\0\0\0\0\0\0\1", 14}, &value),
                     ES_E_CORRUPT);
    assert_string_not_equal(store_why(f->store), "");
    assert_int_equal(store_iterator_new(f->store, NULL, STORE_EVENTS, &all, &iterator), ES_OK);
    store_iterator_seek_first(iterator);
    assert_false(store_iterator_valid(iterator));
    assert_int_equal(store_iterator_status(iterator), ES_E_CORRUPT);
    store_iterator_free(iterator);
    store_buffer_deinit(&value);
}

/* An accepted string is not always effective: what RocksDB wrote down is compared. */
static void settings_that_are_not_in_effect_are_refused(void **state)
{
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";
    char path[ROCKS_FIXTURE_PATH_BYTES];
    char text[128];

    rocks_path(f, "", path);
    assert_int_equal(store_settings_verify(path, 1 << 20, why), ES_OK);
    assert_int_equal(store_settings_verify(path, 1 << 30, why), ES_E_VERSION);
    assert_non_null(strstr(why, "write_buffer_size"));
    rocks_path(f, "OPTIONS-999999", path);
    snprintf(text, sizeof text, "[DBOptions]\n  paranoid_checks=false\n");
    {
        int file = open(path, O_WRONLY | O_CREAT, 0600);

        assert_true(file >= 0);
        assert_int_equal(write(file, text, strlen(text)), strlen(text));
        close(file);
    }
    rocks_path(f, "", path);
    assert_int_equal(store_settings_verify(path, 1 << 20, why), ES_E_VERSION);
    assert_non_null(strstr(why, "paranoid_checks=true"));
    snprintf(path, sizeof path, "%s/logs", f->directory);
    assert_int_equal(store_settings_verify(path, 1 << 20, why), ES_E_IO);
}

/* No checksum covers it, and with another format than it has RocksDB ends the process. */
static void a_table_that_names_another_format_or_checksum_is_damage(void **state)
{
    static const int from_end[] = {53, 12, 11};
    struct store_fixture *f = *state;
    char why[STORE_WHY_BYTES] = "";
    char path[ROCKS_FIXTURE_PATH_BYTES];
    uint8_t byte = 0;
    off_t size = 0;
    int file = -1;

    fixture_put(f, STORE_KV, "k", "v");
    fixture_apply(f);
    assert_int_equal(store_flush_all(f->store), ES_OK);
    rocks_find_file(f, ".sst", path);
    file = open(path, O_RDONLY | O_CLOEXEC);
    size = lseek(file, 0, SEEK_END);
    for (size_t i = 0; i < sizeof from_end / sizeof from_end[0]; i++) {
        assert_int_equal(pread(file, &byte, 1, size - from_end[i]), 1);
        for (int bit = 0; bit < 8; bit++) {
            uint8_t flipped = (uint8_t)(byte ^ (1U << bit));

            rocks_overwrite(path, size - from_end[i], &flipped, 1);
            assert_int_equal(rocks_reopen(f, STORE_READ_ONLY, why), ES_E_CORRUPT);
            assert_non_null(strstr(why, ".sst"));
            assert_int_equal(rocks_reopen(f, STORE_READ_WRITE, why), ES_E_CORRUPT);
        }
        rocks_overwrite(path, size - from_end[i], &byte, 1);
    }
    close(file);
    rocks_expect_reopen(f, STORE_READ_WRITE);
    assert_int_equal(truncate(path, 20), 0); /* RocksDB's to judge */
    assert_int_equal(rocks_reopen(f, STORE_READ_ONLY, why), ES_E_CORRUPT);
    assert_null(strstr(why, "footer of"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rocks_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(where_there_is_no_store_none_is_opened),
        TEST(where_there_is_a_store_none_is_created),
        TEST(a_store_is_opened_for_writing_by_one_at_a_time),
        TEST(a_store_with_other_families_is_refused),
        TEST(a_store_that_lacks_a_family_is_damaged),
        TEST(a_missing_or_cut_manifest_is_damage),
        TEST(a_table_that_names_another_format_or_checksum_is_damage),
        TEST(a_damaged_value_is_told_and_not_served),
        TEST(settings_that_are_not_in_effect_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
