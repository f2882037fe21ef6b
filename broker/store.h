/*
 * Ordered column families with atomic batches, snapshots and iterators: what
 * the broker keeps its state in. store_rocksdb.c is the durable one,
 * store_memory*.c lives and dies with the process, store_overlay.c lays writes
 * over a store that stays untouched (offline verify). None of them knows what
 * keys and values mean (apply.c does), and none logs: store_why() tells.
 *
 * Durable.  store_apply() is not. What was applied before store_flush_begin()
 *           is on stable storage once store_flush_wait() returns; until then
 *           the commit log holds it (log.h). The store flushes by itself never,
 *           so it never holds on disk what the log has not synced, provided
 *           that the caller has synced the log before store_flush_begin().
 * Visible.  A batch is seen whole or not at all, as soon as store_apply() has
 *           returned. The caller applies after the log's sync: therefore no
 *           reader ever sees what is not durable.
 * Growing.  Keys of STORE_EVENTS end in 8 bytes of sequence; what comes before
 *           them is the key's prefix. Within one prefix keys only grow: a key
 *           that is there already, or lies below one that is, is refused. That
 *           makes events immutable and costs no read per event.
 * Threads.  One applying thread: apply, flush_begin, checkpoint, free. Any
 *           number of reading threads. flush_wait, memory_bytes and why: any
 *           thread. A snapshot may be shared; an iterator belongs to one thread.
 * Fail-stop. ES_E_IO and ES_E_CORRUPT from apply or flush: the outcome is
 *           unknown, no later call can make it known, the process ends.
 */
#ifndef EVENTSPINE_STORE_H
#define EVENTSPINE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

enum store_family {
    STORE_DEFAULT,
    STORE_EVENTS,
    STORE_STREAM_META,
    STORE_SNAPSHOTS,
    STORE_KV,
    STORE_READ_MODELS,
    STORE_COMMITS,
    STORE_PRODUCERS,
    STORE_CONSUMERS,
    STORE_FAMILY_COUNT
};

enum {
    STORE_KEY_BYTES_MAX = 4096,
    STORE_VALUE_BYTES_MAX = 32 * 1024 * 1024,
    STORE_WHY_BYTES = 256
};

/* Bytes that somebody else owns. NULL with size 0 is the empty slice. */
struct store_slice {
    const void *bytes;
    size_t size;
};

struct store;
struct store_snapshot;
struct store_iterator;

/* The family's name on disk, e.g. "stream_meta"; static storage. */
const char *store_family_name(enum store_family family);

/* ---- Opening ---------------------------------------------------------- */

enum store_mode {
    STORE_CREATE,     /* makes a new store with all families; none may be there */
    STORE_READ_WRITE, /* an existing store */
    STORE_READ_ONLY   /* an existing store; changes no byte of it, apply is refused */
};

/* The store's list of its own files: which one, and so many bytes of it. */
struct store_books {
    uint64_t number; /* 0: there is none */
    uint64_t bytes;
};

struct store_rocksdb_options {
    const char *directory; /* of RocksDB's files; made by STORE_CREATE */
    const char
        *logs_directory; /* for RocksDB's own LOG files, outside of 'directory'; must exist */
    enum store_mode mode;
    uint64_t unflushed_bytes_max; /* the commit log's size: memory tables hold that much */
    uint64_t cache_bytes;         /* block cache with index and filter blocks; 0: default */
    /* What is known to be synced of the store's books. Behind it an entry may be torn by a
     * power cut: READ_WRITE then cuts it off, READ_ONLY reads past it. */
    struct store_books books;
};

/*
 * ES_NOT_FOUND: READ_* found no store there. ES_E_EXISTS: CREATE found one.
 * ES_E_CORRUPT: it is there and damaged. ES_E_BUSY: another process has it.
 * ES_E_VERSION: it has other families than this program knows.
 * ES_E_IO: anything else. 'why', STORE_WHY_BYTES large, gets a sentence then.
 */
ES_MUST_USE enum es_status store_rocksdb_open(const struct store_rocksdb_options *options,
                                              char *why, struct store **ret_store);

/* An empty store in memory. */
ES_MUST_USE enum es_status store_memory_new(struct store **ret_store);

/*
 * What a power cut leaves of a memory store: the applying thread sets it back
 * to its last store_flush_wait(), but for the families in 'flushed_early' (a
 * bit each), which keep everything, as families that were flushed on their way.
 * No snapshot or iterator may be open.
 */
