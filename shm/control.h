/*
 * The control page: what the broker says about itself to producers, to tools
 * and to its own successor. The broker alone writes; everybody else maps it
 * read-only. It holds no data: how records travel is lane.h and ring.h, what
 * a restart makes of the page is the broker's startup.
 *
 * Head.    What is durable, in two copies: the broker fills the one that is not
 *          current and then names it by 'head_version', so a broker that dies
 *          at any instruction leaves a whole head, the old one or the new one,
 *          and never blocks a reader.
 * Commit.  After the log write and before any slot is freed or record acked:
 *            1. es_control_set_cursor() of the rings touched,
 *            2. es_control_advance_lane() of the lanes touched,
 *            3. es_control_set_head(), which counts the batch.
 *          A kill in between leaves the page one batch behind, with some
 *          entries ahead: 'Last' of the newest batch, which holds absolute
 *          values of exactly these entries, is then applied by the same three
 *          steps.
 * Entries. An entry in use has a word other than 0 (ring_id, incarnation) that
 *          is written last at opening and cleared first at closing.
 * Threads. Writers: one thread of the broker. Readers: any, any process.
 * Trust.   Readers of other processes trust the broker but bound every index.
 * Ordering.
 *   [C1] head     set: copy, release words; head_version, release
 *                 get: head_version, acquire; copy, acquire words; version again
 *        (words are released and acquired one by one, so that a reader that
 *        sees a word of a later head also sees the later version, without
 *        fences, which the thread sanitizer does not understand)
 *   [C2] entry    open: fields, then its id, release   get: id, acquire; fields;
 *                 id again
 *   [C3] state    store, release                       load, acquire
 *   [C4] commit   steps 1 and 2 before 3: release stores in program order
 */
#ifndef ES_SHM_CONTROL_H
#define ES_SHM_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/layout.h"
#include "shm/segment.h"

enum es_broker_state {
    ES_BROKER_STARTING = 1,
    ES_BROKER_SERVING = 2,
    ES_BROKER_READ_ONLY = 3, /* appends are answered NO_SPACE */
    ES_BROKER_STOPPING = 4,  /* no new append; what is in the ring is committed */
    ES_BROKER_STOPPED = 5    /* left cleanly */
};
enum es_durability {
    ES_DURABILITY_FSYNC = 1,
    ES_DURABILITY_OS = 2
};

/*  0 batch_number | 8 commit_number | 16 durable_position | 24 store_hash[32]
 * 56 reserved                                                               */
struct es_control_file_head {
    _Atomic uint64_t batch_number;
    _Atomic uint64_t commit_number;
    _Atomic uint64_t durable_position;
    _Atomic uint64_t store_hash[4];
    _Atomic uint64_t reserved_56;
};
static_assert(sizeof(struct es_control_file_head) == 64, "one cache line");

/*  0 ring_id (0: not in use) | 8 cursor | 16 uid | 20 reserved              */
struct es_control_file_ring {
    _Atomic uint64_t ring_id;
    _Atomic uint64_t cursor;
    _Atomic uint32_t uid;
    uint8_t reserved_20[44];
};
static_assert(sizeof(struct es_control_file_ring) == 64, "one cache line");

/*  0 incarnation (0: not in use) | 8 last_sequence | 16 next_offset
 * 20 ring_index | 24 uid | 28 pid | 32 pid_start_time | 40 name_bytes | 44 is_producer
 * 48 reserved | 64 name, zeros after it                                     */
struct es_control_file_lane {
    _Atomic uint64_t incarnation;
    _Atomic uint64_t last_sequence;
    _Atomic uint32_t next_offset;
    _Atomic uint32_t ring_index;
    _Atomic uint32_t uid;
    _Atomic uint32_t pid;
    _Atomic uint64_t pid_start_time;
    _Atomic uint32_t name_bytes;
    _Atomic uint32_t is_producer; /* 1: the name is a producer's; 0: what a client calls itself */
    uint8_t reserved_48[16];
    _Atomic uint64_t name[32];
};
static_assert(offsetof(struct es_control_file_lane, name) == 64, "as drawn");
static_assert(sizeof(struct es_control_file_lane) == 320, "as drawn");

/*     0 magic | 8 layout_id | 12 state | 16 store_id | 32 boot_id
 *    48 ring_id | 56 start_number | 64 epoch
 *    72 slot_count | 76 lane_count | 80 credit_count | 84 arena_bytes
 *    88 record_bytes_max | 92 transaction_bytes_max | 96 durability
 *   100 broker_pid | 104 broker_start_time
 *   128 head_version | 192 heads[2]
 *  4096 rings[16] | 5120 lanes[256]                                         */
