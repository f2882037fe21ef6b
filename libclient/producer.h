/*
 * The producer as the library sees it: a lane, and the flights: transactions
 * that were sent and whose outcome the caller has not taken. append.c, keys.c
 * and transaction.c say what is in a transaction; here are only its sending and
 * its outcome.
 *
 *   ticket_first <= ticket_done <= ticket_next
 *   [first, done)  answered: outcomes lie in 'flights'
 *   [done, next)   sent, not answered
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
    bool is_lost;  /* the broker's memory went away under it */
    struct es_outcome outcome;
};

struct es_producer {
    struct es_guard guard;
    struct es_connection *connection; /* held */
    uint64_t timeout_ns;              /* for attaching */
    uint32_t flight_count_max;        /* 1..ES_CREDIT_COUNT_MAX */
    bool is_ordered;
    bool is_resuming; /* the next record begins a new order */
    bool is_attached;
    uint32_t reserved_bytes;    /* of the open reservation's transaction; 0: none is open */
    uint32_t payload_bytes_max; /* of one lane record; survives a detach */
    uint32_t flight_count;      /* in flight and not taken */
    uint64_t ticket_first;
    uint64_t ticket_done;
    uint64_t ticket_next;
    uint64_t ticket_base; /* ticket - ticket_base is the lane's sequence */
    struct es_attachment attachment;
    struct es_transaction transaction;
    int64_t look_ns;           /* when a poll that does not wait may look at the attachment again */
    struct es_flight *flights; /* ES_CREDIT_COUNT_MAX */
};

/*
 * Enters the producer for a call; es_producer_leave() ends it. NULL is ES_E_INVALID.
 * While a reservation is open (es_producer_reserve()) every other call is too.
 */
ES_MUST_USE enum es_status es_producer_enter(struct es_producer *producer);

/* As es_producer_enter(), for a call that will wait: ES_INTERRUPTED before anything is sent. */
ES_MUST_USE enum es_status es_producer_enter_to_wait(struct es_producer *producer);
void es_producer_leave(struct es_producer *producer);

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

/* Lets go of the lane, if there is one. */
void es_producer_detach(struct es_producer *producer);

/* Sends what was packed into the open record, whose writer has no more to say. */
ES_MUST_USE enum es_status es_producer_publish_bytes(struct es_producer *producer, uint32_t size,
                                                     uint64_t *ret_ticket);

/* ---- flights (flight.c) ------------------------------------------------- */

/* Notes that something was sent, and gives it its ticket. */
uint64_t es_flights_begin(struct es_producer *producer);

/* Collects every answer there is, which gives room back to the lane. */
void es_flights_collect(struct es_producer *producer);

/* The lane will answer nothing more: detaches, and what is in flight gets the
 * outcome ES_E_UNKNOWN. */
void es_flights_lose(struct es_producer *producer);

/* Waits for the outcome of 'ticket', takes it, and returns its status. */
ES_MUST_USE enum es_status es_producer_settle(struct es_producer *producer, uint64_t ticket,
                                              uint64_t timeout_ns, struct es_outcome *ret_outcome);

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
