/*
 * The producer as the library sees it: a lane, and the flights: transactions
 * that were sent and whose outcome the caller has not taken. append.c, keys.c
 * and transaction.c say what is in a transaction; here are only its sending and
 * its outcome.
 *
 *   ticket_first <= ticket_done <= ticket_sent <= ticket_next
 *   [first, done)  answered: outcomes lie in 'flights'
 *   [done, sent)   in the lane, not answered
 *   [sent, next)   to be sent again, into another lane than the first time: only
 *                  a named producer has these (resend.c)
 *
 * The broker answers one lane in order, so tickets become done in order. A flight
 * can be taken before it is done: its outcome is then dropped (an append whose
 * deadline has passed).
 */
#ifndef ES_CLIENT_PRODUCER_H
#define ES_CLIENT_PRODUCER_H

#include "libclient/attach.h"
#include "libclient/eventspine.h"
#include "shm/codec/pack.h"
#include "shm/codec/transaction.h"

/* Collects operations in memory of its own until it is sent; lives inside its
 * producer, so that a call on one that is over can be told. */
struct es_transaction {
    struct es_producer *producer;
    bool is_open;
    uint32_t operation_count;
    struct es_pack pack; /* over 'bytes' */
    uint32_t capacity;
    uint8_t *bytes;
};

struct es_flight {
    bool is_taken; /* the caller has it, or does not wait for it any more */
    bool is_lost;  /* nobody will tell what became of it */
    struct es_outcome outcome;
    /* Of a named producer, until it is answered. */
    uint64_t number;
    uint32_t flags; /* ES_RECORD_* */
    uint32_t kept_bytes;
    uint8_t *kept; /* the transaction, to be sent again */
};

/* A named producer's numbers and its order (numbers.c). 'Broken': after a refusal
 * everything is refused, up to a record with RESUME. */
struct es_numbers {
    uint64_t last;          /* the highest known to be stored */
    uint64_t given;         /* the next transaction has the number after it */
    uint64_t wanted;        /* by the caller, for the next transaction; 0: none */
    uint64_t resume_ticket; /* of the last record sent with RESUME */
    bool is_broken;         /* for what is sent next */
    bool was_broken;        /* for what is answered next */
};

struct es_producer {
    struct es_guard guard;
    struct es_connection *connection; /* held */
    uint64_t timeout_ns;              /* for attaching */
    uint32_t flight_count_max;        /* 1..ES_CREDIT_COUNT_MAX */
    bool is_ordered;
    bool is_resuming; /* the next record begins a new order */
    bool is_attached; /* else the attachment may be asked for: es_producer_is_asking() */
    bool is_named;
    bool allows_gaps;
    bool goes_on;               /* named: a new order begins by itself when nothing is in flight */
    enum es_status ended;       /* ES_OK: not; ES_FENCED, ES_REGRESSED: answers nothing else */
    uint32_t reserved_bytes;    /* of the open reservation's transaction; 0: none is open */
    uint32_t payload_bytes_max; /* of one lane record; survives a detach */
    uint32_t flight_count;      /* in flight and not taken */
    uint64_t ticket_first;
    uint64_t ticket_done;
    uint64_t ticket_sent;
    uint64_t ticket_next;
    uint64_t ticket_base;    /* ticket - ticket_base is the lane's sequence */
    uint64_t ticket_unknown; /* the last one that was told as unknown before its answer */
    struct es_numbers numbers;
    void *claimed; /* where the open record's transaction lies */
    struct es_attachment attachment;
    struct es_transaction transaction;
    int64_t look_ns;           /* when a poll that does not wait may look at the attachment again */
    struct es_flight *flights; /* ES_CREDIT_COUNT_MAX */
    char name[ES_NAME_BYTES_MAX + 1];
};

/*
 * Enters the producer for a call; es_producer_leave() ends it. NULL is ES_E_INVALID.
 * While a reservation is open (es_producer_reserve()) every other call is too.
 */
ES_MUST_USE enum es_status es_producer_enter(struct es_producer *producer);

/*
 * As es_producer_enter(), for a call that will wait until '*ret_deadline_ns', made from
 * 'timeout_ns'. A named producer first learns what became of earlier unknown ones.
 *
 * ES_INTERRUPTED, ES_TIMEOUT, ES_E_UNREACHABLE and others of es_producer_reattach():
 * nothing was sent.
 */
ES_MUST_USE enum es_status es_producer_enter_to_wait(struct es_producer *producer,
                                                     uint64_t timeout_ns, int64_t *ret_deadline_ns);
void es_producer_leave(struct es_producer *producer);

/* For a call that has entered: the same but for the entering. */
ES_MUST_USE enum es_status es_producer_prepare(struct es_producer *producer, uint64_t timeout_ns,
                                               int64_t *ret_deadline_ns);

/*
 * Opens a record for a transaction of at most 'bytes_max' bytes, of which
 * 'bytes_min' are certain: attaches if need be, makes room by collecting, and
 * points 'ret_pack' into the lane.
 *
 * ES_FULL, ES_E_TOO_LARGE, ES_NOT_SERVING, and those of es_attachment_open():
 * nothing was sent.
 */
