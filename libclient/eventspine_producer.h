/*
 * The writing half of libeventspine: producers, named producers, transactions. It is
 * part of <eventspine.h>, which says what all handles have in common (units, memory,
 * threads, fork, waiting): include that.
 */
#ifndef EVENTSPINE_PRODUCER_H
#define EVENTSPINE_PRODUCER_H

#ifndef EVENTSPINE_H
#error "include <eventspine.h>"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------- producer -- */

enum es_expect_kind {
    ES_EXPECT_ANY = 0,      /* append whatever is there */
    ES_EXPECT_NONE = 1,     /* the stream must not exist */
    ES_EXPECT_EXISTS = 2,   /* the stream must exist */
    ES_EXPECT_SEQUENCE = 3, /* its last sequence must be 'sequence' */
};

struct es_expectation {
    enum es_expect_kind kind;
    uint64_t sequence;
    const uint8_t *hash; /* NULL: not given. Else the stream's last hash must be these
                            'hash_bytes' bytes: 32, or 0 for "must not exist". Both are checked. */
    size_t hash_bytes;
};

struct es_event_input {
    uint64_t tick; /* the producer's logical time, 0..2^63-1 */
    const char *type;
    const void *payload; /* opaque bytes, by convention MessagePack */
    size_t payload_bytes;
    const uint8_t *expected_hash; /* NULL, or the 32 bytes the event must come out with */
};

struct es_receipt {
    uint64_t position; /* of the transaction's last event; 0: it had only keys */
    uint64_t sequence; /* of that event in its stream */
    uint64_t tick;
    uint64_t commit_number;
    uint64_t epoch;
    uint64_t time_us;                  /* of the commit */
    uint64_t revision;                 /* of the last key written; 0: it had only events */
    uint8_t hash[ES_HASH_BYTES];       /* of that event */
    uint8_t store_hash[ES_HASH_BYTES]; /* of the whole history up to its commit */
    uint8_t store_id[ES_STORE_ID_BYTES];
};

#define ES_RECEIPT_BYTES_MAX 1184

/*
 * Writes 'receipt', which came from an append to 'stream', as bytes to be kept:
 * they prove, for ever, what the store held, to es_receipt_check(), to `esctl verify
 * --receipt`, and to a broker that a connection shows them to.
 *
 * ES_E_INVALID: the receipt of a transaction without events, or no stream.
 * ES_E_TOO_LARGE: over 'capacity'; ES_RECEIPT_BYTES_MAX is always enough.
 */
ES_API ES_MUST_USE enum es_status es_receipt_pack(const struct es_receipt *receipt,
                                                  const char *stream, void *ret_bytes,
                                                  size_t capacity, size_t *ret_size);

/*
 * Asks the broker whether its store still holds the event and the whole history
 * before it. ES_OK: it does.
 *
 * ES_REGRESSED: the store is older than the receipt: positions were lost, or it was
 * restored. ES_DIVERGED: it is another store, or has another history. Both are
 * told with the positions by es_connection_error(). ES_E_CORRUPT: it is damaged
 * there. ES_E_INVALID: these bytes are no receipt. ES_E_UNREACHABLE.
 */
ES_API ES_MUST_USE enum es_status es_receipt_check(struct es_connection *connection,
                                                   const void *receipt, size_t receipt_bytes);

/* Why a transaction was not stored. */
struct es_refusal {
    uint32_t reason;          /* enum es_reason, in words from es_refusal_text() */
    uint32_t operation;       /* index of the operation that failed */
    uint64_t actual_sequence; /* of the stream; 0: it does not exist */
    uint64_t actual_revision; /* of the key; 0: it does not exist */
    uint8_t actual_hash[ES_HASH_BYTES];
};

/* In words; static storage. */
ES_API const char *es_refusal_text(const struct es_refusal *refusal);

struct es_outcome {
    enum es_status status;     /* as of es_producer_append() */
    uint64_t ticket;           /* what es_producer_submit() had returned */
    uint64_t number;           /* of a named producer's transaction; 0: it has no name */
    struct es_receipt receipt; /* status ES_OK */
    struct es_refusal refusal; /* status positive */
};

