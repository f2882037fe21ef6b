/*
 * The numbers of a named producer: which one the next transaction gets, what is
 * known to be stored, and whether the order is broken, so that no number is given
 * twice to two transactions that may both be stored, and none is left out.
 *
 * A refused transaction uses no number up, and what was sent behind it is refused
 * too. So after a refusal the numbers begin again behind the last one stored, for
 * the record that begins the new order. That record may have been sent before the
 * refusal was known: then it has its number, and the ones after it theirs.
 */
#include "libclient/producer.h"

uint64_t es_number_next(const struct es_producer *producer)
{
    if (!producer->is_named) {
        return 0;
    }
    return producer->numbers.wanted != 0 ? producer->numbers.wanted : producer->numbers.given + 1;
}

uint32_t es_record_flags(const struct es_producer *producer)
{
    bool is_new_order =
        producer->is_resuming ||
        (producer->goes_on && producer->flight_count == 0 && producer->numbers.is_broken);

    return (producer->is_ordered ? ES_RECORD_ORDERED : 0) |
           (producer->is_ordered && is_new_order ? ES_RECORD_RESUME : 0) |
           (producer->allows_gaps ? ES_RECORD_ALLOW_GAP : 0);
}

void es_number_sent(struct es_producer *producer, uint64_t ticket, uint32_t flags)
{
    struct es_numbers *numbers = &producer->numbers;
    struct es_flight *flight = es_flight_of(producer, ticket);

    flight->flags = flags;
    flight->number = es_number_next(producer);
    if ((flags & ES_RECORD_RESUME) != 0) {
        numbers->is_broken = false;
        numbers->resume_ticket = ticket;
    }
    if (!numbers->is_broken && flight->number > numbers->given) {
        numbers->given = flight->number;
    }
    numbers->wanted = 0;
}

void es_number_answered(struct es_producer *producer, const struct es_outcome *outcome)
{
    struct es_numbers *numbers = &producer->numbers;

    if (!producer->is_named) {
        return;
    }
    if (outcome->status == ES_OK) {
        numbers->was_broken = false;
        if (outcome->number > numbers->last) {
            numbers->last = outcome->number;
        }
    } else if (outcome->status > ES_OK || outcome->status == ES_E_CORRUPT) {
        numbers->was_broken = true;
        if (numbers->resume_ticket <= outcome->ticket) {
            numbers->is_broken = true;
            numbers->given = numbers->last;
        }
    }
    if (outcome->status == ES_FENCED) {
        producer->ended = ES_FENCED;
    }
}

uint64_t es_producer_last_number(const struct es_producer *producer)
{
    return producer != NULL ? producer->numbers.last : 0;
}

enum es_status es_producer_set_number(struct es_producer *producer, uint64_t number)
{
    enum es_status status = es_producer_enter(producer);

    if (status != ES_OK) {
        return status;
    }
    if (!producer->is_named || number == 0) {
        status = es_fail(producer->connection, ES_E_INVALID,
                         producer->is_named ? "numbers begin at 1"
                                            : "a producer without a name has no numbers");
    } else {
        producer->numbers.wanted = number;
    }
    es_producer_leave(producer);
    return status;
}
