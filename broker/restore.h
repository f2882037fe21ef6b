/*
 * A new store from a backup (backup.h). It is made beside its place, 'DIR.restoring',
 * with a mark in it that says so, and gets its name when it is whole: killed at any
 * moment, it is begun anew, or found finished, by the next run. Its start begins a
 * new epoch: what was committed after the backup is not in it.
 *
 * Threads. One.
 */
#ifndef BROKER_RESTORE_H
#define BROKER_RESTORE_H

#include "broker/data_directory.h"
#include "broker/file_tree.h"
#include "broker/startup.h"

struct restore {
    struct data_directory from; /* of the backup, open and locked for reading */
    int parent_fd;
    char name[DATA_PATH_BYTES_MAX];           /* of the new store, in its parent */
    char temporary[DATA_PATH_BYTES_MAX + 16]; /* the whole path of what is being made */
    bool is_finished;                         /* an earlier run had come so far */
    uint64_t epoch;                           /* after restore_finish() */
    uint64_t position;
};

/*
 * Looks at the backup 'backup_path' and copies it beside 'data_path', an absolute path.
 * 'options' tells who hears of progress. Close it in any case.
 *
 * ES_E_EXISTS: 'data_path' is there. ES_E_INVALID: not a backup, or no absolute path.
 * ES_INTERRUPTED; ES_E_BUSY, ES_NOT_FOUND, ES_E_PERMISSION, ES_NO_SPACE, ES_E_IO.
 */
ES_MUST_USE enum es_status restore_copy(const char *backup_path, const char *data_path,
                                        const struct file_tree_options *options,
                                        struct restore *ret_restore, char why[DATA_WHY_BYTES]);

/* Begins the new epoch and puts the store into its place. ES_E_CORRUPT: the backup is
 * damaged. Others as above, and as of startup_open(). */
ES_MUST_USE enum es_status restore_finish(struct restore *restore, char why[DATA_WHY_BYTES]);

void restore_close(struct restore *restore);

#endif
