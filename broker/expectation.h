/*
 * Whether what a transaction expects of a stream or key is so. Pure: it compares
 * and tells; sequencer_operations.c acts on it.
 */
#ifndef BROKER_EXPECTATION_H
#define BROKER_EXPECTATION_H

#include "broker/heads.h"
#include "shm/codec/reason.h"
#include "shm/codec/transaction.h"

/* ES_REASON_NONE, or which expectation does not hold. Both are checked. */
enum es_reason expectation_of_stream(const struct es_append_operation *append,
                                     const struct stream_state *state);

/* The same for a put, or, with 'must_exist', for a deletion. */
enum es_reason expectation_of_key(const struct es_expected *expect, bool must_exist,
                                  const struct key_state *state);

#endif
