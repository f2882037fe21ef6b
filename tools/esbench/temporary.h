/* Temporary directories, removed with all that is in them. */
#ifndef EVENTSPINE_TOOLS_ESBENCH_TEMPORARY_H
#define EVENTSPINE_TOOLS_ESBENCH_TEMPORARY_H

#include <stdbool.h>

#define TEMPORARY_PATH_BYTES 2048

/* Makes one in 'parent'. False, with an empty path and errno: it cannot. */
bool temporary_make(const char *parent, char path[TEMPORARY_PATH_BYTES]);

/* Removes it and everything below; an empty path is fine. What resists stays. */
void temporary_remove(const char *path);

/* directory/name, cut if it is too long (the directory was made by temporary_make()). */
void temporary_path(const char *directory, const char *name, char path[TEMPORARY_PATH_BYTES]);

#endif
