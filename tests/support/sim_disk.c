#include "tests/support/sim_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum sector_state {
    SECTOR_CLEAN,
    SECTOR_DIRTY,    /* not synced yet */
    SECTOR_FORGOTTEN /* a failed sync called it clean; it will never be written */
};

struct sim_bytes {
    char name[DISK_NAME_MAX + 1];
    uint8_t *now;     /* what a read sees */
    uint8_t *durable; /* what a power cut leaves, if the sector is not clean */
    uint8_t *sectors; /* a sector_state each */
    size_t size;
    bool there;         /* the name, as seen now */
    bool there_durable; /* and after a power cut */
    bool used;
};

struct sim_disk {
    struct disk disk;
    uint64_t random;
    uint64_t calls;
    uint64_t syncs;
    uint64_t fail_at; /* 0: never */
    int fail_reason;
    struct sim_bytes files[SIM_FILES_MAX];
};

struct sim_file {
    struct disk_file file;
    struct sim_bytes *bytes;
    enum disk_access access;
};

static struct sim_disk *sim_of(struct disk *disk)
{
    return (struct sim_disk *)disk;
}

/* splitmix64 */
static uint64_t next_random(struct sim_disk *sim)
{
    uint64_t z = sim->random += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static bool chance(struct sim_disk *sim, unsigned percent)
{
    return next_random(sim) % 100 < percent;
}

/* Counts a fallible call; true: this one fails. */
static bool fails(struct sim_disk *sim)
{
    sim->calls++;
    if (sim->fail_at != 0 && --sim->fail_at == 0) {
        errno = sim->fail_reason;
        return true;
    }
    return false;
}

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static size_t sectors_of(size_t size)
{
    return (size + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES;
}

static size_t sector_size(const struct sim_bytes *bytes, size_t sector)
{
    size_t left = bytes->size - sector * SIM_SECTOR_BYTES;

    return left < SIM_SECTOR_BYTES ? left : SIM_SECTOR_BYTES;
}

static void sector_settle(struct sim_bytes *bytes, size_t sector, bool keep_new)
{
    size_t at = sector * SIM_SECTOR_BYTES;
    uint8_t *from = keep_new ? bytes->now : bytes->durable;
    uint8_t *to = keep_new ? bytes->durable : bytes->now;

    if (bytes->sectors[sector] != SECTOR_CLEAN) {
        memcpy(to + at, from + at, sector_size(bytes, sector));
        bytes->sectors[sector] = SECTOR_CLEAN;
    }
}

static void bytes_deinit(struct sim_bytes *bytes)
{
    free(bytes->now);
    free(bytes->durable);
    free(bytes->sectors);
    memset(bytes, 0, sizeof *bytes);
}

static struct sim_bytes *bytes_new(struct sim_disk *sim, const char *name, size_t size)
{
    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        struct sim_bytes *bytes = &sim->files[i];

        if (!bytes->used) {
            size_t length = strnlen(name, DISK_NAME_MAX);

            memcpy(bytes->name, name, length);
            bytes->now = must(calloc(1, size + 1));
            bytes->durable = must(calloc(1, size + 1));
            bytes->sectors = must(calloc(1, sectors_of(size) + 1));
            bytes->size = size;
            bytes->there = true;
            bytes->used = true;
            return bytes;
        }
    }
    abort();
}

static struct sim_bytes *bytes_find(struct sim_disk *sim, const char *name)
{
    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        struct sim_bytes *bytes = &sim->files[i];

        if (bytes->used && bytes->there && strcmp(bytes->name, name) == 0) {
            return bytes;
        }
    }
    return NULL;
}

static void sim_free(struct disk *disk)
{
    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        bytes_deinit(&sim_of(disk)->files[i]);
    }
    free(disk);
}

static struct disk_file *file_new(struct disk *disk, struct sim_bytes *bytes,
                                  enum disk_access access)
{
    struct sim_file *file = must(calloc(1, sizeof *file));

    file->file.disk = disk;
    file->bytes = bytes;
    file->access = access;
    return &file->file;
}

static enum es_status sim_create(struct disk *disk, const char *name, uint64_t size_bytes,
                                 struct disk_file **ret_file)
{
    struct sim_disk *sim = sim_of(disk);

    if (bytes_find(sim, name) != NULL) {
        return ES_E_EXISTS;
    }
    if (fails(sim)) {
        return ES_E_IO;
    }
    *ret_file = file_new(disk, bytes_new(sim, name, (size_t)size_bytes), DISK_READ_WRITE);
    return ES_OK;
}

