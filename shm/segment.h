/*
 * Shared files: made, opened, checked, mapped. What the bytes mean is the
 * business of control.h, ring.h and lane.h; who may have a descriptor is
 * decided by the broker's control socket.
 *
 * Trust.  A directory or file that the broker finds by name is refused unless
 *         it is what the broker itself would have made: right type, owner, mode
 *         and size, no symbolic link. A descriptor that came over a socket is
 *         checked for type and size before it is mapped.
 * Memory. All pages are allocated at creation, so a full tmpfs is an error
 *         here and not a SIGBUS later. A file that its holder truncates is a
 *         SIGBUS still: see fault.h.
 * fork.   Descriptors are close-on-exec and mappings MADV_DONTFORK: a child
 *         that touches one dies of SIGSEGV instead of writing as its parent.
 * Threads: one segment, one thread at a time; the mapped memory has its own
 *         rules.
 */
#ifndef ES_SHM_SEGMENT_H
#define ES_SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/eventspine_status.h"

#define ES_SEGMENT_PATH_BYTES_MAX 4096u
#define ES_GROUP_NONE ((gid_t)-1)

/* One mapped file. Zero it (ES_SEGMENT_NONE) before its first use. */
struct es_segment {
    void *base;  /* NULL: nothing is mapped */
    size_t size; /* bytes mapped, the size of the file */
    int fd;      /* owned; -1: none */
};

#define ES_SEGMENT_NONE ((struct es_segment){.base = NULL, .size = 0, .fd = -1})

/*
 * Finds the directory of the shared files for the run directory 'run_path'
 * (which must exist): 'run_path' itself where statfs says tmpfs, else
 * /dev/shm/eventspine-<hash of its real path>, made with mode 0700 (0750 and
 * group 'group' unless that is ES_GROUP_NONE) when 'create' is set.
 * Returns an open directory descriptor that the caller closes, and the path.
 *
 * ES_NOT_FOUND: it does not exist ('create' not set, or no 'run_path'), or
 *               /dev/shm is no tmpfs.
 * ES_E_PERMISSION: it is not a directory, not ours (root may look at others'
 *               without 'create'), or others may write to it.
 * ES_E_TOO_LARGE: the path has more than ES_SEGMENT_PATH_BYTES_MAX - 1 bytes.
 * ES_E_IO: a system call failed; errno tells.
 */
ES_MUST_USE enum es_status es_segment_directory(const char *run_path, bool create, gid_t group,
                                                int *ret_fd,
                                                char ret_path[ES_SEGMENT_PATH_BYTES_MAX]);

/*
 * Makes the file 'name' with 'size' zero bytes (a multiple of 4096), mode
 * 'mode' and, unless ES_GROUP_NONE, group 'group', and maps it for reading and
 * writing. A file of that name is replaced, never reused: whoever still maps
 * the old one (a lane's former owner) reaches nothing of the new one.
 *
 * Rings and lanes are best made 0600 whatever the group: a producer gets a
 * descriptor, so that no other member of the group can open them by name.
 *
 * ES_NO_SPACE: the file system cannot hold it (ENOSPC, EDQUOT); nothing is left.
 * ES_E_NO_MEMORY: no address space. ES_E_PERMISSION, ES_E_IO: errno tells.
 */
ES_MUST_USE enum es_status es_segment_create(int directory_fd, const char *name, size_t size,
                                             mode_t mode, gid_t group,
                                             struct es_segment *ret_segment);

/*
 * Opens and maps the file 'name' again, after a restart or for inspection.
 * It must be a regular file with one name, of exactly 'size' bytes, of
 * 'owner', and with no permission beyond 'mode'.
 *
 * ES_NOT_FOUND: no such file.
 * ES_E_PERMISSION: a link, another type or owner, or a wider mode.
 * ES_E_CORRUPT: another size.
 * ES_E_NO_MEMORY, ES_E_IO: errno tells.
 */
ES_MUST_USE enum es_status es_segment_open(int directory_fd, const char *name, size_t size,
                                           uid_t owner, mode_t mode, bool writable,
                                           struct es_segment *ret_segment);

/*
 * Maps a descriptor that came over a socket; exactly 'size' bytes, a regular
 * file. Takes over 'fd' in every case: it is closed on failure.
 *
 * ES_E_PROTOCOL: not a regular file, another size, or not open for what is asked.
 * ES_E_NO_MEMORY, ES_E_IO: errno tells.
 */
ES_MUST_USE enum es_status es_segment_map(int fd, size_t size, bool writable,
                                          struct es_segment *ret_segment);

/* The same, but where it fails, 'fd' stays open, and the caller's. */
ES_MUST_USE enum es_status es_segment_map_or_keep(int fd, size_t size, bool writable,
                                                  struct es_segment *ret_segment);

/*
 * A second descriptor of the same file, open for reading only: what a producer
 * gets of the control page. The caller closes it.
 * ES_E_IO: errno tells; ES_E_CORRUPT: the name now means another file.
 */
ES_MUST_USE enum es_status es_segment_reopen_readonly(int directory_fd, const char *name,
                                                      const struct es_segment *segment,
                                                      int *ret_fd);

/* Unmaps and closes; the file stays. A segment that holds nothing is legal. */
void es_segment_unmap(struct es_segment *segment);

/* Removes the name. ES_NOT_FOUND: there was none. ES_E_IO: errno tells. */
ES_MUST_USE enum es_status es_segment_remove(int directory_fd, const char *name);

#endif
