#include "libclient/producer.h"

#include <stdlib.h>
#include <string.h>

#include "shm/codec/names.h"
#include "shm/doorbell.h"
#include "shm/probe.h"

enum es_status es_producer_enter(struct es_producer *producer)
{
    enum es_status status;

    if (producer == NULL) {
        return ES_E_INVALID;
    }
    status = es_guard_enter(&producer->guard);
    if (status == ES_OK && producer->reserved_bytes != 0) {
        es_guard_leave(&producer->guard);
        return es_fail(producer->connection, ES_E_INVALID,
                       "a reservation is open: publish or abandon it first");
    }
    return status;
}

enum es_status es_producer_prepare(struct es_producer *producer, uint64_t timeout_ns,
                                   int64_t *ret_deadline_ns)
{
    enum es_status status = ES_OK;

    *ret_deadline_ns = timeout_ns == 0 ? ES_NO_WAIT : es_deadline_of(timeout_ns);
    if (atomic_load_explicit(&producer->connection->interrupted, memory_order_relaxed) != 0) {
        return ES_INTERRUPTED;
    }
    if (!producer->is_named || producer->ended != ES_OK) {
        return ES_OK; /* the claim says what has ended */
    }
    if (producer->ticket_unknown >= producer->ticket_done) {
        status = es_flights_wait(producer, producer->ticket_unknown, *ret_deadline_ns);
        if (status == ES_TIMEOUT) {
            return es_fail(producer->connection, ES_TIMEOUT,
                           "nothing was sent: what became of an earlier transaction of %s is not "
                           "known yet",
                           producer->name);
        }
    }
    if (status == ES_OK && producer->ended == ES_OK && !producer->is_attached) {
        status = es_producer_reattach(producer, *ret_deadline_ns);
    }
    return status == ES_TIMEOUT ? ES_E_UNREACHABLE : status;
}

enum es_status es_producer_enter_to_wait(struct es_producer *producer, uint64_t timeout_ns,
                                         int64_t *ret_deadline_ns)
{
    enum es_status status = es_producer_enter(producer);

    if (status == ES_OK) {
        status = es_producer_prepare(producer, timeout_ns, ret_deadline_ns);
        if (status != ES_OK) {
            es_producer_leave(producer);
        }
    }
    return status;
}

void es_producer_leave(struct es_producer *producer)
{
    es_guard_leave(&producer->guard);
}

void es_producer_detach(struct es_producer *producer)
{
    if (producer->is_attached) {
        es_attachment_close(&producer->attachment);
        producer->is_attached = false;
    } else {
        es_attachment_forget(producer->connection, &producer->attachment);
    }
}

void es_producer_attached(struct es_producer *producer)
{
    const struct es_control_identity *identity = &producer->attachment.identity;

    producer->is_attached = true;
    producer->ticket_base = producer->ticket_done - 1;
    producer->payload_bytes_max = identity->geometry.payload_bytes_max;
    if (producer->payload_bytes_max > identity->transaction_bytes_max) {
        producer->payload_bytes_max = identity->transaction_bytes_max;
    }
}

/* ---- sending ------------------------------------------------------------ */

static enum es_status attach(struct es_producer *producer, bool take_over)
{
    const struct es_attach_wish wish = {.producer = producer->name, .take_over = take_over};
    enum es_status status = es_attachment_open(
        producer->connection, &wish, es_deadline_of(producer->timeout_ns), &producer->attachment);

    if (status == ES_OK) {
        es_producer_attached(producer);
    }
    return status;
}

/* A lane for a named producer that has lost its own. Only submissions come here:
 * a call that waits has attached before (es_producer_prepare()). */
static enum es_status attach_again(struct es_producer *producer)
{
    enum es_status status = es_producer_reattach(producer, es_deadline_of(producer->timeout_ns));

    if (status == ES_OK) {
        return es_producer_check_ended(producer);
    }
    return status == ES_TIMEOUT ? ES_E_UNREACHABLE : status;
}

/* Attached to a broker that takes appends. A clean stop is seen before the ring
 * is entered; a broker that was killed is not, and the wait decides. */
