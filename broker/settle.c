#include "broker/settle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    /* A pipe or a link has no bytes of ours; whoever meets it later says what is wrong. */
    OPEN_FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
};

static enum es_status fail(const struct data_directory *directory, const char *where,
                           const char *name, char why[DATA_WHY_BYTES])
{
    int error = errno;

    snprintf(why, DATA_WHY_BYTES,
             "%s/%s/%s: what was written to it cannot be synced (%s): check the disk, then start "
             "again",
             directory->path, where, name, strerror(error));
    errno = error;
    return error == EMFILE || error == ENFILE  ? ES_E_LIMIT
           : error == EACCES || error == EPERM ? ES_E_PERMISSION
                                               : ES_E_IO;
}

static int sync_one(int directory_fd, const char *name)
{
    struct stat about;
    int fd = openat(directory_fd, name, OPEN_FLAGS);
    int result = 0;

    if (fd < 0) {
        return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : -1;
    }
    if (fstat(fd, &about) != 0 || (S_ISREG(about.st_mode) && fsync(fd) != 0)) {
        result = -1;
    }
    close(fd);
    return result;
}

static enum es_status settle_files(const struct data_directory *directory, const char *where,
                                   DIR *files, char why[DATA_WHY_BYTES])
{
    for (;;) {
        const struct dirent *entry = NULL;

        errno = 0;
        entry = readdir(files);
        if (entry == NULL) {
            break;
        }
        if (sync_one(dirfd(files), entry->d_name) != 0) {
            return fail(directory, where, entry->d_name, why);
        }
    }
    return errno != 0 || fsync(dirfd(files)) != 0 ? fail(directory, where, "", why) : ES_OK;
}

static enum es_status settle_inside(const struct data_directory *directory, const char *where,
                                    char why[DATA_WHY_BYTES])
{
    int fd = openat(directory->fd, where, OPEN_FLAGS | O_DIRECTORY);
    DIR *files = NULL;
    enum es_status status = ES_OK;

    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
                   ? ES_OK
                   : fail(directory, where, "", why);
    }
    files = fdopendir(fd);
    if (files == NULL) {
        status = fail(directory, where, "", why);
        close(fd);
        return status;
    }
    status = settle_files(directory, where, files, why);
    closedir(files);
    return status;
}

enum es_status settle(const struct data_directory *directory, char why[DATA_WHY_BYTES])
{
    enum es_status status = settle_inside(directory, "log", why);

    if (status == ES_OK) {
        status = settle_inside(directory, "rocksdb", why);
    }
    if (status == ES_OK && sync_one(directory->fd, DATA_ANCHOR_NAME) != 0) {
        status = fail(directory, ".", DATA_ANCHOR_NAME, why);
    }
    if (status == ES_OK && fsync(directory->fd) != 0) {
        status = fail(directory, ".", "", why);
    }
    return status;
}
