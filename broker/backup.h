/*
 * A copy of the store while it is in use: everything up to one position, as a
 * directory that is a store of its own. RocksDB's files are cut and linked between
 * two commits; log and anchor are made new, and the mark 'backup' says that a broker
 * which starts on it, or on a copy of it, begins a new epoch.
 *
 *   DIR/rocksdb/ log/ rocksdb-logs/ anchor backup
 *
 * It is made beside its place, in 'DIR.partial', and gets its name when it is whole.
 *
 * Threads. backup_make(): any but the commit thread; one at a time.
 */
#ifndef BROKER_BACKUP_H
#define BROKER_BACKUP_H

#include "broker/anchor.h"
#include "broker/committer.h"
#include "broker/data_directory.h"
#include "broker/file_tree.h"
#include "broker/flusher.h"
#include "broker/inbox.h"

struct backup;

struct backup_config {
    const struct data_directory *directory; /* these outlive it */
    struct store *store;
    struct log *log;
    struct flusher *flusher;
    struct inbox *inbox;
    const struct committer *committer;
    uint64_t reserve_bytes;    /* of the store's disk, which no backup takes */
    struct anchor_state state; /* what does not change while the broker runs */
};

ES_MUST_USE enum es_status backup_new(const struct backup_config *config,
                                      struct backup **ret_backup);
void backup_free(struct backup *backup); /* NULL is fine */

/*
 * Makes the backup 'path', an absolute path that does not exist, and tells where its
 * history ends. What it had made is removed again on failure.
 *
 * ES_E_BUSY: another one is on its way. ES_E_EXISTS: there is something. ES_E_INVALID,
 * ES_E_PERMISSION, ES_NOT_FOUND: the path; ES_NO_SPACE, ES_E_IO, ES_NOT_SERVING.
 */
ES_MUST_USE enum es_status backup_make(struct backup *backup, const char *path,
                                       struct history_point *ret_end,
                                       char why[FILE_TREE_WHY_BYTES]);

/*
 * Makes the log and the anchor of a store whose RocksDB holds everything up to 'end':
 * 'state' names the store and the rest of what the anchor says. For backups and for
 * recovery (recover.h). 'directory_fd' is the store's. Everything is synced.
 */
ES_MUST_USE enum es_status backup_make_witnesses(int directory_fd, const struct anchor_state *state,
                                                 const struct log_geometry *geometry,
                                                 const struct history_point *end);

#endif
