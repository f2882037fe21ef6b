/*
 * A named producer that has lost its lane: gets another one by name, and sends
 * again, in order, what was not answered, from bytes it has kept. It asks nobody
 * what of that is stored: a number that is gets its first receipt, for the broker
 * has committed or refused all that lay in the old lane before it gave the new one.
 *
 * It never takes a name over: its own lane is closed, and so no living owner is in
 * the way. If there is one, or if numbers are stored that it has not sent, the name
 * is somebody else's now, and this producer has ended.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/producer.h"
#include "shm/codec/reason.h"
#include "shm/doorbell.h"
#include "shm/futex.h"

/* ---- what is kept -------------------------------------------------------- */

enum es_status es_resend_keep(struct es_producer *producer, uint32_t size)
{
    struct es_flight *flight = es_flight_of(producer, producer->ticket_next);

    if (!producer->is_named) {
        return ES_OK;
    }
    free(flight->kept); /* of a record that was kept and then not sent */
    flight->kept = malloc(size);
    if (flight->kept == NULL) {
        return es_fail_no_memory(producer->connection);
    }
    memcpy(flight->kept, producer->claimed, size);
    flight->kept_bytes = size;
    return ES_OK;
}

/* ---- the end ------------------------------------------------------------- */

enum es_status es_producer_check_ended(const struct es_producer *producer)
{
    if (producer->ended == ES_FENCED) {
        return es_fail(producer->connection, ES_FENCED,
                       "another producer has taken over the name %s: this one is at its end; what "
                       "is stored under a number tells esctl producer %s --number N",
                       producer->name, producer->name);
    }
    if (producer->ended != ES_OK) {
        return es_fail(producer->connection, producer->ended,
                       "the store has lost transactions of %s that it had confirmed (restored, or "
                       "a loss was accepted): this producer is at its end; open another and begin "
                       "where its last number is",
                       producer->name);
    }
    return ES_OK;
}

static void end(struct es_producer *producer, enum es_status why)
{
    producer->ended = why;
    es_producer_detach(producer);
    es_flights_give_up(producer);
}

/* Whether the store's last number is one that this producer can have written. */
static enum es_status judge(struct es_producer *producer)
{
    uint64_t highest = producer->numbers.last;

    for (uint64_t at = producer->ticket_done; at < producer->ticket_next; at++) {
        uint64_t number = es_flight_of(producer, at)->number;

        highest = number > highest ? number : highest;
    }
    if (producer->attachment.last_number > highest) {
        return ES_FENCED;
    }
    return producer->attachment.last_number < producer->numbers.last ? ES_REGRESSED : ES_OK;
}

/* ---- sending again ------------------------------------------------------- */

/* Answers the oldest flight here: it is in no lane, and will not be. */
static void answer_here(struct es_producer *producer, enum es_status status, enum es_reason reason)
{
    const struct es_outcome outcome = {
        .status = status, .ticket = producer->ticket_done, .refusal = {.reason = (uint32_t)reason}};

    assert(producer->ticket_sent == producer->ticket_done);
    producer->ticket_base++;
    es_flights_answer(producer, &outcome);
}

/* The lanes of this broker are smaller than those that the oldest flight was made
 * for. If its number is stored, its receipt cannot be had this way. */
static void answer_too_large(struct es_producer *producer)
{
    struct es_flight *flight = es_flight_of(producer, producer->ticket_done);

    if (flight->number > producer->attachment.last_number) {
        answer_here(producer, ES_REJECTED, ES_REASON_TRANSACTION_SIZE);
    } else {
        flight->is_lost = true;
        answer_here(producer, ES_E_UNKNOWN, ES_REASON_NONE);
    }
}

static enum es_status send_again(struct es_producer *producer, const struct es_flight *flight)
{
    struct es_attachment *attachment = &producer->attachment;
    uint64_t sequence = 0;
    void *payload = NULL;
    enum es_status status = es_lane_claim(&attachment->lane, flight->kept_bytes, &payload);

    if (status == ES_OK) {
        memcpy(payload, flight->kept, flight->kept_bytes);
        status = es_lane_publish(&attachment->lane, flight->kept_bytes, flight->flags, &sequence);
    }
    if (status == ES_OK) {
        (void)!es_ring_place(&attachment->ring, attachment->lane_index, sequence);
        es_doorbell_ring(&attachment->ring);
        producer->ticket_sent++;
    }
    return status;
}

void es_resend(struct es_producer *producer)
{
    while (producer->ticket_sent < producer->ticket_next) {
        const struct es_flight *flight = es_flight_of(producer, producer->ticket_sent);
        bool is_oldest = producer->ticket_sent == producer->ticket_done;
        enum es_status status;

        /* A new lane knows nothing of a refusal in the old one. */
        if (is_oldest && producer->numbers.was_broken && (flight->flags & ES_RECORD_RESUME) == 0) {
            answer_here(producer, ES_PREVIOUS_FAILED, ES_REASON_PREVIOUS_FAILED);
            continue;
        }
        status = send_again(producer, flight);
        if (status == ES_E_TOO_LARGE && is_oldest) {
            answer_too_large(producer);
        } else if (status != ES_OK) {
            return;
        }
    }
}

/* ---- attaching again ----------------------------------------------------- */

/* False: a little later it may be otherwise. */
static bool is_final(enum es_status status)
{
    return status != ES_E_UNREACHABLE && status != ES_NOT_SERVING && status != ES_E_LIMIT;
}

/* One try. ES_TIMEOUT and ES_INTERRUPTED: asked, not answered. */
static enum es_status try_once(struct es_producer *producer, int64_t deadline_ns)
{
    const struct es_attach_wish wish = {.producer = producer->name};
    enum es_status status = ES_OK;

    if (producer->attachment.socket_fd < 0) {
        status = es_attachment_ask(producer->connection, &wish, &producer->attachment);
    }
    if (status == ES_OK) {
        status = es_attachment_receive(producer->connection, deadline_ns, &producer->attachment);
        if (status == ES_TIMEOUT) {
            (void)es_fail(producer->connection, status,
                          "%s/control.sock: the broker has not answered yet",
                          producer->connection->run_dir);
        }
    }
    return status;
}

enum es_status es_producer_reattach(struct es_producer *producer, int64_t deadline_ns)
{
    for (;;) {
        enum es_status status = try_once(producer, deadline_ns);
        int64_t pause_ns = es_deadline_after_ns(ES_REATTACH_NS);

        if (status == ES_E_BUSY) {
            end(producer, ES_FENCED);
            return ES_OK;
        }
        if (status == ES_OK) {
            es_producer_attached(producer);
            status = judge(producer);
            if (status != ES_OK) {
                end(producer, status);
            } else {
                producer->numbers.last = producer->attachment.last_number;
                es_resend(producer);
            }
            return ES_OK;
        }
        if (status == ES_TIMEOUT || is_final(status)) {
            return status;
        }
        if (es_monotonic_ns() >= deadline_ns) {
            return ES_TIMEOUT;
        }
        status = es_connection_wait(producer->connection, -1, 0,
                                    pause_ns < deadline_ns ? pause_ns : deadline_ns);
        if (status != ES_TIMEOUT) {
            return status;
        }
    }
}
