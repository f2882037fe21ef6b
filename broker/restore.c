#include "broker/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/startup_check.h"
#include "shm/probe.h"

#define RESTORING_NAME "restoring" /* the mark */
#define RESTORING_SUFFIX ".restoring"

enum {
    RESTORE_ROOM_BYTES = 4 * 1024 * 1024 /* what the first start writes, beside the copy */
};

static bool has(int parent_fd, const char *directory, const char *name)
{
    int fd = openat(parent_fd, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool found = false;

    if (fd >= 0) {
        found = faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        close(fd);
    }
    return found;
}

/* One that was cut short before it had left its mark; nobody misses it. */
static bool remove_empty(int parent_fd, const char *directory)
{
    return unlinkat(parent_fd, directory, AT_REMOVEDIR) == 0;
}

static bool exists(int parent_fd, const char *name)
{
    return faccessat(parent_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The last step: the mark goes, the store is one like any other. */
static enum es_status take_mark_away(const struct restore *restore, char why[DATA_WHY_BYTES])
{
    int fd =
        openat(restore->parent_fd, restore->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool done =
        fd >= 0 && (unlinkat(fd, RESTORING_NAME, 0) == 0 || errno == ENOENT) && fsync(fd) == 0;

    if (!done) {
        (void)startup_explain(why, ES_E_IO, "cannot finish %s: %s", restore->name, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return done ? ES_OK : ES_E_IO;
}

/* Makes way: what an earlier run left beside goes, what anybody else made stays. */
static enum es_status make_way(struct restore *restore, const char *name, const char *beside,
                               const char *data_path, char why[DATA_WHY_BYTES])
{
    if (exists(restore->parent_fd, name) && has(restore->parent_fd, name, RESTORING_NAME)) {
        restore->is_finished = true;
        return ES_OK;
    }
    if (exists(restore->parent_fd, name)) {
        return startup_explain(why, ES_E_EXISTS,
                               "%s exists: name a directory that does not, or move it away",
                               data_path);
    }
    if (!exists(restore->parent_fd, beside) || remove_empty(restore->parent_fd, beside)) {
        return ES_OK;
    }
    if (!has(restore->parent_fd, beside, RESTORING_NAME)) {
        return startup_explain(why, ES_E_EXISTS,
                               "%s is in the way, and no restore has made it: "
                               "move it away",
                               restore->temporary);
    }
    if (file_tree_remove_marked(restore->parent_fd, beside, RESTORING_NAME) != ES_OK) {
        return startup_explain(why, ES_E_IO,
                               "cannot remove %s, left by a restore that was cut "
                               "short: %s",
                               restore->temporary, strerror(errno));
    }
    return ES_OK;
}

static enum es_status copy(struct restore *restore, const char *beside,
                           const struct file_tree_options *options, char why[DATA_WHY_BYTES])
{
    char tree_why[FILE_TREE_WHY_BYTES] = "";
    uint64_t bytes = 0;
    int fd = -1;
    enum es_status status = file_tree_bytes(restore->from.fd, &bytes);

    if (status == ES_OK) {
        status = file_tree_check_room(restore->parent_fd, bytes + RESTORE_ROOM_BYTES, tree_why);
    }
    if (status == ES_NO_SPACE) {
        return startup_explain(why, status, "%s: %s", restore->temporary, tree_why);
    }
    if (status == ES_OK) {
        status = file_tree_make(restore->parent_fd, beside, &fd);
    }
    if (status == ES_OK) {
        status = file_tree_write(fd, RESTORING_NAME, "esctl restore: not yet a store\n");
    }
    if (status == ES_OK && fsync(fd) != 0) {
        status = ES_E_IO;
    }
    if (status != ES_OK) {
        status =
            startup_explain(why, status, "cannot make %s: %s", restore->temporary, strerror(errno));
    } else {
        ES_PROBE(restore_begun);
        status = file_tree_copy(restore->from.fd, fd, options, tree_why);
        if (status != ES_OK) {
            (void)startup_explain(why, status, "copying the backup to %s: %s", restore->temporary,
                                  tree_why);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    ES_PROBE(restore_copied);
    return status;
}

enum es_status restore_copy(const char *backup_path, const char *data_path,
                            const struct file_tree_options *options, struct restore *ret_restore,
                            char why[DATA_WHY_BYTES])
{
    struct restore *restore = ret_restore;
    struct file_tree_options without_lock = *options;
    char tree_why[FILE_TREE_WHY_BYTES] = "";
    const char *name = NULL;
    const char *beside = NULL;
    enum es_status status = ES_OK;

    memset(restore, 0, sizeof *restore);
    restore->parent_fd = -1;
    without_lock.except = "lock";
    status = data_directory_open(backup_path, false, &restore->from, why);
    if (status != ES_OK) {
        return status;
    }
    if (!data_directory_has(&restore->from, DATA_BACKUP_NAME) ||
        !data_directory_has(&restore->from, DATA_ANCHOR_NAME)) {
        return startup_explain(why, ES_E_INVALID,
                               "%s is not a whole backup: name a directory that `esctl backup` "
                               "has made",
                               backup_path);
    }
    if (strlen(data_path) >= sizeof restore->name - sizeof RESTORING_SUFFIX) {
        return startup_explain(why, ES_E_INVALID, "the path of the new store is too long");
    }
    status = file_tree_open_parent(data_path, &restore->parent_fd, &name, tree_why);
    if (status != ES_OK) {
        return startup_explain(why, status, "%s", tree_why);
    }
    snprintf(restore->name, sizeof restore->name, "%s", name);
    snprintf(restore->temporary, sizeof restore->temporary, "%s%s", data_path, RESTORING_SUFFIX);
    beside = strrchr(restore->temporary, '/') + 1;
    status = make_way(restore, name, beside, data_path, why);
    return status == ES_OK && !restore->is_finished ? copy(restore, beside, &without_lock, why)
                                                    : status;
}

/* A start like any other, which finds the mark of a backup. */
static enum es_status begin_epoch(struct restore *restore, char why[DATA_WHY_BYTES])
{
    const struct startup_options options = {.data_path = restore->temporary,
                                            .durability = ANCHOR_FSYNC};
    struct counters counters = {0};
    struct startup startup;
    enum es_status status = startup_open(&options, &counters, &startup, why);

    if (status == ES_OK) {
        restore->epoch = startup.state.epoch;
        restore->position = startup.end.position;
        startup_close(&startup);
    }
    return status;
}

enum es_status restore_finish(struct restore *restore, char why[DATA_WHY_BYTES])
{
    enum es_status status = ES_OK;

    if (restore->is_finished) {
        return take_mark_away(restore, why);
    }
    status = begin_epoch(restore, why);
    ES_PROBE(restore_epoch_begun);
    if (status != ES_OK) {
        return status;
    }
    if (renameat2(restore->parent_fd, strrchr(restore->temporary, '/') + 1, restore->parent_fd,
                  restore->name, RENAME_NOREPLACE) != 0 ||
        fsync(restore->parent_fd) != 0) {
        return startup_explain(why, ES_E_IO, "cannot give %s its name: %s", restore->temporary,
                               strerror(errno));
    }
    ES_PROBE(restore_in_place);
    return take_mark_away(restore, why);
}

void restore_close(struct restore *restore)
{
    data_directory_close(&restore->from);
    if (restore->parent_fd >= 0) {
        close(restore->parent_fd);
    }
    restore->parent_fd = -1;
}
