/*
 * The data directory: who may use it, who has it, what is where in it.
 *
 *   lock           held by the broker, with its PID in it
 *   creating       there while a new store is made, and after a creation that
 *                  was cut short: nothing can have been acknowledged then
 *   anchor         anchor.h
 *   log/           the commit log, log.h
 *   rocksdb/       store.h
 *   backup         in a backup, and in a store restored from it until its first start
 *   recovering     there while a recovery puts its files into place (recover.h)
 *   rocksdb-logs/  RocksDB's own notes, of no importance
 *
 * Threads. One.
 */
#ifndef BROKER_DATA_DIRECTORY_H
#define BROKER_DATA_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/disk.h"
#include "shm/eventspine_status.h"

enum {
    DATA_PATH_BYTES_MAX = 3072,
    DATA_WHY_BYTES = 5120
};

#define DATA_ANCHOR_NAME "anchor"
#define DATA_CREATING_NAME "creating"
#define DATA_BACKUP_NAME "backup"
#define DATA_RECOVERING_NAME "recovering"

struct data_directory {
    int fd;
    int lock_fd;
    struct disk *disk;     /* of the directory itself: the anchor */
    struct disk *log_disk; /* NULL before data_directory_make_log() */
    char path[DATA_PATH_BYTES_MAX];
    char store_path[DATA_PATH_BYTES_MAX + 16];
    char store_logs_path[DATA_PATH_BYTES_MAX + 16];
    char log_path[DATA_PATH_BYTES_MAX + 16];
};

/*
 * Takes a lock file in an open directory for this process and writes its PID
 * there. ES_E_BUSY: another process has it, '*ret_holder' (0: unknown).
 * ES_E_IO, ES_E_PERMISSION: errno tells.
 */
ES_MUST_USE enum es_status directory_lock(int directory_fd, const char *name, int *ret_fd,
                                          pid_t *ret_holder);

/*
 * Checks that 'path' is a directory of ours that nobody else can write to.
 * ES_E_PERMISSION, ES_NOT_FOUND, ES_E_IO; 'why' gets a sentence with the way out.
 */
ES_MUST_USE enum es_status directory_check(const char *path, int *ret_fd, char why[DATA_WHY_BYTES]);

/*
 * Opens the data directory; for the broker ('is_writer') makes it if it is not
 * there, and locks it. A reader (esctl verify --data) is refused while a broker
 * has it. 'why' gets a sentence with the way out on failure. Refused too (ES_E_PERMISSION):
 * a part of the store that is a link, a pipe or another user's.
 *
 * ES_E_BUSY: somebody has it. ES_NOT_FOUND: not there, for a reader.
 * ES_E_PERMISSION, ES_E_IO, ES_E_TOO_LARGE (the path): as they say.
 */
ES_MUST_USE enum es_status data_directory_open(const char *path, bool is_writer,
                                               struct data_directory *ret_directory,
                                               char why[DATA_WHY_BYTES]);
void data_directory_close(struct data_directory *directory);

/* Whether there is a store in it, or the beginning of one. */
bool data_directory_has(const struct data_directory *directory, const char *name);

/*
 * Makes room for a new store: removes what a creation that was cut short has
 * left, leaves the mark 'creating', makes the directories. Never call it where
 * a whole store is.
 */
ES_MUST_USE enum es_status data_directory_begin_creation(struct data_directory *directory,
                                                         char why[DATA_WHY_BYTES]);

/* The store is whole and synced: takes the mark away. */
ES_MUST_USE enum es_status data_directory_end_creation(struct data_directory *directory);

/* Takes the mark 'backup' away: the new epoch has begun. ES_OK too if there is none. */
ES_MUST_USE enum es_status data_directory_end_restore(struct data_directory *directory);

/* Opens 'log/' for disk.h. */
ES_MUST_USE enum es_status data_directory_open_log(struct data_directory *directory);

#endif
