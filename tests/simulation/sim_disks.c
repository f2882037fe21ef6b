#include "tests/simulation/sim_disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "broker/data_directory.h"
#include "tests/simulation/sim.h"
#include "tests/simulation/sim_bugs.h"
#include "tests/simulation/sim_heap.h"
#include "tests/simulation/sim_store.h"
#include "tests/support/sim_disk.h"

struct sim_disks sim_disks;

static uint64_t changes;

void sim_disks_make(void)
{
    enum sim_zone zone = sim_heap_select(ZONE_WORLD);

    sim_disks = (struct sim_disks){.anchor = sim_disk_new(prng_next(&sim.random)),
                                   .log = sim_disk_new(prng_next(&sim.random))};
    changes = 0;
    (void)sim_heap_select(zone);
}

void sim_disks_power_cut(void)
{
    static const unsigned keep_percents[] = {0, 25, 50, 75, 100};
    unsigned keep = keep_percents[sim_below(5)];

    sim_disk_power_cut(sim_disks.anchor, keep);
    sim_disk_power_cut(sim_disks.log, keep);
}

void sim_disks_set_aside(struct sim_disks *ret_originals)
{
    enum sim_zone zone = sim_heap_select(ZONE_WORLD);

    *ret_originals = sim_disks;
    sim_disks.anchor = sim_disk_copy(sim_disks.anchor, prng_next(&sim.random));
    sim_disks.log = sim_disk_copy(sim_disks.log, prng_next(&sim.random));
    (void)sim_heap_select(zone);
}

void sim_disks_copy(struct sim_disks *ret_copy)
{
    struct sim_disks originals;

    sim_disks_set_aside(&originals);
    *ret_copy = sim_disks;
    ret_copy->is_backup = true;
    sim_disks = originals;
}

void sim_disks_replace(const struct sim_disks *copy)
{
    sim_disks = *copy; /* the former lie in the world's memory, and go with it */
}

void __real_disk_free(struct disk *disk);

void sim_disks_put_back(const struct sim_disks *originals)
{
    __real_disk_free(sim_disks.anchor);
    __real_disk_free(sim_disks.log);
    sim_disks = *originals;
}

uint64_t sim_disks_changes(void)
{
    return changes;
}

/* ---- calls ----------------------------------------------------------------- */

/* What is left of a call that sim_point() let through. */
struct call {
    enum sim_verdict verdict;
};

static struct call begin(struct disk *disk, enum sim_call kind)
{
    struct call call = {.verdict = sim_point(kind)};

    changes += kind != CALL_READ;
    switch (call.verdict) {
    case VERDICT_TEAR:
    case VERDICT_FAIL: sim_disk_fail_at(disk, 1, EIO); break;
    case VERDICT_NO_SPACE: sim_disk_fail_at(disk, 1, ENOSPC); break;
    default: break;
    }
    return call;
}

static enum es_status end(struct call call, enum es_status status)
{
    if (call.verdict == VERDICT_TEAR || call.verdict == VERDICT_KILL_AFTER) {
        sim_kill();
    }
    sim_trace(2, (uint64_t)status);
    return status == ES_E_IO && call.verdict == VERDICT_NO_SPACE ? ES_NO_SPACE : status;
}

enum es_status __real_disk_create(struct disk *disk, const char *name, uint64_t size_bytes,
                                  struct disk_file **ret_file);
enum es_status __wrap_disk_create(struct disk *disk, const char *name, uint64_t size_bytes,
                                  struct disk_file **ret_file);
enum es_status __wrap_disk_create(struct disk *disk, const char *name, uint64_t size_bytes,
                                  struct disk_file **ret_file)
{
    struct call call = begin(disk, CALL_CHANGE);
    enum sim_zone zone = sim_heap_select(ZONE_WORLD);
    enum es_status status = __real_disk_create(disk, name, size_bytes, ret_file);

    (void)sim_heap_select(zone);
    return end(call, status);
}

enum es_status __real_disk_open(struct disk *disk, const char *name, enum disk_access access,
                                struct disk_file **ret_file);
enum es_status __wrap_disk_open(struct disk *disk, const char *name, enum disk_access access,
                                struct disk_file **ret_file);
enum es_status __wrap_disk_open(struct disk *disk, const char *name, enum disk_access access,
                                struct disk_file **ret_file)
{
    size_t size = 0;

    if (sim_disk_bytes(disk, name, &size) == NULL) {
        return ES_NOT_FOUND; /* no call worth a fault, and there are many of them */
    }
    {
        struct call call = begin(disk, CALL_READ);

        return end(call, __real_disk_open(disk, name, access, ret_file));
    }
}

enum es_status __real_disk_read(struct disk_file *file, uint64_t offset, void *bytes, size_t size);
enum es_status __wrap_disk_read(struct disk_file *file, uint64_t offset, void *bytes, size_t size);
enum es_status __wrap_disk_read(struct disk_file *file, uint64_t offset, void *bytes, size_t size)
{
    struct call call = begin(file->disk, CALL_READ);

    return end(call, __real_disk_read(file, offset, bytes, size));
}

enum es_status __real_disk_write(struct disk_file *file, uint64_t offset, const struct iovec *parts,
                                 int part_count);
enum es_status __wrap_disk_write(struct disk_file *file, uint64_t offset, const struct iovec *parts,
                                 int part_count);
enum es_status __wrap_disk_write(struct disk_file *file, uint64_t offset, const struct iovec *parts,
                                 int part_count)
{
    struct call call = {.verdict = VERDICT_GO};

    if (sim_bugs_skip_disk()) {
        return ES_OK;
    }
    call = begin(file->disk, CALL_WRITE);

    return end(call, __real_disk_write(file, offset, parts, part_count));
}

