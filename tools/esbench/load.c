/* Streams and payloads by the number of the event; the contract is in load.h. */
#include "tools/esbench/load.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define POOL_BYTES (1U << 20) /* more than the window of any compressor the store may use */
#define POOL_STEP 4093U       /* prime: two payloads near each other do not overlap in step */

/* xorshift64*, by Sebastiano Vigna: enough to defeat compression, the same on every machine. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DULL;
}

bool load_init(struct load *load, uint32_t size_bytes, uint32_t streams)
{
    uint64_t state = 0x9E3779B97F4A7C15ULL;
    size_t pool_bytes = (size_t)POOL_BYTES + size_bytes;

    assert(streams > 0);
    load->pool = malloc(pool_bytes);
    if (load->pool == NULL) {
        return false;
    }
    for (size_t i = 0; i < pool_bytes; i++) {
        load->pool[i] = (unsigned char)(random_next(&state) >> 56);
    }
    load->size_bytes = size_bytes;
    load->streams = streams;
    return true;
}

void load_deinit(struct load *load)
{
    free(load->pool);
    load->pool = NULL;
}

const unsigned char *load_payload(const struct load *load, uint64_t number)
{
    return load->pool + number * POOL_STEP % POOL_BYTES;
}

void load_stream(const struct load *load, uint64_t number, char *text)
{
    int bytes = snprintf(text, LOAD_STREAM_BYTES_MAX, "bench:main:L0:load:M%08u",
                         (unsigned)(number % load->streams));

    assert(bytes > 0);
    assert(bytes < LOAD_STREAM_BYTES_MAX);
}
