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
#include "shm/codec/stream_key.h"
#include "shm/codec/view.h"

enum {
    VERIFY_CURSOR_BYTES_MAX = 1400,
    VERIFY_MESSAGE_BYTES = 256
};

/* Numbers travel in replies: never reused or changed. */
enum verify_kind {
    VERIFY_COMMIT = 1,       /* a commit record: bytes, hash, chain, numbers, time */
    VERIFY_EVENT = 2,        /* an event: bytes, hash, stream, link */
    VERIFY_EVENT_MISSING = 3,
    VERIFY_EVENT_STRAY = 4,  /* an event that no commit and no head knows */
    VERIFY_HEAD = 5,         /* a head that differs from the events */
    VERIFY_POSITION = 6,     /* Pos or previous_position names another place */
    VERIFY_CATEGORY = 7,
    VERIFY_SNAPSHOT = 8,     /* its bytes, or the event it is bound to */
    VERIFY_KEY = 9,          /* a key's value or revision */
    VERIFY_PRODUCER = 10,    /* a receipt that leads nowhere */
    VERIFY_STORE = 11        /* the store could not be read */
};

/* 'stream' is empty, sequence and position 0, where they mean nothing. */
struct verify_finding {
    enum verify_kind kind;
    struct es_text stream;
    uint64_t sequence;
    uint64_t position;
    const char *message; /* one line; lasts until the callback returns */
};

typedef void (*verify_found_fn)(void *context, const struct verify_finding *finding);

/* Where a slice stopped. Opaque; size 0 starts. */
struct verify_cursor {
    uint32_t size;
    uint8_t bytes[VERIFY_CURSOR_BYTES_MAX];
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
