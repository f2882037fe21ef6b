/*
 * The disk of disk.h on a real directory. Every open is relative to the
 * directory's descriptor and follows no symlink, so that nobody can put another
 * file in the place of a segment between two calls.
 */
#include "broker/disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shm/probe.h"

enum {
    ZERO_CHUNK_BYTES = 256 * 1024,
    WRITES_PER_CALL_MAX = 1024
};

struct posix_disk {
    struct disk disk;
    int directory;
};

struct posix_file {
    struct disk_file file;
    int descriptor;
};

static struct posix_disk *posix_disk(struct disk *disk)
{
    return (struct posix_disk *)disk;
}

static int descriptor_of(const struct disk_file *file)
{
    return ((const struct posix_file *)file)->descriptor;
}

enum es_status disk_posix_errno_status(void)
{
    switch (errno) {
    case ENOENT: return ES_NOT_FOUND;
    case EEXIST: return ES_E_EXISTS;
    case ENOSPC:
    case EDQUOT: return ES_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
    case EISDIR:
    case ENOTDIR: return ES_E_PERMISSION;
    case ENOMEM: return ES_E_NO_MEMORY;
    default: return ES_E_IO;
    }
}

/* Whatever the errno of a read, write or sync, the answer is to stop. */
static enum es_status status_of_transfer(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ES_NO_SPACE : ES_E_IO;
}

static void posix_free(struct disk *disk)
{
    close(posix_disk(disk)->directory);
    free(disk);
}

static enum es_status file_new(struct disk *disk, int descriptor, struct disk_file **ret_file)
{
    struct posix_file *file = calloc(1, sizeof *file);

    if (file == NULL) {
        return ES_E_NO_MEMORY;
    }
    file->file.disk = disk;
    file->descriptor = descriptor;
    *ret_file = &file->file;
    return ES_OK;
}

/* Advances the parts past 'size' bytes; returns how many parts are used up. */
static int parts_advance(struct iovec *parts, int part_count, size_t size)
{
    int used = 0;

    while (used < part_count && size >= parts[used].iov_len) {
        size -= parts[used].iov_len;
        used++;
    }
    if (used < part_count) {
        parts[used].iov_base = (char *)parts[used].iov_base + size;
        parts[used].iov_len -= size;
    }
    return used;
}

static enum es_status posix_write(struct disk_file *file, uint64_t offset,
                                  const struct iovec *parts, int part_count)
{
    struct iovec left[DISK_IOV_MAX];
    int first = 0;

    memcpy(left, parts, (size_t)part_count * sizeof left[0]);
    for (int i = 0; i < WRITES_PER_CALL_MAX; i++) {
        ssize_t written = 0;

        while (first < part_count && left[first].iov_len == 0) {
            first++;
        }
        if (first == part_count) {
            return ES_OK;
        }
        written = pwritev(descriptor_of(file), left + first, part_count - first, (off_t)offset);
        if (written < 0 && errno != EINTR) {
            return status_of_transfer();
        }
        if (written > 0) {
            offset += (uint64_t)written;
            first += parts_advance(left + first, part_count - first, (size_t)written);
        }
    }
    errno = EIO; /* a disk that takes a few bytes at a time for ever */
    return ES_E_IO;
}

static enum es_status posix_read(struct disk_file *file, uint64_t offset, void *bytes, size_t size)
{
    char *to = bytes;

    while (size > 0) {
        ssize_t done = pread(descriptor_of(file), to, size, (off_t)offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return ES_E_IO;
        }
        if (done == 0) {
            return ES_E_CORRUPT;
        }
        to += done;
        size -= (size_t)done;
        offset += (uint64_t)done;
    }
    return ES_OK;
}

static enum es_status posix_sync(struct disk_file *file)
{
    return fdatasync(descriptor_of(file)) == 0 ? ES_OK : ES_E_IO;
}

/* Written, not fallocated: unwritten extents would make each later sync a metadata write. */
static enum es_status fill_with_zeros(struct disk_file *file, uint64_t size_bytes)
{
    enum es_status status = ES_OK;
    uint64_t offset = 0;
    void *zeros = calloc(1, ZERO_CHUNK_BYTES);

    if (zeros == NULL) {
        return ES_E_NO_MEMORY;
    }
    while (status == ES_OK && offset < size_bytes) {
        uint64_t left = size_bytes - offset;
        struct iovec part = {zeros, left < ZERO_CHUNK_BYTES ? (size_t)left : ZERO_CHUNK_BYTES};

        status = posix_write(file, offset, &part, 1);
        offset += part.iov_len;
    }
    free(zeros);
    if (status == ES_OK && fsync(descriptor_of(file)) != 0) {
        status = status_of_transfer();
    }
    return status;
}

