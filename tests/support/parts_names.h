/*
 * What tests of one name do again and again on the commit path of commit_parts.h, with
 * one stream whose events have their numbers as ticks. Failures end the test.
 */
#ifndef TESTS_SUPPORT_PARTS_NAMES_H
#define TESTS_SUPPORT_PARTS_NAMES_H

#include "shm/codec/store_value.h"
#include "tests/support/commit_parts.h"

#define NAMED_STREAM "prod:main:L0:orders:M1"
#define NAMED_PRODUCER "importer"

/* The name is given, and the last number is told. */
uint64_t named_claim(struct commit_parts *parts, struct parts_producer *producer, bool take_over);

void named_publish(struct parts_producer *producer, uint64_t number, bool with_ticket);

/* Rounds, until everything is committed that waits anywhere, tickets or none. */
void named_settle(struct commit_parts *parts);

/* All three: publishes, settles, and takes the answer. */
struct es_lane_result named_send(struct commit_parts *parts, struct parts_producer *producer,
                                 uint64_t number);

/* The name's entry in the store. */
struct es_producer_value named_stored(struct commit_parts *parts);

/* The stream holds the numbers 1 to 'last', each once and in order, and each leads back. */
void named_assert_stored(struct commit_parts *parts, uint64_t last);

#endif
