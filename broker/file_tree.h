/*
 * Directories of a store as wholes: copied, synced, removed. Only plain files and
 * directories, at most FILE_TREE_DEPTH_MAX deep, and no link is ever followed: what
 * else lies there is refused. What the files mean is not looked at.
 *
 * Threads. Any; one for each directory.
 */
#ifndef BROKER_FILE_TREE_H
#define BROKER_FILE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

enum {
    FILE_TREE_DEPTH_MAX = 4,
    FILE_TREE_WHY_BYTES = 512
};

/* What is left out at the top, and who hears how far it is; false from 'moved' ends it. */
struct file_tree_options {
    bool may_link;      /* hard links where the filesystem allows: the files never change */
    const char *except; /* a name at the top; NULL: none */
    bool (*moved)(void *context, uint64_t bytes); /* may be NULL */
    void *context;
};

/*
 * Copies what is in the directory 'from_fd' into the directory 'to_fd', with the
 * modes 0600 and 0700, and syncs all of it, 'to_fd' included.
 *
 * ES_E_EXISTS: something of that name is there already. ES_E_PERMISSION: neither
 * a file nor a directory. ES_INTERRUPTED: 'moved' said so. ES_NO_SPACE, ES_E_IO,
 * ES_E_LIMIT (too deep): 'why' names the file. What was copied stays.
 */
ES_MUST_USE enum es_status file_tree_copy(int from_fd, int to_fd,
                                          const struct file_tree_options *options,
                                          char why[FILE_TREE_WHY_BYTES]);

/*
 * Removes a directory with what is in it. ES_OK too if there is none. ES_E_IO: errno
 * tells; the rest stays. file_tree_remove_marked() removes the file 'mark' in it last,
 * so that what is left of a removal that was cut short can still be told by it.
 */
ES_MUST_USE enum es_status file_tree_remove(int parent_fd, const char *name);
ES_MUST_USE enum es_status file_tree_remove_marked(int parent_fd, const char *name,
                                                   const char *mark);

/* The bytes of all files in the directory and below it. ES_E_IO, ES_E_LIMIT (too deep). */
ES_MUST_USE enum es_status file_tree_bytes(int directory_fd, uint64_t *ret_bytes);

/*
 * ES_NO_SPACE: on the filesystem of 'directory_fd' less than 'bytes' are free, and 'why'
 * says how much is wanted. Asked before RocksDB writes, which ends the process where
 * there is no room.
 */
ES_MUST_USE enum es_status file_tree_check_room(int directory_fd, uint64_t bytes,
                                                char why[FILE_TREE_WHY_BYTES]);

/* Makes a new directory of ours (0700) and opens it. ES_E_EXISTS: the name is taken. */
ES_MUST_USE enum es_status file_tree_make(int parent_fd, const char *name, int *ret_fd);

/* Writes a small new file and syncs it; the name is durable once the directory is synced. */
ES_MUST_USE enum es_status file_tree_write(int directory_fd, const char *name, const char *text);

/*
 * Opens the directory in which 'path' is to be made, and tells the last part of it,
 * which points into 'path'. 'path' is absolute, without "." and "..".
 *
 * ES_E_PERMISSION: others may put something else into its place: it is somebody
 * else's, or may be written to by others and is not sticky. ES_NOT_FOUND, ES_E_INVALID.
 */
ES_MUST_USE enum es_status file_tree_open_parent(const char *path, int *ret_fd,
                                                 const char **ret_name,
                                                 char why[FILE_TREE_WHY_BYTES]);

#endif
