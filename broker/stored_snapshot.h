/*
 * A snapshot as the store holds it, and what is wrong with it, if anything: a
 * snapshot is bound to one event of its stream and worth nothing without it.
 */
#ifndef BROKER_STORED_SNAPSHOT_H
#define BROKER_STORED_SNAPSHOT_H

#include <stdbool.h>

#include "broker/reader.h"
#include "shm/codec/snapshot_value.h"

struct stored_snapshot {
    struct es_text stream; /* views of key and value */
    uint64_t tick;
    uint64_t sequence; /* 0 in the key of one without a projection: see value */
    struct es_text projection;
    struct es_snapshot_value value;
    bool readable; /* the value could be decoded */
};

/* ES_E_CORRUPT: not even the key can be read; output untouched. */
ES_MUST_USE enum es_status stored_snapshot_read(struct store_slice key, struct store_slice value,
                                                struct stored_snapshot *ret_stored);

/*
 * NULL if key and value agree, the state is what it was, and the event is there
 * and the same; else what is wrong, in static words. Between reader_begin() and
 * reader_end().
 */
const char *stored_snapshot_flaw(struct reader *reader, const struct stored_snapshot *stored);

#endif
