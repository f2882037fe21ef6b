#include "broker/data_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/probe.h"

#define LOCK_NAME "lock"

enum {
    PID_TEXT_BYTES = 32
};

__attribute__((format(printf, 3, 4))) static enum es_status explain(char why[DATA_WHY_BYTES],
                                                                    enum es_status status,
                                                                    const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, DATA_WHY_BYTES, format, arguments);
    va_end(arguments);
    return status;
}

static enum es_status status_of_errno(void)
{
    switch (errno) {
    case EACCES:
    case EPERM:
    case EROFS: return ES_E_PERMISSION;
    case ENOSPC:
    case EDQUOT: return ES_NO_SPACE;
    default: return ES_E_IO;
    }
}

/* The PID that the holder wrote, or 0. */
static pid_t read_holder(int fd)
{
    char text[PID_TEXT_BYTES] = {0};
    ssize_t size = pread(fd, text, sizeof text - 1, 0);

    return size > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

enum es_status directory_lock(int directory_fd, const char *name, int *ret_fd, pid_t *ret_holder)
{
    char text[PID_TEXT_BYTES];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    int fd = openat(directory_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    *ret_holder = 0;
    if (fd < 0) {
        return status_of_errno();
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum es_status status = errno == EWOULDBLOCK ? ES_E_BUSY : ES_E_IO;

        *ret_holder = read_holder(fd);
        close(fd);
        return status;
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length) {
        enum es_status status = status_of_errno();

        close(fd);
        return status;
    }
    *ret_fd = fd;
    return ES_OK;
}

enum es_status directory_check(const char *path, int *ret_fd, char why[DATA_WHY_BYTES])
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == ENOENT) {
        return explain(why, ES_NOT_FOUND, "there is no directory %s: make it, or name another",
                       path);
    }
    if (fd < 0) {
        return explain(why, status_of_errno() == ES_E_IO ? ES_E_PERMISSION : status_of_errno(),
                       "cannot use %s as a directory (%s): name a directory that is not a link",
                       path, strerror(errno));
    }
    if (fstat(fd, &stat) != 0) {
        close(fd);
        return explain(why, ES_E_IO, "cannot look at %s: %s", path, strerror(errno));
    }
    if (stat.st_uid != geteuid()) {
        close(fd);
        return explain(why, ES_E_PERMISSION,
                       "%s belongs to uid %u, not to uid %u who runs this: use a directory of "
                       "your own",
                       path, stat.st_uid, geteuid());
    }
    if ((stat.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        close(fd);
        return explain(why, ES_E_PERMISSION,
                       "%s may be written to by others (mode %04o): chmod go-w it", path,
                       stat.st_mode & 07777U);
    }
    *ret_fd = fd;
    return ES_OK;
}

/* What a store is made of, and whether it is a directory. Other names are nobody's business. */
static const struct {
    const char *name;
    bool is_directory;
} parts[] = {
    {LOCK_NAME, false},        {DATA_ANCHOR_NAME, false},     {DATA_CREATING_NAME, false},
    {DATA_BACKUP_NAME, false}, {DATA_RECOVERING_NAME, false}, {"log", true},
    {"rocksdb", true},         {"rocksdb-logs", true},
};

/* A link leads out of the directory, a pipe is waited for by whoever opens it, and what belongs
 * to another can be changed by him. */
static bool is_own(const struct stat *about, bool may_be_file, bool may_be_directory)
{
    return about->st_uid == geteuid() && ((may_be_file && S_ISREG(about->st_mode)) ||
                                          (may_be_directory && S_ISDIR(about->st_mode)));
}

static enum es_status refuse_part(const char *path, const char *below, const char *name,
                                  char why[DATA_WHY_BYTES])
{
    return explain(why, ES_E_PERMISSION,
                   "%s/%s%s%s is a link, a pipe or another user's: a store consists of files and "
                   "directories of its owner; put it right; nothing was changed",
                   path, below, below[0] != '\0' ? "/" : "", name);
}

static enum es_status check_below(int parent_fd, const char *path, const char *below,
                                  char why[DATA_WHY_BYTES])
{
    int fd = openat(parent_fd, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry = NULL;
    struct stat about;
    enum es_status status = ES_OK;

    if (listing == NULL) {
        status = explain(why, status_of_errno(), "cannot look into %s/%s: %s", path, below,
                         strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    while (status == ES_OK && (entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, "..") != 0 &&
            fstatat(fd, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
            !is_own(&about, true, true)) {
            status = refuse_part(path, below, entry->d_name, why);
        }
    }
    closedir(listing);
    return status;
}

/* Before anything in it is opened. What is not there is missed by whoever needs it. */
static enum es_status check_parts(int directory_fd, const char *path, char why[DATA_WHY_BYTES])
{
    enum es_status status = ES_OK;
    struct stat about;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && status == ES_OK; i++) {
        if (fstatat(directory_fd, parts[i].name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (!is_own(&about, !parts[i].is_directory, parts[i].is_directory)) {
            status = refuse_part(path, "", parts[i].name, why);
        } else if (parts[i].is_directory) {
            status = check_below(directory_fd, path, parts[i].name, why);
        }
    }
    return status;
}

static enum es_status lock(struct data_directory *directory, bool is_writer,
                           char why[DATA_WHY_BYTES])
{
    pid_t holder = 0;
    enum es_status status = ES_OK;

    if (is_writer) {
        status = directory_lock(directory->fd, LOCK_NAME, &directory->lock_fd, &holder);
    } else {
        directory->lock_fd = openat(directory->fd, LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (directory->lock_fd >= 0 && flock(directory->lock_fd, LOCK_SH | LOCK_NB) != 0) {
            holder = read_holder(directory->lock_fd);
            status = ES_E_BUSY;
        }
    }
    if (status == ES_E_BUSY) {
        return explain(why, status,
                       "the data directory %s is in use by process %ld: stop that broker, or "
                       "name another directory",
                       directory->path, (long)holder);
    }
    if (status != ES_OK) {
        return explain(why, status, "cannot lock the data directory %s: %s", directory->path,
                       strerror(errno));
    }
    return ES_OK;
}

enum es_status data_directory_open(const char *path, bool is_writer,
                                   struct data_directory *ret_directory, char why[DATA_WHY_BYTES])
{
    struct data_directory *directory = ret_directory;
    enum es_status status = ES_OK;

    memset(directory, 0, sizeof *directory);
    directory->fd = -1;
    directory->lock_fd = -1;
    if (strlen(path) >= DATA_PATH_BYTES_MAX) {
        return explain(why, ES_E_TOO_LARGE, "the path of the data directory is too long");
    }
    snprintf(directory->path, sizeof directory->path, "%s", path);
    snprintf(directory->store_path, sizeof directory->store_path, "%s/rocksdb", path);
    snprintf(directory->store_logs_path, sizeof directory->store_logs_path, "%s/rocksdb-logs",
             path);
    snprintf(directory->log_path, sizeof directory->log_path, "%s/log", path);
    if (is_writer && mkdir(path, 0700) != 0 && errno != EEXIST) {
        return explain(why, status_of_errno() == ES_E_IO ? ES_NOT_FOUND : status_of_errno(),
                       "cannot make the data directory %s: %s", path, strerror(errno));
    }
    status = directory_check(path, &directory->fd, why);
    if (status == ES_OK) {
        status = check_parts(directory->fd, path, why);
    }
    if (status == ES_OK) {
        status = lock(directory, is_writer, why);
    }
    if (status == ES_OK && disk_posix_new(path, &directory->disk) != ES_OK) {
        status = explain(why, ES_E_IO, "cannot open %s: %s", path, strerror(errno));
    }
    if (status != ES_OK) {
        data_directory_close(directory);
    }
    return status;
}

void data_directory_close(struct data_directory *directory)
{
    disk_free(directory->log_disk);
    disk_free(directory->disk);
    if (directory->lock_fd >= 0) {
        close(directory->lock_fd);
    }
    if (directory->fd >= 0) {
        close(directory->fd);
    }
    directory->log_disk = NULL;
    directory->disk = NULL;
    directory->lock_fd = -1;
    directory->fd = -1;
}

bool data_directory_has(const struct data_directory *directory, const char *name)
{
    return faccessat(directory->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Empties one flat directory below the data directory and removes it. */
static enum es_status remove_directory(struct data_directory *directory, const char *name)
{
    int fd = openat(directory->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *listing = NULL;
    const struct dirent *entry = NULL;

    if (fd < 0) {
        return errno == ENOENT ? ES_OK : ES_E_IO;
    }
    listing = fdopendir(fd);
    if (listing == NULL) {
        close(fd);
        return ES_E_NO_MEMORY;
    }
    while ((entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlinkat(fd, entry->d_name, 0); /* what stays makes the next call fail */
        }
    }
    closedir(listing);
    return unlinkat(directory->fd, name, AT_REMOVEDIR) == 0 ? ES_OK : ES_E_IO;
}

enum es_status data_directory_begin_creation(struct data_directory *directory,
                                             char why[DATA_WHY_BYTES])
{
    static const char *const names[] = {"log", "rocksdb", "rocksdb-logs"};
    int mark = openat(directory->fd, DATA_CREATING_NAME,
                      O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (mark < 0 || fsync(mark) != 0 || fsync(directory->fd) != 0) {
        enum es_status status = status_of_errno();

        if (mark >= 0) {
            close(mark);
        }
        return explain(why, status, "cannot begin a store in %s: %s", directory->path,
                       strerror(errno));
    }
    close(mark);
    if (unlinkat(directory->fd, DATA_ANCHOR_NAME, 0) != 0 && errno != ENOENT) {
        return explain(why, ES_E_IO, "cannot clean up %s: %s", directory->path, strerror(errno));
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (remove_directory(directory, names[i]) != ES_OK) {
            return explain(why, ES_E_IO,
                           "cannot remove %s/%s, left by a creation that was cut "
                           "short: %s; remove it by hand",
                           directory->path, names[i], strerror(errno));
        }
    }
    if (mkdirat(directory->fd, "log", 0700) != 0 ||
        mkdirat(directory->fd, "rocksdb-logs", 0700) != 0) {
        return explain(why, status_of_errno(), "cannot make directories in %s: %s", directory->path,
                       strerror(errno));
    }
    ES_PROBE(creation_marked);
    return ES_OK;
}

enum es_status data_directory_end_creation(struct data_directory *directory)
{
    if (fsync(directory->fd) != 0 || unlinkat(directory->fd, DATA_CREATING_NAME, 0) != 0 ||
        fsync(directory->fd) != 0) {
        return ES_E_IO;
    }
    return ES_OK;
}

enum es_status data_directory_end_restore(struct data_directory *directory)
{
    if (unlinkat(directory->fd, DATA_BACKUP_NAME, 0) != 0) {
        return errno == ENOENT ? ES_OK : ES_E_IO;
    }
    return fsync(directory->fd) == 0 ? ES_OK : ES_E_IO;
}

enum es_status data_directory_open_log(struct data_directory *directory)
{
    return disk_posix_new(directory->log_path, &directory->log_disk);
}
