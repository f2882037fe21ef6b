/*
 * File layer of the commit log and the anchor: named files in one directory,
 * whole writes at an offset, and explicit syncs. Nothing is buffered, retried
 * or resumed here. disk_posix.c is the real one; tests put a simulated disk
 * that loses unsynced sectors, or one that fails by count, behind the same
 * table.
 *
 * Names.    One path component, 1..DISK_NAME_MAX bytes, no '/'. A symlink, a
 *           FIFO or a directory under such a name is refused (ES_E_PERMISSION).
 * Durable.  Bytes of a file after disk_sync() of that file; a file's existence
 *           and name after disk_sync_directory(). After a failed sync nothing
 *           is known about anything written since the last good one.
 * Threads.  A disk and its files may be used from several threads; the caller
 *           keeps overlapping ranges of one file apart.
 * Errors.   ES_E_IO keeps the system call's errno, also in a simulated disk.
 */
#ifndef EVENTSPINE_DISK_H
#define EVENTSPINE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "shm/eventspine_status.h"

enum {
    DISK_NAME_MAX = 64,
    DISK_IOV_MAX = 64
};

struct disk;
struct disk_file;

enum disk_access {
    DISK_READ_ONLY,
    DISK_READ_WRITE
};

/* Called for each entry of the directory but "." and ".."; false ends the listing. */
typedef bool (*disk_visit_fn)(void *context, const char *name);

struct disk_operations {
    void (*free)(struct disk *disk);
    enum es_status (*create)(struct disk *disk, const char *name, uint64_t size_bytes,
                             struct disk_file **ret_file);
    enum es_status (*open)(struct disk *disk, const char *name, enum disk_access access,
                           struct disk_file **ret_file);
    void (*close)(struct disk_file *file);
    enum es_status (*size)(struct disk_file *file, uint64_t *ret_bytes);
    enum es_status (*read)(struct disk_file *file, uint64_t offset, void *bytes, size_t size);
    enum es_status (*write)(struct disk_file *file, uint64_t offset, const struct iovec *parts,
                            int part_count);
    enum es_status (*sync)(struct disk_file *file);
    enum es_status (*sync_directory)(struct disk *disk);
    enum es_status (*rename)(struct disk *disk, const char *from, const char *to);
    enum es_status (*unlink)(struct disk *disk, const char *name);
    enum es_status (*list)(struct disk *disk, disk_visit_fn visit, void *context);
    enum es_status (*free_bytes)(struct disk *disk, uint64_t *ret_bytes);
};

/* Both are the first member of whatever an implementation allocates. */
struct disk {
    const struct disk_operations *operations;
};

struct disk_file {
    struct disk *disk;
};

/*
 * Opens the directory 'path', which must exist. The disk outlives its files.
 *
 * ES_NOT_FOUND: there is no such directory. ES_E_PERMISSION: it may not be
 * entered, or is a symlink or something else than a directory.
 */
ES_MUST_USE enum es_status disk_posix_new(const char *path, struct disk **ret_disk);

/* What the errno of a call on files means, in the words of this layer. */
enum es_status disk_posix_errno_status(void);

/* Closes it; NULL is legal. Every file of it has been closed before. */
void disk_free(struct disk *disk);

/*
 * Creates 'name' for its owner alone, fills it with 'size_bytes' written zeros
 * (so that later writes inside it change no metadata) and syncs the contents;
 * disk_sync_directory() makes the name durable.
 *
 * ES_E_EXISTS: the name is taken; nothing changed. ES_NO_SPACE, ES_E_IO: the
 * file has been removed again as far as possible.
 */
ES_MUST_USE enum es_status disk_create(struct disk *disk, const char *name, uint64_t size_bytes,
                                       struct disk_file **ret_file);

/* ES_NOT_FOUND: no such name. ES_E_PERMISSION: not allowed, or not a regular file. */
ES_MUST_USE enum es_status disk_open(struct disk *disk, const char *name, enum disk_access access,
                                     struct disk_file **ret_file);

/* NULL is legal. It syncs nothing. */
void disk_close(struct disk_file *file);

ES_MUST_USE enum es_status disk_size(struct disk_file *file, uint64_t *ret_bytes);

/* Reads exactly 'size' bytes. ES_E_CORRUPT: the file ends before them. */
ES_MUST_USE enum es_status disk_read(struct disk_file *file, uint64_t offset, void *bytes,
                                     size_t size);

/*
 * Writes all parts (1..DISK_IOV_MAX) one after the other from 'offset'.
 *
 * ES_E_IO, ES_NO_SPACE: any sector of the range may hold the old or the new
 * bytes; the caller stops for good.
 */
ES_MUST_USE enum es_status disk_write(struct disk_file *file, uint64_t offset,
                                      const struct iovec *parts, int part_count);

/* fdatasync. ES_E_IO: fail-stop, a later sync would prove nothing. */
ES_MUST_USE enum es_status disk_sync(struct disk_file *file);
ES_MUST_USE enum es_status disk_sync_directory(struct disk *disk);

/* Replaces 'to' when it exists. Durable after disk_sync_directory(). */
ES_MUST_USE enum es_status disk_rename(struct disk *disk, const char *from, const char *to);

/* ES_NOT_FOUND: no such name. */
ES_MUST_USE enum es_status disk_unlink(struct disk *disk, const char *name);

/* Visits the names in no particular order. */
ES_MUST_USE enum es_status disk_list(struct disk *disk, disk_visit_fn visit, void *context);

/* Bytes this process may still write on the filesystem (statvfs f_bavail). */
ES_MUST_USE enum es_status disk_free_bytes(struct disk *disk, uint64_t *ret_bytes);

#endif
