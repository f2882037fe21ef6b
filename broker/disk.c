/*
 * The calls of disk.h, handed to whichever disk it is. What every disk must
 * refuse alike (impossible names and sizes) is an assertion here: names and
 * sizes come from this program, never from outside.
 */
#include "broker/disk.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

static bool name_is_plain(const char *name)
{
    size_t size = strnlen(name, DISK_NAME_MAX + 1);

    return size >= 1 && size <= DISK_NAME_MAX && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

void disk_free(struct disk *disk)
{
    if (disk != NULL) {
        disk->operations->free(disk);
    }
}

enum es_status disk_create(struct disk *disk, const char *name, uint64_t size_bytes,
                           struct disk_file **ret_file)
{
    assert(name_is_plain(name));
    return disk->operations->create(disk, name, size_bytes, ret_file);
}

enum es_status disk_open(struct disk *disk, const char *name, enum disk_access access,
                         struct disk_file **ret_file)
{
    assert(name_is_plain(name));
    return disk->operations->open(disk, name, access, ret_file);
}

void disk_close(struct disk_file *file)
{
    if (file != NULL) {
        file->disk->operations->close(file);
    }
}

enum es_status disk_size(struct disk_file *file, uint64_t *ret_bytes)
{
    return file->disk->operations->size(file, ret_bytes);
}

enum es_status disk_read(struct disk_file *file, uint64_t offset, void *bytes, size_t size)
{
    return file->disk->operations->read(file, offset, bytes, size);
}

enum es_status disk_write(struct disk_file *file, uint64_t offset, const struct iovec *parts,
                          int part_count)
{
    assert(part_count >= 1);
    assert(part_count <= DISK_IOV_MAX);
    return file->disk->operations->write(file, offset, parts, part_count);
}

enum es_status disk_sync(struct disk_file *file)
{
    return file->disk->operations->sync(file);
}

enum es_status disk_sync_directory(struct disk *disk)
{
    return disk->operations->sync_directory(disk);
}

enum es_status disk_rename(struct disk *disk, const char *from, const char *to)
{
    assert(name_is_plain(from));
    assert(name_is_plain(to));
    return disk->operations->rename(disk, from, to);
}

enum es_status disk_unlink(struct disk *disk, const char *name)
{
    assert(name_is_plain(name));
    return disk->operations->unlink(disk, name);
}

enum es_status disk_list(struct disk *disk, disk_visit_fn visit, void *context)
{
    return disk->operations->list(disk, visit, context);
}

enum es_status disk_free_bytes(struct disk *disk, uint64_t *ret_bytes)
{
    return disk->operations->free_bytes(disk, ret_bytes);
}
