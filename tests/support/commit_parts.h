/*
 * The commit path of a broker without its threads: data directory, log, RocksDB,
 * lanes, drain, sequencer, committer, and producers in the same process. A test
 * steps it, breaks off where it likes, and opens it again: everything that a
 * killed broker leaves is left (files and shared memory), and nothing else.
 *
 * Any failure of the parts themselves ends the test.
 */
#ifndef TESTS_SUPPORT_COMMIT_PARTS_H
#define TESTS_SUPPORT_COMMIT_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/committer.h"
#include "broker/drain.h"
#include "broker/sequencer.h"
#include "broker/startup.h"
#include "shm/lane_writer.h"
#include "tests/support/temp_directory.h"

struct commit_parts {
    char root[TEMP_DIRECTORY_BYTES_MAX];     /* with 'data' in it */
    char segments[TEMP_DIRECTORY_BYTES_MAX]; /* of shared memory */
    int segments_fd;
    struct es_geometry geometry;
    struct log_geometry log_geometry;
    bool never_syncs; /* durability os, from the next commit_parts_open() on */
    struct counters counters;
    struct startup startup;
    struct lanes *lanes;
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct batch *batch;
    struct drain *drain;
    struct flusher *flusher;
    struct scribe *scribe;
    struct witness *witness;
    struct committer *committer;
    uint32_t answers_max; /* of each batch; 0: as many as fit */
    uint64_t published_events;
    uint64_t published_position; /* of the last one; positions must follow each other */
    struct {
        char category[64];
        uint64_t position; /* of its last event published since the start */
    } categories[4];
    char why[DATA_WHY_BYTES];
};

/* A producer with a lane of its own. */
struct parts_producer {
    struct lanes_attachment attachment;
    struct es_segment lane_segment;
    struct es_segment ring_segment;
    struct es_lane_writer writer;
    struct es_ring ring;
    uint32_t flags; /* ES_RECORD_* of what it publishes; none unless the test sets them */
    bool is_named;  /* the numbers of what it publishes are a named producer's */
};

/* A claim of a producer's name: somebody else's thread, which waits for its answer. */
struct parts_claim {
    struct commit_parts *parts;
    struct parts_producer *producer;
    const char *name;
    struct errand errand;
    enum es_status status;
    pthread_t thread;
    atomic_bool is_over;
};

/* Directories, and a broker open on them: log segments of 64 KiB, rings of
 * 'slot_count', arenas of 64 KiB. */
void commit_parts_make(struct commit_parts *parts, uint32_t slot_count);
void commit_parts_remove(struct commit_parts *parts);

/* Of cmocka: '*state' is such parts with a ring of 64 slots. */
int commit_parts_setup(void **state);
int commit_parts_teardown(void **state);

/* What a kill leaves behind. */
void commit_parts_drop(struct commit_parts *parts);

/* Starts on what is there. The status of startup_open(); 'why' is kept. */
ES_MUST_USE enum es_status commit_parts_open(struct commit_parts *parts);

/* One round: fill, and commit if there is something. The committer's status. */
enum es_status commit_parts_round(struct commit_parts *parts, int64_t now_ns);

void parts_attach(struct commit_parts *parts, struct parts_producer *producer);

/*
 * Begins a claim, or with NULL as the producer a question: it lies in the inbox now.
 * The test makes rounds, then ends it: the claim's status, and with ES_OK 'producer'
 * is attached. Rounds are made until it is answered; or, where the broker is dead, it
 * is told so.
 */
void parts_claim_begin(struct commit_parts *parts, struct parts_claim *claim,
                       struct parts_producer *producer, const char *name, bool take_over);
enum es_status parts_claim_end(struct parts_claim *claim);
void parts_claim_give_up(struct parts_claim *claim);

/* The whole of it. */
enum es_status parts_claim(struct commit_parts *parts, struct parts_producer *producer,
                           const char *name, bool take_over, uint64_t *ret_last_number);

void parts_detach(struct parts_producer *producer);

/* Publishes the append of one event with this number in its payload; with or
 * without its ticket. ES_FULL: no credit. */
ES_MUST_USE enum es_status parts_publish(struct parts_producer *producer, const char *stream,
                                         int64_t expected, uint64_t number, bool with_ticket);

#define PARTS_ANY (-1) /* of 'expected'; else the sequence, 0 for none */

/* The answer that is there. */
struct es_lane_result parts_collect(struct parts_producer *producer);

#endif
