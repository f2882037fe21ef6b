/*
 * The oracle: what must be true of the store, whatever has happened. It reads each
 * commit when it is published, or found by a start, and holds it against what clients
 * have asked for and were told.
 *
 *   - an OK is there exactly once, with its bytes, sequence, position, hash, commit;
 *     a refusal never; an unknown outcome at most once
 *   - transactions are whole; positions, sequences and revisions have no gaps
 *   - records of one lane are stored in their order; what was answered before another
 *     was sent lies before it
 *   - expectations held when they were judged, and were broken where it says so
 *   - the chain of hashes is whole, and time does not go back
 *   - what anybody could read is there after any crash; with durability 'os' a machine
 *     that goes down takes only what was not synced, and a new epoch begins; so does one
 *     where a copy is restored, which goes on from that copy's end
 *
 * Names are sim_names.h's, checkpoints and receipts sim_claims.h's.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_MODEL_H
#define TESTS_SIMULATION_SIM_MODEL_H

#include "broker/publication.h"
#include "broker/startup.h"
#include "tests/simulation/sim_ops.h"

enum {
    POSITIONS_MAX = 8192,
    LANES_MAX = 512, /* lives of producers in one seed */
    NUMBERS_MAX = 2 * OPS_MAX,
    STATES_MAX = 2048
};

struct model_stream {
    uint64_t last_sequence;
    uint64_t last_tick;
    uint64_t last_position;
    uint8_t last_hash[ES_HASH_SIZE];
    uint32_t positions[POSITIONS_MAX]; /* by sequence */
};

struct model_key {
    uint64_t revision; /* 0: it is not there */
    uint32_t op;       /* whose value it has */
    uint32_t part;
    uint32_t state_count; /* revisions it has had, 0 for none */
    uint64_t states[STATES_MAX];
};

struct model_name {
    uint64_t last_number;
    uint64_t claims_begun;
    uint64_t claims_open; /* not answered */
    uint64_t owner;       /* incarnation of the newest lane whose claim was answered */
    uint32_t owner_lane;
    uint32_t stored[NUMBERS_MAX]; /* by number: whose it is, operation + 1 */
    uint64_t absent[NUMBERS_MAX]; /* by number: the last question that was told so */
};

struct model_lane {
    uint32_t name;
    uint64_t incarnation;
    uint64_t claims_begun;    /* of its name, and judged before its own */
    uint64_t stored_sequence; /* the newest record found with an event */
    bool order_broken;        /* as its answers tell */
    bool is_left;             /* its producer holds it no more ... */
    bool is_over;             /* ... and the broker knows, or will before it serves */
    uint64_t start;           /* in which its claim was answered */
};

struct model {
    bool is_begun;
    bool is_read_anew; /* after a loss: who had sent what is not known any more */
    uint8_t store_id[ES_STORE_ID_SIZE];
    uint64_t epoch;
    uint64_t position;
    uint64_t commit_number;
    uint64_t time_us;
    uint64_t revision; /* the highest found */
    uint8_t store_hash[ES_HASH_SIZE];
    uint64_t readable_commit;   /* somebody could have read it: never lost by a process's death */
    uint64_t durable_commit;    /* never lost by anything */
    uint64_t anchored_commit;   /* the anchor names it: its loss is always found */
    uint64_t paged_commit;      /* so does the control page, while the machine is up */
    uint64_t answered_position; /* highest position that a client was told */
    uint64_t answered_commit;
    bool is_clean;       /* stopped cleanly since the last start */
    bool machine_fell;   /* since the last start */
    bool is_restored;    /* an older copy is in place, until a start serves it */
    uint64_t lost_epoch; /* of that copy: over from then on */
    uint64_t stamp;      /* of sending, and of questions */
    struct model_name names[NAME_COUNT];
    struct model_stream streams[STREAM_COUNT];
    struct model_key keys[KEY_COUNT];
    struct model_lane lanes[LANES_MAX];
    uint32_t lane_count;
    struct {
        uint64_t time_us;
        uint8_t hash[ES_HASH_SIZE];
    } events[POSITIONS_MAX];
};

extern struct model model;

void model_clear(void);

/* A life of a producer begins; UINT32_MAX: no room for more. */
uint32_t model_new_lane(uint32_t name, uint64_t incarnation);

/* What clients see. */
void model_sent(struct op *op);
void model_answered(struct op *op, const struct es_lane_result *result);
void model_unanswered(struct op *op, enum op_fate fate);

/* What the broker does. */
void model_started(const struct startup *startup);

/* The start is over: it has told everybody where the history stands. */
void model_serving(void);
void model_published(const struct publication *publication);
void model_stopped_cleanly(void);
void model_synced(uint64_t commit_number);
void model_anchored(uint64_t commit_number);
void model_paged(uint64_t commit_number);

/* A copy of the store as it was at this commit is in the place of what there was. */
void model_restored(uint64_t commit_number, uint64_t epoch);

/* The process has ended, or the machine; before its store loses anything. */
void model_process_ended(bool machine_fell);

/* The newest commit in the store's contents. */
uint64_t model_newest_commit(void);

/* Everything is answered: compares the whole store with the whole model. */
void model_check_all(void);

#endif
