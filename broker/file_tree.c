#include "broker/file_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "broker/disk.h"

enum {
    CHUNK_BYTES = 1024 * 1024
};

/* One copy on its way. */
struct copying {
    const struct file_tree_options *options;
    char *chunk;
    char *why;
};

__attribute__((format(printf, 3, 4))) static enum es_status explain(char why[FILE_TREE_WHY_BYTES],
                                                                    enum es_status status,
                                                                    const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, FILE_TREE_WHY_BYTES, format, arguments);
    va_end(arguments);
    return status;
}

static enum es_status failed(const struct copying *copying, const char *what, const char *name)
{
    return explain(copying->why, disk_posix_errno_status(), "%s %s: %s", what, name,
                   strerror(errno));
}

static int open_directory(int parent_fd, const char *name)
{
    return openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

enum es_status file_tree_make(int parent_fd, const char *name, int *ret_fd)
{
    int fd = -1;

    if (mkdirat(parent_fd, name, 0700) != 0) {
        return disk_posix_errno_status();
    }
    fd = open_directory(parent_fd, name);
    if (fd < 0) {
        return disk_posix_errno_status();
    }
    *ret_fd = fd;
    return ES_OK;
}

/* ---- copying --------------------------------------------------------------------- */

static enum es_status write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, bytes, size);

        if (done < 0 && errno != EINTR) {
            return disk_posix_errno_status();
        }
        if (done > 0) {
            bytes += done;
            size -= (size_t)done;
        }
    }
    return ES_OK;
}

static enum es_status copy_bytes(const struct copying *copying, int from, int to, const char *name)
{
    for (;;) {
        ssize_t size = read(from, copying->chunk, CHUNK_BYTES);

        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            return failed(copying, "cannot read", name);
        }
        if (size == 0) {
            break;
        }
        if (write_all(to, copying->chunk, (size_t)size) != ES_OK) {
            return failed(copying, "cannot write", name);
        }
        if (copying->options->moved != NULL &&
            !copying->options->moved(copying->options->context, (uint64_t)size)) {
            return explain(copying->why, ES_INTERRUPTED, "interrupted");
        }
    }
    return fsync(to) == 0 ? ES_OK : failed(copying, "cannot sync", name);
}

