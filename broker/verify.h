/*
 * Recomputes what the store says about itself: every event's hash, link and
 * place, every commit record, store hash and events hash, every head, position
 * entry and category, and what snapshots, keys and producers refer to. It works
 * on any store (live snapshot, read-only, overlay), changes nothing, repairs
 * nothing, and names what it finds by stream, sequence and position.
 *
 * It works in slices so that a request can share it with the offline tool: the
 * cursor of a slice goes into the next one. Each slice looks at one snapshot.
 *
 * Threads. One verify, one thread.
 */
#ifndef BROKER_VERIFY_H
#define BROKER_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/store.h"
#include "shm/codec/replies.h"

/* 'stream' is empty, sequence and position 0, where they mean nothing. */
struct verify_finding {
    enum es_finding_kind kind;
    struct es_text stream;
    uint64_t sequence;
    uint64_t position;
    const char *message; /* one line; lasts until the callback returns */
};

typedef void (*verify_found_fn)(void *context, const struct verify_finding *finding);

/* Where a slice stopped. Opaque; size 0 starts. */
struct verify_cursor {
    uint32_t size;
    uint8_t bytes[ES_VERIFY_CURSOR_MAX];
};

/* What one slice did; the caller adds them up. */
struct verify_progress {
    uint64_t events_checked;
    uint64_t commits_checked;
    uint64_t findings;
    uint32_t phase; /* 0 commits and events, then the other families */
    bool end;
};

struct verify;

/* 'store' outlives it; 'store_id', 16 bytes, is copied. */
ES_MUST_USE enum es_status verify_new(struct store *store, const uint8_t *store_id,
                                      struct verify **ret_verify);
void verify_free(struct verify *verify);

/*
 * Goes on from '*cursor' for about 'budget_ns', or until 'findings_max' are
 * found, and moves the cursor. Damage is a finding and not a failure.
 *
 * ES_E_INVALID: not a cursor of this program. ES_E_NO_MEMORY.
 */
ES_MUST_USE enum es_status verify_slice(struct verify *verify, struct verify_cursor *cursor,
                                        uint64_t budget_ns, uint32_t findings_max,
                                        verify_found_fn found, void *context,
                                        struct verify_progress *ret_progress);

#endif
