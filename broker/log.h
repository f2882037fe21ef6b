/*
 * The commit log: the write an acknowledgement waits for. One record is one
 * batch; its body is opaque here (apply.c and the codec give it meaning). A
 * fixed set of preallocated segment files is used in turn and over again,
 * never grown, cut or deleted. RocksDB, without a WAL, follows behind: a
 * segment's file is used again only when a synced header elsewhere says that
 * its batches are in synced RocksDB files.
 *
 * Order.    append -> sync -> apply. When append says that a segment was begun:
 *           store_flush_begin() before this batch is applied, then, on another
 *           thread, store_flush_wait() and log_mark_flushed() with the batch
 *           before it. Everything in that cut is synced, in either durability.
 * Threads.  append, begin and free: one thread. log_sync() and
 *           log_mark_flushed(): any one other thread each, while appends go on.
 *           log_durable_batch(), log_why(): any.
 * Fail-stop. After ES_E_IO the outcome of the last call is unknown, every later
 *           call answers ES_E_CLOSED, and the process ends; the next start reads
 *           the tail to find out.
 */
#ifndef EVENTSPINE_LOG_H
#define EVENTSPINE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "broker/disk.h"
#include "shm/eventspine_status.h"

enum {
    LOG_STORE_ID_BYTES = 16,
    LOG_HASH_BYTES = 32,
    LOG_SEGMENT_COUNT_MIN = 3,
    LOG_SEGMENT_COUNT_MAX = 16,
    LOG_SEGMENT_COUNT_DEFAULT = 3,
    LOG_SEGMENT_BYTES_MIN = 64 * 1024,
    LOG_SEGMENT_BYTES_MAX = 1024 * 1024 * 1024,
    LOG_SEGMENT_BYTES_DEFAULT = 32 * 1024 * 1024,
    LOG_BODY_PARTS_MAX = DISK_IOV_MAX - 1,
    LOG_WHY_BYTES = 256
};

struct log;

/* A point of the history: the state after a batch, named by the store hash there. */
struct log_point {
    uint64_t batch_number; /* 0: before the first */
    uint8_t store_hash[LOG_HASH_BYTES];
};

/*
 * The store's list of its own files (store_books() in store.h), as far as it is known to be
 * synced: what is behind may be torn by a power cut, and is not missed.
 */
struct log_books {
    uint64_t number; /* of the list; 0: nothing is known */
    uint64_t bytes;
};

struct log_geometry {
    uint32_t segment_count; /* LOG_SEGMENT_COUNT_MIN..MAX */
    uint64_t segment_bytes; /* LOG_SEGMENT_BYTES_MIN..MAX, a multiple of 4096 */
};

/*
 * What names a log. 'secret' is random, drawn once for each log, and told to
 * nobody: it stands in every record header, so that no payload can pass for a
 * record when recovery searches torn bytes and old segments.
 */
struct log_identity {
    uint8_t store_id[LOG_STORE_ID_BYTES];
    uint64_t epoch;
    uint64_t secret;
};

/*
 * Makes the segment files in the directory of 'disk' and begins the first
 * segment after 'start' (of a new store: batch 0 and the genesis store hash),
 * which counts as flushed. The first header is written last: a creation that
 * was cut short leaves none, and log_open() answers ES_NOT_FOUND.
 *
 * ES_E_INVALID: the geometry breaks its bounds. ES_E_EXISTS: a segment file is
 * there already.
 */
ES_MUST_USE enum es_status log_create(struct disk *disk, const struct log_identity *identity,
                                      const struct log_geometry *geometry,
                                      const struct log_point *start);

/* ---- Reading: no byte becomes another before log_begin() ---------------- */

/*
 * Opens the files and finds the newest valid header. DISK_READ_ONLY is enough
 * for log_replay(), and log_begin() is refused then. The disk outlives the log.
 * 'why', LOG_WHY_BYTES large, gets a sentence on failure.
 *
 * ES_NOT_FOUND: no segment file, or none that ever had a header.
 * ES_E_CORRUPT: files, but no sound header among them, or headers of two logs.
 * ES_E_VERSION: a newer format.
 */
ES_MUST_USE enum es_status log_open(struct disk *disk, enum disk_access access, char *why,
                                    struct log **ret_log);

/* Closes the files, syncs nothing; NULL is legal. */
void log_free(struct log *log);

/* From the newest valid header. RocksDB must hold at least 'flushed'. */
struct log_origin {
    struct log_identity identity;
    struct log_geometry geometry;
    struct log_point flushed;
    struct log_books books;
};

const struct log_origin *log_origin(const struct log *log);

/*
 * log_replay() will begin after 'batch_number' in place of the flushed one: for
 * recovery (recover.h), where RocksDB is older than the log says. The records may be
 * gone: then it visits none. Such a log is not continued.
 */
