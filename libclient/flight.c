/*
 * Flights: what was sent and what became of it. Collects the broker's answers in
 * the order of sending, waits for them, notices that none will come any more, and
 * hands them out. Sending is producer.c; sending again resend.c.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/producer.h"
#include "shm/codec/reason.h"
#include "shm/futex.h"

struct es_flight *es_flight_of(struct es_producer *producer, uint64_t ticket)
{
    return &producer->flights[ticket % ES_CREDIT_COUNT_MAX];
}

uint64_t es_flights_begin(struct es_producer *producer)
{
    struct es_flight *flight = es_flight_of(producer, producer->ticket_next);

    flight->is_taken = false;
    flight->is_lost = false;
    producer->flight_count++;
    producer->ticket_sent++;
    return producer->ticket_next++;
}

/* Results lie in memory that other processes of this user can write: a status
 * that no broker would give means nothing certain. Damage it tells where
 * what it holds of a name or a number cannot be read. */
static enum es_status status_of(const struct es_lane_result *result)
{
    bool is_known = (result->status >= ES_OK && result->status <= ES_FENCED) ||
                    (result->status == ES_E_CORRUPT && result->reason == ES_REASON_DAMAGE);

    return is_known ? (enum es_status)result->status : ES_E_UNKNOWN;
}

static void fill_outcome(const struct es_producer *producer, const struct es_lane_result *result,
                         uint64_t ticket, struct es_outcome *ret_outcome)
{
    memset(ret_outcome, 0, sizeof *ret_outcome);
    ret_outcome->ticket = ticket;
    ret_outcome->status = status_of(result);
    if (ret_outcome->status == ES_OK) {
        struct es_receipt *receipt = &ret_outcome->receipt;

        receipt->position = result->position;
        receipt->sequence = result->stream_sequence;
        receipt->tick = result->tick;
        receipt->commit_number = result->commit_number;
        receipt->epoch = result->epoch;
        receipt->time_us = result->time_us;
        receipt->revision = result->revision;
        memcpy(receipt->hash, result->hash, sizeof receipt->hash);
        memcpy(receipt->store_hash, result->store_hash, sizeof receipt->store_hash);
        memcpy(receipt->store_id, producer->attachment.identity.store_id, sizeof receipt->store_id);
    } else if (ret_outcome->status > ES_OK) {
        struct es_refusal *refusal = &ret_outcome->refusal;

        refusal->reason = result->reason;
        refusal->operation = result->operation_index;
        refusal->actual_sequence = result->stream_sequence;
        refusal->actual_revision = result->revision;
        memcpy(refusal->actual_hash, result->hash, sizeof refusal->actual_hash);
    }
}

/* Lets go of answered flights that nobody wants. */
static void drop_taken(struct es_producer *producer)
{
    while (producer->ticket_first < producer->ticket_done &&
           es_flight_of(producer, producer->ticket_first)->is_taken) {
        producer->ticket_first++;
    }
}

void es_flights_answer(struct es_producer *producer, const struct es_outcome *outcome)
{
    struct es_flight *flight = es_flight_of(producer, producer->ticket_done);

    flight->outcome = *outcome;
    flight->outcome.number = flight->number;
    free(flight->kept);
    flight->kept = NULL;
    es_number_answered(producer, &flight->outcome);
    producer->ticket_done++;
    if (producer->ticket_sent < producer->ticket_done) {
        producer->ticket_sent = producer->ticket_done; /* it was answered without being sent */
    }
}

void es_flights_give_up(struct es_producer *producer)
{
    while (producer->ticket_done < producer->ticket_next) {
        const struct es_outcome unknown = {.status = ES_E_UNKNOWN, .ticket = producer->ticket_done};

        es_flight_of(producer, producer->ticket_done)->is_lost = true;
        es_flights_answer(producer, &unknown);
    }
    drop_taken(producer);
}

void es_flights_lose(struct es_producer *producer)
{
    es_producer_detach(producer);
    if (!producer->is_named || producer->ended != ES_OK) {
        es_flights_give_up(producer);
    }
    producer->ticket_sent = producer->ticket_done;
}

