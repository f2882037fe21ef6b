/*
 * What the files of the reader share; nobody else includes it.
 *
 *   reader.c         life, snapshot, heads, damage in words
 *   reader_commit.c  position -> commit record -> run; the one it remembers
 *   reader_slab.c    many events looked up together, stream by stream
 *   reader_stream.c  one event, its place, and pages of a stream
 *   reader_all.c     pages by position and by key
 */
#ifndef BROKER_READER_STATE_H
#define BROKER_READER_STATE_H

#include "broker/reader.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/envelope.h"

/* Events of one stream that follow each other, with the place of the first. */
struct reader_run {
    struct es_text stream; /* in the record's bytes */
    uint64_t first_sequence;
    uint64_t count;
    uint64_t first_position;
    uint64_t previous_position; /* of the stream's event before; 0: none */
};

/* The commit record looked at last: immutable, so it outlives the snapshot. */
struct reader_commit {
    bool loaded;
    bool under_iterator; /* the iterator over commits stands on it */
    uint64_t commit_number;
    uint64_t first_position;
    uint64_t last_position;
    uint64_t time_us;
    struct store_buffer bytes;
    struct reader_run *runs;
    uint32_t run_count;
    uint32_t run_capacity;
};

struct slab_entry {
    uint64_t position;
    uint64_t sequence;
    uint64_t time_us;
    const uint8_t *envelope; /* NULL: damaged */
    uint32_t envelope_bytes;
    uint32_t stream; /* index */
    uint32_t next;   /* index of the stream's next entry; 0: none */
};

struct slab_stream {
    struct es_text text; /* in 'texts' */
    uint32_t first;      /* entry */
    uint32_t last;
};

enum {
    SLAB_TABLE_SIZE = 2 * READER_SLAB_EVENTS_MAX, /* a power of two */
    SLAB_TEXT_BYTES_MAX = 256 * 1024
};

/* Keys that are looked up together. */
struct slab_many {
    uint32_t count;
    uint32_t entries[STORE_GET_MANY_MAX];
    struct store_slice slices[STORE_GET_MANY_MAX];
    struct es_key keys[STORE_GET_MANY_MAX];
};

/* Events in position order, grouped by stream for looking them up. */
struct reader_slab {
    uint32_t entry_count;
    uint32_t stream_count;
    uint32_t text_bytes;
    size_t envelope_bytes;
    size_t envelope_capacity; /* READER_SLAB_BYTES_MAX, or one larger event */
    uint8_t *envelopes;
    struct slab_many *many;
    struct slab_entry entries[READER_SLAB_EVENTS_MAX];
    struct slab_stream streams[READER_SLAB_EVENTS_MAX];
    uint32_t order[READER_SLAB_EVENTS_MAX]; /* streams by key */
    uint32_t table[SLAB_TABLE_SIZE];        /* index of a stream + 1, by hash of its text */
    char texts[SLAB_TEXT_BYTES_MAX];
};

struct reader {
    struct store *store;
    struct store_snapshot *snapshot;
    struct store_iterator *commits; /* on the snapshot; made when first needed */
    struct store_iterator *events;
    struct reader_head head;
    uint64_t average_bytes; /* of an envelope, as of late: how many make a page */
    struct reader_commit commit;
    struct store_buffer value; /* of heads and positions */
    struct store_buffer event; /* of reader_event() */
    struct reader_slab *slab;
    char why[READER_WHY_BYTES];
};

/* The iterator over a family on the snapshot. */
ES_MUST_USE enum es_status reader_iterator(struct reader *reader, enum store_family family,
                                           struct store_iterator **iterator);

/* Loads the commit that holds 'position', which is 1..head.position. */
ES_MUST_USE enum es_status reader_commit_at(struct reader *reader, uint64_t position);

/* The run that holds 'position', which is in the loaded commit. */
const struct reader_run *reader_run_at(const struct reader *reader, uint64_t position);

/*
 * Decodes an envelope and checks that it is the event it should be: its stream
 * and its hash. ES_E_CORRUPT, with 'what' in 'why' (of READER_WHY_BYTES).
 */
ES_MUST_USE enum es_status reader_check_event(struct reader *reader, struct es_text stream,
                                              uint64_t sequence, uint64_t position,
                                              struct es_bytes envelope,
                                              struct es_event_view *ret_view);

/* Puts 'what' is wrong with an event into 'why'; position 0: not known. ES_E_CORRUPT. */
enum es_status reader_damaged_event(struct reader *reader, struct es_text stream, uint64_t sequence,
                                    uint64_t position, const char *what);

void slab_clear(struct reader_slab *slab);

/* Adds the next event by position. False: no room; look up what is there first. */
bool slab_add(struct reader_slab *slab, struct es_text stream, uint64_t sequence, uint64_t position,
              uint64_t time_us);

/*
 * Looks all entries up. What is missing or unsound keeps a NULL envelope, and
 * reader_why() tells of the one with the lowest position.
 * ES_FULL: too many bytes; use fewer entries. ES_E_*: the store cannot be read.
 */
ES_MUST_USE enum es_status slab_fetch(struct reader *reader);

/* How many events make a page, judged by those read of late; 1..READER_SLAB_EVENTS_MAX. */
uint32_t slab_count_wanted(const struct reader *reader, size_t bytes_left);

/* Hands over one fetched entry. */
bool slab_emit(const struct reader_slab *slab, const struct slab_entry *entry, reader_emit_fn emit,
               void *context);

#endif