enum es_status __real_disk_sync(struct disk_file *file);
enum es_status __wrap_disk_sync(struct disk_file *file);
enum es_status __wrap_disk_sync(struct disk_file *file)
{
    struct call call = {.verdict = VERDICT_GO};

    if (sim_bugs_skip_disk()) {
        return ES_OK;
    }
    call = begin(file->disk, CALL_SYNC);
    return end(call, __real_disk_sync(file));
}

enum es_status __real_disk_sync_directory(struct disk *disk);
enum es_status __wrap_disk_sync_directory(struct disk *disk);
enum es_status __wrap_disk_sync_directory(struct disk *disk)
{
    struct call call = begin(disk, CALL_SYNC);

    return end(call, __real_disk_sync_directory(disk));
}

enum es_status __real_disk_unlink(struct disk *disk, const char *name);
enum es_status __wrap_disk_unlink(struct disk *disk, const char *name);
enum es_status __wrap_disk_unlink(struct disk *disk, const char *name)
{
    struct call call = begin(disk, CALL_CHANGE);

    return end(call, __real_disk_unlink(disk, name));
}

enum es_status __wrap_disk_free_bytes(struct disk *disk, uint64_t *ret_bytes);
enum es_status __wrap_disk_free_bytes(struct disk *disk, uint64_t *ret_bytes)
{
    (void)disk;
    *ret_bytes = sim.free_bytes;
    return ES_OK;
}

/* The disks are the world's. */
void __wrap_disk_free(struct disk *disk);
void __wrap_disk_free(struct disk *disk)
{
    (void)disk;
}

/* ---- the data directory ------------------------------------------------------ */

enum es_status __wrap_data_directory_open(const char *path, bool is_writer,
                                          struct data_directory *ret_directory, char *why);
enum es_status __wrap_data_directory_open(const char *path, bool is_writer,
                                          struct data_directory *ret_directory, char *why)
{
    (void)is_writer;
    (void)why;
    ret_directory->fd = -1;
    ret_directory->lock_fd = -1;
    ret_directory->disk = sim_disks.anchor;
    ret_directory->log_disk = NULL;
    (void)snprintf(ret_directory->path, sizeof ret_directory->path, "%s", path);
    ret_directory->store_path[0] = '\0';
    ret_directory->store_logs_path[0] = '\0';
    ret_directory->log_path[0] = '\0';
    return ES_OK;
}

/* A start has to be sound without it: what was not synced stays so here. */
enum es_status __wrap_settle(const struct data_directory *directory, char *why);
enum es_status __wrap_settle(const struct data_directory *directory, char *why)
{
    (void)directory;
    (void)why;
    return ES_OK;
}

void __wrap_data_directory_close(struct data_directory *directory);
void __wrap_data_directory_close(struct data_directory *directory)
{
    directory->disk = NULL;
    directory->log_disk = NULL;
}

bool __wrap_data_directory_has(const struct data_directory *directory, const char *name);
bool __wrap_data_directory_has(const struct data_directory *directory, const char *name)
{
    size_t size = 0;

    (void)directory;
    if (strcmp(name, DATA_CREATING_NAME) == 0) {
        return sim_disks.is_creating;
    }
    if (strcmp(name, DATA_BACKUP_NAME) == 0) {
        return sim_disks.is_backup && !sim_bugs_hide_backup();
    }
    if (strcmp(name, "log") == 0) {
        return sim_disks.has_log;
    }
    if (strcmp(name, "rocksdb") == 0) {
        return sim_store_exists();
    }
    return sim_disk_bytes(sim_disks.anchor, name, &size) != NULL;
}

enum es_status __wrap_data_directory_begin_creation(struct data_directory *directory, char *why);
enum es_status __wrap_data_directory_begin_creation(struct data_directory *directory, char *why)
{
    sim_disks_make();
    sim_store_make();
    directory->disk = sim_disks.anchor;
    sim_disks.is_creating = true;
    sim_disks.has_log = true;
    if (sim_point(CALL_SYNC) == VERDICT_KILL_AFTER) {
        sim_kill();
    }
    why[0] = '\0';
    return ES_OK;
}

enum es_status __wrap_data_directory_end_creation(struct data_directory *directory);
enum es_status __wrap_data_directory_end_creation(struct data_directory *directory)
{
    enum sim_verdict verdict = sim_point(CALL_SYNC);

    (void)directory;
    if (verdict == VERDICT_FAIL) {
        return ES_E_IO;
    }
    sim_disks.is_creating = false;
    if (verdict == VERDICT_KILL_AFTER) {
        sim_kill();
    }
    return ES_OK;
}

enum es_status __wrap_data_directory_end_restore(struct data_directory *directory);
enum es_status __wrap_data_directory_end_restore(struct data_directory *directory)
{
    enum sim_verdict verdict = VERDICT_GO;

    (void)directory;
    if (sim_disks.is_backup) {
        verdict = sim_point(CALL_SYNC);
    }
    if (verdict == VERDICT_FAIL) {
        return ES_E_IO;
    }
    sim_disks.is_backup = false;
    if (verdict == VERDICT_KILL_AFTER) {
        sim_kill();
    }
    return ES_OK;
}

enum es_status __wrap_data_directory_open_log(struct data_directory *directory);
enum es_status __wrap_data_directory_open_log(struct data_directory *directory)
{
    directory->log_disk = sim_disks.log;
    return ES_OK;
}
