#include "broker/run_directory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/startup_check.h"
#include "shm/probe.h"

#define LOCK_NAME "esbroker.lock"

static enum es_status make(const struct options *options, char why[DATA_WHY_BYTES])
{
    if (mkdir(options->run_path, 0700) != 0 && errno != EEXIST) {
        return startup_explain(why, errno == EACCES ? ES_E_PERMISSION : ES_NOT_FOUND,
                               "cannot make the run directory %s (%s): make its parent, or give "
                               "--run DIR",
                               options->run_path, strerror(errno));
    }
    return ES_OK;
}

/* The group may enter, also where the directory was there before. */
static enum es_status give_to_group(const struct options *options,
                                    const struct run_directory *directory, char why[DATA_WHY_BYTES])
{
    if (options->group_given && (fchown(directory->fd, (uid_t)-1, options->group) != 0 ||
                                 fchmod(directory->fd, 0750) != 0)) {
        return startup_explain(why, ES_E_PERMISSION, "cannot give %s to the group: %s",
                               options->run_path, strerror(errno));
    }
    return ES_OK;
}

static enum es_status name_sockets(const struct options *options, struct run_directory *directory,
                                   char why[DATA_WHY_BYTES])
{
    const struct {
        char *path;
        const char *name;
    } sockets[] = {{directory->requests_path, "requests.sock"},
                   {directory->events_path, "events.sock"},
                   {directory->control_path, "control.sock"}};

    size_t run_bytes = strlen(options->run_path);

    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        if (run_bytes + 1 + strlen(sockets[i].name) >= SOCKET_PATH_BYTES_MAX) {
            return startup_explain(why, ES_E_TOO_LARGE,
                                   "the path of %s/%s is too long for a socket (%d bytes at "
                                   "most): give a shorter --run DIR",
                                   options->run_path, sockets[i].name, SOCKET_PATH_BYTES_MAX - 1);
        }
        memcpy(sockets[i].path, options->run_path, run_bytes);
        snprintf(sockets[i].path + run_bytes, SOCKET_PATH_BYTES_MAX - run_bytes, "/%s",
                 sockets[i].name);
    }
    return ES_OK;
}

static enum es_status lock(const struct options *options, struct run_directory *directory,
                           char why[DATA_WHY_BYTES])
{
    pid_t holder = 0;
    enum es_status status = directory_lock(directory->fd, LOCK_NAME, &directory->lock_fd, &holder);

    if (status == ES_E_BUSY) {
        return startup_explain(why, status,
                               "the run directory %s is in use by process %ld: stop that broker, "
                               "or give another --run DIR",
                               options->run_path, (long)holder);
    }
    if (status != ES_OK) {
        return startup_explain(why, status, "cannot lock the run directory %s: %s",
                               options->run_path, strerror(errno));
    }
    return ES_OK;
}

enum es_status run_directory_open(const struct options *options,
                                  struct run_directory *ret_directory, char why[DATA_WHY_BYTES])
{
    struct run_directory *directory = ret_directory;
    gid_t group = options->group_given ? options->group : ES_GROUP_NONE;
    enum es_status status = ES_OK;

    memset(directory, 0, sizeof *directory);
    directory->fd = -1;
    directory->lock_fd = -1;
    directory->segments_fd = -1;
    status = name_sockets(options, directory, why);
    if (status == ES_OK) {
        status = make(options, why);
    }
    if (status == ES_OK) {
        status = directory_check(options->run_path, &directory->fd, why);
    }
    if (status == ES_OK) {
        status = give_to_group(options, directory, why);
    }
    if (status == ES_OK) {
        status = lock(options, directory, why);
    }
    ES_PROBE(run_directory_locked);
    if (status == ES_OK) {
        status = es_segment_directory(options->run_path, true, group, &directory->segments_fd,
                                      directory->segments_path);
        if (status != ES_OK) {
            startup_explain(why, status,
                            "cannot use %s for shared memory (%s): give a --run DIR on a tmpfs of "
                            "your own",
                            directory->segments_path, es_status_text(status));
        }
    }
    if (status != ES_OK) {
        run_directory_close(directory);
    }
    return status;
}

void run_directory_close(struct run_directory *directory)
{
    if (directory->segments_fd >= 0) {
        struct stat run;
        struct stat segments;

        if (fstat(directory->fd, &run) == 0 && fstat(directory->segments_fd, &segments) == 0 &&
            (run.st_ino != segments.st_ino || run.st_dev != segments.st_dev)) {
            rmdir(directory->segments_path); /* refused while somebody's lane is in it */
        }
        close(directory->segments_fd);
    }
    if (directory->lock_fd >= 0) {
        close(directory->lock_fd);
    }
    if (directory->fd >= 0) {
        close(directory->fd);
    }
    directory->segments_fd = -1;
    directory->lock_fd = -1;
    directory->fd = -1;
}
