/* Shared files: made whole or not at all, and refused unless they are what the broker
 * would have made itself. Each system call fails once, and leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/segment.h"
#include "tests/support/temp_directory.h"

#define SIZE ((size_t)8192)

/* ---- failing on purpose -------------------------------------------------- */

static int calls_until_failure; /* 0: none fails */
static int failure_errno;

static bool fails_now(void)
{
    if (calls_until_failure == 0) {
        return false;
    }
    calls_until_failure--;
    errno = failure_errno;
    return calls_until_failure == 0;
}

int __real_fstat(int fd, struct stat *about);
int __wrap_fstat(int fd, struct stat *about);
int __wrap_fstat(int fd, struct stat *about)
{
    return fails_now() ? -1 : __real_fstat(fd, about);
}

int __real_fchown(int fd, uid_t owner, gid_t group);
int __wrap_fchown(int fd, uid_t owner, gid_t group);
int __wrap_fchown(int fd, uid_t owner, gid_t group)
{
    return fails_now() ? -1 : __real_fchown(fd, owner, group);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
    return fails_now() ? -1 : __real_fchmod(fd, mode);
}

int __real_posix_fallocate(int fd, off_t offset, off_t size);
int __wrap_posix_fallocate(int fd, off_t offset, off_t size);
int __wrap_posix_fallocate(int fd, off_t offset, off_t size)
{
    return fails_now() ? failure_errno : __real_posix_fallocate(fd, offset, size);
}

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails_now() ? MAP_FAILED : __real_mmap(at, size, protection, flags, fd, offset);
}

int __real_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice);
int __wrap_madvise(void *at, size_t size, int advice)
{
    return fails_now() ? -1 : __real_madvise(at, size, advice);
}

int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return fails_now() ? -1 : __real_renameat(from_fd, from, to_fd, to);
}

/* ---- fixture ------------------------------------------------------------- */

struct fixture {
    char path[TEMP_DIRECTORY_BYTES_MAX];
    int fd;
    int open_count; /* descriptors before the test */
};

static int descriptor_count(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory);
    return count;
}

static int entry_count(const struct fixture *f)
{
    DIR *directory = opendir(f->path);
    int count = -2; /* . and .. */

    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory);
    return count;
}

static int setup(void **state)
{
    static struct fixture f;

    calls_until_failure = 0;
    temp_directory_make_tmpfs(f.path);
    f.open_count = descriptor_count();
    f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = &f;
    return f.fd < 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    (void)close(f->fd);
    temp_directory_remove(f->path);
    return descriptor_count() != f->open_count; /* no test leaks one */
}

static void create(struct fixture *f, const char *name, struct es_segment *segment)
{
    assert_int_equal(es_segment_create(f->fd, name, SIZE, 0600, ES_GROUP_NONE, segment), ES_OK);
}

static enum es_status open_it(struct fixture *f, const char *name, struct es_segment *segment)
{
    return es_segment_open(f->fd, name, SIZE, geteuid(), 0600, true, segment);
}

/* ---- creating and opening ------------------------------------------------ */