static enum es_status ensure_attached(struct es_producer *producer)
{
    enum es_status status = es_producer_check_ended(producer);
    bool was_stopped = false;

    if (status != ES_OK) {
        return status;
    }
    if (producer->is_attached &&
        es_control_state(&producer->attachment.control) >= ES_BROKER_STOPPING) {
        was_stopped = true;
        if (es_attachment_is_current(&producer->attachment)) {
            return es_fail(producer->connection, ES_NOT_SERVING,
                           "the broker in %s is stopped; nothing was sent; start it again",
                           producer->connection->run_dir);
        }
        es_flights_collect(producer);
        es_flights_lose(producer);
    }
    if (!producer->is_attached) {
        status = producer->is_named ? attach_again(producer) : attach(producer, false);
    }
    return status == ES_E_UNREACHABLE && was_stopped ? ES_NOT_SERVING : status;
}

static enum es_status too_large(const struct es_producer *producer, uint64_t bytes)
{
    return es_fail(producer->connection, ES_E_TOO_LARGE,
                   "a transaction holds at most %u bytes, and this one has at least %llu; start "
                   "the broker with larger --lane-bytes, or send less at once",
                   producer->payload_bytes_max, (unsigned long long)bytes);
}

enum es_status es_producer_claim(struct es_producer *producer, uint64_t bytes_min,
                                 uint64_t bytes_max, struct es_pack *ret_pack)
{
    uint32_t size;
    enum es_status status = ensure_attached(producer);

    if (status != ES_OK) {
        return status;
    }
    if (producer->ticket_sent < producer->ticket_next) {
        es_flights_collect(producer);
        if (producer->ticket_sent < producer->ticket_next) {
            return ES_FULL; /* what is older goes first */
        }
    }
    if (bytes_min > producer->payload_bytes_max) {
        return too_large(producer, bytes_min);
    }
    if (producer->ticket_next - producer->ticket_first >= producer->flight_count_max) {
        es_flights_collect(producer);
        if (producer->ticket_next - producer->ticket_first >= producer->flight_count_max) {
            return ES_FULL;
        }
    }
    size =
        bytes_max < producer->payload_bytes_max ? (uint32_t)bytes_max : producer->payload_bytes_max;
    status = es_lane_claim(&producer->attachment.lane, size, &producer->claimed);
    if (status == ES_FULL) {
        es_flights_collect(producer);
        if (!producer->is_attached) {
            return ES_FULL; /* the lane was lost; its outcomes say so */
        }
        status = es_lane_claim(&producer->attachment.lane, size, &producer->claimed);
    }
    if (status == ES_OK) {
        es_pack_init(ret_pack, producer->claimed, size);
    }
    return status;
}

enum es_status es_producer_publish_bytes(struct es_producer *producer, uint32_t size,
                                         uint64_t *ret_ticket)
{
    struct es_attachment *attachment = &producer->attachment;
    const uint32_t flags = es_record_flags(producer);
    uint64_t sequence = 0;
    enum es_status status = es_resend_keep(producer, size);

    if (status == ES_OK) {
        status = es_lane_publish(&attachment->lane, size, flags, &sequence);
    }
    if (status != ES_OK) {
        return status;
    }
    /* ES_FULL only delays it: the broker finds what is published without a ticket. */
    (void)!es_ring_place(&attachment->ring, attachment->lane_index, sequence);
    ES_PROBE(ticket_placed);
    es_doorbell_ring(&attachment->ring);
    *ret_ticket = es_flights_begin(producer);
    es_number_sent(producer, *ret_ticket, flags);
    producer->is_resuming = false;
    ES_PROBE(record_sent);
    return ES_OK;
}

enum es_status es_producer_send(struct es_producer *producer, const struct es_pack *pack,
                                uint64_t *ret_ticket)
{
    uint32_t size = 0;
    enum es_status status = es_pack_finish(pack, &size);

    if (status != ES_OK) {
        return too_large(producer, (uint64_t)producer->payload_bytes_max + 1);
    }
    return es_producer_publish_bytes(producer, size, ret_ticket);
}

/* ---- the public calls --------------------------------------------------- */

