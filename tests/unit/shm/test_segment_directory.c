/* Where shared memory lives: the run directory if it is on a tmpfs, else one of our
 * own under /dev/shm; never a directory that somebody else owns or may write to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/segment.h"
#include "tests/support/temp_directory.h"

#define TMPFS_TYPE 0x01021994

static bool disk_everywhere; /* nothing is a tmpfs; else /dev/shm alone is one */

/* So that the test means the same wherever its directories happen to lie. */
int __real_fstatfs(int fd, struct statfs *about);
int __wrap_fstatfs(int fd, struct statfs *about);
int __wrap_fstatfs(int fd, struct statfs *about)
{
    char link[64];
    char path[PATH_MAX] = {0};
    int result = __real_fstatfs(fd, about);

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_true(readlink(link, path, sizeof path - 1) > 0);
    about->f_type = !disk_everywhere && strncmp(path, "/dev/shm", 8) == 0 ? TMPFS_TYPE : 0xef53;
    return result;
}

struct fixture {
    char disk[TEMP_DIRECTORY_BYTES_MAX];
    char tmpfs[TEMP_DIRECTORY_BYTES_MAX];
    char path[ES_SEGMENT_PATH_BYTES_MAX];
    int fd;
};

static int setup(void **state)
{
    static struct fixture f;

    disk_everywhere = false;
    temp_directory_make(f.disk);
    temp_directory_make_tmpfs(f.tmpfs);
    f.path[0] = '\0';
    f.fd = -1;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    temp_directory_remove(f->disk);
    temp_directory_remove(f->tmpfs);
    if (strncmp(f->path, "/dev/shm/eventspine-", 20) == 0 && strcmp(f->path, f->tmpfs) != 0) {
        temp_directory_remove(f->path);
    }
    return 0;
}

static enum es_status find(struct fixture *f, const char *run_path, bool create)
{
    enum es_status status = es_segment_directory(run_path, create, ES_GROUP_NONE, &f->fd, f->path);

    if (status == ES_OK) {
        assert_int_equal(fcntl(f->fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(close(f->fd), 0);
    }
    return status;
}

static void a_run_directory_on_tmpfs_is_taken_itself(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(find(f, f->tmpfs, true), ES_OK);
    assert_string_equal(f->path, f->tmpfs);
    assert_int_equal(find(f, f->tmpfs, false), ES_OK);
}

static void a_run_directory_on_disk_gets_one_under_dev_shm(void **state)
{
    struct fixture *f = *state;
    char first[ES_SEGMENT_PATH_BYTES_MAX];
    char link[TEMP_DIRECTORY_BYTES_MAX + 8];
    struct stat about;

    assert_int_equal(find(f, f->disk, false), ES_NOT_FOUND);
    assert_int_equal(find(f, f->disk, true), ES_OK);
    assert_int_equal(strncmp(f->path, "/dev/shm/eventspine-", 20), 0);
    assert_int_equal(stat(f->path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0700);
    memcpy(first, f->path, sizeof first);

    /* the same whichever way the run directory is named, and after a restart */
    assert_true(snprintf(link, sizeof link, "%s/link", f->tmpfs) > 0);
    assert_int_equal(symlink(f->disk, link), 0);
    assert_int_equal(find(f, link, true), ES_OK);
    assert_string_equal(f->path, first);
    assert_int_equal(find(f, f->disk, false), ES_OK);
    assert_string_equal(f->path, first);
}

static void a_group_may_enter_and_not_write(void **state)
{
    struct fixture *f = *state;
    struct stat about;

    assert_int_equal(es_segment_directory(f->disk, true, getegid(), &f->fd, f->path), ES_OK);
    assert_int_equal(fstat(f->fd, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0750);
    assert_int_equal(about.st_gid, getegid());
    assert_int_equal(close(f->fd), 0);
}

static void a_directory_that_others_may_write_to_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(chmod(f->tmpfs, 0720), 0);
    assert_int_equal(find(f, f->tmpfs, true), ES_E_PERMISSION);
    assert_int_equal(chmod(f->tmpfs, 0702), 0);
    assert_int_equal(find(f, f->tmpfs, true), ES_E_PERMISSION);
    assert_int_equal(chmod(f->tmpfs, 0755), 0);
    assert_int_equal(find(f, f->tmpfs, true), ES_OK);
}

static void somebody_elses_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    int status = 0;
    pid_t child;

    if (geteuid() != 0) { /* then everything of root's is somebody else's */
        assert_int_equal(find(f, "/dev/shm", true), ES_E_PERMISSION);
        return;
    }
    assert_int_equal(chown(f->tmpfs, 12345, (gid_t)-1), 0);
    assert_int_equal(find(f, f->tmpfs, true), ES_E_PERMISSION);
    assert_int_equal(find(f, f->tmpfs, false), ES_OK); /* root may look */
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int fd;

        if (chmod(f->tmpfs, 0755) != 0 || chown(f->tmpfs, 0, (gid_t)-1) != 0 ||
            setuid(12345) != 0) {
            _exit(2);
        }
        _exit(es_segment_directory(f->tmpfs, false, ES_GROUP_NONE, &fd, f->path) == ES_E_PERMISSION
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_link_in_place_of_our_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    char ours[ES_SEGMENT_PATH_BYTES_MAX];

    assert_int_equal(find(f, f->disk, true), ES_OK);
    memcpy(ours, f->path, sizeof ours);
    assert_int_equal(rmdir(ours), 0);
    assert_int_equal(symlink(f->tmpfs, ours), 0);
    assert_int_equal(find(f, f->disk, true), ES_E_PERMISSION);
    assert_int_equal(find(f, f->disk, false), ES_E_PERMISSION);
    assert_int_equal(unlink(ours), 0);
    f->path[0] = '\0';
}

static void no_directory_or_no_tmpfs_is_not_found(void **state)
{
    struct fixture *f = *state;
    char path[TEMP_DIRECTORY_BYTES_MAX + 8];
    char too_long[PATH_MAX + 10];

    assert_true(snprintf(path, sizeof path, "%s/none", f->tmpfs) > 0);
    assert_int_equal(find(f, path, true), ES_NOT_FOUND);
    memset(too_long, 'x', sizeof too_long);
    too_long[0] = '/';
    too_long[sizeof too_long - 1] = '\0';
    assert_int_equal(find(f, too_long, true), ES_E_TOO_LARGE);
    assert_int_equal(find(f, "/proc/self/exe", true), ES_E_PERMISSION);
    assert_string_equal(f->path, "");

    assert_int_equal(find(f, f->disk, true), ES_OK);
    disk_everywhere = true;
    assert_int_equal(find(f, f->disk, true), ES_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_directory_on_tmpfs_is_taken_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(a_run_directory_on_disk_gets_one_under_dev_shm, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_group_may_enter_and_not_write, setup, teardown),
        cmocka_unit_test_setup_teardown(a_directory_that_others_may_write_to_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(somebody_elses_directory_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_in_place_of_our_directory_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_directory_or_no_tmpfs_is_not_found, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