static enum es_status sim_open(struct disk *disk, const char *name, enum disk_access access,
                               struct disk_file **ret_file)
{
    struct sim_bytes *bytes = bytes_find(sim_of(disk), name);

    if (bytes == NULL) {
        return ES_NOT_FOUND;
    }
    if (fails(sim_of(disk))) {
        return ES_E_IO;
    }
    *ret_file = file_new(disk, bytes, access);
    return ES_OK;
}

static void sim_close(struct disk_file *file)
{
    free(file);
}

static enum es_status sim_size(struct disk_file *file, uint64_t *ret_bytes)
{
    if (fails(sim_of(file->disk))) {
        return ES_E_IO;
    }
    *ret_bytes = ((struct sim_file *)file)->bytes->size;
    return ES_OK;
}

static enum es_status sim_read(struct disk_file *file, uint64_t offset, void *bytes, size_t size)
{
    const struct sim_bytes *from = ((struct sim_file *)file)->bytes;

    if (fails(sim_of(file->disk))) {
        return ES_E_IO;
    }
    if (offset > from->size || size > from->size - offset) {
        return ES_E_CORRUPT;
    }
    memcpy(bytes, from->now + offset, size);
    return ES_OK;
}

/* Sector by sector, so that a failing write can leave any of them out. */
static void write_bytes(struct sim_disk *sim, struct sim_bytes *to, uint64_t offset,
                        const uint8_t *bytes, size_t size, bool failing)
{
    while (size > 0) {
        size_t sector = (size_t)offset / SIM_SECTOR_BYTES;
        size_t room = SIM_SECTOR_BYTES - (size_t)offset % SIM_SECTOR_BYTES;
        size_t part = size < room ? size : room;

        if (!failing || chance(sim, 50)) {
            memcpy(to->now + offset, bytes, part);
            to->sectors[sector] = SECTOR_DIRTY;
        }
        offset += part;
        bytes += part;
        size -= part;
    }
}

static enum es_status sim_write(struct disk_file *file, uint64_t offset, const struct iovec *parts,
                                int part_count)
{
    struct sim_disk *sim = sim_of(file->disk);
    struct sim_bytes *to = ((struct sim_file *)file)->bytes;
    bool failing = fails(sim);
    int reason = errno;

    assert(((struct sim_file *)file)->access == DISK_READ_WRITE);
    for (int i = 0; i < part_count; i++) {
        size_t size = parts[i].iov_len;

        assert(offset + size <= to->size); /* segments and anchors never grow */
        write_bytes(sim, to, offset, parts[i].iov_base, size, failing);
        offset += size;
    }
    /* The kernel writes back when it likes: any one sector, at any time. */
    if (to->size > 0 && chance(sim, 20)) {
        size_t sector = next_random(sim) % sectors_of(to->size);

        if (to->sectors[sector] == SECTOR_DIRTY) {
            sector_settle(to, sector, true);
        }
    }
    errno = reason;
    return failing ? ES_E_IO : ES_OK;
}

static enum es_status sim_sync(struct disk_file *file)
{
    struct sim_disk *sim = sim_of(file->disk);
    struct sim_bytes *bytes = ((struct sim_file *)file)->bytes;
    bool failing = fails(sim);
    int reason = errno;

    sim->syncs++;
    for (size_t i = 0; i < sectors_of(bytes->size); i++) {
        if (bytes->sectors[i] != SECTOR_DIRTY) {
            continue;
        }
        if (!failing || chance(sim, 50)) {
            sector_settle(bytes, i, true);
        } else {
            bytes->sectors[i] = SECTOR_FORGOTTEN;
        }
    }
    errno = reason;
    return failing ? ES_E_IO : ES_OK;
}

static enum es_status sim_sync_directory(struct disk *disk)
{
    struct sim_disk *sim = sim_of(disk);

    if (fails(sim)) {
        return ES_E_IO;
    }
    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        sim->files[i].there_durable = sim->files[i].there;
    }
    return ES_OK;
}

static enum es_status sim_rename(struct disk *disk, const char *from, const char *to)
{
    struct sim_bytes *source = bytes_find(sim_of(disk), from);
    struct sim_bytes *target = bytes_find(sim_of(disk), to);

