#include "tests/corruption/directory_image.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const parts[] = {"", "log", "rocksdb"};

/* What is written, or locked, in place: a link would damage the original. */
static bool is_copied(const char *name)
{
    size_t size = strlen(name);

    return size < 4 || strcmp(name + size - 4, ".sst") != 0;
}

static void join(char to[IMAGE_PATH_BYTES], const char *directory, const char *name)
{
    if (snprintf(to, IMAGE_PATH_BYTES, "%s/%s", directory, name) >= IMAGE_PATH_BYTES) {
        errx(2, "%s/%s: too long", directory, name);
    }
}

static uint8_t *read_file(const char *path, struct stat *about)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *bytes = NULL;

    if (file < 0 || fstat(file, about) != 0) {
        err(2, "%s", path);
    }
    bytes = malloc((size_t)about->st_size + 1);
    if (bytes == NULL || read(file, bytes, (size_t)about->st_size) != about->st_size) {
        err(2, "%s", path);
    }
    close(file);
    return bytes;
}

static void load_part(struct directory_image *image, const char *part)
{
    char directory[IMAGE_PATH_BYTES];
    const struct dirent *entry = NULL;
    DIR *listing = NULL;

    join(directory, image->path, part);
    listing = opendir(directory);
    if (listing == NULL) {
        err(2, "%s", directory);
    }
    while ((entry = readdir(listing)) != NULL) {
        struct image_file *file = &image->files[image->file_count];
        char path[IMAGE_PATH_BYTES];
        struct stat about;

        join(path, directory, entry->d_name);
        if (strcmp(entry->d_name, "lock") == 0 || lstat(path, &about) != 0 ||
            !S_ISREG(about.st_mode)) {
            continue;
        }
        if (image->file_count == IMAGE_FILES_MAX) {
            errx(2, "%s: too many files", directory);
        }
        if (snprintf(file->name, sizeof file->name, "%s%s%s", part, part[0] == '\0' ? "" : "/",
                     entry->d_name) >= (int)sizeof file->name) {
            errx(2, "%s: too long", entry->d_name);
        }
        file->bytes = read_file(path, &about);
        file->size = (uint64_t)about.st_size;
        file->changed = about.st_mtim;
        image->file_count++;
    }
    closedir(listing);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const struct image_file *)left)->name,
                  ((const struct image_file *)right)->name);
}

void directory_image_load(struct directory_image *image, const char *path)
{
    memset(image, 0, sizeof *image);
    snprintf(image->path, sizeof image->path, "%s", path);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        load_part(image, parts[i]);
    }
    qsort(image->files, image->file_count, sizeof image->files[0], by_name);
}

const struct image_file *directory_image_find(const struct directory_image *image, const char *name)
{
    for (uint32_t i = 0; i < image->file_count; i++) {
        if (strcmp(image->files[i].name, name) == 0) {
            return &image->files[i];
        }
    }
    return NULL;
}

void directory_image_replace(const char *path, const char *name, const void *bytes, size_t size)
{
    char to[IMAGE_PATH_BYTES];
    int file = -1;

    join(to, path, name);
    if (unlink(to) != 0 && errno != ENOENT) {
        err(2, "%s", to);
    }
    file = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 || write(file, bytes, size) != (ssize_t)size || close(file) != 0) {
        err(2, "%s", to);
    }
}

void directory_image_delete(const char *path, const char *name)
{
    char file[IMAGE_PATH_BYTES];

    join(file, path, name);
    if (unlink(file) != 0 && errno != ENOENT) {
        err(2, "%s", file);
    }
}

void directory_image_copy(const struct directory_image *image, const char *path)
{
    static const char *const directories[] = {"", "log", "rocksdb", "rocksdb-logs"};
    char to[IMAGE_PATH_BYTES];

    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        join(to, path, directories[i]);
        if (mkdir(to, 0700) != 0) {
            err(2, "%s", to);
        }
    }
    for (uint32_t i = 0; i < image->file_count; i++) {
        const struct image_file *file = &image->files[i];
        char from[IMAGE_PATH_BYTES];

        if (is_copied(file->name)) {
            directory_image_replace(path, file->name, file->bytes, file->size);
            continue;
        }
        join(from, image->path, file->name);
        join(to, path, file->name);
        if (link(from, to) != 0) {
            err(2, "%s", to);
        }
    }
}