static enum es_status copy_file(const struct copying *copying, int from_fd, int to_fd,
                                const char *name)
{
    enum es_status status = ES_OK;
    int from = -1;
    int to = -1;

    if (copying->options->may_link && linkat(from_fd, name, to_fd, name, 0) == 0) {
        return ES_OK;
    }
    from = openat(from_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (from < 0) {
        return failed(copying, "cannot open", name);
    }
    to = openat(to_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    status = to < 0 ? failed(copying, "cannot make", name) : copy_bytes(copying, from, to, name);
    if (to >= 0) {
        close(to);
    }
    close(from);
    return status;
}

static enum es_status copy_directory(const struct copying *copying, int from_fd, int to_fd,
                                     int depth);

static enum es_status copy_below(const struct copying *copying, int from_fd, int to_fd,
                                 const char *name, int depth)
{
    enum es_status status = ES_OK;
    int to = -1;
    int from = open_directory(from_fd, name);

    if (from < 0) {
        return failed(copying, "cannot open", name);
    }
    status = file_tree_make(to_fd, name, &to);
    if (status != ES_OK) {
        (void)failed(copying, "cannot make", name);
    } else {
        status = copy_directory(copying, from, to, depth + 1);
        close(to);
    }
    close(from);
    return status;
}

static enum es_status copy_entry(const struct copying *copying, int from_fd, int to_fd,
                                 const char *name, int depth)
{
    struct stat about;

    if (fstatat(from_fd, name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
        return failed(copying, "cannot look at", name);
    }
    if (S_ISREG(about.st_mode)) {
        return copy_file(copying, from_fd, to_fd, name);
    }
    if (S_ISDIR(about.st_mode)) {
        return copy_below(copying, from_fd, to_fd, name, depth);
    }
    return explain(copying->why, ES_E_PERMISSION, "%s is neither a file nor a directory", name);
}

/* A listing of its own: the descriptor stays the caller's. */
static DIR *list(int directory_fd)
{
    int fd = open_directory(directory_fd, ".");
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);

    if (listing == NULL && fd >= 0) {
        close(fd);
    }
    return listing;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static enum es_status copy_directory(const struct copying *copying, int from_fd, int to_fd,
                                     int depth)
{
    enum es_status status = ES_OK;
    const struct dirent *entry = NULL;
    DIR *listing = NULL;

    if (depth > FILE_TREE_DEPTH_MAX) {
        return explain(copying->why, ES_E_LIMIT, "directories are nested too deep");
    }
    listing = list(from_fd);
    if (listing == NULL) {
        return failed(copying, "cannot list", "the directory");
    }
    while (status == ES_OK && (entry = readdir(listing)) != NULL) {
        bool is_left_out = depth == 0 && copying->options->except != NULL &&
                           strcmp(entry->d_name, copying->options->except) == 0;

        if (!is_dots(entry->d_name) && !is_left_out) {
            status = copy_entry(copying, from_fd, to_fd, entry->d_name, depth);
        }
    }
    closedir(listing);
    if (status == ES_OK && fsync(to_fd) != 0) {
        status = failed(copying, "cannot sync", "the directory");
    }
    return status;
}

enum es_status file_tree_copy(int from_fd, int to_fd, const struct file_tree_options *options,
                              char why[FILE_TREE_WHY_BYTES])
{
    struct copying copying = {.options = options, .chunk = malloc(CHUNK_BYTES), .why = why};
    enum es_status status = ES_E_NO_MEMORY;

    if (copying.chunk == NULL) {
        return explain(why, status, "not enough memory");
    }
    status = copy_directory(&copying, from_fd, to_fd, 0);
    free(copying.chunk);
    return status;
}

/* ---- the rest --------------------------------------------------------------------- */

/* 'last': a name that goes when nothing else is left; NULL: none. */
static enum es_status remove_below(int parent_fd, const char *name, const char *last, int depth)
{
    enum es_status status = ES_OK;
    const struct dirent *entry = NULL;
    int fd = open_directory(parent_fd, name);
    DIR *listing = NULL;

    if (fd < 0) {
        return errno == ENOENT ? ES_OK : ES_E_IO;
    }
    listing = depth <= FILE_TREE_DEPTH_MAX ? list(fd) : NULL;
    if (listing == NULL) {
        close(fd);
        return ES_E_IO;
    }
    while (status == ES_OK && (entry = readdir(listing)) != NULL) {
        if (is_dots(entry->d_name) || (last != NULL && strcmp(entry->d_name, last) == 0) ||
            unlinkat(fd, entry->d_name, 0) == 0) {
            continue;
        }
        status = errno == EISDIR || errno == EPERM
                     ? remove_below(fd, entry->d_name, NULL, depth + 1)
                     : ES_E_IO;
    }
    closedir(listing);
    if (status == ES_OK && last != NULL && unlinkat(fd, last, 0) != 0 && errno != ENOENT) {
        status = ES_E_IO;
    }
    close(fd);
    if (status == ES_OK && unlinkat(parent_fd, name, AT_REMOVEDIR) != 0) {
        status = ES_E_IO;
    }
    return status;
}

enum es_status file_tree_remove(int parent_fd, const char *name)
{
    return remove_below(parent_fd, name, NULL, 0);
}

enum es_status file_tree_remove_marked(int parent_fd, const char *name, const char *mark)
{
    return remove_below(parent_fd, name, mark, 0);
}

static enum es_status add_bytes(int directory_fd, int depth, uint64_t *bytes)
{
    enum es_status status = depth > FILE_TREE_DEPTH_MAX ? ES_E_LIMIT : ES_OK;
    const struct dirent *entry = NULL;
    DIR *listing = status == ES_OK ? list(directory_fd) : NULL;

    if (listing == NULL) {
        return status == ES_OK ? disk_posix_errno_status() : status;
    }
    while (status == ES_OK && (entry = readdir(listing)) != NULL) {
        struct stat about;
        int below = -1;

        if (is_dots(entry->d_name) ||
            fstatat(directory_fd, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        if (S_ISREG(about.st_mode)) {
            *bytes += (uint64_t)about.st_size;
        } else if (S_ISDIR(about.st_mode)) {
            below = open_directory(directory_fd, entry->d_name);
            status = below < 0 ? disk_posix_errno_status() : add_bytes(below, depth + 1, bytes);
        }
        if (below >= 0) {
            close(below);
        }
    }
    closedir(listing);
    return status;
}

enum es_status file_tree_bytes(int directory_fd, uint64_t *ret_bytes)
{
    *ret_bytes = 0;
    return add_bytes(directory_fd, 0, ret_bytes);
}

enum es_status file_tree_check_room(int directory_fd, uint64_t bytes, char why[FILE_TREE_WHY_BYTES])
{
    struct statvfs about;
    uint64_t free_bytes = 0;

    if (fstatvfs(directory_fd, &about) != 0) {
        return explain(why, ES_E_IO, "cannot ask how much is free: %s", strerror(errno));
    }
    free_bytes = (uint64_t)about.f_bavail * about.f_frsize;
    return free_bytes >= bytes ? ES_OK
                               : explain(why, ES_NO_SPACE,
                                         "there is not enough room: %" PRIu64
                                         " bytes are free, and %" PRIu64 " are needed",
                                         free_bytes, bytes);
}

enum es_status file_tree_write(int directory_fd, const char *name, const char *text)
{
    enum es_status status = ES_OK;
    int fd =
        openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        return disk_posix_errno_status();
    }
    status = write_all(fd, text, strlen(text));
    if (status == ES_OK && fsync(fd) != 0) {
        status = ES_E_IO;
    }
    close(fd);
    return status;
}

enum es_status file_tree_open_parent(const char *path, int *ret_fd, const char **ret_name,
                                     char why[FILE_TREE_WHY_BYTES])
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    struct stat about;
    int fd = -1;

    if (path[0] != '/' || slash[1] == '\0' || is_dots(slash + 1) ||
        (size_t)(slash - path) + 2 > sizeof parent) {
        return explain(why, ES_E_INVALID, "%.200s is not the absolute path of a new directory",
                       path);
    }
    snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        enum es_status status = disk_posix_errno_status();

        (void)explain(why, status, "cannot use the directory %.200s: %s", parent, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    if ((about.st_uid != geteuid() && about.st_uid != 0) ||
        ((about.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (about.st_mode & S_ISVTX) == 0)) {
        close(fd);
        return explain(why, ES_E_PERMISSION,
                       "others may change what lies in %.200s: use a directory that only its "
                       "owner may write to",
                       parent);
    }
    *ret_fd = fd;
    *ret_name = slash + 1;
    return ES_OK;
}
