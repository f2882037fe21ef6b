/*
 * Transactions: operations collected in memory of their own, copied into the lane
 * when they are sent, so that other appends may go on meanwhile and a full lane
 * leaves the transaction open. What an append or a key change looks like is
 * append.c's and keys.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "libclient/producer.h"

#define CAPACITY_START 4096u

static enum es_status enter(struct es_transaction *transaction)
{
    enum es_status status;

    if (transaction == NULL) {
        return ES_E_INVALID;
    }
    status = es_producer_enter(transaction->producer);
    if (status == ES_OK && !transaction->is_open) {
        es_producer_leave(transaction->producer);
        return es_fail(transaction->producer->connection, ES_E_CLOSED,
                       "the transaction is over: begin another");
    }
    return status;
}

enum es_status es_transaction_begin(struct es_producer *producer,
                                    struct es_transaction **ret_transaction)
{
    struct es_transaction *transaction;
    enum es_status status;

    if (ret_transaction == NULL) {
        return ES_E_INVALID;
    }
    status = es_producer_enter(producer);
    if (status != ES_OK) {
        return status;
    }
    transaction = &producer->transaction;
    if (transaction->is_open) {
        status = es_fail(producer->connection, ES_E_BUSY,
                         "a transaction is open: commit, submit or abandon it first");
    } else {
        transaction->producer = producer;
        transaction->operation_count = 0;
        transaction->is_open = true;
        es_pack_init(&transaction->pack, transaction->bytes, transaction->capacity);
        *ret_transaction = transaction;
    }
    es_producer_leave(producer);
    return status;
}

/* Makes room for 'bytes_max' more, as far as a lane could ever take them. */
static enum es_status make_room(struct es_transaction *transaction, uint64_t bytes_min,
                                uint64_t bytes_max)
{
    const struct es_producer *producer = transaction->producer;
    size_t used = es_pack_size(&transaction->pack);
    uint32_t limit = producer->payload_bytes_max - ES_TRANSACTION_HEADER_MAX;
    uint64_t wanted = used + bytes_max < limit ? used + bytes_max : limit;
    uint8_t *grown;

    if (used + bytes_min > limit || transaction->operation_count >= ES_OPERATION_COUNT_MAX) {
        return es_fail(producer->connection, ES_E_TOO_LARGE,
                       "the transaction is full: %u of %u operations, %zu of %u bytes; commit it "
                       "and begin another",
                       transaction->operation_count, ES_OPERATION_COUNT_MAX, used, limit);
    }
    if (wanted <= transaction->capacity) {
        return ES_OK;
    }
    wanted = wanted < CAPACITY_START ? CAPACITY_START : wanted;
    if (wanted < 2 * (uint64_t)transaction->capacity) {
        wanted = 2 * (uint64_t)transaction->capacity;
    }
    grown = realloc(transaction->bytes, wanted);
    if (grown == NULL) {
        return es_fail_no_memory(producer->connection);
    }
    transaction->bytes = grown;
    transaction->capacity = (uint32_t)wanted;
    es_pack_init(&transaction->pack, grown, transaction->capacity);
    transaction->pack.at += used;
    return ES_OK;
}

/* Keeps the operation just packed, or takes it back. */
static enum es_status keep(struct es_transaction *transaction, size_t bytes_before)
{
    uint32_t size = 0;
    enum es_status status = es_pack_finish(&transaction->pack, &size);
    uint32_t limit = transaction->producer->payload_bytes_max - ES_TRANSACTION_HEADER_MAX;

    if (status != ES_OK || size > limit) {
        es_pack_init(&transaction->pack, transaction->bytes, transaction->capacity);
        transaction->pack.at += bytes_before;
        return es_fail(transaction->producer->connection, ES_E_TOO_LARGE,
                       "the transaction would have more than %u bytes; commit it and begin "
                       "another",
                       limit);
    }
    transaction->operation_count++;
    return ES_OK;
}

enum es_status es_transaction_append(struct es_transaction *transaction, const char *stream,
                                     const struct es_expectation *expectation,
                                     const struct es_event_input *events, size_t count)
{
    uint64_t bytes_min = 0;
    uint64_t bytes_max = 0;
    enum es_status status = enter(transaction);

    if (status != ES_OK) {
        return status;
    }
    status = es_append_measure(transaction->producer, stream, expectation, events, count,
                               &bytes_min, &bytes_max);
    if (status == ES_OK) {
        status = make_room(transaction, bytes_min, bytes_max);
    }
    if (status == ES_OK) {
        size_t bytes_before = es_pack_size(&transaction->pack);

        es_append_pack(&transaction->pack, stream, expectation, events, count);
        status = keep(transaction, bytes_before);
    }
    es_producer_leave(transaction->producer);
    return status;
}