struct es_producer_options {
    uint32_t in_flight_max; /* 0: as many as the broker allows */
    bool ordered;           /* after a refusal the following ones are refused too, with
                                ES_PREVIOUS_FAILED, until es_producer_resume_order() */
    uint64_t timeout_ns;    /* for attaching; 0: the connection's */
    const char *name;       /* NULL: none; see "named producers" below */
    bool take_over;         /* take the name from its owner, should it have a living one */
    bool allow_gaps;        /* es_producer_set_number() may leave numbers out */
};

/*
 * Attaches to the broker's shared memory; 'options' may be NULL.
 *
 * ES_E_UNREACHABLE: no broker. ES_E_LIMIT: all lanes are taken, or this process has no
 * room for the three descriptors of one.
 * ES_E_PERMISSION: the broker serves other users, or the name is another user's.
 * ES_E_VERSION: another layout. ES_E_INVALID: the name breaks a rule of names.
 * ES_E_BUSY: the name has a living owner, which es_connection_error() names; end it,
 * or take over.
 * ES_REGRESSED, ES_DIVERGED: the connection's receipt (es_connection_options).
 * ES_NO_SPACE: shared memory is full, or (named) the disk is below its reserve.
 */
ES_API ES_MUST_USE enum es_status es_producer_open(struct es_connection *connection,
                                                   const struct es_producer_options *options,
                                                   struct es_producer **ret_producer);

/*
 * Named producers: exactly once, whoever dies and whenever.
 *
 * A name numbers its transactions 1, 2, 3 ..., and the store keeps the numbers
 * with them, for ever. A number that is stored is never stored again: sent once
 * more with the same operations it gets its first receipt, with others ES_REJECTED.
 * No refusal uses a number up: the next transaction has it.
 *
 * Numbers.  The library gives them, last + 1, and es_outcome tells them. A program
 *           that numbers its own inputs (lines, messages, blocks) says so with
 *           es_producer_set_number(), and after a crash begins where
 *           es_producer_last_number() ends: nothing is lost, nothing repeated.
 * Losses.   Where shared memory is gone (the broker started anew without it, or cut
 *           this lane off), the library attaches again by name and sends what was
 *           not answered, in order, from what it had kept. So ES_E_UNKNOWN means that
 *           the wait ended too early, by deadline or interrupt. Then the next call
 *           that waits first learns what became of it, before it sends anything:
 *           es_producer_flush() and es_producer_last_number() tell.
 * Order.    A named producer's transactions are stored in the order of their
 *           sending: after a refusal, what had been sent behind it is refused with
 *           ES_PREVIOUS_FAILED. A new order begins when nothing is in flight any
 *           more; with options.ordered, only with es_producer_resume_order().
 * Owner.    A name has one owner. Another that takes over is told the last number
 *           when everything sent before is stored or refused for ever; then each call
 *           of this producer answers ES_FENCED: close it. ES_REGRESSED, likewise for
 *           good: the store has lost transactions that it had confirmed, by a restore
 *           or an accepted loss.
 */

/* The highest number that this producer knows to be stored; 0: none. */
ES_API uint64_t es_producer_last_number(const struct es_producer *producer);

/*
 * The next transaction sent gets 'number', the ones after it the numbers that follow
 * the highest sent. At or below the last number: a repeat. Beyond the next one: it
 * will be refused (ES_REJECTED), unless options.allow_gaps.
 *
 * ES_E_INVALID: 'number' is 0, or the producer has no name.
 */
ES_API ES_MUST_USE enum es_status es_producer_set_number(struct es_producer *producer,
                                                         uint64_t number);

