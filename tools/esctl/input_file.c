/* Files that verbs read; see input_file.h. */
#include "tools/esctl/input_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY_FIRST ((size_t)64 << 10)

static const char *name_of(const char *path)
{
    return strcmp(path, "-") == 0 ? "the standard input" : path;
}

static enum es_exit cannot_read(const char *path)
{
    invocation_error("cannot read %s (%s): name a file that is there and may be read",
                     name_of(path), strerror(errno));
    return ES_EXIT_IO;
}

enum es_exit input_file_open(const char *path, int *ret_descriptor)
{
    const int descriptor = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                                  : open(path, O_RDONLY | O_CLOEXEC);

    if (descriptor < 0) {
        return cannot_read(path);
    }
    *ret_descriptor = descriptor;
    return ES_EXIT_OK;
}

/* Reads to the end, and one byte beyond INPUT_BYTES_MAX at most. */
static enum es_exit read_all(int descriptor, const char *path, char **bytes, size_t *ret_size)
{
    size_t capacity = 0;
    size_t size = 0;

    for (;;) {
        if (size + 1 >= capacity && capacity <= INPUT_BYTES_MAX) {
            capacity = capacity == 0 ? CAPACITY_FIRST : 2 * capacity;
            char *larger = realloc(*bytes, capacity);
            if (larger == NULL) {
                return cannot_read(path);
            }
            *bytes = larger;
        }
        const ssize_t count = read(descriptor, *bytes + size, capacity - size - 1);
        if (count < 0 && errno != EINTR) {
            return cannot_read(path);
        }
        size += count > 0 ? (size_t)count : 0;
        if (size > INPUT_BYTES_MAX) {
            invocation_error("%s is larger than 32 MiB: no record holds so much", name_of(path));
            return ES_EXIT_DATA;
        }
        if (count == 0) {
            (*bytes)[size] = '\0';
            *ret_size = size;
            return ES_EXIT_OK;
        }
    }
}

enum es_exit input_file_read(const char *path, char **ret_bytes, size_t *ret_size)
{
    char *bytes = NULL;
    int descriptor = -1;
    enum es_exit exit = input_file_open(path, &descriptor);

    if (exit != ES_EXIT_OK) {
        return exit;
    }
    exit = read_all(descriptor, path, &bytes, ret_size);
    (void)close(descriptor);
    if (exit != ES_EXIT_OK) {
        free(bytes);
        return exit;
    }
    *ret_bytes = bytes;
    return ES_EXIT_OK;
}
