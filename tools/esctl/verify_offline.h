/*
 * Verification of a data directory without a broker: the store is opened
 * read-only, with what the commit log holds beyond it laid over it in memory. It
 * changes no byte, and is refused while a broker has the directory. One thread.
 */
#ifndef ESCTL_VERIFY_OFFLINE_H
#define ESCTL_VERIFY_OFFLINE_H

#include "broker/verify.h"
#include "tools/esctl/esctl.h"
#include "tools/esctl/verify_report.h"

enum es_exit verify_offline(struct invocation *invocation, const char *data_dir);

/*
 * Goes through all of 'store', telling 'report'. ES_INTERRUPTED: a signal ended it;
 * ES_E_CORRUPT, ES_E_IO, ES_E_NO_MEMORY: it could not go on.
 */
ES_MUST_USE enum es_status verify_whole_store(struct store *store, const uint8_t *store_id,
                                              struct verify_report *report,
                                              struct verification *verification);

/* The exit code of a data directory that cannot be opened. */
enum es_exit verify_exit_of_opening(enum es_status status);

#endif
