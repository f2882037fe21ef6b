/*
 * Going on with what is left of a damaged store, where the user accepts the loss.
 *
 * What is kept is the longest provable history: the commits 1, 2, 3 ... whose records
 * form one chain of store hashes from the store's id on, and all of whose events are
 * there and have the hashes that the record names. RocksDB and the commit log are one
 * source for it, whichever has a thing. What lies behind the first gap is not served,
 * however much of it can be read: docs/adr/0016 says why.
 *
 * Nothing is mended in place. A new store is made from the kept history beside the
 * damaged files ('recovered/'), verified as a whole, given a new epoch, and then put
 * in their place, which go into 'damaged-.../' as they are.
 *
 *   recovered/    being made; without the mark it is worth nothing and made anew
 *   recovering    the mark: recovered/ is whole and on its way into place; the name
 *                 of the directory for the damaged files is in it
 *   damaged-E-T/  the damaged files, E being their epoch and T the time
 *
 * Killed at any moment, the next run begins anew before the mark, and goes on behind
 * it. A broker does not start while the mark is there.
 *
 * Threads. One.
 */
#ifndef BROKER_RECOVER_H
#define BROKER_RECOVER_H

#include "broker/data_directory.h"
#include "broker/startup_check.h"

enum {
    RECOVER_NOTES_MAX = 8,
    RECOVER_NOTE_BYTES = 512,
    RECOVER_NAME_BYTES = 64
};

/* How RocksDB's files were read. */
enum recover_rocksdb {
    RECOVER_ROCKSDB_READ,
    RECOVER_ROCKSDB_LISTED, /* its list of files was made anew from the files, elsewhere */
    RECOVER_ROCKSDB_GONE    /* not at all: only the log is left */
};

/* What was found, or done. Counts and positions of the history, as far as known. */
struct recover_finding {
    bool is_refused; /* a broker does not start on it; 'refusal' says why */
    char refusal[DATA_WHY_BYTES];
    bool is_whole;       /* nothing is missing that anything tells of */
    bool is_log_damaged; /* so more may be lost than anything tells of */
    enum recover_rocksdb rocksdb;
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;           /* of the damaged store; 0: not known */
    struct history_point end; /* what is kept ends here */
    uint64_t known_position;  /* something tells that the history went up to here */
    uint64_t known_commit;
    uint64_t known_batch;
    char end_why[RECOVER_NOTE_BYTES]; /* why it ends there; "": there is no more */
    uint32_t note_count;              /* what is wrong with the files, a sentence each */
    char notes[RECOVER_NOTES_MAX][RECOVER_NOTE_BYTES];
    uint64_t lost_key_count; /* keys whose value at the end is lost */
    uint64_t lost_stream_count;
    uint64_t dropped_read_models;   /* derived values that may hold effects of lost events */
    uint64_t new_epoch;             /* after recover_make() */
    char aside[RECOVER_NAME_BYTES]; /* where the damaged files are, in the data directory */
};

/* Who hears of it; each may be NULL. */
struct recover_listener {
    bool (*progress)(void *context, uint64_t position); /* false: stop */
    /* A stream with events behind the end; its last sequence and position. */
    void (*lost_stream)(void *context, struct es_text stream, uint64_t last_sequence,
                        uint64_t last_position);
    void (*lost_key)(void *context, struct es_text name_space, struct es_text key);
    /* Writes the report into the directory of the damaged files, before they are moved. */
    enum es_status (*report)(void *context, const struct recover_finding *finding,
                             int directory_fd);
    void *context;
};

struct recover_options {
    const char *path; /* the data directory */
    const struct recover_listener *listener;
    void (*look)(void *context, const uint8_t *store_id, const uint8_t *boot_id,
                 struct lanes_remains *ret_remains); /* as of startup_options; may be NULL */
    void *look_context;
};

/*
 * Finds out what could be kept, and changes no byte.
 *
 * ES_OK: '*ret_finding' tells. ES_E_CORRUPT: nothing can be kept: restore a backup.
 * ES_E_BUSY: a broker has it. ES_INTERRUPTED. ES_E_VERSION, ES_NOT_FOUND and others
 * as of startup_open(); 'why' says it.
 */
ES_MUST_USE enum es_status recover_look(const struct recover_options *options,
                                        struct recover_finding *ret_finding,
                                        char why[DATA_WHY_BYTES]);

/* Does it. ES_E_CORRUPT too: what was made does not verify, and nothing was changed. */
ES_MUST_USE enum es_status recover_make(const struct recover_options *options,
                                        struct recover_finding *ret_finding,
                                        char why[DATA_WHY_BYTES]);

/*
 * Goes on with a recovery that was cut short behind its mark. '*ret_finding' then
 * holds only 'aside' and what the new store says of itself.
 * ES_EMPTY: there is none, nothing was changed.
 */
ES_MUST_USE enum es_status recover_go_on(const struct recover_options *options,
                                         struct recover_finding *ret_finding,
                                         char why[DATA_WHY_BYTES]);

#endif
