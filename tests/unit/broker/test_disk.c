/*
 * The contract of disk.h, kept by the real directory and by the simulated disk, and
 * what only the real one must refuse.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/disk.h"
#include "tests/support/sim_disk.h"
#include "tests/support/temp_directory.h"

/* Each is failed on demand by name, with an errno; 0 lets it through. */
static struct {
    int pwritev;
    int fdatasync;
    int fsync;
    int pread;
    ssize_t short_write; /* at most so many bytes a call; 0: no limit */
} failing;

ssize_t __real_pwritev(int descriptor, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_pwritev(int descriptor, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
    if (failing.pwritev != 0) {
        errno = failing.pwritev;
        failing.pwritev = failing.pwritev == EINTR ? 0 : failing.pwritev;
        return -1;
    }
    if (failing.short_write != 0) {
        struct iovec first = parts[0];

        if (first.iov_len > (size_t)failing.short_write) {
            first.iov_len = (size_t)failing.short_write;
        }
        return __real_pwritev(descriptor, &first, 1, offset);
    }
    return __real_pwritev(descriptor, parts, count, offset);
}

int __real_fdatasync(int descriptor);
int __wrap_fdatasync(int descriptor);
int __wrap_fdatasync(int descriptor)
{
    if (failing.fdatasync != 0) {
        errno = failing.fdatasync;
        return -1;
    }
    return __real_fdatasync(descriptor);
}

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    if (failing.fsync != 0) {
        errno = failing.fsync;
        return -1;
    }
    return __real_fsync(descriptor);
}

ssize_t __real_pread(int descriptor, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread(int descriptor, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread(int descriptor, void *bytes, size_t size, off_t offset)
{
    if (failing.pread != 0) {
        errno = failing.pread;
        failing.pread = failing.pread == EINTR ? 0 : failing.pread;
        return -1;
    }
    return __real_pread(descriptor, bytes, size, offset);
}

struct fixture {
    char path[TEMP_DIRECTORY_BYTES_MAX];
    struct disk *disk;
};

static struct fixture real;
static struct fixture simulated;

static int set_up_real(void **state)
{
    memset(&failing, 0, sizeof failing);
    temp_directory_make(real.path);
    assert_int_equal(disk_posix_new(real.path, &real.disk), ES_OK);
    *state = &real;
    return 0;
}

static int tear_down_real(void **state)
{
    (void)state;
    memset(&failing, 0, sizeof failing);
    disk_free(real.disk);
    temp_directory_remove(real.path);
    return 0;
}

static int set_up_simulated(void **state)
{
    simulated.disk = sim_disk_new(1);
    *state = &simulated;
    return 0;
}

static int tear_down_simulated(void **state)
{
    (void)state;
    disk_free(simulated.disk);
    return 0;
}

static void write_text(struct disk_file *file, uint64_t offset, const char *text)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    assert_int_equal(disk_write(file, offset, &part, 1), ES_OK);
}

static void a_created_file_is_full_of_zeros(void **state)
{
    struct fixture *f = *state;
    static uint8_t bytes[300000];
    static const uint8_t zeros[300000];
    struct disk_file *file = NULL;
    uint64_t size = 0;

    memset(bytes, 1, sizeof bytes);
    assert_int_equal(disk_create(f->disk, "file", sizeof bytes, &file), ES_OK);
    assert_int_equal(disk_size(file, &size), ES_OK);
    assert_int_equal(size, sizeof bytes);
    assert_int_equal(disk_read(file, 0, bytes, sizeof bytes), ES_OK);
    assert_memory_equal(bytes, zeros, sizeof bytes);
    assert_int_equal(disk_sync_directory(f->disk), ES_OK);
    disk_close(file);
    disk_close(NULL);
}

static void what_is_written_in_parts_is_read_as_one(void **state)
{
    struct fixture *f = *state;
    struct iovec parts[4] = {{(void *)(uintptr_t) "one ", 4},
                             {NULL, 0},
                             {(void *)(uintptr_t) "two ", 4},
                             {(void *)(uintptr_t) "three", 5}};
    struct disk_file *file = NULL;
    char bytes[14] = "";

    assert_int_equal(disk_create(f->disk, "file", 4096, &file), ES_OK);
    assert_int_equal(disk_write(file, 1000, parts, 4), ES_OK);
    assert_int_equal(disk_sync(file), ES_OK);
    disk_close(file);
    assert_int_equal(disk_open(f->disk, "file", DISK_READ_ONLY, &file), ES_OK);
    assert_int_equal(disk_read(file, 1000, bytes, 13), ES_OK);
    assert_string_equal(bytes, "one two three");
    disk_close(file);
}

static void reading_past_the_end_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct disk_file *file = NULL;
    char bytes[16];

    assert_int_equal(disk_create(f->disk, "file", 100, &file), ES_OK);
    assert_int_equal(disk_read(file, 84, bytes, 16), ES_OK);
    assert_int_equal(disk_read(file, 85, bytes, 16), ES_E_CORRUPT);
    assert_int_equal(disk_read(file, 4096, bytes, 16), ES_E_CORRUPT);
    disk_close(file);
}