void store_memory_power_cut(struct store *store, uint32_t flushed_early);

/*
 * The families in 'families' (a bit each) reach the disk on their own, as they are
 * now or, 'as_cut', as they were at an open cut; each by itself, as it happens in a
 * flush that is not finished. The applying thread.
 */
void store_memory_flush_early(struct store *store, uint32_t families, bool as_cut);

/*
 * A store that reads as 'base' with its own writes over it; 'base' is never
 * written, is not owned, does not change meanwhile and outlives it.
 */
ES_MUST_USE enum es_status store_overlay_new(struct store *base, struct store **ret_store);

/* Frees it without flushing; NULL is legal. Snapshots and iterators are gone before. */
void store_free(struct store *store);

/* The first failure in words, "" without one; valid while the store lives. */
const char *store_why(const struct store *store);

/* ---- Writing ---------------------------------------------------------- */

/* One batch, reused for ever: clearing keeps its memory. Any store takes it. */
struct store_batch;

ES_MUST_USE enum es_status store_batch_new(struct store_batch **ret_batch);
void store_batch_free(struct store_batch *batch);
void store_batch_clear(struct store_batch *batch);
size_t store_batch_count(const struct store_batch *batch);
size_t store_batch_bytes(const struct store_batch *batch); /* of keys and values */

/*
 * Both copy. A later operation on the same key wins, except in STORE_EVENTS.
 *
 * ES_E_TOO_LARGE: over STORE_KEY_BYTES_MAX or STORE_VALUE_BYTES_MAX, or an empty
 * key. ES_E_NO_MEMORY. The batch is unchanged in both cases.
 */
ES_MUST_USE enum es_status store_batch_put(struct store_batch *batch, enum store_family family,
                                           struct store_slice key, struct store_slice value);
ES_MUST_USE enum es_status store_batch_delete(struct store_batch *batch, enum store_family family,
                                              struct store_slice key);

/*
 * Brings the operations into the order of families and keys; of several on one key only
 * the last stays, except in STORE_EVENTS. A batch of many commits becomes smaller, and is
 * applied faster. 'seed' is random. ES_E_NO_MEMORY: nothing has changed.
 */
ES_MUST_USE enum es_status store_batch_order(struct store_batch *batch, uint64_t seed);

enum store_apply_mode {
    STORE_APPLY_LIVE,
    STORE_APPLY_REPLAY, /* an event that is there with the same bytes is no error */
    /* A replay of what store_check_replay() has passed, all of it, over the same files: an
     * event that is there is not read again. */
    STORE_APPLY_CHECKED
};

/*
 * Applies the whole batch or nothing. The batch stays as it is.
 *
 * ES_E_EXISTS: an event key does not grow (see above; in a replay: is there
 * with other bytes, or fills a hole). Nothing was applied: our own mistake, or
 * damage. ES_E_PERMISSION: the store is read-only. ES_E_IO, ES_E_CORRUPT: stop.
 */
ES_MUST_USE enum es_status store_apply(struct store *store, const struct store_batch *batch,
                                       enum store_apply_mode mode);

/*
 * From now on files are merged in the background. Not before the start is over: damage
 * that merging meets ends all writing, and a start that has begun to write must not fail.
 * Any thread; nobody waits for it, for it writes a file for each family.
 */
ES_MUST_USE enum es_status store_begin_merging(struct store *store);

/*
 * Reads what store_apply() in mode STORE_APPLY_REPLAY would, and gives the answer it
 * would give, without applying; a store opened read-only, too. Batches are checked in
 * order, none left out. ES_E_EXISTS, ES_E_CORRUPT, ES_E_IO: store_why().
 */
ES_MUST_USE enum es_status store_check_replay(struct store *store, const struct store_batch *batch);

/*
 * Cuts: everything applied so far will be on disk when the next
 * store_flush_wait() has returned; what is applied later does not delay it.
 * The applying thread's call, quick; ES_FULL: an earlier cut has not been
 * waited for. ES_E_PERMISSION: a read-only store, or an overlay.
 */
ES_MUST_USE enum es_status store_flush_begin(struct store *store);

/* Waits for the cut; done at once without one. Blocking; any one thread. */
ES_MUST_USE enum es_status store_flush_wait(struct store *store);

