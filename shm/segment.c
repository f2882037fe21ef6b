#include "shm/segment.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "shm/probe.h"

#define SHM_ROOT "/dev/shm"
#define NAME_BYTES_MAX 255u
#define ALLOCATE_TRY_COUNT_MAX 100
#define OTHERS_MAY_WRITE (S_IWGRP | S_IWOTH)

static_assert(ES_SEGMENT_PATH_BYTES_MAX >= PATH_MAX, "holds what realpath() gives");

static enum es_status status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: return ES_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: return ES_E_PERMISSION;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return ES_NO_SPACE;
    case ENOMEM: return ES_E_NO_MEMORY;
    default: return ES_E_IO;
    }
}

/* Closes and keeps errno, which still tells what went wrong before. */
static void close_quietly(int fd)
{
    int error = errno;

    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
}

/* ---- the directory ------------------------------------------------------- */

static bool is_tmpfs(int fd)
{
    struct statfs about;

    return fstatfs(fd, &about) == 0 && about.f_type == TMPFS_MAGIC;
}

static enum es_status directory_check(int fd, bool create)
{
    struct stat about;

    if (fstat(fd, &about) != 0) {
        return ES_E_IO;
    }
    if (about.st_uid != geteuid() && (create || geteuid() != 0)) {
        errno = EPERM;
        return ES_E_PERMISSION;
    }
    if ((about.st_mode & OTHERS_MAY_WRITE) != 0) {
        errno = EPERM;
        return ES_E_PERMISSION;
    }
    return ES_OK;
}

/* FNV-1a: names must differ, nothing more; who owns the directory is checked. */
static uint64_t path_hash(const char *path)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *path != '\0'; path++) {
        hash = (hash ^ (uint8_t)*path) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static enum es_status directory_open(const char *path, int *ret_fd)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        /* with O_DIRECTORY a symbolic link gives ENOTDIR, not ELOOP */
        return errno == ENOTDIR ? ES_E_PERMISSION : status_of_errno(errno);
    }
    *ret_fd = fd;
    return ES_OK;
}

/* Opens, or makes, the directory under /dev/shm; its mode becomes what is asked. */
static enum es_status shm_directory(const char *path, bool create, gid_t group, int *ret_fd)
{
    mode_t mode = group == ES_GROUP_NONE ? 0700 : 0750;
    enum es_status status;
    int fd = -1;

    if (create && mkdir(path, 0700) != 0 && errno != EEXIST) {
        return status_of_errno(errno);
    }
    status = directory_open(path, &fd);
    if (status != ES_OK) {
        return status;
    }
    if (!is_tmpfs(fd)) {
        close_quietly(fd);
        return ES_NOT_FOUND;
    }
    if (create && (fchown(fd, (uid_t)-1, group) != 0 || fchmod(fd, mode) != 0)) {
        status = status_of_errno(errno);
        close_quietly(fd);
        return status;
    }
    *ret_fd = fd;
    return ES_OK;
}

enum es_status es_segment_directory(const char *run_path, bool create, gid_t group, int *ret_fd,
                                    char ret_path[ES_SEGMENT_PATH_BYTES_MAX])
{
    char path[PATH_MAX];
    enum es_status status;
    int fd = -1;

    if (realpath(run_path, path) == NULL) {
        return errno == ENAMETOOLONG ? ES_E_TOO_LARGE : status_of_errno(errno);
    }
    status = directory_open(path, &fd);
    if (status != ES_OK) {
        return status;
    }
    if (!is_tmpfs(fd)) {
        uint64_t hash = path_hash(path);

        close_quietly(fd);
        (void)snprintf(path, sizeof path, SHM_ROOT "/eventspine-%016" PRIx64, hash);
        status = shm_directory(path, create, group, &fd);
        if (status != ES_OK) {
            return status;
        }
    }
    status = directory_check(fd, create);
    if (status != ES_OK) {
        close_quietly(fd);
        return status;
    }
    *ret_fd = fd;
    memcpy(ret_path, path, strlen(path) + 1);
    return ES_OK;
}

/* ---- files --------------------------------------------------------------- */

/* Takes over 'fd' on success only. */
static enum es_status map_descriptor(int fd, size_t size, bool writable,
                                     struct es_segment *ret_segment)
{
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    void *base = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

    if (base == MAP_FAILED) {
        return status_of_errno(errno);
    }
    if (madvise(base, size, MADV_DONTFORK) != 0) {
        int error = errno;

        (void)munmap(base, size);
        errno = error;
        return ES_E_IO;
    }
    *ret_segment = (struct es_segment){.base = base, .size = size, .fd = fd};
    return ES_OK;
}

/* Allocates every page; a signal may interrupt that, a bounded number of times. */
static enum es_status allocate(int fd, size_t size)
{
    int error = EINTR;

    for (int i = 0; i < ALLOCATE_TRY_COUNT_MAX && error == EINTR; i++) {
        error = posix_fallocate(fd, 0, (off_t)size);
    }
    errno = error;
    return error == 0 ? ES_OK : status_of_errno(error);
}

static enum es_status fill_and_map(int fd, size_t size, mode_t mode, gid_t group,
                                   struct es_segment *ret_segment)
{
    enum es_status status;

