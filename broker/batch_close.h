/*
 * The end of a batch: what only the whole of it tells. Each run learns whether it is the
 * last of its stream and category, the commit record is made and chained to the store
 * hash, and with it the body of the log record, from envelopes that stay where batch.h
 * has encoded them.
 *
 * What it does not do: write the record (scribe.h), or make store keys (apply.h).
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_BATCH_CLOSE_H
#define BROKER_BATCH_CLOSE_H

#include <sys/uio.h>

#include "broker/batch.h"
#include "broker/log.h"

/*
 * Nothing more comes: makes the commit record, the category positions, 'Last'
 * and, in the answers that are stored, what only the commit knows.
 * 'commit_number' is used if there is a commit; batch->progress is filled in, but
 * for its numbers. ES_E_*: the store could not be read, or our own mistake; stop.
 */
ES_MUST_USE enum es_status batch_close(struct batch *batch, struct heads *heads,
                                       uint64_t commit_number, uint64_t time_us, uint64_t epoch);

/*
 * Says of each run whether it is the last of its stream and category, with the
 * head and the category's position; part of batch_close(), and of batch_load().
 */
ES_MUST_USE enum es_status batch_resolve(struct batch *batch, struct heads *heads);

/* The body of the log record, in the parts that log_append() takes; after closing. */
int batch_body(const struct batch *batch, struct iovec ret_parts[LOG_BODY_PARTS_MAX]);

#endif