void log_rewind(struct log *log, uint64_t batch_number);

struct log_record {
    uint64_t batch_number;
    uint64_t durable_batch; /* highest batch known to be synced when this was written */
    const uint8_t *body;    /* valid until the visitor returns */
    size_t body_bytes;
    uint32_t body_crc32c; /* of the body, which it was found to have */
};

/* Anything but ES_OK ends the replay and is returned by it. */
typedef enum es_status (*log_record_fn)(void *context, const struct log_record *record);

enum log_verdict {
    LOG_CLEAN,  /* the history ends after a sound record with nothing behind it */
    LOG_TORN,   /* a broken record that nothing vouches for ends it: not acknowledged as synced */
    LOG_DAMAGED /* something sound says that a missing or broken batch had been synced, or a
                 * segment file is missing, spoilt or there twice */
};

struct log_ending {
    enum log_verdict verdict;
    uint64_t last_batch;      /* the last in unbroken order; the flushed one without records */
    uint64_t vouched_batch;   /* the highest that anything sound calls synced */
    uint64_t record_count;    /* visited */
    uint64_t record_bytes;    /* their bodies */
    char what[LOG_WHY_BYTES]; /* a sentence when the verdict is not LOG_CLEAN, else "" */
};

/*
 * Visits the records from flushed + 1 in order, each checked by both CRCs,
 * segment and batch number, then judges the end. 'durable_floor' is the highest
 * batch that others know to be durable: the control page of this boot, the
 * anchor, and `Last` in RocksDB; 0 for nothing. Returns ES_OK with any verdict.
 * What is behind a history that a later segment cut short is not visited.
 *
 * Of a log opened DISK_READ_WRITE the records at the end that nothing calls
 * synced are then written again, the same bytes, and synced. Only now may the
 * caller flush what it has applied: RocksDB never holds what the log may lose.
 *
 * ES_E_IO: a read failed.
 */
ES_MUST_USE enum es_status log_replay(struct log *log, uint64_t durable_floor, log_record_fn visit,
                                      void *context, struct log_ending *ret_ending);

/* ---- Writing ----------------------------------------------------------- */

/*
 * After log_replay(), once the store holds and has flushed everything up to
 * 'end': writes that into the newest header, syncs, and begins a new segment
 * with end.batch_number + 1. What lies behind 'end' in the old segments is void
 * from then on. A new epoch is told here.
 *
 * ES_E_INVALID: 'end' is below the flushed batch. ES_E_CORRUPT: a segment file
 * is missing or spoilt; such a log is moved aside and made anew, not continued.
 * ES_E_PERMISSION: opened read-only.
 */
ES_MUST_USE enum es_status log_begin(struct log *log, uint64_t epoch, const struct log_point *end);

/* Largest body of one record: a quarter of a segment less the record header. */
uint64_t log_body_bytes_max(const struct log_geometry *geometry);

struct log_batch {
    struct log_point previous; /* the state before this batch */
    const struct iovec *parts; /* the body, 1..LOG_BODY_PARTS_MAX parts */
    int part_count;
};

/*
 * Writes batch previous.batch_number + 1, not yet durable. '*ret_segment_begun'
 * tells that it is the first of a new segment; the old one is synced by then.
 *
 * ES_FULL: the segment is full and the next file still holds batches that are
 * not marked flushed; nothing changed; wait for log_mark_flushed(), try again.
 * ES_E_TOO_LARGE: over log_body_bytes_max(). ES_E_INVALID: not the next batch.
 */
ES_MUST_USE enum es_status log_append(struct log *log, const struct log_batch *batch,
                                      bool *ret_segment_begun);

/*
 * fdatasync: every batch appended before the call is durable after it. The
 * committing thread calls it for each commit of durability fsync; of durability
 * os, another thread does once a second, then writes the anchor.
 */
ES_MUST_USE enum es_status log_sync(struct log *log);

/* Highest batch known to be synced. Any thread. */
uint64_t log_durable_batch(struct log *log);

/*
 * The caller has flushed everything up to 'point' into synced RocksDB files:
 * says so in the header of the current segment, syncs it, and so makes older
 * files reusable. A point at or below the last one told is a no-op.
 *
 * ES_E_INVALID: 'point' is beyond what is durable: our own mistake.
 */
ES_MUST_USE enum es_status log_mark_flushed(struct log *log, const struct log_point *point);

/*
 * Says in the header of the current segment, synced, how much of the store's books is; the
 * headers after it say so too. Of a log opened DISK_READ_WRITE, before log_begin() too; else
 * the thread of log_mark_flushed(), and before that call.
 */
ES_MUST_USE enum es_status log_note_books(struct log *log, const struct log_books *books);

/* The first failure in words, "" without one; valid while the log lives. */
const char *log_why(const struct log *log);

#endif
