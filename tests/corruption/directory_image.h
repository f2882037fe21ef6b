/*
 * A data directory as a set of files in memory, and copies of it to be damaged: a
 * copy links what nobody writes to in place and copies the rest, so that one costs
 * little. Everything lies on one file system, best a tmpfs.
 *
 * Threads. One. Failures of the surroundings end the program.
 */
#ifndef TESTS_CORRUPTION_DIRECTORY_IMAGE_H
#define TESTS_CORRUPTION_DIRECTORY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    IMAGE_FILES_MAX = 256,
    IMAGE_PATH_BYTES = 1024,
    IMAGE_NAME_BYTES = 128
};

struct image_file {
    char name[IMAGE_NAME_BYTES]; /* below the directory, e.g. "log/segment-00" */
    uint8_t *bytes;
    uint64_t size;
    struct timespec changed; /* of the original */
};

struct directory_image {
    char path[IMAGE_PATH_BYTES];
    struct image_file files[IMAGE_FILES_MAX]; /* by name */
    uint32_t file_count;
};

/* Reads everything below 'path' but 'lock' and rocksdb-logs/. */
void directory_image_load(struct directory_image *image, const char *path);

/* The file of that name, or NULL. */
const struct image_file *directory_image_find(const struct directory_image *image,
                                              const char *name);

/* Makes a copy at 'path', where nothing is. */
void directory_image_copy(const struct directory_image *image, const char *path);

/* Gives a file of a copy other contents. */
void directory_image_replace(const char *path, const char *name, const void *bytes, size_t size);

/* Takes a file of a copy away. */
void directory_image_delete(const char *path, const char *name);

/*
 * True if a copy is still what directory_image_copy() made of 'image', but for the
 * one file 'except' (may be NULL), which must still be there with the given bytes
 * (NULL: not there). 'ret_name' tells which one is not.
 */
bool directory_image_is_unchanged(const struct directory_image *image, const char *path,
                                  const struct image_file *changes, size_t change_count,
                                  char ret_name[IMAGE_NAME_BYTES]);

/* Removes a copy. */
void directory_image_remove(const char *path);

#endif
