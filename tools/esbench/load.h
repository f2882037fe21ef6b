/*
 * The events that every verb measures with: the same streams, types and payloads, chosen by the
 * event's number, so that the figures of `append`, `store` and `floor` are about the same bytes.
 */
#ifndef EVENTSPINE_TOOLS_ESBENCH_LOAD_H
#define EVENTSPINE_TOOLS_ESBENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#define LOAD_STREAM_BYTES_MAX 48 /* with its NUL */
#define LOAD_TYPE "Measured"

struct load {
    unsigned char *pool; /* random bytes: payloads are windows of it, so nothing compresses */
    uint32_t size_bytes;
    uint32_t streams;
};

/* Returns false where memory is short. Deterministic: every load with one size is the same. */
bool load_init(struct load *load, uint32_t size_bytes, uint32_t streams);
void load_deinit(struct load *load);

/* The payload of the event with this number; it belongs to the load. */
const unsigned char *load_payload(const struct load *load, uint64_t number);

/* The text of its stream, into 'text' of LOAD_STREAM_BYTES_MAX bytes: they take turns. */
void load_stream(const struct load *load, uint64_t number, char *text);

#endif
