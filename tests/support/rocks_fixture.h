/*
 * The RocksDB kind of store_fixture.h, closed and opened again, and its files.
 */
#ifndef TESTS_SUPPORT_ROCKS_FIXTURE_H
#define TESTS_SUPPORT_ROCKS_FIXTURE_H

#include <sys/types.h>

#include "tests/support/store_fixture.h"
#include "tests/support/temp_directory.h"

enum {
    ROCKS_FIXTURE_PATH_BYTES = TEMP_DIRECTORY_BYTES_MAX + 320
};

/* Of cmocka; fixture_tear_down() is the other end. */
int rocks_set_up(void **state);

/* Closes the store as a kill would, and opens it again; the second must open. */
enum es_status rocks_reopen(struct store_fixture *f, enum store_mode mode,
                            char why[STORE_WHY_BYTES]);
void rocks_expect_reopen(struct store_fixture *f, enum store_mode mode);

/* The path of a file in the store's directory, and of the first whose name has 'part' in it. */
void rocks_path(const struct store_fixture *f, const char *name,
                char path[ROCKS_FIXTURE_PATH_BYTES]);
void rocks_find_file(const struct store_fixture *f, const char *part,
                     char path[ROCKS_FIXTURE_PATH_BYTES]);

void rocks_overwrite(const char *path, off_t offset, const void *bytes, size_t size);

#endif