static bool count_name(void *context, const char *name)
{
    int *count = context;

    assert_true(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    (*count)++;
    return true;
}

static bool stop_at_once(void *context, const char *name)
{
    (void)name;
    (*(int *)context)++;
    return false;
}

static void names_are_made_moved_listed_and_removed(void **state)
{
    struct fixture *f = *state;
    struct disk_file *file = NULL;
    uint64_t bytes = 0;
    int count = 0;

    assert_int_equal(disk_open(f->disk, "a", DISK_READ_WRITE, &file), ES_NOT_FOUND);
    assert_int_equal(disk_create(f->disk, "a", 10, &file), ES_OK);
    disk_close(file);
    assert_int_equal(disk_create(f->disk, "a", 10, &file), ES_E_EXISTS);
    assert_int_equal(disk_create(f->disk, "c", 20, &file), ES_OK);
    disk_close(file);
    assert_int_equal(disk_rename(f->disk, "c", "b"), ES_OK);
    assert_int_equal(disk_rename(f->disk, "c", "b"), ES_NOT_FOUND);
    assert_int_equal(disk_list(f->disk, count_name, &count), ES_OK);
    assert_int_equal(count, 2);
    assert_int_equal(disk_list(f->disk, stop_at_once, &count), ES_OK);
    assert_int_equal(count, 3);
    assert_int_equal(disk_rename(f->disk, "b", "a"), ES_OK); /* in its place */
    assert_int_equal(disk_open(f->disk, "a", DISK_READ_ONLY, &file), ES_OK);
    assert_int_equal(disk_size(file, &bytes), ES_OK);
    assert_int_equal(bytes, 20);
    disk_close(file);
    assert_int_equal(disk_unlink(f->disk, "a"), ES_OK);
    assert_int_equal(disk_unlink(f->disk, "a"), ES_NOT_FOUND);
    assert_int_equal(disk_free_bytes(f->disk, &bytes), ES_OK);
    assert_true(bytes > 0);
}

/* ---- The real directory alone ------------------------------------------------ */

static void a_file_is_its_owners_alone(void **state)
{
    struct fixture *f = *state;
    struct disk_file *file = NULL;
    char path[TEMP_DIRECTORY_BYTES_MAX + 8];
    struct stat about;

    assert_int_equal(disk_create(f->disk, "file", 10, &file), ES_OK);
    disk_close(file);
    snprintf(path, sizeof path, "%s/file", f->path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
}

static void links_pipes_and_directories_are_refused(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_DIRECTORY_BYTES_MAX + 8];
    struct disk_file *file = NULL;
    struct disk *disk = NULL;

    assert_int_equal(disk_create(f->disk, "file", 10, &file), ES_OK);
    disk_close(file);
    snprintf(path, sizeof path, "%s/link", f->path);
    assert_int_equal(symlink("file", path), 0);
    assert_int_equal(disk_open(f->disk, "link", DISK_READ_WRITE, &file), ES_E_PERMISSION);
    snprintf(path, sizeof path, "%s/pipe", f->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(disk_open(f->disk, "pipe", DISK_READ_ONLY, &file), ES_E_PERMISSION);
    snprintf(path, sizeof path, "%s/sub", f->path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(disk_open(f->disk, "sub", DISK_READ_ONLY, &file), ES_E_PERMISSION);
    assert_int_equal(disk_open(f->disk, "sub", DISK_READ_WRITE, &file), ES_E_PERMISSION);
    snprintf(path, sizeof path, "%s/file", f->path);
    assert_int_equal(disk_posix_new(path, &disk), ES_E_PERMISSION);
    snprintf(path, sizeof path, "%s/none", f->path);
    assert_int_equal(disk_posix_new(path, &disk), ES_NOT_FOUND);
    snprintf(path, sizeof path, "%s/lsub", f->path);
    assert_int_equal(symlink("sub", path), 0);
    assert_int_equal(disk_posix_new(path, &disk), ES_E_PERMISSION);
}

static void failing_writes_and_syncs_are_told(void **state)
{
    struct fixture *f = *state;
    struct iovec part = {(void *)(uintptr_t) "text", 4};
    struct disk_file *file = NULL;
    char bytes[4];

    assert_int_equal(disk_create(f->disk, "file", 100, &file), ES_OK);
    failing.pwritev = EIO;
    assert_int_equal(disk_write(file, 0, &part, 1), ES_E_IO);
    assert_int_equal(errno, EIO);
    failing.pwritev = ENOSPC;
    assert_int_equal(disk_write(file, 0, &part, 1), ES_NO_SPACE);
    failing.pwritev = 0;
    failing.fdatasync = EIO;
    assert_int_equal(disk_sync(file), ES_E_IO);
    failing.fdatasync = 0;
    failing.fsync = EIO;
    assert_int_equal(disk_sync_directory(f->disk), ES_E_IO);
    failing.fsync = 0;
    failing.pread = EIO;
    assert_int_equal(disk_read(file, 0, bytes, 4), ES_E_IO);
    disk_close(file);
}

static void a_creation_that_fails_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct disk_file *file = NULL;

    failing.pwritev = ENOSPC;
    assert_int_equal(disk_create(f->disk, "file", 100, &file), ES_NO_SPACE);
    failing.pwritev = 0;
    failing.fsync = EIO;
    assert_int_equal(disk_create(f->disk, "file", 100, &file), ES_E_IO);
    failing.fsync = 0;
    assert_null(file);
    assert_int_equal(disk_open(f->disk, "file", DISK_READ_ONLY, &file), ES_NOT_FOUND);
}

static void interrupted_and_short_calls_go_on(void **state)
{
    struct fixture *f = *state;
    struct iovec parts[3] = {{(void *)(uintptr_t) "abcdefgh", 8},
                             {(void *)(uintptr_t) "ijklm", 5},
                             {(void *)(uintptr_t) "nop", 3}};
    struct disk_file *file = NULL;
    char bytes[17] = "";

    assert_int_equal(disk_create(f->disk, "file", 100, &file), ES_OK);
    failing.pwritev = EINTR;
    failing.short_write = 3;
    assert_int_equal(disk_write(file, 7, parts, 3), ES_OK);
    failing.pread = EINTR;
    assert_int_equal(disk_read(file, 7, bytes, 16), ES_OK);
    assert_string_equal(bytes, "abcdefghijklmnop");
    disk_close(file);
}

/* ---- The simulated disk alone --------------------------------------------------- */

static void remove_if_there(struct disk *disk, const char *name)
{
    enum es_status status = disk_unlink(disk, name);

    assert_true(status == ES_OK || status == ES_NOT_FOUND);
}

static void a_power_cut_keeps_what_was_synced_and_any_of_the_rest(void **state)
{
    struct fixture *f = *state;
    struct disk_file *file = NULL;
    char bytes[8] = "";
    int lost = 0;

    for (int i = 0; i < 50; i++) {
        char name[16];

        snprintf(name, sizeof name, "file %d", i % 5);
        remove_if_there(f->disk, name);
        assert_int_equal(disk_create(f->disk, name, 2048, &file), ES_OK);
        assert_int_equal(disk_sync_directory(f->disk), ES_OK);
        write_text(file, 0, "synced");
        assert_int_equal(disk_sync(file), ES_OK);
        write_text(file, 1024, "maybe");
        disk_close(file);
        sim_disk_power_cut(f->disk, 50);
        assert_int_equal(disk_open(f->disk, name, DISK_READ_ONLY, &file), ES_OK);
        assert_int_equal(disk_read(file, 0, bytes, 6), ES_OK);
        assert_string_equal(bytes, "synced");
        assert_int_equal(disk_read(file, 1024, bytes, 5), ES_OK);
        lost += bytes[0] == 'm' ? 0 : 1;
        disk_close(file);
    }
    assert_true(lost > 5);
    assert_true(lost < 45);
}

static void what_a_failed_sync_forgot_a_later_one_does_not_write(void **state)
{
    struct fixture *f = *state;
    int lost = 0;

    for (int i = 0; i < 30; i++) {
        struct disk_file *file = NULL;
        char bytes[6] = "";

        remove_if_there(f->disk, "file");
        assert_int_equal(disk_create(f->disk, "file", 512, &file), ES_OK);
        assert_int_equal(disk_sync_directory(f->disk), ES_OK);
        write_text(file, 0, "maybe");
        sim_disk_fail_at(f->disk, 1, EIO);
        assert_int_equal(disk_sync(file), ES_E_IO);
        assert_int_equal(disk_sync(file), ES_OK);
        assert_int_equal(disk_read(file, 0, bytes, 5), ES_OK);
        assert_string_equal(bytes, "maybe"); /* the page cache still has it */
        disk_close(file);
        sim_disk_power_cut(f->disk, 100);
        assert_int_equal(disk_open(f->disk, "file", DISK_READ_ONLY, &file), ES_OK);
        assert_int_equal(disk_read(file, 0, bytes, 5), ES_OK);
        lost += bytes[0] == 'm' ? 0 : 1;
        disk_close(file);
    }
    assert_true(lost > 0);
    assert_true(lost < 30);
}

#define REAL(name) cmocka_unit_test_setup_teardown(name, set_up_real, tear_down_real)
#define SIMULATED(name) cmocka_unit_test_setup_teardown(name, set_up_simulated, tear_down_simulated)

int main(void)
{
    const struct CMUnitTest on_real[] = {
        REAL(a_created_file_is_full_of_zeros),   REAL(what_is_written_in_parts_is_read_as_one),
        REAL(reading_past_the_end_is_an_error),  REAL(names_are_made_moved_listed_and_removed),
        REAL(a_file_is_its_owners_alone),        REAL(links_pipes_and_directories_are_refused),
        REAL(failing_writes_and_syncs_are_told), REAL(a_creation_that_fails_leaves_no_file),
        REAL(interrupted_and_short_calls_go_on),
    };
    const struct CMUnitTest on_simulated[] = {
        SIMULATED(a_created_file_is_full_of_zeros),
        SIMULATED(what_is_written_in_parts_is_read_as_one),
        SIMULATED(reading_past_the_end_is_an_error),
        SIMULATED(names_are_made_moved_listed_and_removed),
        SIMULATED(a_power_cut_keeps_what_was_synced_and_any_of_the_rest),
        SIMULATED(what_a_failed_sync_forgot_a_later_one_does_not_write),
    };

    return cmocka_run_group_tests_name("a real directory", on_real, NULL, NULL) +
           cmocka_run_group_tests_name("a simulated disk", on_simulated, NULL, NULL);
}