static void posix_close(struct disk_file *file)
{
    close(descriptor_of(file));
    free(file);
}

static enum es_status posix_create(struct disk *disk, const char *name, uint64_t size_bytes,
                                   struct disk_file **ret_file)
{
    int directory = posix_disk(disk)->directory;
    enum es_status status = ES_OK;
    struct disk_file *file = NULL;
    int descriptor =
        openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (descriptor < 0) {
        return disk_posix_errno_status();
    }
    status = file_new(disk, descriptor, &file);
    ES_PROBE(disk_file_named);
    if (status != ES_OK) {
        close(descriptor);
        unlinkat(directory, name, 0);
        return status;
    }
    status = fill_with_zeros(file, size_bytes);
    ES_PROBE(disk_file_filled);
    if (status == ES_OK) {
        *ret_file = file;
    } else {
        int reason = errno;

        posix_close(file);
        unlinkat(directory, name, 0);
        errno = reason;
    }
    return status;
}

static enum es_status posix_open(struct disk *disk, const char *name, enum disk_access access,
                                 struct disk_file **ret_file)
{
    struct stat about;
    enum es_status status = ES_OK;
    int flags = access == DISK_READ_ONLY ? O_RDONLY : O_RDWR;
    /* O_NONBLOCK: a FIFO under this name must be refused, not waited for. */
    int descriptor = openat(posix_disk(disk)->directory, name,
                            flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (descriptor < 0) {
        return errno == ENXIO ? ES_E_PERMISSION : disk_posix_errno_status();
    }
    if (fstat(descriptor, &about) != 0) {
        status = ES_E_IO;
    } else if (!S_ISREG(about.st_mode) || about.st_uid != geteuid() ||
               (about.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        errno = EPERM; /* others could write what this process believes */
        status = ES_E_PERMISSION;
    } else {
        status = file_new(disk, descriptor, ret_file);
    }
    if (status != ES_OK) {
        close(descriptor);
    }
    return status;
}

static enum es_status posix_size(struct disk_file *file, uint64_t *ret_bytes)
{
    struct stat about;

    if (fstat(descriptor_of(file), &about) != 0) {
        return ES_E_IO;
    }
    *ret_bytes = (uint64_t)about.st_size;
    return ES_OK;
}

static enum es_status posix_sync_directory(struct disk *disk)
{
    return fsync(posix_disk(disk)->directory) == 0 ? ES_OK : ES_E_IO;
}

static enum es_status posix_rename(struct disk *disk, const char *from, const char *to)
{
    int directory = posix_disk(disk)->directory;

    return renameat(directory, from, directory, to) == 0 ? ES_OK : disk_posix_errno_status();
}

static enum es_status posix_unlink(struct disk *disk, const char *name)
{
    return unlinkat(posix_disk(disk)->directory, name, 0) == 0 ? ES_OK : disk_posix_errno_status();
}

static enum es_status posix_list(struct disk *disk, disk_visit_fn visit, void *context)
{
    enum es_status status = ES_OK;
    struct dirent *entry = NULL;
    DIR *listing = NULL;
    /* Opened anew: a duplicate would share, and move, the directory's offset. */
    int descriptor = openat(posix_disk(disk)->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (descriptor < 0) {
        return disk_posix_errno_status();
    }
    listing = fdopendir(descriptor);
    if (listing == NULL) {
        close(descriptor);
        return ES_E_NO_MEMORY;
    }
    for (;;) {
        errno = 0;
        entry = readdir(listing);
        if (entry == NULL) {
            status = errno == 0 ? ES_OK : ES_E_IO;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !visit(context, entry->d_name)) {
            break;
        }
    }
    closedir(listing);
    return status;
}

static enum es_status posix_free_bytes(struct disk *disk, uint64_t *ret_bytes)
{
    struct statvfs about;

    if (fstatvfs(posix_disk(disk)->directory, &about) != 0) {
        return ES_E_IO;
    }
    *ret_bytes = (uint64_t)about.f_bavail * (uint64_t)about.f_frsize;
    return ES_OK;
}

static const struct disk_operations posix_operations = {
    .free = posix_free,
    .create = posix_create,
    .open = posix_open,
    .close = posix_close,
    .size = posix_size,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .sync_directory = posix_sync_directory,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .list = posix_list,
    .free_bytes = posix_free_bytes,
};

enum es_status disk_posix_new(const char *path, struct disk **ret_disk)
{
    struct posix_disk *disk = NULL;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (directory < 0) {
        return disk_posix_errno_status();
    }
    disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        close(directory);
        return ES_E_NO_MEMORY;
    }
    disk->disk.operations = &posix_operations;
    disk->directory = directory;
    *ret_disk = &disk->disk;
    return ES_OK;
}
