/*
 * What the files of verify share; nobody else includes it.
 *
 *   verify.c           slices: one family after the other, key by key
 *   verify_commits.c   commit records in position order, and every event they name
 *   verify_streams.c   events nobody names, heads, positions
 *   verify_keys.c      categories, snapshots, values, producers, consumers
 *   verify_history.c   whether the last change of every key is what is stored
 */
#ifndef BROKER_VERIFY_STATE_H
#define BROKER_VERIFY_STATE_H

#include "broker/reader_state.h"
#include "broker/verify.h"
#include "shm/codec/hash.h"

enum {
    VERIFY_MESSAGE_BYTES = 512,
    VERIFY_STREAMS_REMEMBERED = 65536, /* powers of two: direct-mapped, the newest stays */
    VERIFY_CATEGORIES_REMEMBERED = 1024,
    VERIFY_FINGERPRINT_BYTES = ES_CONTENT_HASH_SIZE
};

/* The last event of a stream that was met in position order, and the last of them
 * that was looked up: those are looked up some hundred together. */
struct verify_seen {
    uint8_t stream[VERIFY_FINGERPRINT_BYTES];
    uint64_t sequence; /* 0: nothing is remembered here */
    uint64_t position;
    uint64_t looked_up; /* sequence; 0: none yet */
    bool hash_known;    /* of that one */
    uint8_t hash[ES_HASH_SIZE];
};

/* What the store says of a category. */
struct verify_category {
    uint8_t category[VERIFY_FINGERPRINT_BYTES];
    uint64_t last_position;
    bool remembered;
};

/* The commit before, which the next one continues. */
struct verify_chain {
    uint64_t commit_number;
    uint64_t last_position;
    uint64_t time_us;
    bool hash_known; /* false after a record that could not be read */
    uint8_t store_hash[ES_HASH_SIZE];
};

/* An event that a commit record names, and what was found of it. */
struct verify_event {
    struct es_text stream; /* in the commit record's bytes */
    uint64_t sequence;
    uint64_t position;
    uint32_t seen;    /* index of its stream */
    const char *flaw; /* static words; NULL: sound */
    bool missing;
    bool first; /* of the stream: it names no predecessor */
    uint8_t fingerprint[VERIFY_FINGERPRINT_BYTES];
    uint8_t hash[ES_HASH_SIZE];
    uint8_t previous_hash[ES_HASH_SIZE];
};

/* A change of a key that is not what is stored: a later one must be. */
struct verify_change {
    uint8_t key[VERIFY_FINGERPRINT_BYTES];
    uint64_t position; /* last of its commit, and the commit's number; 0: no entry */
    uint64_t commit_number;
};

/*
 * Changes that wait for a later one, as commits are gone through. It holds only
 * if one verify has seen all commits, slice after slice.
 */
struct verify_history {
    bool whole;
    uint64_t commit_number; /* of the snapshot that it began with */
    uint64_t stored;        /* keys whose stored value was met as a change */
    uint64_t entries;       /* of the family, met in its own phase */
    uint32_t count;
    uint32_t capacity; /* a power of two, or 0 */
    struct verify_change *changes;
};

struct verify {
    struct store *store;
    struct reader *reader;
    uint8_t store_id[ES_STORE_ID_SIZE];
    struct store_buffer value;

    /* of the slice */
    verify_found_fn found;
    void *found_context;
    uint32_t findings_max;
    uint32_t suppressed; /* findings of one entry beyond the maximum */
    struct verify_progress progress;

    /* of the phase: what one entry leaves for the next */
    struct verify_chain chain;
    struct verify_history history;
    struct verify_cursor cursor; /* that the slice before ended with */
    struct es_hash_state events_hash;
    bool events_known; /* every event of the commit was there */
    struct verify_seen *seen;
    struct verify_category *categories;
    char category_before[ES_CATEGORY_SIZE_MAX];
    uint32_t category_before_bytes;
    uint32_t category_index;
    char stream_before[ES_STREAM_SIZE_MAX];
    uint32_t stream_before_bytes;
    bool head_known;
    struct es_head_value head;
    uint64_t next_mark; /* sequence of the next position entry expected */
    uint64_t last_revision;

    /* events looked up together */
    uint32_t event_count;
    struct verify_event *events;
    struct es_key *keys;
    struct store_slice *slices;
};

/* Tells a finding. 'stream' may be empty, numbers 0. */
__attribute__((format(printf, 6, 7))) void verify_report(struct verify *verify,
                                                         enum es_finding_kind kind,
                                                         struct es_text stream, uint64_t sequence,
                                                         uint64_t position, const char *format,
                                                         ...);

/* store_get() into verify->value. ES_E_CORRUPT is ES_NOT_FOUND's brother here: reported. */
ES_MUST_USE enum es_status verify_get(struct verify *verify, enum store_family family,
                                      const struct es_key *key);

void verify_fingerprint(struct es_text text, uint8_t ret_fingerprint[VERIFY_FINGERPRINT_BYTES]);

/* The history begins, or goes on after a slice of another verify: then it tells nothing. */
void verify_history_begin(struct verify *verify);
void verify_history_deinit(struct verify_history *history);

/* Compares a key that 'commit' changes with what is stored. */
ES_MUST_USE enum es_status verify_history_note(struct verify *verify, const struct es_commit_kv *kv,
                                               const struct es_commit_view *commit);

/* Each number of a named producer in the commit leads back to it (verify_producers.c). */
ES_MUST_USE enum es_status verify_numbers(struct verify *verify,
                                          const struct es_commit_view *commit);

/* NULL if the event 'sequence' of 'stream' is at 'position', as the commit there says. */
const char *verify_place_flaw(struct verify *verify, struct es_text stream, uint64_t sequence,
                              uint64_t position);

/*
 * A phase goes through a family. 'begin' gets the key that the slice before
 * ended at (size 0: the phase begins), 'entry' each entry after it, 'end' comes
 * after the last. They report findings and return failures of the program only.
 */
enum es_status verify_commits_begin(struct verify *verify, struct es_bytes after);
enum es_status verify_commits_entry(struct verify *verify, struct es_bytes key,
                                    struct es_bytes value);
enum es_status verify_commits_end(struct verify *verify);
enum es_status verify_events_begin(struct verify *verify, struct es_bytes after);
enum es_status verify_events_entry(struct verify *verify, struct es_bytes key,
                                   struct es_bytes value);
enum es_status verify_streams_begin(struct verify *verify, struct es_bytes after);
enum es_status verify_streams_entry(struct verify *verify, struct es_bytes key,
                                    struct es_bytes value);
enum es_status verify_streams_end(struct verify *verify);
enum es_status verify_default_begin(struct verify *verify, struct es_bytes after);
enum es_status verify_default_entry(struct verify *verify, struct es_bytes key,
                                    struct es_bytes value);
enum es_status verify_snapshots_entry(struct verify *verify, struct es_bytes key,
                                      struct es_bytes value);
enum es_status verify_values_begin(struct verify *verify, struct es_bytes after);
enum es_status verify_values_entry(struct verify *verify, struct es_bytes key,
                                   struct es_bytes value);
enum es_status verify_truth_entry(struct verify *verify, struct es_bytes key,
                                  struct es_bytes value);
enum es_status verify_truth_end(struct verify *verify);
enum es_status verify_producers_entry(struct verify *verify, struct es_bytes key,
                                      struct es_bytes value);
enum es_status verify_consumers_entry(struct verify *verify, struct es_bytes key,
                                      struct es_bytes value);

#endif