struct es_control_file {
    _Atomic uint64_t magic;
    _Atomic uint32_t layout_id;
    _Atomic uint32_t state;
    _Atomic uint64_t store_id[2];
    _Atomic uint64_t boot_id[2];
    _Atomic uint64_t ring_id;
    _Atomic uint64_t start_number;
    _Atomic uint64_t epoch;
    _Atomic uint32_t slot_count;
    _Atomic uint32_t lane_count;
    _Atomic uint32_t credit_count;
    _Atomic uint32_t arena_bytes;
    _Atomic uint32_t record_bytes_max;
    _Atomic uint32_t transaction_bytes_max;
    _Atomic uint32_t durability;
    _Atomic uint32_t broker_pid;
    _Atomic uint64_t broker_start_time;
    uint8_t reserved_112[16];
    _Atomic uint64_t head_version;
    uint8_t reserved_136[56];
    struct es_control_file_head heads[2];
    uint8_t reserved_320[3776];
    struct es_control_file_ring rings[ES_RING_COUNT_MAX];
    struct es_control_file_lane lanes[ES_LANE_COUNT_MAX];
};
static_assert(offsetof(struct es_control_file, store_id) == 16, "as drawn");
static_assert(offsetof(struct es_control_file, epoch) == 64, "as drawn");
static_assert(offsetof(struct es_control_file, broker_start_time) == 104, "as drawn");
static_assert(offsetof(struct es_control_file, head_version) == 128, "own cache line");
static_assert(offsetof(struct es_control_file, heads) == 192, "own cache lines");
static_assert(offsetof(struct es_control_file, rings) == 4096, "as drawn");
static_assert(offsetof(struct es_control_file, lanes) == 5120, "as drawn");

/* ---- values, as they are handed in and out ------------------------------ */

/* Who the broker is and what it allows; changes only when a broker starts. */
struct es_control_identity {
    uint8_t store_id[16];
    uint8_t boot_id[16]; /* of the machine */
    uint64_t ring_id;    /* random: this generation of shared memory */
    uint64_t start_number;
    uint64_t epoch;
    struct es_geometry geometry;
    uint32_t transaction_bytes_max;
    uint32_t durability; /* enum es_durability */
    uint32_t broker_pid;
    uint64_t broker_start_time; /* clock ticks after boot, /proc/PID/stat field 22 */
};

struct es_control_head {
    uint64_t batch_number;
    uint64_t commit_number;
    uint64_t durable_position;
    uint8_t store_hash[32];
};

struct es_control_ring {
    uint64_t ring_id; /* 0: not in use */
    uint64_t cursor;
    uint32_t uid;
};

struct es_control_lane {
    uint64_t incarnation; /* 0: not in use */
    uint64_t last_sequence;
    uint32_t next_offset;
    uint32_t ring_index;
    uint32_t uid;
    uint32_t pid;
    uint64_t pid_start_time;                       /* 0: could not be read */
    bool is_producer;                              /* the name below is a named producer's */
    char producer[ES_PRODUCER_NAME_BYTES_MAX + 1]; /* else what its client calls itself */
};

/* One party's view of a mapped control page; the mapping must outlive it. */
struct es_control {
    struct es_control_file *file;
};

/* ---- the broker writes -------------------------------------------------- */

/*
 * Makes a zeroed file of es_control_bytes() a control page: state STARTING,
 * the given head, no ring, no lane. The magic is written last.
 */
void es_control_format(struct es_control *control, struct es_segment *segment,
                       const struct es_control_identity *identity,
                       const struct es_control_head *head);

/* A new broker on an old page: state STARTING, then the new identity (store,
 * boot and ring id and geometry are expected to be the same). Head, rings and
 * lanes stay. */
void es_control_take_over(struct es_control *control, const struct es_control_identity *identity);

void es_control_set_state(struct es_control *control, enum es_broker_state state);
void es_control_set_head(struct es_control *control, const struct es_control_head *head);

/* Opens entry 'index' (below ES_RING_COUNT_MAX); closes it if ring_id is 0. */
void es_control_set_ring(struct es_control *control, uint32_t index,
                         const struct es_control_ring *ring);
void es_control_set_cursor(struct es_control *control, uint32_t index, uint64_t cursor);

/* Opens entry 'index' (below ES_LANE_COUNT_MAX); closes it if incarnation is 0. */
void es_control_set_lane(struct es_control *control, uint32_t index,
                         const struct es_control_lane *lane);
void es_control_advance_lane(struct es_control *control, uint32_t index, uint64_t last_sequence,
                             uint32_t next_offset);
/* Changes the name of an open entry. */
void es_control_name_lane(struct es_control *control, uint32_t index, const char *producer);

/* ---- everybody reads ---------------------------------------------------- */

/*
 * Attaches to a mapped page, read-only or not.
 * ES_E_CORRUPT: not a control page, too small, or limits that cannot be.
 * ES_E_VERSION: another layout.
 */
ES_MUST_USE enum es_status es_control_attach(struct es_control *control,
                                             const struct es_segment *segment);

/* Limits are consistent with each other (checked at attach); the rest is. */
void es_control_identity(const struct es_control *control,
                         struct es_control_identity *ret_identity);

enum es_broker_state es_control_state(const struct es_control *control);

/* Which start of the broker this is; changes when a new one has taken over. */
uint64_t es_control_start_number(const struct es_control *control);

/*
 * A consistent head. Tries again while the broker writes, a bounded number of
 * times: ES_E_BUSY after that (a page that changes without end is no broker's).
 */
ES_MUST_USE enum es_status es_control_head(const struct es_control *control,
                                           struct es_control_head *ret_head);

/*
 * Entry 'index' as it is now. A lane's last_sequence and next_offset are read
 * one after the other: a pair only while the broker does not commit.
 *
 * ES_NOT_FOUND: not in use, or no such index. ES_E_BUSY: it changed while it
 * was read.
 */
ES_MUST_USE enum es_status es_control_ring(const struct es_control *control, uint32_t index,
                                           struct es_control_ring *ret_ring);
ES_MUST_USE enum es_status es_control_lane(const struct es_control *control, uint32_t index,
                                           struct es_control_lane *ret_lane);

#endif
