/*
 * What the files of recovery share; nobody else includes it.
 *
 *   recover.c         the order of things
 *   recover_source.c  what is left: RocksDB, log and anchor, opened read-only
 *   recover_walk.c    the provable history, commit by commit
 *   recover_target.c  the new store
 *   recover_swap.c    into place
 */
#ifndef BROKER_RECOVER_STATE_H
#define BROKER_RECOVER_STATE_H

#include "broker/recover.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/log_body.h"

#define RECOVERED_NAME "recovered"

/* Notes one more sentence, as long as there is room. */
__attribute__((format(printf, 2, 3))) void recover_note(struct recover_finding *finding,
                                                        const char *format, ...);

/* ---- what is left ---- */

struct recover_source {
    struct data_directory *directory;
    struct counters counters;
    struct store *base;  /* RocksDB, or empty */
    struct store *store; /* with what the log holds laid over it */
    struct log *log;     /* NULL: it cannot be opened */
    struct anchor_state anchor;
    bool has_anchor;
    struct log_geometry geometry;
    struct es_epochs epochs; /* count 0: not known */
    char scratch[64];        /* where RocksDB's list of files was made anew; "": nowhere */
    struct heads *heads;
    struct batch *batch;
    struct store_batch *writes;
    struct history_point point; /* as the log is laid over */
};

/*
 * Opens whatever can be opened; what cannot is noted in 'finding', with the store's
 * id, its epoch, and what is known of its end. ES_E_VERSION: a newer program's.
 * ES_E_CORRUPT: not even the id is known.
 */
ES_MUST_USE enum es_status recover_source_open(struct recover_source *source,
                                               struct data_directory *directory,
                                               struct recover_finding *finding,
                                               char why[DATA_WHY_BYTES]);
void recover_source_close(struct recover_source *source);

/* ---- the provable history ---- */

/* One commit, proven: its body as a log record would hold it, until the next one. */
struct recover_commit {
    struct es_commit_view view;
    const uint8_t *body;
    size_t body_bytes;
};

/* ES_OK goes on; anything else ends the walk and is returned by it. */
typedef enum es_status (*recover_commit_fn)(void *context, const struct recover_commit *commit);

/*
 * Goes through the provable history from the first commit on. 'finding->end' and
 * 'end_why' are set; 'pending', an empty store in memory, then holds, in the family
 * kv, each key whose value at the end is lost.
 */
ES_MUST_USE enum es_status recover_walk(struct recover_source *source,
                                        struct recover_finding *finding, struct store *pending,
                                        const struct recover_listener *listener,
                                        recover_commit_fn visit, void *context);

/* ---- the new store ---- */

struct recover_target;

/* Makes recovered/ in the data directory; what an earlier run left there goes. */
ES_MUST_USE enum es_status recover_target_new(struct recover_source *source,
                                              struct recover_target **ret_target,
                                              char why[DATA_WHY_BYTES]);
void recover_target_free(struct recover_target *target);

/* A recover_commit_fn: 'context' is the target. */
ES_MUST_USE enum es_status recover_target_add(void *context, const struct recover_commit *commit);

/*
 * Everything that is in no commit: deletes the keys of 'pending' by a commit of its own,
 * copies snapshots, checkpoints, producers and read models, says who the store is,
 * verifies all of it, and makes log and anchor. 'finding' gets the new end and epoch.
 */
ES_MUST_USE enum es_status recover_target_finish(struct recover_target *target,
                                                 struct recover_finding *finding,
                                                 struct store *pending,
                                                 const struct recover_listener *listener,
                                                 char why[DATA_WHY_BYTES]);

/* ---- into place ---- */

/* Leaves the mark, then moves. 'finding->aside' is chosen here. */
ES_MUST_USE enum es_status recover_swap_begin(struct data_directory *directory,
                                              struct recover_finding *finding,
                                              const struct recover_listener *listener,
                                              char why[DATA_WHY_BYTES]);

/* The same behind the mark. ES_EMPTY: there is no mark. */
ES_MUST_USE enum es_status recover_swap_go_on(struct data_directory *directory,
                                              struct recover_finding *finding,
                                              char why[DATA_WHY_BYTES]);

#endif
