/* Where a verb with --output writes; see output_file.h. */
#include "tools/esctl/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum es_exit cannot_create(const char *path)
{
    invocation_error("cannot create %s (%s): name a file in a directory that you may write to",
                     path, strerror(errno));
    return ES_EXIT_CANNOT_CREATE;
}

/* The file to write first, with the rights that a new file has. */
static int open_temporary(struct output_file *file)
{
    const mode_t mask = umask(0);

    (void)umask(mask);
    if (asprintf(&file->temporary, "%s.XXXXXX", file->path) < 0) {
        file->temporary = NULL;
        errno = ENOMEM;
        return -1;
    }
    const int descriptor = mkostemp(file->temporary, O_CLOEXEC);
    if (descriptor < 0 || fchmod(descriptor, 0666 & ~mask) == 0) {
        return descriptor;
    }
    (void)close(descriptor);
    (void)unlink(file->temporary);
    return -1;
}

enum es_exit output_file_open(struct output_file *file, const char *path)
{
    struct stat found;
    int descriptor = -1;

    *file = (struct output_file){.stream = stdout};
    if (path == NULL || strcmp(path, "-") == 0) {
        return ES_EXIT_OK;
    }
    file->stream = NULL;
    file->path = path;
    if (stat(path, &found) == 0 && !S_ISREG(found.st_mode)) {
        descriptor = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        descriptor = open_temporary(file);
    }
    if (descriptor >= 0) {
        file->stream = fdopen(descriptor, "w");
    }
    if (file->stream == NULL) {
        const enum es_exit exit = cannot_create(path);
        if (descriptor >= 0) {
            (void)close(descriptor);
        }
        output_file_abandon(file);
        return exit;
    }
    return ES_EXIT_OK;
}

/* Flushes and closes; false with errno if anything written did not get there. */
static bool close_whole(struct output_file *file)
{
    bool whole = ferror(file->stream) == 0 && fflush(file->stream) == 0;

    if (whole && file->temporary != NULL) {
        whole = fsync(fileno(file->stream)) == 0;
    }
    const int error = errno;
    if (fclose(file->stream) != 0 && whole) {
        whole = false;
    } else {
        errno = error;
    }
    file->stream = NULL;
    return whole;
}

enum es_exit output_file_finish(struct output_file *file)
{
    bool good = true;

    if (file->path == NULL) {
        return invocation_finish_output(ES_EXIT_OK);
    }
    errno = EIO;
    good = close_whole(file);
    if (good && file->temporary != NULL) {
        good = rename(file->temporary, file->path) == 0;
    }
    if (!good) {
        invocation_error("cannot write %s (%s): make room or name another file", file->path,
                         strerror(errno));
        output_file_abandon(file);
        return ES_EXIT_IO;
    }
    free(file->temporary);
    file->temporary = NULL;
    return ES_EXIT_OK;
}

void output_file_abandon(struct output_file *file)
{
    if (file->path != NULL && file->stream != NULL) {
        (void)fclose(file->stream);
    }
    file->stream = NULL;
    if (file->temporary != NULL) {
        (void)unlink(file->temporary);
        free(file->temporary);
        file->temporary = NULL;
    }
}
