/*
 * The fake broker's named producers: who owns a name, which numbers are stored and
 * with which result. For fake_lanes.c (attaching, records) and fake_broker.c
 * (questions), under the lock of the lanes.
 */
#ifndef TESTS_SUPPORT_FAKE_PRODUCERS_H
#define TESTS_SUPPORT_FAKE_PRODUCERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/codec/pack.h"
#include "shm/codec/strict_msgpack.h"
#include "shm/lane_reader.h"

#define FAKE_PRODUCER_COUNT_MAX 4u
#define FAKE_NUMBER_COUNT_MAX 2048u

struct fake_stored_number {
    uint64_t number;
    uint8_t content_hash[16];
    struct es_lane_result result;
};

struct fake_producer {
    char name[256];
    uint64_t owner_incarnation;
    uint64_t last_number;
    uint32_t stored_count;
    struct fake_stored_number stored[FAKE_NUMBER_COUNT_MAX]; /* in the order of storing */
};

struct fake_producers {
    uint32_t count;
    uint32_t owner_pid; /* 0: this process */
    struct fake_producer items[FAKE_PRODUCER_COUNT_MAX];
};

/* Finds a name, or makes it; NULL: it is not there and 'makes' is false. */
struct fake_producer *fake_producers_find(struct fake_producers *producers, struct es_text name,
                                          bool makes);

/*
 * What the rules of numbers say of a record of 'producer' from lane 'incarnation'.
 * True: it is to be judged on, and stored under '*ret_number' if all goes well.
 * False: 'result' is its answer.
 */
bool fake_producer_admits(struct fake_producer *producer, uint64_t incarnation,
                          const void *transaction, const struct es_record *record,
                          struct es_lane_result *result, uint64_t *ret_number);

/* Notes that 'number' is stored with this result. */
void fake_producer_store(struct fake_producer *producer, uint64_t number, const void *transaction,
                         uint32_t size, const struct es_lane_result *result);

/* Answers verb 18 or 19 from 'position'; 'is_alive' tells of a lane. */
typedef bool fake_lane_is_alive(void *context, uint64_t incarnation);
void fake_producers_answer(struct fake_producers *producers, uint64_t verb,
                           struct es_unpack *request, uint64_t position,
                           fake_lane_is_alive *is_alive, void *context, struct es_pack *reply);

#endif