static const struct image_file *change_of(const struct image_file *changes, size_t count,
                                          const char *name)
{
    for (size_t i = count; i > 0; i--) {
        if (strcmp(changes[i - 1].name, name) == 0) {
            return &changes[i - 1];
        }
    }
    return NULL;
}

static bool has_bytes(const char *path, const uint8_t *bytes, uint64_t size)
{
    struct stat about;
    uint8_t *found = NULL;
    bool is_same = false;

    if (lstat(path, &about) != 0 || (uint64_t)about.st_size != size) {
        return false;
    }
    found = read_file(path, &about);
    is_same = memcmp(found, bytes, size) == 0;
    free(found);
    return is_same;
}

static bool is_unchanged(const struct directory_image *image, const char *path,
                         const struct image_file *file, const struct image_file *change)
{
    char at[IMAGE_PATH_BYTES];
    struct stat about;

    join(at, path, file->name);
    if (change != NULL) {
        return change->bytes == NULL ? lstat(at, &about) != 0
                                     : has_bytes(at, change->bytes, change->size);
    }
    if (is_copied(file->name)) {
        return has_bytes(at, file->bytes, file->size);
    }
    (void)image;
    return lstat(at, &about) == 0 && (uint64_t)about.st_size == file->size &&
           about.st_mtim.tv_sec == file->changed.tv_sec &&
           about.st_mtim.tv_nsec == file->changed.tv_nsec;
}

/* Files that are there and were not. */
static bool has_strangers(const struct directory_image *image, const char *path,
                          const struct image_file *changes, size_t change_count,
                          char ret_name[IMAGE_NAME_BYTES])
{
    bool is_strange = false;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const struct dirent *entry = NULL;
        char directory[IMAGE_PATH_BYTES];
        DIR *listing = NULL;

        join(directory, path, parts[i]);
        listing = opendir(directory);
        while (listing != NULL && (entry = readdir(listing)) != NULL) {
            char name[IMAGE_PATH_BYTES];

            if (entry->d_type != DT_REG || strcmp(entry->d_name, "lock") == 0) {
                continue;
            }
            snprintf(name, sizeof name, "%s%s%s", parts[i], parts[i][0] == '\0' ? "" : "/",
                     entry->d_name);
            if (directory_image_find(image, name) == NULL &&
                change_of(changes, change_count, name) == NULL) {
                snprintf(ret_name, IMAGE_NAME_BYTES, "%.*s", IMAGE_NAME_BYTES - 1, name);
                is_strange = true;
            }
        }
        if (listing != NULL) {
            closedir(listing);
        }
    }
    return is_strange;
}

bool directory_image_is_unchanged(const struct directory_image *image, const char *path,
                                  const struct image_file *changes, size_t change_count,
                                  char ret_name[IMAGE_NAME_BYTES])
{
    for (uint32_t i = 0; i < image->file_count; i++) {
        const struct image_file *file = &image->files[i];

        if (!is_unchanged(image, path, file, change_of(changes, change_count, file->name))) {
            snprintf(ret_name, IMAGE_NAME_BYTES, "%s", file->name);
            return false;
        }
    }
    return !has_strangers(image, path, changes, change_count, ret_name);
}

static void empty(const char *path)
{
    const struct dirent *entry = NULL;
    DIR *listing = opendir(path);

    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char name[IMAGE_PATH_BYTES];

            join(name, path, entry->d_name);
            if (unlink(name) != 0) {
                empty(name);
            }
        }
    }
    if (listing != NULL) {
        closedir(listing);
    }
    rmdir(path);
}

void directory_image_remove(const char *path)
{
    empty(path);
}
