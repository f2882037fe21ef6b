/*
 * Paths of directories that are to be made, by this program or by the broker, which
 * has another working directory. One thread.
 */
#ifndef ESCTL_PATHS_H
#define ESCTL_PATHS_H

#include "tools/esctl/esctl.h"

enum {
    PATHS_BYTES_MAX = 2048
};

/*
 * The absolute path of 'word', whose last part need not exist; without links in the
 * part before. False: an error was told as one of usage.
 */
bool path_of_new(const struct invocation *invocation, const char *word,
                 char ret_path[PATHS_BYTES_MAX]);

#endif
