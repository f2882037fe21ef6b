/*
 * libeventspine: append events to, read from and follow an Eventspine broker on
 * this machine.
 *
 *   struct es_connection   where the broker is, and the questions one asks it
 *   struct es_producer     appends through shared memory; one lane of its own
 *   struct es_transaction  appends and key changes that are stored all or none
 *   struct es_reader       pages through a stream or the whole store
 *   struct es_consumer     history first, then live, without a gap or a repeat
 *
 * Units.    Times are nanoseconds where a name ends in _ns, microseconds since
 *           1970 in _us. Sizes are bytes. Sequences and positions start at 1;
 *           0 means "none". Ranges are inclusive at 'from'.
 * Text.     Streams, types, names are UTF-8, NUL-terminated as arguments. A
 *           stream is "variant:branch:L0:domain:Mmodel".
 * Memory.   What the library hands out by pointer belongs to the library and
 *           stays valid until the next call on the same handle, unless a
 *           comment says otherwise. What a caller passes in is copied.
 * Threads.  A connection may be used by several threads. Every other handle
 *           belongs to one thread at a time: a second thread inside a call gets
 *           ES_E_WRONG_THREAD. The library starts no thread, whatever is asked
 *           of it.
 * Fork.     Handles stay with the process that made them: in a child every
 *           call answers ES_E_FORKED, but for the closing ones, which do nothing.
 * Waiting.  A call with 'timeout_ns' returns by then: 0 does not wait, ES_FOREVER
 *           waits until done or es_connection_interrupt().
 * Failures. ES_E_NO_MEMORY, ES_E_INVALID, ES_E_WRONG_THREAD, ES_E_FORKED can
 *           come from every call that returns a status and are not repeated below.
 */
#ifndef EVENTSPINE_H
#define EVENTSPINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eventspine_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ES_HASH_BYTES 32
#define ES_STORE_ID_BYTES 16
#define ES_STREAM_BYTES_MAX 1036 /* longest text of a stream, without NUL */
#define ES_NAME_BYTES_MAX 255    /* event type, namespace, projection, a part of a stream */
#define ES_KEY_BYTES_MAX 1024    /* key in a namespace */
#define ES_FOREVER UINT64_MAX

struct es_connection;
struct es_producer;
struct es_transaction;
struct es_reader;
struct es_consumer;

/* "eventspine 0.1.0"; static storage. */
ES_API const char *es_version(void);

/* ------------------------------------------------------------ connection -- */

struct es_connection_options {
    const char *run_dir;     /* NULL: $EVENTSPINE_RUN, else /run/eventspine for root,
                                else $XDG_RUNTIME_DIR/eventspine */
    const char *client_name; /* for `esctl status`; NULL: the program's name */
    uint64_t timeout_ns;     /* for each answer asked for below; 0: 5 seconds */
    const void *receipt;     /* NULL, or the bytes of es_receipt_pack(): copied, and shown to
                                the broker whenever a producer attaches (anew) or a consumer
                                opens, which answer ES_REGRESSED or ES_DIVERGED where the store
                                does not hold what it proves */
    size_t receipt_bytes;
};

/*
 * Opens a connection; 'options' may be NULL. Nothing is sent yet: a broker that
 * is not there is found by the first call that needs it.
 *
 * ES_E_INVALID: the run directory's path is too long for a socket in it, or the
 * receipt is none.
 */
ES_API ES_MUST_USE enum es_status es_connection_open(const struct es_connection_options *options,
                                                     struct es_connection **ret_connection);

/* Closes it; NULL is fine. Handles made from it are to be closed before; those that
 * are not go on to work, and the last one closed lets go of everything. */
ES_API void es_connection_close(struct es_connection *connection);

/* Ends every wait of this connection's handles with ES_INTERRUPTED, now and for
 * each later wait until es_connection_resume(); es_consumer_next() with a timeout,
 * es_reader_next() and appends that are yet to be sent return it even if they need
 * not wait. Any thread; async-signal-safe. */
ES_API void es_connection_interrupt(struct es_connection *connection);
ES_API void es_connection_resume(struct es_connection *connection);

/* What the last failed call of this thread on this connection or a handle of it
 * has to say, for a person: names the thing and the way out. Never NULL. With NULL:
 * of the last es_connection_open() that failed. ES_FULL, ES_EMPTY and ES_TIMEOUT say
 * nothing. */
ES_API const char *es_connection_error(const struct es_connection *connection);

/* The run directory in use; valid as long as the connection. */
ES_API const char *es_connection_run_dir(const struct es_connection *connection);

struct es_store_head {
    uint64_t position; /* of the last event; 0: the store is empty */
    uint64_t epoch;    /* of the history; see docs/architecture.md */
    uint64_t commit_number;
    uint64_t start_number; /* how often a broker has started on this store */
    uint8_t store_hash[ES_HASH_BYTES];
    uint8_t store_id[ES_STORE_ID_BYTES];
};

/* ES_E_UNREACHABLE: no broker answered in time. */
ES_API ES_MUST_USE enum es_status es_store_head(struct es_connection *connection,
                                                struct es_store_head *ret_head);

