/* Temporary directories; the contract is in temporary.h. */
#include "tools/esbench/temporary.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define OPEN_DIRECTORIES_MAX 16

bool temporary_make(const char *parent, char path[TEMPORARY_PATH_BYTES])
{
    /* Room is left for the names of the files inside. */
    int bytes = snprintf(path, TEMPORARY_PATH_BYTES / 2, "%s/esbench-XXXXXX", parent);

    if (bytes < 0 || bytes >= TEMPORARY_PATH_BYTES / 2) {
        errno = ENAMETOOLONG;
    } else if (mkdtemp(path) != NULL) {
        return true;
    }
    path[0] = '\0';
    return false;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    (void)remove(path);
    return 0;
}

void temporary_remove(const char *path)
{
    if (path[0] != '\0') {
        (void)nftw(path, remove_entry, OPEN_DIRECTORIES_MAX, FTW_DEPTH | FTW_PHYS);
    }
}

void temporary_path(const char *directory, const char *name, char path[TEMPORARY_PATH_BYTES])
{
    (void)snprintf(path, TEMPORARY_PATH_BYTES, "%s/%s", directory, name);
}
