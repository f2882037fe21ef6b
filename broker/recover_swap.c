/*
 * The new store takes the place of the damaged one, file by file: each old one goes
 * aside before the new one comes, so at any moment a name is taken by one of the two or
 * free, and what is left to do can be seen. The mark is there all the while.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/file_tree.h"
#include "broker/recover_state.h"
#include "shm/probe.h"

/* The anchor comes last: until then the new files vouch for nothing. */
static const char *const names[] = {"rocksdb", "rocksdb-logs", "log", DATA_ANCHOR_NAME};

static int open_below(int parent_fd, const char *name)
{
    return openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool exists(int directory_fd, const char *name)
{
    return faccessat(directory_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static enum es_status failed(char why[DATA_WHY_BYTES], const char *what, const char *name)
{
    return startup_explain(why, ES_E_IO, "cannot %s %s: %s: run it again", what, name,
                           strerror(errno));
}

/* One name. What is not in recovered/ any more has been moved before. */
static enum es_status move_one(const struct data_directory *directory, int from_fd, int aside_fd,
                               const char *name, char why[DATA_WHY_BYTES])
{
    if (!exists(from_fd, name)) {
        return ES_OK;
    }
    if (exists(directory->fd, name) && renameat(directory->fd, name, aside_fd, name) != 0) {
        return failed(why, "put aside", name);
    }
    /* Durable before the name is given away: a power cut must not lose the old one. */
    if (fsync(aside_fd) != 0 || fsync(directory->fd) != 0) {
        return failed(why, "sync", directory->path);
    }
    ES_PROBE(recover_old_aside);
    if (renameat(from_fd, name, directory->fd, name) != 0) {
        return failed(why, "put into place", name);
    }
    ES_PROBE(recover_new_in_place);
    return fsync(aside_fd) == 0 && fsync(from_fd) == 0 && fsync(directory->fd) == 0
               ? ES_OK
               : failed(why, "sync", directory->path);
}

static enum es_status move_all(const struct data_directory *directory, const char *aside,
                               char why[DATA_WHY_BYTES])
{
    int aside_fd = open_below(directory->fd, aside);
    int from_fd = open_below(directory->fd, RECOVERED_NAME);
    enum es_status status = aside_fd < 0 ? failed(why, "open", aside) : ES_OK;

    /* No recovered/: all has been moved, and only the mark is left. */
    for (size_t i = 0; i < sizeof names / sizeof names[0] && status == ES_OK && from_fd >= 0; i++) {
        status = move_one(directory, from_fd, aside_fd, names[i], why);
    }
    if (aside_fd >= 0) {
        close(aside_fd);
    }
    if (from_fd >= 0) {
        close(from_fd);
    }
    if (status == ES_OK && file_tree_remove(directory->fd, RECOVERED_NAME) != ES_OK) {
        status = failed(why, "remove", RECOVERED_NAME);
    }
    if (status == ES_OK && unlinkat(directory->fd, DATA_BACKUP_NAME, 0) != 0 && errno != ENOENT) {
        status = failed(why, "remove", DATA_BACKUP_NAME);
    }
    if (status == ES_OK &&
        (unlinkat(directory->fd, DATA_RECOVERING_NAME, 0) != 0 || fsync(directory->fd) != 0)) {
        status = failed(why, "remove", DATA_RECOVERING_NAME);
    }
    ES_PROBE(recover_done);
    return status;
}

enum es_status recover_swap_begin(struct data_directory *directory, struct recover_finding *finding,
                                  const struct recover_listener *listener, char why[DATA_WHY_BYTES])
{
    const time_t now = time(NULL);
    char stamp[24];
    struct tm parts;
    enum es_status status = ES_OK;
    int fd = -1;

    gmtime_r(&now, &parts);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &parts);
    snprintf(finding->aside, sizeof finding->aside, "damaged-%016" PRIx64 "-%s", finding->epoch,
             stamp);
    status = file_tree_make(directory->fd, finding->aside, &fd);
    for (int i = 2; status == ES_E_EXISTS && i < 100; i++) { /* another one in this second */
        snprintf(finding->aside, sizeof finding->aside, "damaged-%016" PRIx64 "-%s-%d",
                 finding->epoch, stamp, i);
        status = file_tree_make(directory->fd, finding->aside, &fd);
    }
    if (status != ES_OK) {
        return failed(why, "make", finding->aside);
    }
    if (listener != NULL && listener->report != NULL) {
        status = listener->report(listener->context, finding, fd);
    }
    if (status == ES_OK && (fsync(fd) != 0 || fsync(directory->fd) != 0)) {
        status = ES_E_IO;
    }
    close(fd);
    if (status != ES_OK) {
        return failed(why, "write the report into", finding->aside);
    }
    ES_PROBE(recover_aside_made);
    /* Under another name first: a mark is whole or not there. */
    status = file_tree_write(directory->fd, DATA_RECOVERING_NAME ".new", finding->aside);
    if (status == ES_OK && (renameat(directory->fd, DATA_RECOVERING_NAME ".new", directory->fd,
                                     DATA_RECOVERING_NAME) != 0 ||
                            fsync(directory->fd) != 0)) {
        status = ES_E_IO;
    }
    if (status != ES_OK) {
        return failed(why, "leave the mark", DATA_RECOVERING_NAME);
    }
    ES_PROBE(recover_marked);
    return move_all(directory, finding->aside, why);
}

enum es_status recover_swap_go_on(struct data_directory *directory, struct recover_finding *finding,
                                  char why[DATA_WHY_BYTES])
{
    int fd = openat(directory->fd, DATA_RECOVERING_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t size = 0;

    if (fd < 0) {
        return errno == ENOENT ? ES_EMPTY : failed(why, "read", DATA_RECOVERING_NAME);
    }
    size = read(fd, finding->aside, sizeof finding->aside - 1);
    close(fd);
    finding->aside[size > 0 ? size : 0] = '\0';
    if (strncmp(finding->aside, "damaged-", strlen("damaged-")) != 0 ||
        strchr(finding->aside, '/') != NULL) {
        return startup_explain(why, ES_E_CORRUPT,
                               "the mark %s/" DATA_RECOVERING_NAME " is damaged: it is to hold the "
                               "name of the directory damaged-... that lies beside it",
                               directory->path);
    }
    return move_all(directory, finding->aside, why);
}