void es_flights_collect(struct es_producer *producer)
{
    while (producer->ticket_done < producer->ticket_sent) {
        struct es_lane_result result;
        struct es_outcome outcome;
        enum es_status status = es_lane_collect(&producer->attachment.lane, &result);

        if (status == ES_EMPTY) {
            break;
        }
        if (status == ES_OK) {
            fill_outcome(producer, &result, producer->ticket_done, &outcome);
        }
        if (status != ES_OK || (producer->is_named && outcome.status == ES_E_UNKNOWN)) {
            es_flights_lose(producer); /* nothing in this lane can be believed */
            break;
        }
        es_flights_answer(producer, &outcome);
    }
    if (producer->is_attached) {
        es_resend(producer);
    }
    drop_taken(producer);
}

/* Without waiting; whether the memory is still in use is asked now and then. */
static enum es_status look_for(struct es_producer *producer, uint64_t ticket)
{
    es_flights_collect(producer);
    if (producer->ticket_done <= ticket && es_monotonic_ns() >= producer->look_ns) {
        producer->look_ns = es_deadline_after_ns(ES_LANE_SLICE_NS);
        if (producer->is_attached && !es_attachment_is_current(&producer->attachment)) {
            es_flights_lose(producer);
        }
    }
    if (producer->ticket_done <= ticket && !producer->is_attached) {
        enum es_status status = es_producer_reattach(producer, ES_NO_WAIT);

        if (status != ES_OK) {
            return status == ES_INTERRUPTED ? ES_TIMEOUT : status;
        }
        es_flights_collect(producer);
    }
    return producer->ticket_done > ticket ? ES_OK : ES_TIMEOUT;
}

/* One look into the lane, for a slice of time: a broker that is killed and started
 * again goes on with this memory, one that is started without it does not. */
static enum es_status wait_in_lane(struct es_producer *producer, uint64_t ticket,
                                   int64_t deadline_ns)
{
    int64_t slice_ns = es_deadline_after_ns(ES_LANE_SLICE_NS);
    enum es_status status;

    if (ticket >= producer->ticket_sent) {
        ticket = producer->ticket_sent - 1; /* its answer makes room for the next */
    }
    assert(ticket >= producer->ticket_done);
    status = es_lane_wait(&producer->attachment.lane, ticket - producer->ticket_base,
                          slice_ns < deadline_ns ? slice_ns : deadline_ns,
                          &producer->connection->interrupted, 0);
    if (status == ES_OK) {
        es_flights_collect(producer);
        return ES_OK;
    }
    if (status == ES_TIMEOUT && !es_attachment_is_current(&producer->attachment)) {
        es_flights_lose(producer);
        return ES_OK;
    }
    if (status == ES_TIMEOUT && es_monotonic_ns() < deadline_ns) {
        return ES_OK;
    }
    return status;
}

enum es_status es_flights_wait(struct es_producer *producer, uint64_t ticket, int64_t deadline_ns)
{
    if (deadline_ns == ES_NO_WAIT) {
        return look_for(producer, ticket);
    }
    while (producer->ticket_done <= ticket) {
        enum es_status status = producer->is_attached ? wait_in_lane(producer, ticket, deadline_ns)
                                                      : es_producer_reattach(producer, deadline_ns);

        if (status != ES_OK) {
            return status;
        }
    }
    return ES_OK;
}

static void take(struct es_producer *producer, uint64_t ticket)
{
    es_flight_of(producer, ticket)->is_taken = true;
    producer->flight_count--;
    drop_taken(producer);
}

/* Why nobody knows, and what to do. */
static void explain_unknown(const struct es_producer *producer, enum es_status waited)
{
    const char *why = waited == ES_TIMEOUT       ? "no answer in time"
                      : waited == ES_INTERRUPTED ? "interrupted before the answer"
                      : waited != ES_OK          ? es_status_text(waited)
                                                 : "the broker's shared memory is gone";

    if (producer->ended != ES_OK) {
        (void)!es_producer_check_ended(producer);
    } else if (producer->is_named) {
        (void)es_fail(producer->connection, ES_E_UNKNOWN,
                      "%s; the transaction may have been stored, now or later: the next call that "
                      "waits finds out, or a producer %s that sends the same number again",
                      why, producer->name);
    } else {
        (void)es_fail(producer->connection, ES_E_UNKNOWN,
                      "%s; the append may have been stored, now or later: look before you append "
                      "it again",
                      why);
    }
}