ES_MUST_USE enum es_status es_producer_claim(struct es_producer *producer, uint64_t bytes_min,
                                             uint64_t bytes_max, struct es_pack *ret_pack);

/* Sends what was packed. ES_E_TOO_LARGE: it had not fitted; nothing was sent. */
ES_MUST_USE enum es_status es_producer_send(struct es_producer *producer,
                                            const struct es_pack *pack, uint64_t *ret_ticket);

/* Lets go of the lane, if there is one, or of the wish for one. */
void es_producer_detach(struct es_producer *producer);

/* Begins to use the attachment, in which nothing was sent yet. */
void es_producer_attached(struct es_producer *producer);

/* Sends what was packed into the open record, whose writer has no more to say. */
ES_MUST_USE enum es_status es_producer_publish_bytes(struct es_producer *producer, uint32_t size,
                                                     uint64_t *ret_ticket);

/* ---- flights (flight.c) ------------------------------------------------- */

#define ES_NO_WAIT 0 /* as a deadline: look, and do not wait */

struct es_flight *es_flight_of(struct es_producer *producer, uint64_t ticket);

/* Notes that something was sent, and gives it its ticket. */
uint64_t es_flights_begin(struct es_producer *producer);

/* Gives the oldest flight that is not answered its outcome. */
void es_flights_answer(struct es_producer *producer, const struct es_outcome *outcome);

/* Collects every answer there is, which gives room back to the lane. */
void es_flights_collect(struct es_producer *producer);

/* The lane will answer nothing more: detaches. What is in flight is to be sent again
 * if the producer has a name, else it gets the outcome ES_E_UNKNOWN. */
void es_flights_lose(struct es_producer *producer);

/* What is in flight gets the outcome ES_E_UNKNOWN, name or not. */
void es_flights_give_up(struct es_producer *producer);

/* Waits until 'ticket' is done. ES_TIMEOUT, ES_INTERRUPTED, and those of
 * es_producer_reattach(). */
ES_MUST_USE enum es_status es_flights_wait(struct es_producer *producer, uint64_t ticket,
                                           int64_t deadline_ns);

/* Waits for the outcome of 'ticket', takes it, and returns its status. */
ES_MUST_USE enum es_status es_producer_settle(struct es_producer *producer, uint64_t ticket,
                                              int64_t deadline_ns, struct es_outcome *ret_outcome);

/* ---- numbers of a named producer (numbers.c) ----------------------------- */

/* For the transaction that is packed next; 0: the producer has no name. */
uint64_t es_number_next(const struct es_producer *producer);

/* The flags of the record that is sent next. */
uint32_t es_record_flags(const struct es_producer *producer);

/* Notes that the record of 'ticket' was sent with 'flags', or answered. */
void es_number_sent(struct es_producer *producer, uint64_t ticket, uint32_t flags);
void es_number_answered(struct es_producer *producer, const struct es_outcome *outcome);

/* ---- named producers that lose their lane (resend.c) --------------------- */

/* Keeps the transaction of 'size' bytes that is about to be sent. ES_E_NO_MEMORY. */
ES_MUST_USE enum es_status es_resend_keep(struct es_producer *producer, uint32_t size);

/* Sends again what is to be, as far as there is room. */
void es_resend(struct es_producer *producer);

/*
 * Attaches again by name, trying until 'deadline_ns', and sends again. ES_OK also
 * where the producer has ended.
 *
 * ES_TIMEOUT: no broker, or no answer yet, which the error text tells; call again.
 * ES_INTERRUPTED. ES_E_PERMISSION, ES_E_VERSION, ES_E_PROTOCOL and others of
 * es_attachment_receive(): waiting does not help.
 */
ES_MUST_USE enum es_status es_producer_reattach(struct es_producer *producer, int64_t deadline_ns);

/* ES_OK, or why the producer has ended, with the error text. */
ES_MUST_USE enum es_status es_producer_check_ended(const struct es_producer *producer);

/* ---- what is packed (append.c, keys.c) ---------------------------------- */

/* Checks what C can get wrong (NULL, lengths); the broker judges the rest.
 * Gives upper bounds of the operation's bytes, and what is certain of them. */
ES_MUST_USE enum es_status es_append_measure(const struct es_producer *producer, const char *stream,
                                             const struct es_expectation *expectation,
                                             const struct es_event_input *events, size_t count,
                                             uint64_t *ret_bytes_min, uint64_t *ret_bytes_max);
void es_append_pack(struct es_pack *pack, const char *stream,
                    const struct es_expectation *expectation, const struct es_event_input *events,
                    size_t count);

/* One put (value given) or delete (NULL) of a key. */
struct es_key_change {
    enum es_key_family family;
    const char *name_space;
    const char *key;
    uint64_t expected_revision;
    const void *value;
    size_t value_bytes;
    bool is_delete;
};
ES_MUST_USE enum es_status es_key_change_measure(const struct es_producer *producer,
                                                 const struct es_key_change *change,
                                                 uint64_t *ret_bytes_min, uint64_t *ret_bytes_max);
void es_key_change_pack(struct es_pack *pack, const struct es_key_change *change);

/* Frees what a transaction has, at the producer's end. */
void es_transaction_deinit(struct es_transaction *transaction);

#endif
