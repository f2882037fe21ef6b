/*
 * Flights: what was sent and what became of it. Collects the broker's answers in
 * the order of sending, waits for them, notices that none will come any more, and
 * hands them out. Sending is producer.c.
 */
#include <string.h>

#include "libclient/producer.h"
#include "shm/codec/reason.h"
#include "shm/futex.h"

static struct es_flight *flight_of(struct es_producer *producer, uint64_t ticket)
{
    return &producer->flights[ticket % ES_CREDIT_COUNT_MAX];
}

uint64_t es_flights_begin(struct es_producer *producer)
{
    struct es_flight *flight = flight_of(producer, producer->ticket_next);

    flight->is_taken = false;
    flight->is_lost = false;
    producer->flight_count++;
    return producer->ticket_next++;
}

/* Results lie in memory that other processes of this user can write: a status
 * that no broker would give means nothing certain. */
static enum es_status status_of(const struct es_lane_result *result)
{
    bool is_known = result->status >= ES_OK && result->status <= ES_FENCED;

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
           flight_of(producer, producer->ticket_first)->is_taken) {
        producer->ticket_first++;
    }
}

void es_flights_lose(struct es_producer *producer)
{
    while (producer->ticket_done < producer->ticket_next) {
        struct es_flight *flight = flight_of(producer, producer->ticket_done);

        memset(&flight->outcome, 0, sizeof flight->outcome);
        flight->outcome.status = ES_E_UNKNOWN;
        flight->outcome.ticket = producer->ticket_done;
        flight->is_lost = true;
        producer->ticket_done++;
    }
    drop_taken(producer);
    es_producer_detach(producer);
}

void es_flights_collect(struct es_producer *producer)
{
    while (producer->ticket_done < producer->ticket_next) {
        struct es_lane_result result;
        enum es_status status = es_lane_collect(&producer->attachment.lane, &result);

        if (status == ES_EMPTY) {
            break;
        }
        if (status != ES_OK) {
            es_flights_lose(producer);
            break;
        }
        fill_outcome(producer, &result, producer->ticket_done,
                     &flight_of(producer, producer->ticket_done)->outcome);
        producer->ticket_done++;
    }
    drop_taken(producer);
}

/* Without waiting; whether the memory is still in use is asked now and then. */
static enum es_status look_for(struct es_producer *producer, uint64_t ticket)
{
    es_flights_collect(producer);
    if (producer->ticket_done <= ticket && es_monotonic_ns() >= producer->look_ns) {
        producer->look_ns = es_deadline_after_ns(ES_LANE_SLICE_NS);
        if (!es_attachment_is_current(&producer->attachment)) {
            es_flights_lose(producer);
        }
    }
    return producer->ticket_done > ticket ? ES_OK : ES_TIMEOUT;
}

/*
 * Waits until 'ticket' is done, or everything in flight is known to be lost. In
 * slices, between which it looks whether the broker still uses this memory: a
 * broker that is killed and started again goes on with it, and so does the wait.
 */
static enum es_status wait_for(struct es_producer *producer, uint64_t ticket, uint64_t timeout_ns)
{
    int64_t deadline_ns = es_deadline_of(timeout_ns);
    const _Atomic uint32_t *interrupted = &producer->connection->interrupted;

    if (timeout_ns == 0) {
        return look_for(producer, ticket);
    }
    while (producer->ticket_done <= ticket) {
        int64_t slice_ns = es_deadline_after_ns(ES_LANE_SLICE_NS);
        enum es_status status;

        status = es_lane_wait(&producer->attachment.lane, ticket - producer->ticket_base,
                              slice_ns < deadline_ns ? slice_ns : deadline_ns, interrupted, 0);
        if (status == ES_OK) {
            es_flights_collect(producer);
        } else if (status == ES_TIMEOUT && !es_attachment_is_current(&producer->attachment)) {
            es_flights_lose(producer);
        } else if (status != ES_TIMEOUT) {
            return status;
        } else if (es_monotonic_ns() >= deadline_ns) {
            return ES_TIMEOUT;
        }
    }
    return ES_OK;
}

static void take(struct es_producer *producer, uint64_t ticket)
{
    flight_of(producer, ticket)->is_taken = true;
    producer->flight_count--;
    drop_taken(producer);
}

enum es_status es_producer_settle(struct es_producer *producer, uint64_t ticket,
                                  uint64_t timeout_ns, struct es_outcome *ret_outcome)
{
    enum es_status waited = wait_for(producer, ticket, timeout_ns);
    struct es_outcome outcome = {.status = ES_E_UNKNOWN, .ticket = ticket};

    if (waited == ES_OK) {
        outcome = flight_of(producer, ticket)->outcome;
    }
    take(producer, ticket);
    if (outcome.status == ES_E_UNKNOWN) {
        (void)es_fail(producer->connection, ES_E_UNKNOWN,
                      "%s; the append may have been stored, now or later: look before you append "
                      "it again",
                      waited == ES_TIMEOUT       ? "no answer in time"
                      : waited == ES_INTERRUPTED ? "interrupted before the answer"
                                                 : "the broker's shared memory is gone");
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
        struct es_flight *flight = flight_of(producer, ticket);

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

    while (flight_of(producer, ticket)->is_taken) {
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
        return ES_EMPTY;
    }
    es_flights_collect(producer);
    status = wait_for(producer, oldest_wanted(producer), timeout_ns);
    if (status != ES_OK) {
        return status;
    }
    *ret_count = hand_out(producer, outcomes, capacity, &is_lost);
    if (is_lost) {
        return es_fail(producer->connection, ES_E_UNKNOWN,
                       "the broker's shared memory is gone: what was in flight may have been "
                       "stored; look before you append it again");
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
            status = wait_for(producer, producer->ticket_next - 1, timeout_ns);
        }
        es_producer_leave(producer);
    }
    return status;
}
