#include "tools/esctl/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 'text' without the slashes at its end. */
static size_t size_without_slashes(const char *text)
{
    size_t size = strlen(text);

    while (size > 1 && text[size - 1] == '/') {
        size--;
    }
    return size;
}

bool path_of_new(const struct invocation *invocation, const char *word,
                 char ret_path[PATHS_BYTES_MAX])
{
    char trimmed[PATHS_BYTES_MAX];
    const size_t size = size_without_slashes(word);
    const char *name = trimmed;
    char *slash = NULL;
    char *parent = NULL;
    int written = -1;

    if (size == 0 || size >= sizeof trimmed) {
        return invocation_usage_error(invocation, "\"%.100s\" is not the path of a directory",
                                      word);
    }
    memcpy(trimmed, word, size);
    trimmed[size] = '\0';
    slash = strrchr(trimmed, '/');
    if (slash != NULL) {
        name = slash + 1;
        *slash = '\0';
    }
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return invocation_usage_error(invocation, "\"%s\" is not the name of a new directory",
                                      word);
    }
    parent = realpath(slash == NULL ? "." : slash == trimmed ? "/" : trimmed, NULL);
    if (parent == NULL) {
        return invocation_usage_error(invocation, "there is no directory to make %s in (%s)", word,
                                      strerror(errno));
    }
    written =
        snprintf(ret_path, PATHS_BYTES_MAX, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, name);
    free(parent);
    return written > 0 && written < PATHS_BYTES_MAX
               ? true
               : invocation_usage_error(invocation, "the path of %s is too long", word);
}
