#include "tests/support/temp_directory.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static void make_below(const char *parent, char path[TEMP_DIRECTORY_BYTES_MAX])
{
    int length = snprintf(path, TEMP_DIRECTORY_BYTES_MAX, "%s/eventspine-test-XXXXXX", parent);

    if (length < 0 || length >= (int)TEMP_DIRECTORY_BYTES_MAX || mkdtemp(path) == NULL) {
        perror(path);
        abort();
    }
}

void temp_directory_make(char path[TEMP_DIRECTORY_BYTES_MAX])
{
    const char *parent = getenv("TMPDIR");

    make_below(parent != NULL ? parent : "/tmp", path);
}

void temp_directory_make_tmpfs(char path[TEMP_DIRECTORY_BYTES_MAX])
{
    make_below("/dev/shm", path);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *place)
{
    (void)about;
    (void)type;
    (void)place;
    return remove(path);
}

void temp_directory_remove(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        perror(path);
        abort();
    }
}
