#include "broker/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/epochs.h"
#include "shm/codec/hash.h"
#include "shm/probe.h"

#define CHECKPOINT_NAME "backing-up" /* RocksDB's files, linked, on their way */

enum {
    FD_PATH_BYTES = 64,
    PARTIAL_NAME_BYTES = 256
};

struct backup {
    struct backup_config config;
    pthread_mutex_t busy;
};

/* What the commit thread is asked to do, and its answer. */
struct cutting {
    struct backup *backup;
    char checkpoint_path[DATA_PATH_BYTES_MAX + 16];
    struct history_point end;
    enum es_status status;
};

static struct log_point log_point_of(const struct history_point *end)
{
    struct log_point point = {.batch_number = end->batch_number};

    memcpy(point.store_hash, end->store_hash, sizeof point.store_hash);
    return point;
}

/* RocksDB may hold only what the log has synced, so that comes first, always. */
static void begin_flush(void *context)
{
    struct cutting *cutting = context;
    const struct backup_config *config = &cutting->backup->config;
    struct log_point point = log_point_of(committer_end(config->committer));

    cutting->status = log_sync(config->log);
    if (cutting->status == ES_OK) {
        cutting->status = flusher_begin(config->flusher, &point);
    }
}

static void take_checkpoint(void *context)
{
    struct cutting *cutting = context;
    const struct backup_config *config = &cutting->backup->config;

    cutting->end = *committer_end(config->committer);
    cutting->status = log_sync(config->log);
    if (cutting->status == ES_OK) {
        cutting->status = store_checkpoint(config->store, cutting->checkpoint_path);
    }
}

/*
 * Twice to the commit thread: first everything is flushed in the background, so that
 * little is left when it stands still for the checkpoint itself.
 */
static enum es_status cut(struct backup *backup, struct cutting *cutting)
{
    enum es_status status = inbox_call(backup->config.inbox, begin_flush, cutting);

    if (status == ES_OK && cutting->status == ES_OK) {
        flusher_wait(backup->config.flusher);
        status = inbox_call(backup->config.inbox, take_checkpoint, cutting);
    }
    return status != ES_OK ? status : cutting->status;
}

