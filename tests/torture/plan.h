/*
 * What transaction 'number' of 'client' holds: a function of the two numbers alone,
 * so that the clients, which send it, and the checker, which finds it in the store,
 * agree without talking. Only what it expects of a stream is not in it: the client
 * decides that from what it has heard, and writes it into its book.
 */
#ifndef TORTURE_PLAN_H
#define TORTURE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PLAN_APPENDS_MAX = 2,
    PLAN_EVENTS_MAX = 6,
    PLAN_PAYLOAD_BYTES_MAX = 1400,
    PLAN_NAME_BYTES = 64,
    PLAN_SHARED_STREAMS = 12,
    PLAN_STREAMS = PLAN_SHARED_STREAMS + 64, /* the shared ones, and one for each resident */
    PLAN_TAKER_FIRST = 16,                   /* each takes the one name over from the one before */
    PLAN_VISITOR_FIRST = 64,                 /* clients from here on live but a moment */
    PLAN_KEYS = 4,                           /* of each resident */
    PLAN_FILTERS = 3
};

#define PLAN_NEVER_SEQUENCE UINT64_C(1000000000)

struct plan_append {
    uint32_t stream; /* 0..PLAN_STREAMS-1 */
    uint32_t event_count;
};

struct plan {
    uint32_t client;
    uint64_t number;
    uint32_t append_count; /* 0: only a key */
    struct plan_append appends[PLAN_APPENDS_MAX];
    uint32_t event_count; /* of all appends */
    bool is_hopeless;     /* expects PLAN_NEVER_SEQUENCE of its first stream */
    bool is_exact;        /* expects that its first stream is as last heard of */
    bool has_key;         /* puts one, whatever is there */
    uint32_t key;
};

void plan_make(uint32_t client, uint64_t number, struct plan *ret_plan);

/* Text of a stream; its category is what stands before the last ':'. */
void plan_stream_name(uint32_t stream, char ret_name[PLAN_NAME_BYTES]);

/* The number of a stream with that text; PLAN_STREAMS: none of ours. */
uint32_t plan_stream_find(const char *name);

/* Text of filter 0..2: everything, one category, and a prefix that spans two. NULL: everything. */
const char *plan_filter_text(uint32_t filter);
bool plan_filter_has(uint32_t filter, uint32_t stream);

/* The bytes of event 'index' of the transaction; returns how many. */
size_t plan_payload(uint32_t client, uint64_t number, uint32_t index,
                    uint8_t ret_bytes[PLAN_PAYLOAD_BYTES_MAX]);

/* Whose event these bytes are; false: of none that plan_payload() makes. */
bool plan_payload_read(const void *bytes, size_t size, uint32_t *ret_client, uint64_t *ret_number,
                       uint32_t *ret_index);

#define PLAN_NAME_SPACE "torture"
void plan_key_name(uint32_t client, uint32_t key, char ret_name[PLAN_NAME_BYTES]);

/* For choices that are to be repeatable: moves '*state', returns 64 bits. */
uint64_t plan_random(uint64_t *state);

#endif
