/*
 * After a death nobody knows which bytes of a file are on the disk and which are only
 * in the page cache, where a start would read them, believe them, and lose them in the
 * next power cut. So before anything is read, every file is synced: what is read then
 * is what stays. A disk that has failed to write some of it says so here.
 *
 * Changes no byte. Source: Rebello et al., "Can Applications Recover from fsync
 * Failures?", USENIX ATC 2020.
 * Threads. One, before the store is open.
 */
#ifndef BROKER_SETTLE_H
#define BROKER_SETTLE_H

#include "broker/data_directory.h"

/*
 * Syncs the anchor, the files of log/ and rocksdb/, and the directories. What is not
 * there is passed over.
 *
 * ES_E_IO, ES_E_PERMISSION, ES_E_LIMIT (no descriptor): 'why' names the file.
 */
ES_MUST_USE enum es_status settle(const struct data_directory *directory, char why[DATA_WHY_BYTES]);

#endif