struct es_producer_info {
    const char *name;     /* valid during a visit, or as long as what was passed in */
    uint64_t last_number; /* 0: it owns its name, and nothing is stored yet */
    uint64_t owner_lane;  /* incarnation of the lane that may write; 0: there never was one */
    uint32_t owner_uid;   /* whose name it is */
    uint32_t owner_pid;   /* of the owner; 0: it is not attached, or not told */
    bool owner_is_alive;
    bool is_found; /* the number asked for is stored: then these two are its own */
    struct es_receipt receipt;
    char stream[ES_STREAM_BYTES_MAX + 1]; /* of the receipt's event; "": it had only keys */
};

/*
 * Asks the broker about a name, and about one of its numbers (0: none). The answer
 * knows everything that the owner had sent before the question.
 *
 * ES_NOT_FOUND: nobody has ever used that name. ES_E_UNREACHABLE: no broker answered.
 */
ES_API ES_MUST_USE enum es_status es_producer_ask(struct es_connection *connection,
                                                  const char *name, uint64_t number,
                                                  struct es_producer_info *ret_info);

/* Without 'owner_pid', 'owner_is_alive' and a receipt. False stops the listing. */
typedef bool es_producer_visitor(void *context, const struct es_producer_info *info);

/* Visits all names in the order of their bytes. */
ES_API ES_MUST_USE enum es_status es_producers(struct es_connection *connection,
                                               es_producer_visitor *visit, void *context);

/* Gives the lane back. What is in flight is still committed, its outcome is not
 * told; es_producer_flush() first. NULL is fine. Does nothing while another thread
 * is inside a call on it; that is so for every closing function. */
ES_API void es_producer_close(struct es_producer *producer);

/* Largest payload that fits into a transaction with one event, for a stream and
 * type of the longest length. */
ES_API size_t es_producer_payload_bytes_max(const struct es_producer *producer);

/*
 * Appends 'count' events to one stream, all or none, and waits until they are
 * on disk (durability fsync). 'expectation' NULL means any; 'ret_outcome' may be NULL.
 *
 * ES_OK: stored. ES_CONFLICT: the expectation did not hold. ES_REJECTED: a rule
 * was broken. ES_NO_SPACE, ES_NOT_SERVING, ES_PREVIOUS_FAILED, ES_FENCED: not
 * stored. ES_FULL: too much in flight, nothing was sent.
 * ES_TIMEOUT: (named) an earlier one is still unknown; nothing was sent.
 * ES_E_CORRUPT: (named) what the store holds of the number is damaged: it may be stored.
 * ES_E_TOO_LARGE: it can never fit; nothing was sent.
 * ES_E_UNKNOWN: the deadline passed, the wait was interrupted, or the broker's
 * memory is gone, after it was sent: it may be stored, now or later. Look before
 * appending again; a named producer looks by itself. ES_INTERRUPTED: nothing was sent.
 * ES_E_UNREACHABLE and others of es_producer_open(): the broker's memory was gone
 * before, and attaching anew failed; nothing was sent.
 */
ES_API ES_MUST_USE enum es_status es_producer_append(struct es_producer *producer,
                                                     const char *stream,
                                                     const struct es_expectation *expectation,
                                                     const struct es_event_input *events,
                                                     size_t count, uint64_t timeout_ns,
                                                     struct es_outcome *ret_outcome);

/* As es_producer_append(), but returns when the broker has been given it; the
 * outcome comes from es_producer_poll(), in the order of submission.
 * ES_FULL: in_flight_max are in flight, or the lane is full: poll first. */
ES_API ES_MUST_USE enum es_status es_producer_submit(struct es_producer *producer,
                                                     const char *stream,
                                                     const struct es_expectation *expectation,
                                                     const struct es_event_input *events,
                                                     size_t count, uint64_t *ret_ticket);

/* Takes up to 'capacity' outcomes, oldest first; waits for the first one only.
 * ES_EMPTY: nothing is in flight. ES_TIMEOUT: none has come.
 * ES_INTERRUPTED: nothing was taken. ES_E_UNKNOWN: the broker's memory is gone; the
 * '*ret_count' outcomes taken have that status too (never mixed with others in one
 * call), and the next submission attaches anew. A named producer attaches within the
 * wait instead, and is told ES_TIMEOUT as long as no broker is there, or why it
 * cannot (ES_E_PERMISSION, ES_E_VERSION); ES_FENCED, ES_REGRESSED: it has ended, and
 * no outcome is left. */
