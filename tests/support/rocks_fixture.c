#include "tests/support/rocks_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int rocks_set_up(void **state)
{
    *state = fixture_kind(FIXTURE_ROCKSDB);
    return fixture_set_up(state);
}

enum es_status rocks_reopen(struct store_fixture *f, enum store_mode mode,
                            char why[STORE_WHY_BYTES])
{
    store_free(f->store);
    f->store = NULL;
    return fixture_open_rocksdb(f->directory, mode, why, &f->store);
}

void rocks_expect_reopen(struct store_fixture *f, enum store_mode mode)
{
    char why[STORE_WHY_BYTES] = "";

    if (rocks_reopen(f, mode, why) != ES_OK) {
        fail_msg("it does not open: %s", why);
    }
}

void rocks_path(const struct store_fixture *f, const char *name,
                char path[ROCKS_FIXTURE_PATH_BYTES])
{
    snprintf(path, ROCKS_FIXTURE_PATH_BYTES, "%s/db/%s", f->directory, name);
}

void rocks_find_file(const struct store_fixture *f, const char *part,
                     char path[ROCKS_FIXTURE_PATH_BYTES])
{
    char directory[ROCKS_FIXTURE_PATH_BYTES];
    struct dirent *entry = NULL;
    DIR *listing = NULL;

    rocks_path(f, "", directory);
    listing = opendir(directory);
    assert_non_null(listing);
    path[0] = '\0';
    while ((entry = readdir(listing)) != NULL) {
        if (strstr(entry->d_name, part) != NULL) {
            rocks_path(f, entry->d_name, path);
        }
    }
    closedir(listing);
    assert_string_not_equal(path, "");
}

void rocks_overwrite(const char *path, off_t offset, const void *bytes, size_t size)
{
    int file = open(path, O_WRONLY);

    assert_true(file >= 0);
    assert_int_equal(pwrite(file, bytes, size, offset), size);
    close(file);
}