enum es_status es_producer_settle(struct es_producer *producer, uint64_t ticket,
                                  int64_t deadline_ns, struct es_outcome *ret_outcome)
{
    enum es_status waited = es_flights_wait(producer, ticket, deadline_ns);
    struct es_outcome outcome = {
        .status = ES_E_UNKNOWN, .ticket = ticket, .number = es_flight_of(producer, ticket)->number};

    if (waited == ES_OK) {
        outcome = es_flight_of(producer, ticket)->outcome;
    } else {
        producer->ticket_unknown = ticket;
    }
    take(producer, ticket);
    if (outcome.status == ES_E_UNKNOWN) {
        explain_unknown(producer, waited);
    } else if (outcome.status == ES_E_CORRUPT) {
        (void)es_fail(producer->connection, ES_E_CORRUPT,
                      "what the store holds of number %" PRIu64
                      " of %s cannot be read: it is damaged "
                      "there (esctl verify)",
                      outcome.number, producer->name);
    } else if (outcome.status > ES_OK) {
        (void)es_fail(producer->connection, outcome.status, "%s",
                      es_refusal_text(&outcome.refusal));
    }
    if (ret_outcome != NULL) {
        *ret_outcome = outcome;
    }
    return outcome.status;
}

/* Hands out answered flights; those that are lost apart from the others, since
 * the status of the call says which of the two they are. */
static size_t hand_out(struct es_producer *producer, struct es_outcome *outcomes, size_t capacity,
                       bool *ret_is_lost)
{
    size_t count = 0;
    uint64_t ticket = producer->ticket_first;

    for (; ticket < producer->ticket_done && count < capacity; ticket++) {
        struct es_flight *flight = es_flight_of(producer, ticket);

        if (flight->is_taken) {
            continue;
        }
        if (count > 0 && flight->is_lost != *ret_is_lost) {
            break;
        }
        *ret_is_lost = flight->is_lost;
        outcomes[count++] = flight->outcome;
        flight->is_taken = true;
        producer->flight_count--;
    }
    drop_taken(producer);
    return count;
}

/* The oldest flight that the caller still wants; there is one. */
static uint64_t oldest_wanted(struct es_producer *producer)
{
    uint64_t ticket = producer->ticket_first;

    while (es_flight_of(producer, ticket)->is_taken) {
        ticket++;
    }
    return ticket;
}

static enum es_status poll_entered(struct es_producer *producer, struct es_outcome *outcomes,
                                   size_t capacity, uint64_t timeout_ns, size_t *ret_count)
{
    bool is_lost = false;
    enum es_status status;

    if (producer->flight_count == 0) {
        return producer->ended != ES_OK ? es_producer_check_ended(producer) : ES_EMPTY;
    }
    es_flights_collect(producer);
    status = es_flights_wait(producer, oldest_wanted(producer),
                             timeout_ns == 0 ? ES_NO_WAIT : es_deadline_of(timeout_ns));
    if (status != ES_OK) {
        return status;
    }
    *ret_count = hand_out(producer, outcomes, capacity, &is_lost);
    if (is_lost) {
        explain_unknown(producer, ES_OK);
        return ES_E_UNKNOWN;
    }
    return ES_OK;
}

enum es_status es_producer_poll(struct es_producer *producer, struct es_outcome *outcomes,
                                size_t capacity, uint64_t timeout_ns, size_t *ret_count)
{
    enum es_status status;

    if (outcomes == NULL || capacity == 0 || ret_count == NULL) {
        return ES_E_INVALID;
    }
    status = es_producer_enter(producer);
    if (status == ES_OK) {
        status = poll_entered(producer, outcomes, capacity, timeout_ns, ret_count);
        es_producer_leave(producer);
    }
    return status;
}

enum es_status es_producer_flush(struct es_producer *producer, uint64_t timeout_ns)
{
    enum es_status status = es_producer_enter(producer);

    if (status == ES_OK) {
        if (producer->ticket_done < producer->ticket_next) {
            status = es_flights_wait(producer, producer->ticket_next - 1,
                                     timeout_ns == 0 ? ES_NO_WAIT : es_deadline_of(timeout_ns));
        }
        if (status == ES_OK) {
            status = es_producer_check_ended(producer);
        }
        es_producer_leave(producer);
    }
    return status;
}
