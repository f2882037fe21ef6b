/*
 * RocksDB's list of its own files, the MANIFEST that CURRENT names. RocksDB appends to it
 * and syncs; a power cut in between may leave a part of the last entry, and RocksDB then
 * refuses to open. What is behind that which is known to be synced is not needed: the
 * commit log still has what those entries are about. Damage anywhere else stays damage.
 *
 * Threads. One.
 */
#ifndef BROKER_STORE_ROCKSDB_BOOKS_H
#define BROKER_STORE_ROCKSDB_BOOKS_H

#include <stdbool.h>

#include "broker/store.h"

/* Which one CURRENT names, synced, and its size. ES_E_IO, ES_E_CORRUPT. */
ES_MUST_USE enum es_status books_settle(const char *directory, struct store_books *ret_books);

/*
 * True if the books that CURRENT names are those of 'synced' and are torn behind it, or if
 * they are newer ones, torn behind what they were begun with: the power went before anybody
 * was told of them. '*ret_whole' is then as much of them as is whole.
 */
bool books_are_torn(const char *directory, const struct store_books *synced,
                    struct store_books *ret_whole);

/* Cuts them off there, synced. ES_E_IO. */
ES_MUST_USE enum es_status books_cut(const char *directory, const struct store_books *whole);

/*
 * Makes a directory in 'parent' that looks as 'directory' would with its books cut: links,
 * and a copy of the books. 'ret_path', 'size' large, gets its path. ES_E_IO.
 */
ES_MUST_USE enum es_status books_stand_in(const char *directory, const struct store_books *whole,
                                          const char *parent, char *ret_path, size_t size);

/* Removes it. */
void books_stand_in_remove(const char *path);

#endif