/* Waits for an open cut, then cuts and waits: the applying thread, at start and stop. */
ES_MUST_USE enum es_status store_flush_all(struct store *store);

/*
 * Puts a copy of everything applied so far into the new directory 'directory'
 * (hard links where possible). ES_E_EXISTS: it is there. ES_E_PERMISSION: this
 * kind of store cannot.
 */
ES_MUST_USE enum es_status store_checkpoint(struct store *store, const char *directory);

/*
 * Syncs the store's books and tells how much that is: for the next start, in
 * store_rocksdb_options. What is in them is needed once log_mark_flushed() says that a
 * cut is flushed, and so is told before. Any thread. ES_E_IO: fail-stop.
 */
ES_MUST_USE enum es_status store_books(struct store *store, struct store_books *ret_books);

/* Memory tables, caches and table readers, in bytes. */
uint64_t store_memory_bytes(const struct store *store);

/* ---- Reading ---------------------------------------------------------- */

/* A buffer that grows and is used again and again; starts as all zeros. */
struct store_buffer {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

void store_buffer_deinit(struct store_buffer *buffer);

/* The state as of now, held until freed. NULL as a snapshot means the latest state. */
ES_MUST_USE enum es_status store_snapshot_new(struct store *store,
                                              struct store_snapshot **ret_snapshot);
void store_snapshot_free(struct store *store, struct store_snapshot *snapshot);

/*
 * Copies the value into 'ret_value'.
 *
 * ES_NOT_FOUND: no such key. ES_E_CORRUPT: the bytes are there and damaged;
 * never answer "not found" then.
 */
ES_MUST_USE enum es_status store_get(struct store *store, const struct store_snapshot *snapshot,
                                     enum store_family family, struct store_slice key,
                                     struct store_buffer *ret_value);

/*
 * Called once for each key, in the order of the keys; 'value' is NULL when
 * there is none, and lasts until the visitor returns. Anything but ES_OK ends
 * the visits and is returned.
 */
typedef enum es_status (*store_visit_fn)(void *context, size_t index,
                                         const struct store_slice *value);

enum {
    STORE_GET_MANY_MAX = 256
};

/* store_get() of 1..STORE_GET_MANY_MAX keys of one family, cheaper than one by one. */
ES_MUST_USE enum es_status store_get_many(struct store *store,
                                          const struct store_snapshot *snapshot,
                                          enum store_family family, const struct store_slice *keys,
                                          size_t key_count, store_visit_fn visit, void *context);

/* Keys k with first <= k < end; an empty slice leaves that side open. */
struct store_range {
    struct store_slice first;
    struct store_slice end;
};

/*
 * Writes the smallest key above every key that starts with 'prefix' into
 * 'ret_end', which has room for prefix.size bytes; returns its size, 0 when
 * there is none (all bytes 0xff).
 */
size_t store_prefix_end(struct store_slice prefix, void *ret_end);

/*
 * An iterator within 'range' (copied), on a snapshot that outlives it, or on
 * the state as of now. It starts on no entry: seek first. Key and value last
 * until the next call on it.
 */
ES_MUST_USE enum es_status store_iterator_new(struct store *store,
                                              const struct store_snapshot *snapshot,
                                              enum store_family family,
                                              const struct store_range *range,
                                              struct store_iterator **ret_iterator);
void store_iterator_free(struct store_iterator *iterator);

void store_iterator_seek_first(struct store_iterator *iterator);
void store_iterator_seek_last(struct store_iterator *iterator);
/* To the first entry at or after, and the last at or before, 'key'. */
void store_iterator_seek(struct store_iterator *iterator, struct store_slice key);
void store_iterator_seek_for_prev(struct store_iterator *iterator, struct store_slice key);

/* On an entry only. */
void store_iterator_next(struct store_iterator *iterator);
void store_iterator_prev(struct store_iterator *iterator);
struct store_slice store_iterator_key(const struct store_iterator *iterator);
struct store_slice store_iterator_value(const struct store_iterator *iterator);

/* False past the end of the range, and after a failure: ask the status then. */
bool store_iterator_valid(const struct store_iterator *iterator);

/* ES_OK at the end of the range; ES_E_CORRUPT or ES_E_IO: it ended early. */
ES_MUST_USE enum es_status store_iterator_status(const struct store_iterator *iterator);

#endif