    if (fchown(fd, (uid_t)-1, group) != 0 || fchmod(fd, mode) != 0) {
        return status_of_errno(errno);
    }
    status = allocate(fd, size);
    if (status != ES_OK) {
        return status;
    }
    return map_descriptor(fd, size, true, ret_segment);
}

enum es_status es_segment_create(int directory_fd, const char *name, size_t size, mode_t mode,
                                 gid_t group, struct es_segment *ret_segment)
{
    struct es_segment segment = ES_SEGMENT_NONE;
    char name_new[NAME_BYTES_MAX + 1];
    enum es_status status;
    int length = snprintf(name_new, sizeof name_new, "%s.new", name);
    int fd;

    if (length < 0 || (size_t)length >= sizeof name_new) {
        return ES_E_TOO_LARGE;
    }
    if (unlinkat(directory_fd, name_new, 0) != 0 && errno != ENOENT) {
        return status_of_errno(errno);
    }
    fd = openat(directory_fd, name_new, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return status_of_errno(errno);
    }
    status = fill_and_map(fd, size, mode, group, &segment);
    ES_PROBE(segment_filled);
    if (status == ES_OK && renameat(directory_fd, name_new, directory_fd, name) != 0) {
        status = status_of_errno(errno);
        (void)munmap(segment.base, segment.size);
    }
    if (status != ES_OK) {
        int error = errno;

        (void)unlinkat(directory_fd, name_new, 0);
        errno = error;
        close_quietly(fd);
        return status;
    }
    *ret_segment = segment;
    return ES_OK;
}

static enum es_status file_check(int fd, size_t size, uid_t owner, mode_t mode)
{
    struct stat about;

    if (fstat(fd, &about) != 0) {
        return ES_E_IO;
    }
    if (!S_ISREG(about.st_mode) || about.st_uid != owner || about.st_nlink != 1 ||
        (about.st_mode & 07777 & ~mode) != 0) {
        errno = EPERM;
        return ES_E_PERMISSION;
    }
    if (about.st_size != (off_t)size) {
        errno = EINVAL;
        return ES_E_CORRUPT;
    }
    return ES_OK;
}

enum es_status es_segment_open(int directory_fd, const char *name, size_t size, uid_t owner,
                               mode_t mode, bool writable, struct es_segment *ret_segment)
{
    /* O_NONBLOCK: a FIFO of that name must not hold the broker up */
    int flags = (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    int fd = openat(directory_fd, name, flags);
    enum es_status status;

    if (fd < 0) {
        /* ENXIO: a socket or device; EISDIR: a directory */
        return errno == ENXIO || errno == EISDIR ? ES_E_PERMISSION : status_of_errno(errno);
    }
    status = file_check(fd, size, owner, mode);
    if (status == ES_OK) {
        status = map_descriptor(fd, size, writable, ret_segment);
    }
    if (status != ES_OK) {
        close_quietly(fd);
    }
    return status;
}

static enum es_status received_check(int fd, size_t size, bool writable)
{
    struct stat about;
    int flags = fcntl(fd, F_GETFL);
    int access;

    if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fstat(fd, &about) != 0) {
        return ES_E_IO;
    }
    access = flags & O_ACCMODE;
    if (!S_ISREG(about.st_mode) || about.st_size != (off_t)size || (flags & O_PATH) != 0 ||
        access == O_WRONLY || (writable && access != O_RDWR)) {
        errno = EINVAL;
        return ES_E_PROTOCOL;
    }
    return ES_OK;
}

enum es_status es_segment_map_or_keep(int fd, size_t size, bool writable,
                                      struct es_segment *ret_segment)
{
    enum es_status status = received_check(fd, size, writable);

    return status == ES_OK ? map_descriptor(fd, size, writable, ret_segment) : status;
}

enum es_status es_segment_map(int fd, size_t size, bool writable, struct es_segment *ret_segment)
{
    enum es_status status = es_segment_map_or_keep(fd, size, writable, ret_segment);

    if (status != ES_OK) {
        close_quietly(fd);
    }
    return status;
}

enum es_status es_segment_reopen_readonly(int directory_fd, const char *name,
                                          const struct es_segment *segment, int *ret_fd)
{
    int fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat mapped;
    struct stat opened;

    if (fd < 0 || fstat(fd, &opened) != 0 || fstat(segment->fd, &mapped) != 0) {
        close_quietly(fd);
        return ES_E_IO;
    }
    if (opened.st_dev != mapped.st_dev || opened.st_ino != mapped.st_ino) {
        close_quietly(fd);
        return ES_E_CORRUPT;
    }
    *ret_fd = fd;
    return ES_OK;
}

void es_segment_unmap(struct es_segment *segment)
{
    if (segment->base != NULL) {
        (void)munmap(segment->base, segment->size);
        close_quietly(segment->fd);
    }
    *segment = ES_SEGMENT_NONE;
}

enum es_status es_segment_remove(int directory_fd, const char *name)
{
    if (unlinkat(directory_fd, name, 0) != 0) {
        return errno == ENOENT ? ES_NOT_FOUND : ES_E_IO;
    }
    return ES_OK;
}
