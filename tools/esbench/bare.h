/*
 * Commits without a broker: the same envelopes, hashes, commit records, log bodies and store keys
 * that the broker makes of the events of load.h, from one thread and from memory. store.c writes
 * them, floor.c wants to know how large they are. Encoding may use all of it and touches no file.
 */
#ifndef EVENTSPINE_TOOLS_ESBENCH_BARE_H
#define EVENTSPINE_TOOLS_ESBENCH_BARE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/store.h"
#include "shm/codec/commit_record.h"
#include "shm/codec/stream_key.h"
#include "tools/esbench/bench.h"
#include "tools/esbench/load.h"

/* What the store knows of a stream. */
struct bare_stream {
    uint64_t last_sequence;
    uint64_t last_position;
    uint64_t commit_number; /* that touched it last */
    uint8_t last_hash[ES_HASH_SIZE];
};

struct bare_event {
    uint64_t stream; /* index */
    uint64_t sequence;
    uint64_t position;
    uint8_t *envelope;
    uint32_t envelope_bytes;
};

struct bare_commits {
    struct load load;
    struct bare_stream *streams;
    uint32_t batch; /* events of each commit */

    /* The history so far. */
    uint64_t position;
    uint64_t commit_number; /* and batch number: every batch is a commit here */
    uint8_t store_hash[ES_HASH_SIZE];

    /* The commit encoded last. */
    struct bare_event *events;
    struct es_commit_run *runs;
    char (*stream_texts)[LOAD_STREAM_BYTES_MAX];
    uint8_t *envelopes;
    uint8_t *record; /* the commit record */
    uint8_t *body;   /* of the log record */
    uint32_t record_bytes;
    uint32_t body_bytes;
    uint64_t envelopes_capacity;
    uint64_t record_capacity;
    uint64_t body_capacity;
    uint32_t event_count;
};

/* Starts a history before its first commit. False: no memory; deinit it all the same. */
bool bare_init(struct bare_commits *commits, const struct bench_options *options);
void bare_deinit(struct bare_commits *commits);

/* Encodes the next commit, of 'event_count' events, at most the batch of the options. */
enum es_status bare_encode(struct bare_commits *commits, uint32_t event_count);

/* Puts every key of the commit encoded last into 'batch', which is empty. */
enum es_status bare_keys(const struct bare_commits *commits, struct store_batch *batch);

/* The size of a whole log record, header included, of a commit of options->batch events. */
bool bare_record_bytes(const struct bench_options *options, uint32_t *ret_bytes);

#endif
