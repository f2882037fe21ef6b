/*
 * How RocksDB is set up: the option strings of the database and of each family,
 * and the check that what it has written into its OPTIONS file is what was
 * asked for, since an accepted string is not always effective. The numbers are
 * explained, with their measurements, in docs/adr/0001-rocksdb.md.
 */
#ifndef BROKER_STORE_ROCKSDB_SETTINGS_H
#define BROKER_STORE_ROCKSDB_SETTINGS_H

#include <stdint.h>

#include "broker/store.h"

enum {
    SETTINGS_STRING_BYTES = 2048,
    SETTINGS_BLOCK_BYTES = 8 * 1024,
    SETTINGS_TABLE_FORMAT = 5,
    SETTINGS_BLOOM_BITS = 10,
    SETTINGS_CACHE_SHARD_BITS = 2,
    SETTINGS_CACHE_BYTES_DEFAULT = 48 * 1024 * 1024
};

/* Names the prefix of an event key (its stream) in RocksDB's files. */
#define SETTINGS_PREFIX_NAME "eventspine.stream.1"

/* "name=value;..." for rocksdb_get_options_from_string(). */
void store_settings_database(char ret_string[SETTINGS_STRING_BYTES]);
void store_settings_family(enum store_family family, uint64_t unflushed_bytes_max,
                           char ret_string[SETTINGS_STRING_BYTES]);

/*
 * Compares the newest OPTIONS file in 'directory' with the strings above.
 * ES_E_VERSION: a setting is not in effect, 'why' names it. ES_E_IO: no such file.
 */
ES_MUST_USE enum es_status store_settings_verify(const char *directory,
                                                 uint64_t unflushed_bytes_max,
                                                 char why[STORE_WHY_BYTES]);

#endif