/* Links the checkpoint's files into the backup, or copies them onto another filesystem. */
static enum es_status move_checkpoint(const struct backup *backup, int to_fd,
                                      char why[FILE_TREE_WHY_BYTES])
{
    const struct file_tree_options options = {.may_link = true};
    enum es_status status = ES_OK;
    int below = -1;
    int from = openat(backup->config.directory->fd, CHECKPOINT_NAME,
                      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (from < 0) {
        snprintf(why, FILE_TREE_WHY_BYTES, "the checkpoint is gone: %s", strerror(errno));
        return ES_E_IO;
    }
    status = file_tree_make(to_fd, "rocksdb", &below);
    if (status == ES_OK) {
        status = file_tree_copy(from, below, &options, why);
        close(below);
    }
    close(from);
    return status;
}

enum es_status backup_make_witnesses(int directory_fd, const struct anchor_state *state,
                                     const struct log_geometry *geometry,
                                     const struct history_point *end)
{
    struct log_identity identity = {.epoch = state->epoch};
    struct log_point start = log_point_of(end);
    struct anchor_state named = *state;
    struct anchor *anchor = NULL;
    struct disk *disk = NULL;
    char path[FD_PATH_BYTES];
    enum es_status status = ES_OK;
    int fd = -1;

    named.batch_number = end->batch_number;
    named.commit_number = end->commit_number;
    named.position = end->position;
    memcpy(named.store_hash, end->store_hash, sizeof named.store_hash);
    named.clean = true;
    memcpy(identity.store_id, state->store_id, sizeof identity.store_id);
    epochs_random_bytes(&identity.secret, sizeof identity.secret);
    status = file_tree_make(directory_fd, "log", &fd);
    if (status == ES_OK) {
        snprintf(path, sizeof path, "/proc/self/fd/%d/.", fd);
        status = disk_posix_new(path, &disk);
    }
    if (status == ES_OK) {
        status = log_create(disk, &identity, geometry, &start);
    }
    disk_free(disk);
    disk = NULL;
    if (fd >= 0) {
        close(fd);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d/.", directory_fd);
    if (status == ES_OK) {
        status = disk_posix_new(path, &disk);
    }
    if (status == ES_OK) {
        status = anchor_create(disk, DATA_ANCHOR_NAME, &named, &anchor);
    }
    anchor_free(anchor);
    disk_free(disk);
    return status;
}

static enum es_status write_mark(const struct backup *backup, int to_fd,
                                 const struct history_point *end)
{
    char store_id[2 * ANCHOR_STORE_ID_BYTES + 1] = {0};
    char text[256];

    es_hex_encode(backup->config.state.store_id, ANCHOR_STORE_ID_BYTES, store_id);
    snprintf(text, sizeof text,
             "eventspine backup\nstore %s\nepoch %016" PRIx64 "\nposition %" PRIu64
             "\ncommit %" PRIu64 "\n",
             store_id, backup->config.state.epoch, end->position, end->commit_number);
    return file_tree_write(to_fd, DATA_BACKUP_NAME, text);
}

/* What is in the new directory. */
static enum es_status fill(struct backup *backup, int to_fd, const struct history_point *end,
                           char why[FILE_TREE_WHY_BYTES])
{
    int fd = -1;
    enum es_status status = move_checkpoint(backup, to_fd, why);

    ES_PROBE(backup_files_copied);
    if (status != ES_OK) {
        return status;
    }
    status = file_tree_make(to_fd, "rocksdb-logs", &fd);
    if (status == ES_OK) {
        close(fd);
        status = write_mark(backup, to_fd, end);
    }
    ES_PROBE(backup_marked);
    if (status == ES_OK) {
        status = backup_make_witnesses(to_fd, &backup->config.state,
                                       &log_origin(backup->config.log)->geometry, end);
    }
    if (status != ES_OK) {
        snprintf(why, FILE_TREE_WHY_BYTES, "cannot make its log and anchor: %s (%s)",
                 es_status_text(status), strerror(errno));
    }
    return status;
}

/* It gets its name when it is whole. */
static enum es_status give_name(int parent_fd, const char *partial, const char *name,
                                char why[FILE_TREE_WHY_BYTES])
{
    if (renameat2(parent_fd, partial, parent_fd, name, RENAME_NOREPLACE) != 0 ||
        fsync(parent_fd) != 0) {
        snprintf(why, FILE_TREE_WHY_BYTES, "cannot give %.200s its name: %s", name,
                 strerror(errno));
        return errno == EEXIST ? ES_E_EXISTS : ES_E_IO;
    }
    ES_PROBE(backup_named);
    return ES_OK;
}

/* Makes the directory beside its place. */
static enum es_status begin(int parent_fd, const char *partial, const char *name, int *ret_fd,
                            char why[FILE_TREE_WHY_BYTES])
{
    enum es_status status = ES_E_EXISTS;

    if (faccessat(parent_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        snprintf(why, FILE_TREE_WHY_BYTES, "%.200s exists already: name a directory that does not",
                 name);
        return status;
    }
    status = file_tree_make(parent_fd, partial, ret_fd);
    if (status == ES_E_EXISTS) {
        snprintf(why, FILE_TREE_WHY_BYTES,
                 "%.200s is in the way, left by a backup that was cut short: remove it", partial);
    } else if (status != ES_OK) {
        snprintf(why, FILE_TREE_WHY_BYTES, "cannot make %.200s: %s", partial, strerror(errno));
    }
    return status;
}

/* On the store's own disk a backup costs at least its log, and the reserve is not for it. */
static enum es_status check_room(const struct backup *backup, int parent_fd,
                                 char why[FILE_TREE_WHY_BYTES])
{
    const struct log_geometry *geometry = &log_origin(backup->config.log)->geometry;
    struct stat there;
    struct stat here;

    if (fstat(parent_fd, &there) != 0 || fstat(backup->config.directory->fd, &here) != 0 ||
        there.st_dev != here.st_dev) {
        return ES_OK;
    }
    return file_tree_check_room(
        parent_fd, backup->config.reserve_bytes + geometry->segment_bytes * geometry->segment_count,
        why);
}

static enum es_status make(struct backup *backup, const char *path, struct cutting *cutting,
                           char why[FILE_TREE_WHY_BYTES])
{
    char partial[PARTIAL_NAME_BYTES];
    const char *name = NULL;
    int parent_fd = -1;
    int to_fd = -1;
    enum es_status status = file_tree_open_parent(path, &parent_fd, &name, why);

    if (status != ES_OK) {
        return status;
    }
    snprintf(partial, sizeof partial, "%.240s.partial", name);
    status = check_room(backup, parent_fd, why);
    if (status == ES_OK) {
        status = begin(parent_fd, partial, name, &to_fd, why);
    }
    if (status != ES_OK) {
        close(parent_fd);
        return status;
    }
    ES_PROBE(backup_begun);
    status = cut(backup, cutting);
    ES_PROBE(backup_checkpoint_taken);
    if (status != ES_OK) {
        snprintf(why, FILE_TREE_WHY_BYTES, "the store could not be cut: %s",
                 es_status_text(status));
    } else {
        status = fill(backup, to_fd, &cutting->end, why);
    }
    close(to_fd);
    if (status == ES_OK) {
        status = give_name(parent_fd, partial, name, why);
    }
    if (status != ES_OK) {
        (void)!file_tree_remove(parent_fd, partial);
    }
    close(parent_fd);
    return status;
}

enum es_status backup_make(struct backup *backup, const char *path, struct history_point *ret_end,
                           char why[FILE_TREE_WHY_BYTES])
{
    const struct data_directory *directory = backup->config.directory;
    struct cutting cutting = {.backup = backup, .status = ES_OK};
    enum es_status status = ES_OK;

    if (pthread_mutex_trylock(&backup->busy) != 0) {
        snprintf(why, FILE_TREE_WHY_BYTES, "another backup is being made: wait for it");
        return ES_E_BUSY;
    }
    snprintf(cutting.checkpoint_path, sizeof cutting.checkpoint_path, "%s/%s", directory->path,
             CHECKPOINT_NAME);
    /* One that was cut short by the end of a broker may lie there yet. */
    status = file_tree_remove(directory->fd, CHECKPOINT_NAME);
    if (status != ES_OK) {
        snprintf(why, FILE_TREE_WHY_BYTES, "cannot remove %.200s: %s", cutting.checkpoint_path,
                 strerror(errno));
    } else {
        status = make(backup, path, &cutting, why);
        (void)!file_tree_remove(directory->fd, CHECKPOINT_NAME);
    }
    pthread_mutex_unlock(&backup->busy);
    if (status == ES_OK) {
        *ret_end = cutting.end;
    }
    return status;
}

enum es_status backup_new(const struct backup_config *config, struct backup **ret_backup)
{
    struct backup *backup = calloc(1, sizeof *backup);

    if (backup == NULL) {
        return ES_E_NO_MEMORY;
    }
    backup->config = *config;
    pthread_mutex_init(&backup->busy, NULL);
    *ret_backup = backup;
    return ES_OK;
}

void backup_free(struct backup *backup)
{
    if (backup != NULL) {
        pthread_mutex_destroy(&backup->busy);
        free(backup);
    }
}