struct es_head {
    uint64_t sequence; /* of the last event */
    uint64_t position;
    uint64_t tick;
    uint64_t first_sequence;
    uint8_t hash[ES_HASH_BYTES];
};

/* ES_NOT_FOUND: no such stream. */
ES_API ES_MUST_USE enum es_status es_head(struct es_connection *connection, const char *stream,
                                          struct es_head *ret_head);

/* Called for one stream after the other in key order; false stops the listing. */
typedef bool es_stream_visitor(void *context, const char *stream, const struct es_head *head);

/* Visits the streams whose text begins with 'prefix' ("" or NULL: all of them).
 * ES_E_UNREACHABLE: no broker, or it went away in between. */
ES_API ES_MUST_USE enum es_status es_streams(struct es_connection *connection, const char *prefix,
                                             es_stream_visitor *visit, void *context);

/* -------------------------------------------------------------- producer -- */

#ifdef __cplusplus
}
#endif

#include "eventspine_producer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- events -- */

struct es_event {
    const char *stream; /* NUL-terminated */
    const char *type;   /* NUL-terminated */
    const void *payload;
    size_t payload_bytes;
    uint64_t position;
    uint64_t sequence;
    uint64_t tick;
    uint64_t time_us;             /* of its commit */
    const uint8_t *previous_hash; /* 32 bytes, or NULL at the start of a stream */
    const uint8_t *hash;          /* 32 bytes: recomputed and found equal */
};

/* ---------------------------------------------------------------- reader -- */

/*
 * Reads one stream forwards from 'from_sequence' (0: its first), or backwards
 * from it (0: its last). ES_NOT_FOUND comes from es_reader_next().
 */
ES_API ES_MUST_USE enum es_status es_reader_open_stream(struct es_connection *connection,
                                                        const char *stream, uint64_t from_sequence,
                                                        bool backwards,
                                                        struct es_reader **ret_reader);

/* Reads the whole store, or the categories named by 'filter' ("v:b:L0:d" one
 * category; a text that ends in '*' all that begin so, the model not included;
 * NULL all), by position.
 * ES_E_INVALID: the filter is none of these. */
ES_API ES_MUST_USE enum es_status es_reader_open_all(struct es_connection *connection,
                                                     const char *filter, uint64_t from_position,
                                                     struct es_reader **ret_reader);

/*
 * The next event; it is valid until the next call on this reader. Its hash has
 * been recomputed, and where its predecessor in the stream was read by this
 * reader too, the link as well.
 *
 * ES_EMPTY: the end, as of es_reader_consistent_position(); a later call looks again.
 * ES_NOT_FOUND: no such stream, or not that sequence. ES_INTERRUPTED.
 * ES_E_CORRUPT: damage, told with its position by es_connection_error(); the reader
 * does not go past it. ES_E_UNREACHABLE: as es_store_head(); call again.
 */
ES_API ES_MUST_USE enum es_status es_reader_next(struct es_reader *reader,
                                                 struct es_event *ret_event);
ES_API uint64_t es_reader_consistent_position(const struct es_reader *reader);
ES_API void es_reader_close(struct es_reader *reader);

/* -------------------------------------------------------------- consumer -- */

#define ES_LIVE UINT64_MAX /* from_position: only what is committed from now on */

struct es_consumer_options {
    const char *filter;      /* as of es_reader_open_all(); NULL: everything */
    uint64_t from_position;  /* first position wanted; 0 or 1: from the start; ES_LIVE */
    uint64_t epoch;          /* 0: any; else the history that the position belongs to */
    const uint8_t *store_id; /* NULL: any; else the store, ES_STORE_ID_BYTES */
};

/*
 * Follows the store: what is there from 'from_position', then what is committed,
 * in position order, each event once, without a gap between the two.
 *
 * A checkpoint is (store id, epoch, position); all three come from
 * es_consumer_state() and es_store_head(). It is continued where the present
 * history is the same up to the position, also in a later epoch.
 *
 * ES_REGRESSED: the store does not reach from_position - 1, or its history was cut
 * before it (accepted loss, a restored backup). ES_DIVERGED: another store, or an
 * epoch that it never had. Read it again from the start, or from the position that
 * es_connection_error() names.
 */
ES_API ES_MUST_USE enum es_status es_consumer_open(struct es_connection *connection,
                                                   const struct es_consumer_options *options,
                                                   struct es_consumer **ret_consumer);
ES_API void es_consumer_close(struct es_consumer *consumer);

/*
 * The next event, valid until the next call. To resume after a restart with
 * exactly-once effects, keep its position together with what was made of it,
 * and open the next consumer at that position + 1.
 *
 * ES_TIMEOUT: none in time (at once where timeout_ns is 0).
 * ES_REGRESSED: the broker has started again on an older or another history: open a
 * new consumer with the checkpoint, which tells whether it can be continued.
 * ES_E_CORRUPT: damage at the next position. ES_E_UNREACHABLE: the broker is
 * gone; calling again goes on where it was, once one is back (it is looked for once
 * a second). A restart of a few seconds may pass unnoticed.
 */
