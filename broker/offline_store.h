/*
 * A store without a broker: the data directory is checked as at a start, opened
 * read-only, and what the commit log holds beyond RocksDB is laid over it in
 * memory. No byte of it changes. For `esctl verify --data` and its like.
 *
 * Threads. One.
 */
#ifndef BROKER_OFFLINE_STORE_H
#define BROKER_OFFLINE_STORE_H

#include "broker/startup_check.h"

struct offline_store {
    struct data_directory directory;
    struct startup_finding finding;
    struct counters counters;
    bool is_one_history;      /* log, store and anchor agree; else 'store' is RocksDB alone */
    struct store *store;      /* to read from; NULL: it cannot even be opened, which was told */
    char why[DATA_WHY_BYTES]; /* what is wrong with the history, or with the last call */

    /* private */
    struct log *log;
    struct store *base;
    struct store *overlay;
    struct heads *heads;
    struct batch *batch;
    struct store_batch *writes;
    struct history_point end;
};

/*
 * Opens the directory 'path'. 'why' tells of each failure, and of a history that is
 * broken: then ES_OK, with is_one_history false and what there is to be read.
 *
 * ES_E_BUSY: a broker has it. ES_NOT_FOUND, ES_E_PERMISSION, ES_E_VERSION, ES_E_IO,
 * ES_E_NO_MEMORY. Close it in any case.
 */
ES_MUST_USE enum es_status offline_store_open(const char *path, struct offline_store *ret_offline);
void offline_store_close(struct offline_store *offline);

/* Of the newest log header; 16 bytes. Only where 'store' is not NULL. */
const uint8_t *offline_store_id(const struct offline_store *offline);

#endif
