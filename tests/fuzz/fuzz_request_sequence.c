/*
 * Fuzzes the request handlers with whole conversations: the input is a row of requests,
 * each with its size (2 bytes, little-endian) before it, asked one after the other of
 * real workers over a store in memory that the broker's sequencer builds. Whatever the
 * requests are, each gets one well-formed reply, and a sound append is served after all.
 * The store is made anew after so many requests, for making it takes longer than they do.
 */
#include <stdlib.h>

#include "shm/codec/hash.h"
#include "shm/codec/transaction.h"
#include "tests/support/request_fixture.h"

enum {
    REQUESTS_MAX = 64,
    REQUESTS_PER_STORE = 5000
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void append_soundly(struct request_fixture *f)
{
    uint8_t transaction[512];
    struct es_request request = {.verb = ES_VERB_APPEND};

    request.as.append.transaction =
        es_bytes_make(transaction, pack_append(transaction, sizeof transaction, 0, 10));
    require(ask(f, &request) == ES_OK && f->reply.status == ES_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void *state;
    static int asked;
    size_t at = 0;

    if (asked > REQUESTS_PER_STORE) {
        require(request_fixture_tear_down(&state) == 0);
        state = NULL;
    }
    if (state == NULL) {
        es_hash_warm_up();
        require(request_fixture_set_up(&state) == 0);
        asked = 0;
    }
    for (int i = 0; i < REQUESTS_MAX && at + 2 <= size; i++) {
        size_t wanted = data[at] | (size_t)data[at + 1] << 8;
        size_t count = 0;

        at += 2;
        count = size - at < wanted ? size - at : wanted;
        (void)!ask_bytes(state, data + at, count); /* asserts that the reply is well-formed */
        at += count;
        asked++;
    }
    append_soundly(state);
    return 0;
}
