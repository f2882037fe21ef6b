/*
 * One file in a FUSE file system, for a loop device to make a disk of: sectors
 * that no flush has reached are lost when the power goes (sector_store.h). The
 * loop device turns a flush of its block device into an fsync of this file.
 *
 *   power_disk DIRECTORY SIZE_MIB [IMAGE]
 *
 * Serves DIRECTORY/disk in the foreground and takes orders, one a line, on
 * standard input; each is answered by one line:
 *   watch FILE     the clients' log of what they were acknowledged: of each watched
 *                  file the size is told with a cut, taken before the cut is made. So
 *                  what stands in it up to there was acknowledged before.  -> ok
 *   forget         no more watched files                                   -> ok
 *   cut OPERATIONS KEEP STALE SEED IMAGE
 *                  when so many more writes and flushes have arrived (the last of them
 *                  a write that may be torn, or a flush that has not happened), the disk
 *                  as a power cut would leave it goes into the file IMAGE. The disk
 *                  itself goes on.
 *                  -> cut WRITES FLUSHES UNSYNCED KEPT STALE SIZE...  (totals, then sectors)
 *   now            does not wait for the rest of the operations             -> cut ...
 *   quit, end of input                                                      (ends)
 *
 * Threads. One: a cut is between two requests, never inside of one.
 */
#define FUSE_USE_VERSION 34

#include <errno.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/power/sector_store.h"

enum {
    FILE_INODE = 2,
    WATCHED_MAX = 8,
    PATH_BYTES_MAX = 4096,
    LINE_BYTES_MAX = PATH_BYTES_MAX + 128
};

static const char file_name[] = "disk";

struct power_disk {
    struct sector_store *store;
    struct fuse_session *session;
    uint64_t write_count;
    uint64_t flush_count;
    char watched[WATCHED_MAX][PATH_BYTES_MAX];
    int watched_count;
    bool is_armed;
    uint64_t operations_left;
    struct sector_cut cut;
    char image[PATH_BYTES_MAX];
    char line[LINE_BYTES_MAX]; /* of an order, as far as it has come */
    size_t line_bytes;
    bool is_over;
};

/* ---- The cut -------------------------------------------------------------- */

static uint64_t size_of(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 ? (uint64_t)about.st_size : 0;
}

static void cut(struct power_disk *disk)
{
    uint64_t sizes[WATCHED_MAX];
    struct sector_cut_counts counts;

    for (int i = 0; i < disk->watched_count; i++) {
        sizes[i] = size_of(disk->watched[i]);
    }
    disk->is_armed = false;
    if (!sector_store_cut(disk->store, &disk->cut, disk->image, &counts)) {
        printf("error the image: %s\n", strerror(errno));
        return;
    }
    printf("cut %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, disk->write_count,
           disk->flush_count, counts.unsynced, counts.kept, counts.stale);
    for (int i = 0; i < disk->watched_count; i++) {
        printf(" %" PRIu64, sizes[i]);
    }
    printf("\n");
}

/* Called for each write after it is in the cache, for each flush before it is done. */
static void count_operation(struct power_disk *disk)
{
    if (disk->is_armed && disk->operations_left-- <= 1) {
        cut(disk);
    }
}

/* ---- The file system ------------------------------------------------------ */

