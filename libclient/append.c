/*
 * Appends to one stream: what the caller says, written once, straight into the
 * lane. Rules about names, ticks and expectations are the broker's to judge, so
 * that they are said in one place; here is checked what C can get wrong.
 */
#include <string.h>

#include "libclient/producer.h"

#define APPEND_OVERHEAD (ES_APPEND_OVERHEAD_MAX - ES_STREAM_SIZE_MAX) /* without the name */
#define EVENT_OVERHEAD (ES_EVENT_OVERHEAD_MAX - ES_TYPE_SIZE_MAX)

static bool expectation_is_sound(const struct es_expectation *expectation)
{
    if (expectation == NULL) {
        return true;
    }
    return expectation->kind <= ES_EXPECT_SEQUENCE &&
           (expectation->hash == NULL || expectation->hash_bytes <= ES_HASH_BYTES);
}

static enum es_status invalid(const struct es_producer *producer, const char *what)
{
    return es_fail(producer->connection, ES_E_INVALID, "nothing was sent: %s", what);
}

enum es_status es_append_measure(const struct es_producer *producer, const char *stream,
                                 const struct es_expectation *expectation,
                                 const struct es_event_input *events, size_t count,
                                 uint64_t *ret_bytes_min, uint64_t *ret_bytes_max)
{
    uint64_t bytes;
    uint64_t overhead;

    if (stream == NULL || events == NULL || count == 0) {
        return invalid(producer, "an append needs a stream and at least one event");
    }
    if (!expectation_is_sound(expectation)) {
        return invalid(producer,
                       "an expectation is of a known kind, and its hash of 0 or 32 bytes");
    }
    /* A 32-bit size holds whatever fits into a lane; more is told apart here. */
    bytes = strlen(stream);
    overhead = APPEND_OVERHEAD + (uint64_t)EVENT_OVERHEAD * count;
    for (size_t i = 0; i < count; i++) {
        if (events[i].type == NULL || (events[i].payload == NULL && events[i].payload_bytes > 0)) {
            return invalid(producer, "an event needs a type and a payload");
        }
        if (events[i].payload_bytes > UINT32_MAX) {
            bytes += UINT32_MAX; /* enough to be refused, and cannot wrap */
        } else {
            bytes += strlen(events[i].type) + events[i].payload_bytes;
        }
        if (bytes > UINT32_MAX) {
            break;
        }
    }
    *ret_bytes_min = bytes;
    *ret_bytes_max = bytes + overhead;
    return ES_OK;
}

static void pack_append(struct es_pack *pack, const char *stream,
                        const struct es_expectation *expectation, size_t count)
{
    struct es_operation operation = {.kind = ES_OPERATION_APPEND};
    struct es_append_operation *append = &operation.as.append;

    append->stream = es_text_of(stream);
    append->event_count = (uint32_t)count; /* an event has more than one byte: see measure */
    if (expectation != NULL) {
        switch (expectation->kind) {
        case ES_EXPECT_ANY: append->expect.kind = ES_EXPECTED_ANY; break;
        case ES_EXPECT_NONE: append->expect.kind = ES_EXPECTED_NONE; break;
        case ES_EXPECT_EXISTS: append->expect.kind = ES_EXPECTED_EXISTS; break;
        case ES_EXPECT_SEQUENCE:
            append->expect.kind = ES_EXPECTED_EXACT;
            append->expect.number = expectation->sequence;
            break;
        }
        append->expect_hash.given = expectation->hash != NULL;
        append->expect_hash.hash =
            es_bytes_make(expectation->hash, (uint32_t)expectation->hash_bytes);
    }
    es_transaction_write_operation(pack, &operation);
}

void es_append_pack(struct es_pack *pack, const char *stream,
                    const struct es_expectation *expectation, const struct es_event_input *events,
                    size_t count)
{
    pack_append(pack, stream, expectation, count);
    for (size_t i = 0; i < count; i++) {
        const struct es_append_event event = {
            .tick = events[i].tick,
            .type = es_text_of(events[i].type),
            .payload = es_bytes_make(events[i].payload, (uint32_t)events[i].payload_bytes),
            .expected_hash = events[i].expected_hash};

        es_transaction_write_event(pack, &event);
    }
}

static enum es_status submit_entered(struct es_producer *producer, const char *stream,
                                     const struct es_expectation *expectation,
                                     const struct es_event_input *events, size_t count,
                                     uint64_t *ret_ticket)
{
    struct es_pack pack;
    uint64_t bytes_min = 0;
    uint64_t bytes_max = 0;
    enum es_status status =
        es_append_measure(producer, stream, expectation, events, count, &bytes_min, &bytes_max);

    if (status == ES_OK) {
        status =
            es_producer_claim(producer, bytes_min, ES_TRANSACTION_HEADER_MAX + bytes_max, &pack);
    }
    if (status == ES_OK) {
        es_transaction_write_begin(&pack, es_number_next(producer), 1);
        es_append_pack(&pack, stream, expectation, events, count);
        status = es_producer_send(producer, &pack, ret_ticket);
    }
    return status;
}

