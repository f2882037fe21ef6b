/*
 * What RocksDB believes of a table file before any checksum is asked: the last bytes say which
 * checksum its blocks have and in which format they are, and nothing covers those bytes
 * themselves. With the bit of another format RocksDB takes a block's first bytes for
 * something else, and in builds with assertions, as Debian's, ends the process.
 *
 * The layout is that of RocksDB's formats 1 to 5 (table/format.cc, Footer): the kind of
 * checksum, two handles padded to 40 bytes, the version and the magic number, both
 * little-endian.
 *
 * Threads. Any.
 */
#ifndef BROKER_STORE_ROCKSDB_FOOTERS_H
#define BROKER_STORE_ROCKSDB_FOOTERS_H

#include <stdbool.h>

#include "broker/store.h"

/* Whether a name in a store's directory is a table file's. */
bool footer_is_of_table(const char *name);

/*
 * ES_E_CORRUPT: the file 'name' in the open directory ends as a table does and names a format or
 * a checksum with which no table of a store is written. ES_OK: it does not; a file that is not
 * there or does not end so is RocksDB's to judge. ES_E_IO, and errno: it cannot be read.
 */
ES_MUST_USE enum es_status footer_check(int directory, const char *name);

/* Of every table file in a directory. 'why', STORE_WHY_BYTES large, names the one that fails. */
ES_MUST_USE enum es_status footers_check(const char *directory, char *why);

#endif
