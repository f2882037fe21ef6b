#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/settle.h"
#include "tests/support/temp_directory.h"

enum {
    SYNCS_MAX = 32,
    PATH_BYTES = 512
};

static struct {
    ino_t inodes[SYNCS_MAX];
    int count;
    int fails_at; /* -1: none */
} syncs;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    struct stat about;

    assert_int_equal(fstat(fd, &about), 0);
    assert_true(syncs.count < SYNCS_MAX);
    syncs.inodes[syncs.count] = about.st_ino;
    if (syncs.count++ == syncs.fails_at) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

struct fixture {
    char root[TEMP_DIRECTORY_BYTES_MAX];
    struct data_directory directory;
    char why[DATA_WHY_BYTES];
};

static const char *const files[] = {"anchor", "log/segment-00", "log/segment-01", "rocksdb/CURRENT",
                                    "rocksdb/000007.sst"};
static const char *const everything[] = {"anchor",
                                         "log/segment-00",
                                         "log/segment-01",
                                         "rocksdb/CURRENT",
                                         "rocksdb/000007.sst",
                                         "log",
                                         "rocksdb",
                                         "."};

enum {
    FILE_COUNT = sizeof files / sizeof *files,
    EVERYTHING_COUNT = sizeof everything / sizeof *everything
};

static ino_t inode_of(const struct fixture *f, const char *name)
{
    struct stat about;

    assert_int_equal(fstatat(f->directory.fd, name, &about, 0), 0);
    return about.st_ino;
}

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    temp_directory_make(f.root);
    snprintf(f.directory.path, sizeof f.directory.path, "%s", f.root);
    f.directory.fd = open(f.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f.directory.fd >= 0);
    assert_int_equal(mkdirat(f.directory.fd, "log", 0700), 0);
    assert_int_equal(mkdirat(f.directory.fd, "rocksdb", 0700), 0);
    for (int i = 0; i < FILE_COUNT; i++) {
        int fd = openat(f.directory.fd, files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        close(fd);
    }
    memset(&syncs, 0, sizeof syncs);
    syncs.fails_at = -1;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close(f->directory.fd);
    temp_directory_remove(f->root);
    return 0;
}

static void every_file_and_directory_is_synced(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(settle(&f->directory, f->why), ES_OK);
    assert_int_equal(syncs.count, EVERYTHING_COUNT);
    for (int i = 0; i < EVERYTHING_COUNT; i++) {
        bool is_synced = false;

        for (int j = 0; j < syncs.count; j++) {
            is_synced = is_synced || syncs.inodes[j] == inode_of(f, everything[i]);
        }
        assert_true(is_synced);
    }
}

static void a_disk_that_could_not_write_is_named(void **state)
{
    struct fixture *f = *state;

    for (syncs.fails_at = 0; syncs.fails_at < EVERYTHING_COUNT; syncs.fails_at++) {
        syncs.count = 0;
        assert_int_equal(settle(&f->directory, f->why), ES_E_IO);
        assert_int_equal(syncs.count, syncs.fails_at + 1);
        assert_non_null(strstr(f->why, "cannot be synced (Input/output error)"));
        assert_non_null(strstr(f->why, f->root));
    }
    syncs.count = 0;
    assert_int_equal(settle(&f->directory, f->why), ES_OK);
}

/* Whoever opens them to read says what is wrong with them. */
static void pipes_links_and_missing_parts_are_passed_over(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(unlinkat(f->directory.fd, "anchor", 0), 0);
    assert_int_equal(unlinkat(f->directory.fd, "log/segment-00", 0), 0);
    assert_int_equal(mkfifoat(f->directory.fd, "log/segment-00", 0600), 0);
    assert_int_equal(symlinkat("/nowhere", f->directory.fd, "log/a-link"), 0);
    assert_int_equal(renameat(f->directory.fd, "rocksdb", f->directory.fd, "aside"), 0);
    assert_int_equal(symlinkat("aside", f->directory.fd, "rocksdb"), 0);
    assert_int_equal(settle(&f->directory, f->why), ES_OK);
    assert_int_equal(syncs.count, 3); /* segment-01, log, the directory itself */
}

#define SETTLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SETTLE_TEST(every_file_and_directory_is_synced),
        SETTLE_TEST(a_disk_that_could_not_write_is_named),
        SETTLE_TEST(pipes_links_and_missing_parts_are_passed_over),
    };

    return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
