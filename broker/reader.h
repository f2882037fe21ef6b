/*
 * Reading events out of a snapshot of the store, by stream, by position or in
 * key order, each with its stream, sequence, position and time:
 * position -> commit record -> run -> event. It writes nothing, knows nothing
 * of requests, and hands out no event whose hash it has not recomputed and
 * whose stream and sequence are not those asked for.
 *
 * Damage.  An event that a commit record or head promises and that is missing
 *          or unsound is ES_E_CORRUPT, never "not found"; reader_why() names
 *          the position, or stream and sequence, where reading cannot go on,
 *          before any name that may be long. What was emitted before is sound.
 * Pages.   The 'emit' callback takes events until it says that the page is
 *          full; memory is bounded by READER_SLAB_BYTES_MAX and one event.
 * Threads. One reader, one thread.
 */
#ifndef BROKER_READER_H
#define BROKER_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/store.h"
#include "shm/codec/head_record.h"
#include "shm/codec/stream_key.h"
#include "shm/codec/view.h"

enum {
    READER_WHY_BYTES = 1536,
    READER_SLAB_EVENTS_MAX = 1024,       /* events looked up together */
    READER_SLAB_BYTES_MAX = 1024 * 1024, /* envelopes held, or one event */
    READER_COMMITS_PER_PAGE_MAX = 16384  /* looked at for a page that matches nothing */
};

struct reader;

/* One event. The views last until the emitting callback returns. */
struct reader_event {
    struct es_text stream;
    uint64_t sequence;
    uint64_t position; /* 0 from reader_scan(), which does not look it up */
    uint64_t time_us;  /* of its commit; 0 from reader_scan() */
    struct es_bytes envelope;
};

/* Takes an event. False: the page was full before it; it will be asked for again. */
typedef bool (*reader_emit_fn)(void *context, const struct reader_event *event);

/* 'store' outlives the reader. */
ES_MUST_USE enum es_status reader_new(struct store *store, struct reader **ret_reader);
void reader_free(struct reader *reader);

/* What a snapshot is consistent with. */
struct reader_head {
    uint64_t position; /* of the last event; 0: none */
    uint64_t commit_number;
    uint8_t store_hash[ES_HASH_SIZE];
};

/*
 * Takes a snapshot, on which all calls until reader_end() see the same state.
 * ES_E_CORRUPT: the last commit record is damaged; reader_why() names the first
 * position that nothing vouches for.
 */
ES_MUST_USE enum es_status reader_begin(struct reader *reader);

/* The same for verify.h: a damaged last record costs only the store hash of the head. */
ES_MUST_USE enum es_status reader_begin_unchecked(struct reader *reader);
void reader_end(struct reader *reader);

/* Between begin and end. */
const struct reader_head *reader_head(const struct reader *reader);
struct store_snapshot *reader_snapshot(const struct reader *reader);

/* The last failure in words, "" if none; valid until the next call. */
const char *reader_why(const struct reader *reader);

/* Sets reader_why() for a finding of the caller's own; returns ES_E_CORRUPT. */
__attribute__((format(printf, 2, 3))) enum es_status reader_damage(struct reader *reader,
                                                                   const char *format, ...);

/*
 * Where the store itself has failed with 'status': for ES_E_CORRUPT and ES_E_IO
 * reader_why() becomes these words, which name a place, and "cannot be read".
 * Returns 'status'.
 */
__attribute__((format(printf, 3, 4))) enum es_status reader_unreadable(struct reader *reader,
                                                                       enum es_status status,
                                                                       const char *format, ...);

/* The head of a stream. ES_NOT_FOUND: no such stream. ES_E_CORRUPT. */
ES_MUST_USE enum es_status reader_stream_head(struct reader *reader, struct es_text stream,
                                              struct es_head_value *ret_head);

/*
 * One event, with its position and time if 'with_position'. The views last
 * until the next call on the reader.
 *
 * ES_NOT_FOUND: the stream has no such sequence (yet). ES_TRUNCATED: no more.
 */
ES_MUST_USE enum es_status reader_event(struct reader *reader, struct es_text stream,
                                        uint64_t sequence, bool with_position,
                                        struct reader_event *ret_event);

/*
 * Position and commit time of an event, from 'Pos' or the head backwards along
 * the runs' previous positions. Statuses as of reader_event().
 */
ES_MUST_USE enum es_status reader_locate(struct reader *reader, struct es_text stream,
                                         uint64_t sequence, uint64_t *ret_position,
                                         uint64_t *ret_time_us);

/* How far a page got. */
struct reader_page {
    bool end;      /* nothing more, as of this snapshot */
    uint64_t next; /* sequence or position to go on from */
};

/*
 * At most 'count' events of a stream from 'from_sequence' (0: its first, or
 * backwards its last), each linked by hash to the one before it in the page.
 *
 * ES_NOT_FOUND: no such stream; a 'from_sequence' past its end is an empty page
 * at its end, forwards, or starts at its last one, backwards.
 * ES_TRUNCATED: forwards from below the first sequence.
 */
ES_MUST_USE enum es_status reader_stream(struct reader *reader, struct es_text stream,
                                         uint64_t from_sequence, uint32_t count, bool backwards,
                                         reader_emit_fn emit, void *context,
                                         struct reader_page *ret_page);

/*
 * At most 'count' events from position 'from' in position order. With a
 * 'filter' only those of streams that match it: reader_filter_matches(). A page
 * that found little may be empty and not the end: READER_COMMITS_PER_PAGE_MAX.
 */
ES_MUST_USE enum es_status reader_all(struct reader *reader, uint64_t from, uint32_t count,
                                      struct es_text filter, reader_emit_fn emit, void *context,
                                      struct reader_page *ret_page);

/*
 * True if 'stream' belongs to the category 'filter', or begins with it where it
 * ends in ':' or '*' (which is left out); the empty filter matches all.
 */
bool reader_filter_matches(struct es_text filter, struct es_text stream);

/*
 * At most 'count' events after 'after_key' (a key of the family events; empty:
 * the first) whose stream begins with 'prefix', in key order. The key of the
 * last one taken is in 'ret_last_key' (size 0: none was).
 */
ES_MUST_USE enum es_status reader_scan(struct reader *reader, struct es_bytes after_key,
                                       struct es_text prefix, uint32_t count, reader_emit_fn emit,
                                       void *context, struct es_key *ret_last_key, bool *ret_end);

#endif