const char *es_refusal_text(const struct es_refusal *refusal)
{
    return es_reason_text(refusal != NULL ? refusal->reason : (uint32_t)ES_REASON_NONE);
}

/* Takes over what the caller wants; the name must be one. */
static enum es_status configure(struct es_producer *producer,
                                const struct es_producer_options *wanted)
{
    const struct es_connection *connection = producer->connection;

    producer->timeout_ns = wanted->timeout_ns != 0 ? wanted->timeout_ns : connection->timeout_ns;
    producer->is_named = wanted->name != NULL;
    producer->is_ordered = wanted->ordered || producer->is_named;
    producer->goes_on = producer->is_named && !wanted->ordered;
    producer->allows_gaps = wanted->allow_gaps;
    producer->flight_count_max = wanted->in_flight_max;
    if (producer->flight_count_max == 0 || producer->flight_count_max > ES_CREDIT_COUNT_MAX) {
        producer->flight_count_max = ES_CREDIT_COUNT_MAX;
    }
    producer->ticket_first = producer->ticket_done = 1;
    producer->ticket_sent = producer->ticket_next = 1;
    if (producer->is_named) {
        uint32_t reason = es_name_check(es_text_of(wanted->name));

        if (reason != ES_REASON_NONE) {
            return es_fail(connection, ES_E_INVALID, "the producer name '%.60s' is not a name: %s",
                           wanted->name, es_reason_text(reason));
        }
        memcpy(producer->name, wanted->name, strlen(wanted->name) + 1); /* the check bounds it */
    }
    return ES_OK;
}

enum es_status es_producer_open(struct es_connection *connection,
                                const struct es_producer_options *options,
                                struct es_producer **ret_producer)
{
    static const struct es_producer_options defaults = {0};
    const struct es_producer_options *wanted = options != NULL ? options : &defaults;
    struct es_producer *producer = NULL;
    enum es_status status;

    if (connection == NULL || ret_producer == NULL) {
        return ES_E_INVALID;
    }
    status = es_connection_hold(connection);
    if (status != ES_OK) {
        return status;
    }
    producer = es_handle_new(sizeof *producer);
    if (producer != NULL) {
        producer->flights = calloc(ES_CREDIT_COUNT_MAX, sizeof *producer->flights);
    }
    if (producer == NULL || producer->flights == NULL) {
        free(producer);
        status = es_fail_no_memory(connection);
        es_connection_drop(connection);
        return status;
    }
    producer->connection = connection;
    es_guard_init(&producer->guard);
    status = configure(producer, wanted);
    if (status == ES_OK) {
        status = attach(producer, wanted->take_over);
    }
    if (status != ES_OK) {
        free(producer->flights);
        free(producer);
        es_connection_drop(connection);
        return status;
    }
    producer->numbers.last = producer->numbers.given = producer->attachment.last_number;
    *ret_producer = producer;
    return ES_OK;
}

void es_producer_close(struct es_producer *producer)
{
    struct es_connection *connection;

    if (producer == NULL || !es_guard_close(&producer->guard)) {
        return;
    }
    connection = producer->connection;
    es_producer_detach(producer);
    for (uint32_t i = 0; i < ES_CREDIT_COUNT_MAX; i++) {
        free(producer->flights[i].kept);
    }
    free(producer->flights);
    es_transaction_deinit(&producer->transaction);
    es_handle_retire(producer);
    es_connection_drop(connection);
}

size_t es_producer_payload_bytes_max(const struct es_producer *producer)
{
    const uint32_t overhead =
        ES_TRANSACTION_HEADER_MAX + ES_APPEND_OVERHEAD_MAX + ES_EVENT_OVERHEAD_MAX;

    return producer != NULL && producer->payload_bytes_max > overhead
               ? producer->payload_bytes_max - overhead
               : 0;
}

size_t es_producer_in_flight(const struct es_producer *producer)
{
    return producer != NULL ? producer->flight_count : 0;
}

enum es_status es_producer_resume_order(struct es_producer *producer)
{
    enum es_status status = es_producer_enter(producer);

    if (status == ES_OK) {
        producer->is_resuming = true;
        es_producer_leave(producer);
    }
    return status;
}
