/*
 * The negative control of test_power_cuts.py, preloaded into the broker: its syncs
 * do nothing. NOSYNC=all: none of them; NOSYNC=log: those of the commit log's
 * segments; NOSYNC=some: each eighth of those. What such a broker acknowledges is not
 * there after a power cut.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fsync(int descriptor);
int fdatasync(int descriptor);

static bool is_lost(int descriptor)
{
    static _Atomic unsigned log_syncs;
    const char *what = getenv("NOSYNC");
    char link[64];
    char path[4096] = "";

    if (what == NULL || strcmp(what, "all") == 0) {
        return true;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    if (readlink(link, path, sizeof path - 1) <= 0 || strstr(path, "/log/segment-") == NULL) {
        return false;
    }
    return strcmp(what, "log") == 0 || ++log_syncs % 8 == 0;
}

static int real(const char *name, int descriptor)
{
    int (*function)(int) = NULL;

    *(void **)&function = dlsym(RTLD_NEXT, name);
    return function(descriptor);
}

int fsync(int descriptor)
{
    return is_lost(descriptor) ? 0 : real("fsync", descriptor);
}

int fdatasync(int descriptor)
{
    return is_lost(descriptor) ? 0 : real("fdatasync", descriptor);
}
