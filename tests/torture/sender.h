/*
 * Sends the transactions of plan.h through a lane, and writes into the book what was
 * sent and what became of it. When to send and to wait is its caller's: appender.c
 * and visitor.c.
 *
 * A named producer's transaction has the number that it has in the book, gaps allowed:
 * so whoever goes on with the book of one that was killed sends again what has no
 * answer there, under its number, and need not know what is stored.
 */
#ifndef TORTURE_SENDER_H
#define TORTURE_SENDER_H

#include <eventspine.h>

#include "tests/torture/book.h"
#include "tests/torture/plan.h"

enum {
    SENDER_IN_FLIGHT_MAX = 64
};

struct sender_flight {
    uint64_t number; /* 0: none yet */
    uint64_t expected;
};

struct sender {
    struct es_producer *producer;
    struct book *book;
    uint32_t client;
    bool is_named;
    uint64_t number_base;         /* what a named producer's numbers are counted from */
    uint64_t announced;           /* the number in hand: it is in the book */
    bool is_taken_up;             /* by one that was killed, who may have sent it */
    uint64_t expected;            /* of its first stream */
    uint64_t known[PLAN_STREAMS]; /* last sequence heard of, or hoped for */
    struct sender_flight flights[SENDER_IN_FLIGHT_MAX * 2]; /* by ticket */
    struct sender_flight stored;                            /* the last one acknowledged */
};

/* The last sequence that the transaction expects of its first stream, or
 * BOOK_NOTHING_EXPECTED; what the clients that ask send as well. */
uint64_t sender_expectation(const struct plan *plan, const uint64_t known[PLAN_STREAMS]);

/* As an argument of an append: NULL, or '*ret_place'. */
const struct es_expectation *sender_expect(uint64_t expected, struct es_expectation *ret_place);

/* Fills in the append's events; 'first' is the index of its first in the transaction. The
 * payloads lie in 'bytes'. */
void sender_events(const struct plan *plan, uint32_t first, uint32_t count,
                   uint8_t (*bytes)[PLAN_PAYLOAD_BYTES_MAX], struct es_event_input *events);

/* ES_FULL: take outcomes, and submit the same number again. Others: it was not sent, and the
 * book says so, unless the number was taken up: that it was not sent now says nothing of before. */
ES_MUST_USE enum es_status sender_submit(struct sender *sender, uint64_t number);

/* Takes up a number that is in the book already, with what it expected there. */
void sender_take_up(struct sender *sender, uint64_t number, uint64_t expected);

/* Sends the last stored transaction once more, under its number: the outcome is written as a
 * repeat, which must be the first answer. Named, and nothing in flight. ES_EMPTY: there is none. */
ES_MUST_USE enum es_status sender_repeat(struct sender *sender);

/* Writes what has come, waiting 'timeout_ns' for the first. Returns how many. */
size_t sender_collect(struct sender *sender, uint64_t timeout_ns);

#endif
