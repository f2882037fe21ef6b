/*
 * A broker and its producers in one process, in small: the real lanes, drain,
 * sequencer, committer and producer code over real files of shared memory, but a
 * log of a few dozen slots in memory that fork() shares, and a store in private
 * memory that is filled from that log again, as RocksDB without a WAL is. What a
 * killed process leaves is the files and the log, and nothing else.
 *
 * Errors of the world itself end the process with a sentence.
 */
#ifndef TESTS_STEPS_WORLD_H
#define TESTS_STEPS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/committer.h"
#include "broker/drain.h"
#include "broker/lanes.h"
#include "broker/sequencer.h"
#include "shm/codec/transaction.h"
#include "shm/doorbell.h"
#include "shm/lane_writer.h"
#include "tests/support/temp_directory.h"

enum {
    WORLD_PRODUCERS_MAX = 4,
    WORLD_BATCHES_MAX = 64,
    WORLD_BODY_BYTES = 8192,
    WORLD_RECORDS_MAX = 64 /* of one lane */
};

/* What a synced log would hold: bodies of batches 1, 2 ... And what the last claimant of
 * a name was told (claims.h). */
struct world_log {
    uint32_t count;
    uint32_t told_count; /* claims that were answered: set last */
    uint64_t told_incarnation;
    uint64_t told_number;
    uint32_t sizes[WORLD_BATCHES_MAX];
    uint8_t bodies[WORLD_BATCHES_MAX][WORLD_BODY_BYTES];
};

struct world_broker {
    struct counters counters;
    struct store *store;
    struct heads *heads;
    struct inbox *inbox;
    struct sequencer *sequencer;
    struct batch *batches[2];
    struct drain *drain;
    struct committer *committer;
    struct lanes *lanes;
    struct es_doorbell doorbell;
    struct history_point end;
    int64_t now_ns;
};

enum world_answer {
    ANSWER_UNKNOWN = 0,
    ANSWER_OK,
    ANSWER_REFUSED
};

struct world_producer {
    bool is_attached;
    bool is_dead;
    bool is_named;    /* it has claimed the name of claims.h ... */
    bool is_replaced; /* ... and somebody else has since */
    uint64_t number;  /* of its newest record */
    struct lanes_attachment attachment;
    struct es_segment lane_segment;
    struct es_segment ring_segment;
    struct es_lane_writer writer;
    struct es_ring ring;
    enum world_answer answers[WORLD_RECORDS_MAX]; /* of sequence - 1, as far as known */
};

struct world {
    char path[TEMP_DIRECTORY_BYTES_MAX]; /* of the shared files */
    int directory_fd;
    struct es_geometry geometry;
    struct world_log *log; /* shared by fork() */
    struct world_broker broker;
    struct world_producer producers[WORLD_PRODUCERS_MAX];
    uint32_t producer_count;
};

/* Ends the process unless 'is_true'. */
void world_require(bool is_true, const char *what);

/* Directory (below $TMPDIR, on a tmpfs), log and broker; rings of 'slot_count', arenas of
 * 64 KiB; nobody attached. */
void world_make(struct world *world, uint32_t slot_count);

/* A new lane for this process; its status. */
ES_MUST_USE enum es_status world_give_out_lane(struct world_broker *broker,
                                               struct lanes_attachment *ret_attachment);

/* Attaches 'count' producers. */
void world_attach(struct world *world, uint32_t count);

/* Gives up files and directory. */
void world_remove(struct world *world);

/*
 * Starts a broker on what is in 'directory_fd' and in the log, as startup.c does:
 * replay, take over, serve. ES_E_CORRUPT: page and log contradict each other.
 */
ES_MUST_USE enum es_status world_broker_open(struct world *world, struct world_broker *broker,
                                             int directory_fd);

/* One turn of the commit loop, 11 ms after the last: fill, commit if need be, tidy. */
void world_broker_round(struct world_broker *broker);

/* Attaches to the lane of 'attachment' as libclient does. */
void world_producer_open(struct world *world, struct world_producer *producer);

/* Publishes the append of one event marked with the lane's incarnation and the sequence;
 * 'stream' NULL: the lane's own. 'body_bytes' is the size of the payload, 32 at least. */
void world_publish(struct world_producer *producer, const char *stream,
                   const struct es_expected *expect, uint32_t body_bytes);

/* Places the ticket of the newest record and rings. The status of es_ring_place(). */
enum es_status world_place(struct world_producer *producer);

/* Collects what is answered, and notes it; an answer that changes ends the process. */
void world_collect(struct world_producer *producer);

/* How often the event of this record is in the log. */
uint32_t world_stored_count(const struct world *world, uint64_t incarnation, uint64_t sequence);

#endif
