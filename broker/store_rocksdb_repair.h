/*
 * RocksDB's list of files, made anew from the files themselves, for recovery
 * (recover_source.c). In a directory of links, so that nothing of the store changes.
 * What comes out is proven by nobody: the walk over the commits does that.
 *
 * Threads. One.
 */
#ifndef BROKER_STORE_ROCKSDB_REPAIR_H
#define BROKER_STORE_ROCKSDB_REPAIR_H

#include "broker/store.h"

/*
 * 'directory' holds tables (or links to them) and nothing else. Tables that cannot be
 * read are left out. Families without a table are made, empty.
 * ES_E_CORRUPT: no list can be made; 'why' is RocksDB's word.
 */
ES_MUST_USE enum es_status store_rocksdb_repair(const char *directory, char why[STORE_WHY_BYTES]);

#endif