ES_API ES_MUST_USE enum es_status es_consumer_next(struct es_consumer *consumer,
                                                   uint64_t timeout_ns, struct es_event *ret_event);

/* A descriptor for poll(2): readable when es_consumer_next(..., 0) is worth
 * calling. Read nothing from it. After it became readable, or after opening,
 * call es_consumer_next() with 0 until ES_TIMEOUT before polling again; also
 * call it at least each second, for a lost message is found by heartbeat. */
ES_API int es_consumer_fd(const struct es_consumer *consumer);

struct es_consumer_state {
    uint64_t position;      /* last position delivered, or known to hold nothing for the filter */
    uint64_t head_position; /* of the store, as last heard */
    uint64_t epoch;
    uint64_t repairs;     /* how often a gap was found and filled by reading */
    uint64_t live_events; /* delivered from publication */
    uint64_t read_events; /* delivered by reading */
};
ES_API void es_consumer_state(const struct es_consumer *consumer,
                              struct es_consumer_state *ret_state);

/* ------------------------------------------------------------- snapshots -- */

struct es_snapshot {
    const char *stream;     /* NUL-terminated, as are all texts here */
    const char *projection; /* "": none */
    uint64_t tick;
    uint64_t sequence; /* the last event that the state has seen */
    uint64_t version;  /* of the projection's code, the caller's own counting */
    uint64_t created_us;
    size_t state_bytes;
    bool valid;                  /* the event it is bound to is still that one */
    uint8_t hash[ES_HASH_BYTES]; /* of that event */
};

/* Binds 'state' to an event. ES_NOT_FOUND: the stream has no such sequence. */
ES_API ES_MUST_USE enum es_status es_snapshot_save(struct es_connection *connection,
                                                   const char *stream, uint64_t tick,
                                                   uint64_t sequence, const char *projection,
                                                   uint64_t version, const void *state,
                                                   size_t state_bytes);

/* The newest valid one at or before 'tick' (UINT64_MAX: the newest). '*ret_state'
 * is the caller's, to be freed with es_free(), and with it the texts of
 * '*ret_snapshot'. ES_NOT_FOUND: none. */
ES_API ES_MUST_USE enum es_status es_snapshot_load(struct es_connection *connection,
                                                   const char *stream, uint64_t tick,
                                                   const char *projection,
                                                   struct es_snapshot *ret_snapshot,
                                                   void **ret_state);

typedef bool es_snapshot_visitor(void *context, const struct es_snapshot *snapshot);

/* Visits the snapshots of all streams whose text begins with 'prefix'. */
ES_API ES_MUST_USE enum es_status es_snapshots(struct es_connection *connection, const char *prefix,
                                               es_snapshot_visitor *visit, void *context);

/* Deletes those of 'tick' (UINT64_MAX: of every tick) and 'projection' (NULL: of
 * every projection). ES_NOT_FOUND: there was none. ES_E_UNKNOWN: the connection
 * broke before the answer came. */
ES_API ES_MUST_USE enum es_status es_snapshot_delete(struct es_connection *connection,
                                                     const char *stream, uint64_t tick,
                                                     const char *projection, uint64_t *ret_deleted);

ES_API void es_free(void *memory);

/* ------------------------------------------------------------------ keys -- */

/* Put and delete of one key; for several at once, or together with events, use a
 * transaction. ES_CONFLICT: the revision is another ('ret_outcome->refusal'). */
ES_API ES_MUST_USE enum es_status es_key_put(struct es_producer *producer,
                                             enum es_key_family family, const char *name_space,
                                             const char *key, uint64_t expected_revision,
                                             const void *value, size_t value_bytes,
                                             uint64_t timeout_ns, struct es_outcome *ret_outcome);
ES_API ES_MUST_USE enum es_status es_key_delete(struct es_producer *producer,
                                                enum es_key_family family, const char *name_space,
                                                const char *key, uint64_t expected_revision,
                                                uint64_t timeout_ns,
                                                struct es_outcome *ret_outcome);

/* '*ret_value' is the caller's, to be freed with es_free(). ES_NOT_FOUND: none. */
ES_API ES_MUST_USE enum es_status es_key_get(struct es_connection *connection,
                                             enum es_key_family family, const char *name_space,
                                             const char *key, uint64_t *ret_revision,
                                             void **ret_value, size_t *ret_value_bytes);

typedef bool es_key_visitor(void *context, const char *key, uint64_t revision, const void *value,
                            size_t value_bytes);

/* Visits a namespace in key order. */
ES_API ES_MUST_USE enum es_status es_keys(struct es_connection *connection,
                                          enum es_key_family family, const char *name_space,
                                          es_key_visitor *visit, void *context);

/* ---------------------------------------------------------------- status -- */

/* One counter or setting of the broker: a number, or text where 'text' is not NULL.
 * The members of a list come one by one as name.0, name.1 and so on. */
typedef bool es_status_visitor(void *context, const char *name, uint64_t number, const char *text);
ES_API ES_MUST_USE enum es_status es_broker_status(struct es_connection *connection,
                                                   es_status_visitor *visit, void *context);

#ifdef __cplusplus
}
#endif

#endif