ES_API ES_MUST_USE enum es_status es_producer_poll(struct es_producer *producer,
                                                   struct es_outcome *outcomes, size_t capacity,
                                                   uint64_t timeout_ns, size_t *ret_count);

/* Waits until nothing is in flight any more; outcomes stay to be polled.
 * ES_TIMEOUT: something still is. */
ES_API ES_MUST_USE enum es_status es_producer_flush(struct es_producer *producer,
                                                    uint64_t timeout_ns);

/* How many outcomes are still to be polled. */
ES_API size_t es_producer_in_flight(const struct es_producer *producer);

/* The next submission starts a new order after a refusal (options.ordered). */
ES_API ES_MUST_USE enum es_status es_producer_resume_order(struct es_producer *producer);

/*
 * Reserve in place: a payload is written straight into shared memory. At most
 * one reservation is open; until es_producer_publish() or es_producer_abandon()
 * no other call but those may be made on this producer.
 *
 * ES_FULL, ES_E_TOO_LARGE as above. '*ret_payload' has 'payload_bytes' writable bytes.
 */
ES_API ES_MUST_USE enum es_status es_producer_reserve(struct es_producer *producer,
                                                      const char *stream,
                                                      const struct es_expectation *expectation,
                                                      uint64_t tick, const char *type,
                                                      size_t payload_bytes, void **ret_payload);
ES_API ES_MUST_USE enum es_status es_producer_publish(struct es_producer *producer,
                                                      uint64_t *ret_ticket);
ES_API void es_producer_abandon(struct es_producer *producer);

/* ----------------------------------------------------------- transaction -- */

enum es_key_family {
    ES_KEYS = 0,        /* values that are truth themselves */
    ES_READ_MODELS = 1, /* derived, may be dropped and rebuilt */
};

#define ES_REVISION_ANY UINT64_MAX /* expected revision: whatever is there; 0: nothing is */

/* Collects operations; belongs to the producer, at most one is open at a time. */
ES_API ES_MUST_USE enum es_status es_transaction_begin(struct es_producer *producer,
                                                       struct es_transaction **ret_transaction);
/* ES_E_TOO_LARGE: it does not fit any more; the transaction is as before. */
ES_API ES_MUST_USE enum es_status es_transaction_append(struct es_transaction *transaction,
                                                        const char *stream,
                                                        const struct es_expectation *expectation,
                                                        const struct es_event_input *events,
                                                        size_t count);
ES_API ES_MUST_USE enum es_status es_transaction_put(struct es_transaction *transaction,
                                                     enum es_key_family family,
                                                     const char *name_space, const char *key,
                                                     uint64_t expected_revision, const void *value,
                                                     size_t value_bytes);
/* An expected revision of ES_REVISION_ANY still wants the key to be there. */
ES_API ES_MUST_USE enum es_status es_transaction_delete(struct es_transaction *transaction,
                                                        enum es_key_family family,
                                                        const char *name_space, const char *key,
                                                        uint64_t expected_revision);
/* Sends it; statuses as of es_producer_append(), ES_NOT_FOUND for a key to delete
 * that is not there. The transaction is over, whatever the status, except for
 * ES_FULL, which leaves it open. */
ES_API ES_MUST_USE enum es_status es_transaction_commit(struct es_transaction *transaction,
                                                        uint64_t timeout_ns,
                                                        struct es_outcome *ret_outcome);
/* The same, asynchronously: es_producer_poll() has the outcome. */
ES_API ES_MUST_USE enum es_status es_transaction_submit(struct es_transaction *transaction,
                                                        uint64_t *ret_ticket);
ES_API void es_transaction_abandon(struct es_transaction *transaction);

#ifdef __cplusplus
}
#endif

#endif