static struct power_disk *disk_of(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

static bool describe(const struct power_disk *disk, fuse_ino_t inode, struct stat *about)
{
    memset(about, 0, sizeof *about);
    about->st_ino = inode;
    if (inode == FUSE_ROOT_ID) {
        about->st_mode = S_IFDIR | 0700;
        about->st_nlink = 2;
    } else {
        about->st_mode = S_IFREG | 0600;
        about->st_nlink = 1;
        about->st_size = (off_t)sector_store_size(disk->store);
    }
    return inode == FUSE_ROOT_ID || inode == FILE_INODE;
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.ino = FILE_INODE, .attr_timeout = 1e6, .entry_timeout = 1e6};

    if (parent != FUSE_ROOT_ID || strcmp(name, file_name) != 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    (void)describe(disk_of(request), FILE_INODE, &entry.attr);
    fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct stat about;

    (void)info;
    if (describe(disk_of(request), inode, &about)) {
        fuse_reply_attr(request, &about, 1e6);
    } else {
        fuse_reply_err(request, ENOENT);
    }
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    if (inode == FILE_INODE) {
        fuse_reply_open(request, info);
    } else {
        fuse_reply_err(request, EISDIR);
    }
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    const struct sector_store *store = disk_of(request)->store;
    uint64_t end = sector_store_size(store);

    (void)inode;
    (void)info;
    if ((uint64_t)offset > end) {
        offset = (off_t)end;
    }
    if (size > end - (uint64_t)offset) {
        size = (size_t)(end - (uint64_t)offset);
    }
    fuse_reply_buf(request, (const char *)sector_store_bytes(store) + offset, size);
}

static void on_write(fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size,
                     off_t offset, struct fuse_file_info *info)
{
    struct power_disk *disk = disk_of(request);

    (void)inode;
    (void)info;
    if (!sector_store_write(disk->store, (uint64_t)offset, bytes, size)) {
        fuse_reply_err(request, EIO);
        return;
    }
    disk->write_count++;
    count_operation(disk);
    fuse_reply_write(request, size);
}

static void on_fsync(fuse_req_t request, fuse_ino_t inode, int datasync,
                     struct fuse_file_info *info)
{
    struct power_disk *disk = disk_of(request);

    (void)inode;
    (void)datasync;
    (void)info;
    count_operation(disk);
    sector_store_flush(disk->store);
    disk->flush_count++;
    fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = on_lookup,
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
};

/* ---- Orders ---------------------------------------------------------------- */

static void watch(struct power_disk *disk, const char *path)
{
    if (disk->watched_count == WATCHED_MAX) {
        printf("error too many files\n");
        return;
    }
    snprintf(disk->watched[disk->watched_count++], PATH_BYTES_MAX, "%s", path);
    printf("ok\n");
}

static void arm(struct power_disk *disk, const char *arguments)
{
    int end = 0;

    if (sscanf(arguments, "%" SCNu64 " %u %u %" SCNu64 " %n", &disk->operations_left,
               &disk->cut.keep_percent, &disk->cut.stale_percent, &disk->cut.seed, &end) < 4 ||
        end == 0) {
        printf("error cut OPERATIONS KEEP STALE SEED IMAGE\n");
        return;
    }
    snprintf(disk->image, sizeof disk->image, "%s", arguments + end);
    disk->is_armed = true;
}

static void obey(struct power_disk *disk, const char *order)
{
    if (strncmp(order, "watch ", 6) == 0) {
        watch(disk, order + 6);
    } else if (strcmp(order, "forget") == 0) {
        disk->watched_count = 0;
        printf("ok\n");
    } else if (strncmp(order, "cut ", 4) == 0) {
        arm(disk, order + 4);
    } else if (strcmp(order, "now") == 0) {
        if (disk->is_armed) { /* else its answer has been given */
            cut(disk);
        }
    } else if (strcmp(order, "quit") == 0) {
        disk->is_over = true;
    } else {
        printf("error no such order\n");
    }
}

static void take_orders(struct power_disk *disk)
{
    ssize_t size =
        read(STDIN_FILENO, disk->line + disk->line_bytes, sizeof disk->line - 1 - disk->line_bytes);
    char *end = NULL;

    if (size <= 0) {
        disk->is_over = true;
        return;
    }
    disk->line_bytes += (size_t)size;
    disk->line[disk->line_bytes] = '\0';
    while ((end = strchr(disk->line, '\n')) != NULL) {
        *end = '\0';
        obey(disk, disk->line);
        disk->line_bytes -= (size_t)(end + 1 - disk->line);
        memmove(disk->line, end + 1, disk->line_bytes + 1);
    }
}

static void serve(struct power_disk *disk)
{
    struct pollfd sources[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                                {.fd = fuse_session_fd(disk->session), .events = POLLIN}};
    struct fuse_buf request = {.mem = NULL};

    printf("ready\n");
    while (!disk->is_over && !fuse_session_exited(disk->session)) {
        fflush(stdout);
        if (poll(sources, 2, -1) < 0 && errno != EINTR) {
            break;
        }
        if (sources[1].revents != 0) {
            int size = fuse_session_receive_buf(disk->session, &request);

            if (size == 0 || (size < 0 && size != -EINTR && size != -EAGAIN)) {
                break;
            }
            if (size > 0) {
                fuse_session_process_buf(disk->session, &request);
            }
        }
        if (sources[0].revents != 0) {
            take_orders(disk);
        }
    }
    free(request.mem);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char *none[] = {argv[0], (char[]){"-ofsname=power_disk"}, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(2, none);
    struct power_disk *disk = calloc(1, sizeof *disk);
    uint64_t size_mib = argc >= 3 ? strtoull(argv[2], NULL, 10) : 0;

    if (argc < 3 || argc > 4 || size_mib == 0 || size_mib > 4096 || disk == NULL) {
        fprintf(stderr, "power_disk DIRECTORY SIZE_MIB [IMAGE]\n");
        return 64;
    }
    (void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); /* waiting for memory must not wait for this disk */
    disk->store = sector_store_new(size_mib << 20, argc == 4 ? argv[3] : NULL);
    if (disk->store == NULL) {
        fprintf(stderr, "power_disk: no memory, or no image of that size\n");
        return 1;
    }
    disk->session = fuse_session_new(&arguments, &operations, sizeof operations, disk);
    if (disk->session == NULL || fuse_session_mount(disk->session, argv[1]) != 0) {
        fprintf(stderr, "power_disk: cannot mount on %s\n", argv[1]);
        return 1;
    }
    serve(disk);
    fuse_session_unmount(disk->session);
    fuse_session_destroy(disk->session);
    sector_store_free(disk->store);
    free(disk);
    return 0;
}