enum es_status es_producer_append(struct es_producer *producer, const char *stream,
                                  const struct es_expectation *expectation,
                                  const struct es_event_input *events, size_t count,
                                  uint64_t timeout_ns, struct es_outcome *ret_outcome)
{
    uint64_t ticket = 0;
    int64_t deadline_ns = 0;
    enum es_status status = es_producer_enter_to_wait(producer, timeout_ns, &deadline_ns);

    if (status != ES_OK) {
        return status;
    }
    status = submit_entered(producer, stream, expectation, events, count, &ticket);
    if (status == ES_OK) {
        status = es_producer_settle(producer, ticket, deadline_ns, ret_outcome);
    }
    es_producer_leave(producer);
    return status;
}

enum es_status es_producer_submit(struct es_producer *producer, const char *stream,
                                  const struct es_expectation *expectation,
                                  const struct es_event_input *events, size_t count,
                                  uint64_t *ret_ticket)
{
    uint64_t ticket = 0;
    enum es_status status = es_producer_enter(producer);

    if (status != ES_OK) {
        return status;
    }
    status = submit_entered(producer, stream, expectation, events, count, &ticket);
    if (status == ES_OK && ret_ticket != NULL) {
        *ret_ticket = ticket;
    }
    es_producer_leave(producer);
    return status;
}

/* ---- reserve in place --------------------------------------------------- */

static enum es_status reserve_entered(struct es_producer *producer, const char *stream,
                                      const struct es_expectation *expectation,
                                      const struct es_event_input *event, void **ret_payload)
{
    struct es_pack pack;
    uint64_t bytes_min = 0;
    uint64_t bytes_max = 0;
    uint32_t size = 0;
    uint8_t *payload;
    enum es_status status =
        es_append_measure(producer, stream, expectation, event, 1, &bytes_min, &bytes_max);

    if (status == ES_OK) {
        status =
            es_producer_claim(producer, bytes_min, ES_TRANSACTION_HEADER_MAX + bytes_max, &pack);
    }
    if (status != ES_OK) {
        return status;
    }
    es_transaction_write_begin(&pack, es_number_next(producer), 1);
    pack_append(&pack, stream, expectation, 1);
    es_transaction_write_event_begin(&pack, event->tick, es_text_of(event->type),
                                     (uint32_t)event->payload_bytes);
    payload = pack.at;
    if ((size_t)(pack.end - pack.at) < event->payload_bytes) {
        pack.overflow = true;
    } else {
        pack.at += event->payload_bytes; /* the caller's to fill */
    }
    es_transaction_write_event_end(&pack, NULL);
    status = es_pack_finish(&pack, &size);
    if (status != ES_OK) {
        return es_fail(producer->connection, status,
                       "a payload of %zu bytes does not fit into a lane of this broker",
                       event->payload_bytes);
    }
    producer->reserved_bytes = size;
    *ret_payload = payload;
    return ES_OK;
}

enum es_status es_producer_reserve(struct es_producer *producer, const char *stream,
                                   const struct es_expectation *expectation, uint64_t tick,
                                   const char *type, size_t payload_bytes, void **ret_payload)
{
    /* The payload is not looked at: it will be written where it is to lie. */
    const struct es_event_input event = {
        .tick = tick, .type = type, .payload = "", .payload_bytes = payload_bytes};
    enum es_status status;

    if (ret_payload == NULL) {
        return ES_E_INVALID;
    }
    status = es_producer_enter(producer);
    if (status == ES_OK) {
        status = reserve_entered(producer, stream, expectation, &event, ret_payload);
        es_producer_leave(producer);
    }
    return status;
}

enum es_status es_producer_publish(struct es_producer *producer, uint64_t *ret_ticket)
{
    uint64_t ticket = 0;
    enum es_status status;

    if (producer == NULL) {
        return ES_E_INVALID;
    }
    status = es_guard_enter(&producer->guard);
    if (status != ES_OK) {
        return status;
    }
    if (producer->reserved_bytes == 0) {
        status = es_fail(producer->connection, ES_E_INVALID, "no reservation is open");
    } else {
        status = es_producer_publish_bytes(producer, producer->reserved_bytes, &ticket);
        producer->reserved_bytes = 0;
    }
    if (status == ES_OK && ret_ticket != NULL) {
        *ret_ticket = ticket;
    }
    es_guard_leave(&producer->guard);
    return status;
}

void es_producer_abandon(struct es_producer *producer)
{
    if (producer != NULL && es_guard_enter(&producer->guard) == ES_OK) {
        producer->reserved_bytes = 0; /* a claim that is not published costs nothing */
        es_guard_leave(&producer->guard);
    }
}
