/*
 * Request workers over real sockets and a store that the broker's own sequencer
 * builds; a thread plays the commit thread. Replies are read as a client reads
 * them. Failures end the test.
 */
#ifndef TESTS_SUPPORT_REQUEST_FIXTURE_H
#define TESTS_SUPPORT_REQUEST_FIXTURE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/requests.h"
#include "shm/codec/replies.h"
#include "tests/support/sp_client.h"
#include "tests/support/store_builder.h"
#include "tests/support/temp_directory.h"

#define ORDERS "prod:main:L0:orders:M1"
#define ORDER "prod:main:L0:order:M1"

struct request_fixture {
    struct store_builder builder;
    struct transport *transport;
    struct inbox *inbox;
    struct requests *requests;
    struct counters counters;
    struct counters request_counters;
    char directory[TEMP_DIRECTORY_BYTES_MAX];
    struct sp_client client;
    pthread_t committer;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    unsigned wakes;
    bool ends;
    bool holds;          /* takes an append and answers it only at the end */
    struct errand owner; /* what the commit thread says of a name's owner */
    uint8_t *request;
    uint8_t *reply_bytes; /* of the last reply */
    size_t reply_size;
    struct es_reply reply;
};

/* cmocka's set-up and tear-down: '*state' becomes a struct request_fixture *. */
int request_fixture_set_up(void **state);
int request_fixture_tear_down(void **state);

/* Sends bytes; whatever they are there is a well-formed reply. */
enum es_status ask_bytes(struct request_fixture *f, const void *bytes, size_t size);
enum es_status ask(struct request_fixture *f, const struct es_request *request);

/* The reply is a refusal whose message has these words. */
void assert_message_has(const struct request_fixture *f, const char *words);

/* Nothing of the reply is left to be read. */
void assert_reply_is_read(const struct request_fixture *f);

/* Writes a transaction: one event of zeros for ORDERS, expecting its last sequence unless 0. */
uint32_t pack_append(uint8_t *bytes, size_t capacity, uint64_t expected, uint32_t payload_bytes);

#endif
