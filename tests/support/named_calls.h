/*
 * What tests of named producers do again and again with a client_fixture: open the
 * name, send, take an outcome, look at the numbers that the fake broker has stored.
 */
#ifndef TESTS_SUPPORT_NAMED_CALLS_H
#define TESTS_SUPPORT_NAMED_CALLS_H

#include "tests/support/client_fixture.h"

#define CALLS_STREAM "test:main:L0:orders:M1"
#define CALLS_NAME "billing"
#define CALLS_SHORT_NS 2000000 /* a deadline that passes */

/* Opens the name, whatever the options say about it; it must be possible. */
struct es_producer *open_with(struct client_fixture *f, struct es_producer_options options);
struct es_producer *open_named(struct client_fixture *f);

/* One event with this payload. */
enum es_status submit(struct es_producer *producer, const char *payload);
enum es_status append(struct es_producer *producer, const char *payload, uint64_t timeout_ns,
                      struct es_outcome *outcome);

/* The same, so often, while the broker looks into no lane: all of them are in flight. */
void submit_held(struct client_fixture *f, struct es_producer *producer, int count);

/* The lanes are gone, with so many of their records stored; and the broker looks again. */
void lose_lane(struct client_fixture *f, uint32_t stored);

/* Takes one outcome, which must come. */
struct es_outcome poll_one(struct es_producer *producer);

/* Takes those of the numbers 1 .. 'last', in this order. */
void poll_numbers(struct es_producer *producer, uint64_t last);

/* The numbers 1 .. 'count' are stored, each once and in this order. */
void assert_stored(struct client_fixture *f, uint32_t count);

/* A fake_judge: refuses the transaction that brings '*(int *)context' down to 0. */
void refuse_when_told(void *context, const void *transaction, uint32_t size,
                      struct es_lane_result *result);

#endif