static void what_one_mapping_writes_another_reads(void **state)
{
    struct fixture *f = *state;
    struct es_segment made = ES_SEGMENT_NONE;
    struct es_segment opened = ES_SEGMENT_NONE;
    struct stat about;

    create(f, "a", &made);
    assert_int_equal(made.size, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        assert_int_equal(((uint8_t *)made.base)[i], 0);
    }
    assert_int_equal(fstat(made.fd, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    assert_true((size_t)about.st_blocks * 512 >= SIZE); /* allocated: no SIGBUS later */
    assert_int_equal(fcntl(made.fd, F_GETFD), FD_CLOEXEC);
    memcpy(made.base, "hello", 6);
    assert_int_equal(open_it(f, "a", &opened), ES_OK);
    assert_string_equal(opened.base, "hello");
    es_segment_unmap(&opened);
    es_segment_unmap(&made);
    es_segment_unmap(&made); /* holds nothing: legal */
    assert_int_equal(es_segment_remove(f->fd, "a"), ES_OK);
    assert_int_equal(es_segment_remove(f->fd, "a"), ES_NOT_FOUND);
    assert_int_equal(entry_count(f), 0);
}

/* Whoever still maps the file of a lane's former owner must not reach the new one. */
static void a_created_file_is_never_the_old_one(void **state)
{
    struct fixture *f = *state;
    struct es_segment old = ES_SEGMENT_NONE;
    struct es_segment new = ES_SEGMENT_NONE;

    create(f, "a", &old);
    create(f, "a", &new);
    memcpy(old.base, "forged", 7);
    assert_string_equal(new.base, "");
    assert_int_equal(entry_count(f), 1);
    es_segment_unmap(&old);
    es_segment_unmap(&new);
}

/* A broker that was killed between making a file and naming it. */
static void a_left_over_new_file_is_no_obstacle(void **state)
{
    struct fixture *f = *state;
    struct es_segment segment = ES_SEGMENT_NONE;

    assert_int_equal(symlinkat("/etc/passwd", f->fd, "a.new"), 0);
    create(f, "a", &segment);
    assert_int_equal(entry_count(f), 1);
    es_segment_unmap(&segment);
}

static void each_failing_call_leaves_nothing_behind(void **state)
{
    static const struct {
        int error;
        enum es_status status;
    } cases[] = {{EIO, ES_E_IO},
                 {ENOSPC, ES_NO_SPACE},
                 {ENOMEM, ES_E_NO_MEMORY},
                 {EDQUOT, ES_NO_SPACE},
                 {EPERM, ES_E_PERMISSION}};
    struct fixture *f = *state;
    int open_count = descriptor_count();

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct es_segment segment = ES_SEGMENT_NONE;
        enum es_status status = ES_E_IO;
        int call = 0;

        while (status != ES_OK) {
            call++;
            assert_true(call < 20);
            calls_until_failure = call;
            failure_errno = cases[i].error;
            status = es_segment_create(f->fd, "a", SIZE, 0600, ES_GROUP_NONE, &segment);
            if (calls_until_failure != 0) {
                break; /* it made fewer calls than that: every one has failed */
            }
            assert_true(status == cases[i].status || status == ES_E_IO);
            assert_int_equal(errno, cases[i].error);
            assert_null(segment.base);
            assert_int_equal(entry_count(f), 0);
            assert_int_equal(descriptor_count(), open_count);
        }
        calls_until_failure = 0;
        assert_int_equal(status, ES_OK);
        assert_int_equal(call, 7); /* fchown fchmod fallocate mmap madvise renameat, none */
        es_segment_unmap(&segment);
        assert_int_equal(es_segment_remove(f->fd, "a"), ES_OK);
    }
}

static void an_interrupted_allocation_is_taken_up_again(void **state)
{
    struct fixture *f = *state;
    struct es_segment segment = ES_SEGMENT_NONE;

    calls_until_failure = 3; /* the allocation */
    failure_errno = EINTR;
    create(f, "a", &segment);
    assert_int_equal(calls_until_failure, 0);
    es_segment_unmap(&segment);
}

static void a_name_that_is_too_long_is_refused(void **state)
{
    struct fixture *f = *state;
    struct es_segment segment = ES_SEGMENT_NONE;
    char name[256];

    memset(name, 'x', sizeof name);
    name[255] = '\0';
    assert_int_equal(es_segment_create(f->fd, name, SIZE, 0600, ES_GROUP_NONE, &segment),
                     ES_E_TOO_LARGE);
}

static void only_the_file_that_the_broker_made_is_opened(void **state)
{
    struct fixture *f = *state;
    struct es_segment segment = ES_SEGMENT_NONE;

    create(f, "file", &segment);
    es_segment_unmap(&segment);
    assert_int_equal(open_it(f, "nothing", &segment), ES_NOT_FOUND);
    assert_int_equal(symlinkat("file", f->fd, "link"), 0);
    assert_int_equal(open_it(f, "link", &segment), ES_E_PERMISSION);
    assert_int_equal(mkdirat(f->fd, "directory", 0700), 0);
    assert_int_equal(open_it(f, "directory", &segment), ES_E_PERMISSION);
    assert_int_equal(mkfifoat(f->fd, "fifo", 0600), 0);
    assert_int_equal(open_it(f, "fifo", &segment), ES_E_PERMISSION); /* and does not wait */
    assert_int_equal(es_segment_open(f->fd, "file", SIZE, geteuid() + 1, 0600, true, &segment),
                     ES_E_PERMISSION);
    assert_int_equal(es_segment_open(f->fd, "file", SIZE * 2, geteuid(), 0600, true, &segment),
                     ES_E_CORRUPT);
    assert_int_equal(fchmodat(f->fd, "file", 0660, 0), 0);
    assert_int_equal(open_it(f, "file", &segment), ES_E_PERMISSION);
    assert_int_equal(es_segment_open(f->fd, "file", SIZE, geteuid(), 0660, true, &segment), ES_OK);
    es_segment_unmap(&segment);
    assert_int_equal(fchmodat(f->fd, "file", 0600, 0), 0);
    assert_int_equal(linkat(f->fd, "file", f->fd, "second name", 0), 0);
    assert_int_equal(open_it(f, "file", &segment), ES_E_PERMISSION);
    assert_null(segment.base);
}

static void a_socket_by_that_name_is_refused(void **state)
{
    struct fixture *f = *state;
    struct es_segment segment = ES_SEGMENT_NONE;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", f->path) > 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(open_it(f, "socket", &segment), ES_E_PERMISSION);
    assert_int_equal(close(fd), 0);
}

static void each_failing_call_leaves_the_file_closed(void **state)
{
    struct fixture *f = *state;
    struct es_segment segment = ES_SEGMENT_NONE;

    create(f, "a", &segment);
    es_segment_unmap(&segment);
    for (int call = 1; call <= 3; call++) { /* fstat mmap madvise */
        int open_count = descriptor_count();

        calls_until_failure = call;
        failure_errno = EIO;
        assert_int_equal(open_it(f, "a", &segment), ES_E_IO);
        assert_int_equal(calls_until_failure, 0);
        assert_int_equal(descriptor_count(), open_count);
        assert_null(segment.base);
    }
    assert_int_equal(open_it(f, "a", &segment), ES_OK);
    es_segment_unmap(&segment);
}

/* ---- received descriptors ------------------------------------------------- */

static void a_received_descriptor_is_checked_and_owned(void **state)
{
    struct fixture *f = *state;
    struct es_segment made = ES_SEGMENT_NONE;
    struct es_segment mapped = ES_SEGMENT_NONE;
    int pipes[2];
    int fd = -1;

    create(f, "a", &made);
    memcpy(made.base, "hello", 6);
    fd = dup(made.fd);
    assert_int_equal(es_segment_map(fd, SIZE, true, &mapped), ES_OK);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_string_equal(mapped.base, "hello");
    es_segment_unmap(&mapped);

    assert_int_equal(es_segment_map(dup(made.fd), SIZE * 2, true, &mapped), ES_E_PROTOCOL);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(es_segment_map(pipes[0], SIZE, true, &mapped), ES_E_PROTOCOL);
    assert_int_equal(es_segment_map(pipes[1], SIZE, true, &mapped), ES_E_PROTOCOL);
    assert_int_equal(es_segment_map(dup(f->fd), SIZE, false, &mapped), ES_E_PROTOCOL);
    assert_int_equal(es_segment_map(openat(f->fd, "a", O_WRONLY), SIZE, true, &mapped),
                     ES_E_PROTOCOL);
    assert_int_equal(es_segment_map(openat(f->fd, "a", O_PATH), SIZE, false, &mapped),
                     ES_E_PROTOCOL);
    assert_int_equal(es_segment_map(-1, SIZE, false, &mapped), ES_E_IO);
    assert_null(mapped.base);
    es_segment_unmap(&made);
}

static void a_read_only_descriptor_maps_read_only(void **state)
{
    struct fixture *f = *state;
    struct es_segment made = ES_SEGMENT_NONE;
    struct es_segment mapped = ES_SEGMENT_NONE;
    int fd = -1;

    create(f, "a", &made);
    memcpy(made.base, "hello", 6);
    assert_int_equal(es_segment_reopen_readonly(f->fd, "a", &made, &fd), ES_OK);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(es_segment_map(dup(fd), SIZE, true, &mapped), ES_E_PROTOCOL);
    assert_int_equal(es_segment_map(fd, SIZE, false, &mapped), ES_OK);
    assert_string_equal(mapped.base, "hello");
    assert_int_not_equal(mprotect(mapped.base, SIZE, PROT_READ | PROT_WRITE), 0);
    es_segment_unmap(&mapped);
    es_segment_unmap(&made);

    create(f, "a", &made);
    create(f, "a", &mapped); /* the name means another file now */
    assert_int_equal(es_segment_reopen_readonly(f->fd, "a", &made, &fd), ES_E_CORRUPT);
    assert_int_equal(es_segment_reopen_readonly(f->fd, "b", &made, &fd), ES_E_IO);
    es_segment_unmap(&made);
    es_segment_unmap(&mapped);
}

/* A child that writes through its parent's handle would publish as its parent. */
static void a_child_does_not_have_the_mapping(void **state)
{
    struct fixture *f = *state;
    struct es_segment made = ES_SEGMENT_NONE;
    int status = 0;
    pid_t child;

    create(f, "a", &made);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        unsigned char resident = 0;

        _exit(mincore(made.base, 1, &resident) == -1 && errno == ENOMEM ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    es_segment_unmap(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_one_mapping_writes_another_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(a_created_file_is_never_the_old_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_left_over_new_file_is_no_obstacle, setup, teardown),
        cmocka_unit_test_setup_teardown(each_failing_call_leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_allocation_is_taken_up_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_name_that_is_too_long_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_file_that_the_broker_made_is_opened, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_socket_by_that_name_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(each_failing_call_leaves_the_file_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_received_descriptor_is_checked_and_owned, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_read_only_descriptor_maps_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_does_not_have_the_mapping, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