static enum es_status change_key(struct es_transaction *transaction,
                                 const struct es_key_change *change)
{
    uint64_t bytes_min = 0;
    uint64_t bytes_max = 0;
    enum es_status status = enter(transaction);

    if (status != ES_OK) {
        return status;
    }
    status = es_key_change_measure(transaction->producer, change, &bytes_min, &bytes_max);
    if (status == ES_OK) {
        status = make_room(transaction, bytes_min, bytes_max);
    }
    if (status == ES_OK) {
        size_t bytes_before = es_pack_size(&transaction->pack);

        es_key_change_pack(&transaction->pack, change);
        status = keep(transaction, bytes_before);
    }
    es_producer_leave(transaction->producer);
    return status;
}

enum es_status es_transaction_put(struct es_transaction *transaction, enum es_key_family family,
                                  const char *name_space, const char *key,
                                  uint64_t expected_revision, const void *value, size_t value_bytes)
{
    const struct es_key_change change = {.family = family,
                                         .name_space = name_space,
                                         .key = key,
                                         .expected_revision = expected_revision,
                                         .value = value,
                                         .value_bytes = value_bytes};

    return change_key(transaction, &change);
}

enum es_status es_transaction_delete(struct es_transaction *transaction, enum es_key_family family,
                                     const char *name_space, const char *key,
                                     uint64_t expected_revision)
{
    const struct es_key_change change = {.family = family,
                                         .name_space = name_space,
                                         .key = key,
                                         .expected_revision = expected_revision,
                                         .is_delete = true};

    return change_key(transaction, &change);
}

/* Copies it into the lane and sends it. Over, whatever comes out, unless the
 * lane is full. */
static enum es_status submit_entered(struct es_transaction *transaction, uint64_t *ret_ticket)
{
    size_t bytes = es_pack_size(&transaction->pack);
    struct es_pack pack;
    enum es_status status;

    if (transaction->operation_count == 0) {
        transaction->is_open = false;
        return es_fail(transaction->producer->connection, ES_E_INVALID,
                       "the transaction has no operation; nothing was sent");
    }
    status =
        es_producer_claim(transaction->producer, bytes, ES_TRANSACTION_HEADER_MAX + bytes, &pack);
    if (status == ES_OK) {
        es_transaction_write_begin(&pack, es_number_next(transaction->producer),
                                   transaction->operation_count);
        es_pack_raw(&pack, transaction->bytes, bytes);
        status = es_producer_send(transaction->producer, &pack, ret_ticket);
    }
    transaction->is_open = status == ES_FULL;
    return status;
}

enum es_status es_transaction_commit(struct es_transaction *transaction, uint64_t timeout_ns,
                                     struct es_outcome *ret_outcome)
{
    uint64_t ticket = 0;
    int64_t deadline_ns = 0;
    enum es_status status = enter(transaction);

    if (status != ES_OK) {
        return status;
    }
    status = es_producer_prepare(transaction->producer, timeout_ns, &deadline_ns);
    if (status != ES_OK) {
        transaction->is_open = false;
        es_producer_leave(transaction->producer);
        return status;
    }
    status = submit_entered(transaction, &ticket);
    if (status == ES_OK) {
        status = es_producer_settle(transaction->producer, ticket, deadline_ns, ret_outcome);
    }
    es_producer_leave(transaction->producer);
    return status;
}

enum es_status es_transaction_submit(struct es_transaction *transaction, uint64_t *ret_ticket)
{
    uint64_t ticket = 0;
    enum es_status status = enter(transaction);

    if (status != ES_OK) {
        return status;
    }
    status = submit_entered(transaction, &ticket);
    if (status == ES_OK && ret_ticket != NULL) {
        *ret_ticket = ticket;
    }
    es_producer_leave(transaction->producer);
    return status;
}

void es_transaction_abandon(struct es_transaction *transaction)
{
    if (enter(transaction) == ES_OK) {
        transaction->is_open = false;
        es_producer_leave(transaction->producer);
    }
}

void es_transaction_deinit(struct es_transaction *transaction)
{
    free(transaction->bytes);
    transaction->bytes = NULL;
    transaction->capacity = 0;
    transaction->is_open = false;
}
