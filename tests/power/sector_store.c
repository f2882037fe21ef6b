#include "tests/power/sector_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/prng.h"

enum {
    HOLE_BYTES = 4096,
    NOWHERE = UINT32_MAX,
    /* ext4's superblock, two sectors under one checksum: torn it cannot be mounted, and the
     * file system is not what is tested. It stays as the last flush has left it. */
    SUPERBLOCK_FIRST = 2,
    SUPERBLOCK_LAST = 3
};

/* One sector as it was written once; 'before' is the same sector's version before it. */
struct version {
    uint32_t sector;
    uint32_t before; /* index, NOWHERE: none since the last flush */
    uint8_t bytes[SECTOR_BYTES];
};

struct sector_store {
    uint64_t size_bytes;
    uint8_t *durable;
    uint8_t *current;
    uint32_t *newest; /* for each sector its newest version; NOWHERE: not in the cache */
    struct version *versions;
    uint32_t version_count;
    uint32_t version_capacity;
};

static void *pages(uint64_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static bool load(struct sector_store *store, const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t done = 0;

    while (file >= 0 && done < store->size_bytes) {
        ssize_t size = pread(file, store->durable + done, store->size_bytes - done, (off_t)done);

        if (size <= 0) {
            break;
        }
        done += (uint64_t)size;
    }
    if (file >= 0) {
        close(file);
    }
    memcpy(store->current, store->durable, store->size_bytes);
    return done == store->size_bytes;
}

struct sector_store *sector_store_new(uint64_t size_bytes, const char *image_path)
{
    struct sector_store *store = calloc(1, sizeof *store);

    if (store == NULL) {
        return NULL;
    }
    store->size_bytes = size_bytes;
    store->durable = pages(size_bytes);
    store->current = pages(size_bytes);
    store->newest = pages(size_bytes / SECTOR_BYTES * sizeof *store->newest);
    if (store->durable == NULL || store->current == NULL || store->newest == NULL) {
        sector_store_free(store);
        return NULL;
    }
    memset(store->newest, 0xff, size_bytes / SECTOR_BYTES * sizeof *store->newest);
    if (image_path != NULL && !load(store, image_path)) {
        sector_store_free(store);
        return NULL;
    }
    return store;
}

void sector_store_free(struct sector_store *store)
{
    if (store->durable != NULL) {
        munmap(store->durable, store->size_bytes);
    }
    if (store->current != NULL) {
        munmap(store->current, store->size_bytes);
    }
    if (store->newest != NULL) {
        munmap(store->newest, store->size_bytes / SECTOR_BYTES * sizeof *store->newest);
    }
    free(store->versions);
    free(store);
}

uint64_t sector_store_size(const struct sector_store *store)
{
    return store->size_bytes;
}

const uint8_t *sector_store_bytes(const struct sector_store *store)
{
    return store->current;
}

static bool reserve(struct sector_store *store, uint32_t count)
{
    struct version *larger = NULL;
    uint32_t capacity = store->version_capacity == 0 ? 1024 : store->version_capacity;

    while (capacity - store->version_count < count) {
        capacity *= 2;
    }
    if (capacity == store->version_capacity) {
        return true;
    }
    larger = realloc(store->versions, capacity * sizeof *larger);
    if (larger == NULL) {
        return false;
    }
    store->versions = larger;
    store->version_capacity = capacity;
    return true;
}

bool sector_store_write(struct sector_store *store, uint64_t offset, const void *bytes, size_t size)
{
    uint32_t first = (uint32_t)(offset / SECTOR_BYTES);
    uint32_t end = (uint32_t)((offset + size + SECTOR_BYTES - 1) / SECTOR_BYTES);

    if (offset + size > store->size_bytes || !reserve(store, end - first)) {
        return false;
    }
    memcpy(store->current + offset, bytes, size);
    for (uint32_t sector = first; sector < end; sector++) {
        struct version *version = &store->versions[store->version_count];

        version->sector = sector;
        version->before = store->newest[sector];
        memcpy(version->bytes, store->current + (uint64_t)sector * SECTOR_BYTES, SECTOR_BYTES);
        store->newest[sector] = store->version_count++;
    }
    return true;
}

void sector_store_flush(struct sector_store *store)
{
    for (uint32_t i = 0; i < store->version_count; i++) {
        const struct version *version = &store->versions[i];

        /* In order, so the newest version of a sector stays. */
        memcpy(store->durable + (uint64_t)version->sector * SECTOR_BYTES, version->bytes,
               SECTOR_BYTES);
        store->newest[version->sector] = NOWHERE;
    }
    store->version_count = 0;
}

/* The version of a sector that survives; NULL: none, what is durable is found. */
static const struct version *survivor(const struct sector_store *store,
                                      const struct sector_cut *cut, struct prng *random,
                                      const struct version *newest,
                                      struct sector_cut_counts *counts)
{
    const struct version *version = newest;

    if (prng_below(random, 100) >= cut->keep_percent ||
        (newest->sector >= SUPERBLOCK_FIRST && newest->sector <= SUPERBLOCK_LAST)) {
        return NULL;
    }
    counts->kept++;
    while (version->before != NOWHERE && prng_below(random, 100) < cut->stale_percent) {
        version = &store->versions[version->before];
    }
    counts->stale += version != newest ? 1 : 0;
    return version;
}

static bool write_image(const uint8_t *bytes, uint64_t size, const char *path)
{
    static const uint8_t zeros[HOLE_BYTES];
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool is_written = file >= 0 && ftruncate(file, (off_t)size) == 0;

    for (uint64_t at = 0; is_written && at < size; at += HOLE_BYTES) {
        if (memcmp(bytes + at, zeros, HOLE_BYTES) != 0) {
            is_written = pwrite(file, bytes + at, HOLE_BYTES, (off_t)at) == HOLE_BYTES;
        }
    }
    if (file >= 0 && close(file) != 0) {
        is_written = false;
    }
    return is_written;
}

bool sector_store_cut(const struct sector_store *store, const struct sector_cut *cut,
                      const char *path, struct sector_cut_counts *ret_counts)
{
    uint8_t *image = pages(store->size_bytes);
    bool is_written = false;
    struct prng random;

    if (image == NULL) {
        return false;
    }
    prng_seed(&random, cut->seed);
    memset(ret_counts, 0, sizeof *ret_counts);
    memcpy(image, store->durable, store->size_bytes);
    for (uint32_t i = 0; i < store->version_count; i++) {
        const struct version *newest = &store->versions[i];
        const struct version *kept = NULL;

        if (store->newest[newest->sector] != i) {
            continue; /* each sector once, by its newest version */
        }
        ret_counts->unsynced++;
        kept = survivor(store, cut, &random, newest, ret_counts);
        if (kept != NULL) {
            memcpy(image + (uint64_t)kept->sector * SECTOR_BYTES, kept->bytes, SECTOR_BYTES);
        }
    }
    is_written = write_image(image, store->size_bytes, path);
    munmap(image, store->size_bytes);
    return is_written;
}