    if (source == NULL) {
        return ES_NOT_FOUND;
    }
    if (fails(sim_of(disk))) {
        return ES_E_IO;
    }
    if (target != NULL) {
        target->there = false;
    }
    /* Durable at once: one of the orders in which a journal may write it. */
    memset(source->name, 0, sizeof source->name);
    memcpy(source->name, to, strnlen(to, DISK_NAME_MAX));
    return ES_OK;
}

static enum es_status sim_unlink(struct disk *disk, const char *name)
{
    struct sim_bytes *bytes = bytes_find(sim_of(disk), name);

    if (bytes == NULL) {
        return ES_NOT_FOUND;
    }
    if (fails(sim_of(disk))) {
        return ES_E_IO;
    }
    bytes->there = false;
    return ES_OK;
}

static enum es_status sim_list(struct disk *disk, disk_visit_fn visit, void *context)
{
    struct sim_disk *sim = sim_of(disk);

    if (fails(sim)) {
        return ES_E_IO;
    }
    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        if (sim->files[i].used && sim->files[i].there && !visit(context, sim->files[i].name)) {
            break;
        }
    }
    return ES_OK;
}

static enum es_status sim_free_bytes(struct disk *disk, uint64_t *ret_bytes)
{
    if (fails(sim_of(disk))) {
        return ES_E_IO;
    }
    *ret_bytes = UINT64_C(1) << 40;
    return ES_OK;
}

static const struct disk_operations sim_operations = {
    .free = sim_free,
    .create = sim_create,
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .sync_directory = sim_sync_directory,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .list = sim_list,
    .free_bytes = sim_free_bytes,
};

struct disk *sim_disk_new(uint64_t seed)
{
    struct sim_disk *sim = must(calloc(1, sizeof *sim));

    sim->disk.operations = &sim_operations;
    sim->random = seed;
    return &sim->disk;
}

struct disk *sim_disk_copy(struct disk *disk, uint64_t seed)
{
    struct disk *copy = sim_disk_new(seed);

    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        const struct sim_bytes *from = &sim_of(disk)->files[i];

        if (from->used && from->there) {
            struct sim_bytes *to = bytes_new(sim_of(copy), from->name, from->size);

            memcpy(to->now, from->now, from->size);
            memcpy(to->durable, from->now, from->size);
            to->there_durable = true;
        }
    }
    return copy;
}

void sim_disk_power_cut(struct disk *disk, unsigned keep_percent)
{
    struct sim_disk *sim = sim_of(disk);

    for (size_t i = 0; i < SIM_FILES_MAX; i++) {
        struct sim_bytes *bytes = &sim->files[i];

        if (!bytes->used) {
            continue;
        }
        if (bytes->there != bytes->there_durable && chance(sim, keep_percent)) {
            bytes->there_durable = bytes->there;
        }
        bytes->there = bytes->there_durable;
        for (size_t sector = 0; sector < sectors_of(bytes->size); sector++) {
            bool keep = chance(sim, keep_percent);

            sector_settle(bytes, sector, keep && bytes->sectors[sector] == SECTOR_DIRTY);
        }
        if (!bytes->there) {
            bytes_deinit(bytes);
        }
    }
}

void sim_disk_fail_at(struct disk *disk, uint64_t call, int reason)
{
    sim_of(disk)->fail_at = call;
    sim_of(disk)->fail_reason = reason;
}

uint64_t sim_disk_calls(const struct disk *disk)
{
    return ((const struct sim_disk *)disk)->calls;
}

uint64_t sim_disk_syncs(const struct disk *disk)
{
    return ((const struct sim_disk *)disk)->syncs;
}

uint8_t *sim_disk_bytes(struct disk *disk, const char *name, size_t *ret_size)
{
    struct sim_bytes *bytes = bytes_find(sim_of(disk), name);

    if (bytes == NULL) {
        return NULL;
    }
    *ret_size = bytes->size;
    return bytes->now;
}

void sim_disk_resize(struct disk *disk, const char *name, size_t size)
{
    struct sim_bytes *bytes = bytes_find(sim_of(disk), name);
    size_t kept = 0;

    if (bytes == NULL) {
        abort();
    }
    kept = size < bytes->size ? size : bytes->size;
    bytes->now = must(realloc(bytes->now, size + 1));
    bytes->durable = must(realloc(bytes->durable, size + 1));
    memset(bytes->now + kept, 0, size + 1 - kept);
    memcpy(bytes->durable, bytes->now, size);
    free(bytes->sectors);
    bytes->sectors = must(calloc(1, sectors_of(size) + 1));
    bytes->size = size;
}
