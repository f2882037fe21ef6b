/*
 * What clients ask for: transactions drawn from the seed, their bytes, and what has
 * become of each. Payloads and values name the operation they belong to, and the rest
 * of their bytes follows from that name, so that whatever is found in the store can be
 * told whose it is, and whether it is whole.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_OPS_H
#define TESTS_SIMULATION_SIM_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/codec/transaction.h"
#include "shm/lane.h"

enum {
    OPS_MAX = 1500,
    OP_PARTS_MAX = 4,
    PART_EVENTS_MAX = 3,
    STREAM_COUNT = 6,
    KEY_COUNT = 5,
    DERIVED_COUNT = 2, /* keys of read_models */
    NAME_COUNT = 3,    /* of producers; no lane ever has the last one */
    OP_BYTES_MAX = 12288,
    PAYLOAD_BYTES_MAX = 720
};

enum part_kind {
    PART_APPEND,
    PART_PUT,
    PART_DELETE,
    PART_DERIVED_PUT,
    PART_SNAPSHOT
};

enum hash_expectation {
    HASH_NOT_GIVEN,
    HASH_GENESIS,
    HASH_GIVEN
};

struct op_part {
    enum part_kind kind;
    uint32_t target; /* stream or key */
    struct es_expected expect;
    enum hash_expectation hash_kind;
    uint8_t hash[ES_HASH_SIZE]; /* expected */
    uint32_t event_count;
    uint32_t payload_bytes;
    uint64_t tick;
    uint64_t sequence; /* of a snapshot */
    uint8_t value_hash[ES_HASH_SIZE];
    uint64_t revision; /* found in a commit record; 0: not yet */
};

enum op_fate {
    FATE_UNSENT,   /* certainly not stored */
    FATE_OPEN,     /* published or submitted, not answered */
    FATE_ANSWERED, /* 'status' and 'result' */
    FATE_ORPHAN,   /* nobody is there to be answered; it must be judged all the same */
    FATE_UNKNOWN   /* nobody can know */
};

#define OP_UNNAMED UINT32_MAX

struct op {
    uint32_t id;
    uint32_t name;          /* of the producer; OP_UNNAMED: none */
    uint64_t number;        /* 0 without a name */
    bool is_mistake;        /* the number is not for this one: certainly refused */
    bool is_foreign;        /* the name is another user's: likewise */
    bool was_high;          /* at the last sending, there was a gap before the number */
    bool may_be_owned;      /* of a request under a name: a lane may have owned it */
    uint32_t owned_by;      /* the lane that certainly did; UINT32_MAX: none */
    uint64_t claims_before; /* of the name, when it was sent last */
    uint64_t stamp;         /* of the last sending */
    uint8_t content_hash[ES_CONTENT_HASH_SIZE];
    uint32_t encoded_bytes; /* of the transaction as it was sent */
    uint32_t uid;
    uint32_t flags; /* ES_RECORD_* */
    uint32_t lane;  /* index of the producer's life in the model; UINT32_MAX: a request */
    uint64_t lane_sequence;
    bool is_malformed;
    uint32_t sent_count;
    uint32_t flying_count; /* sent and not answered */
    bool is_chosen;        /* somebody is about to send it */
    struct op_part parts[OP_PARTS_MAX];
    uint32_t part_count;
    uint32_t event_count;
    enum op_fate fate;
    enum es_status status;
    struct es_lane_result result;
    uint64_t sent_after_position; /* everything up to there was answered before it was sent */
    uint64_t sent_after_commit;
    bool sees_no_space; /* the disk was below its reserve at some time meanwhile */
    /* As found in the store. */
    bool is_stored;
    bool is_lost; /* was stored, and was lost with an unsynced tail */
    uint32_t part_at;
    uint32_t event_at;
    uint32_t kv_found;
    uint64_t commit_number;
    uint64_t first_position;
    uint64_t last_position;
    uint64_t last_revision;
    uint64_t epoch;
};

extern struct op ops[OPS_MAX];
extern uint32_t op_count;

void ops_clear(void);

/* A new one for a client of 'uid', drawn from the seed and the present state of the
 * model, which is what a client can know. NULL: OPS_MAX. */
struct op *op_new(uint32_t uid);

/* Makes it an append that can be stored but once, however often it is sent. */
void op_expect_once(struct op *op);

/* Its transaction; returns the size. */
uint32_t op_encode(struct op *op, uint8_t ret_bytes[OP_BYTES_MAX]);

/* The names of streams and keys. */
struct es_text op_stream(uint32_t index);
struct es_text op_key(uint32_t index);
const char *op_name(uint32_t index);
#define OP_NAMESPACE "sim"

/* UINT32_MAX: it is none of ours. */
uint32_t op_stream_index(struct es_text stream);

/* The payload of an event, or a value: 'size' bytes. Returns the same buffer always. */
const uint8_t *op_payload(uint32_t id, uint32_t part, uint32_t event, uint32_t size);

/* Whose payload it is, if its bytes are right to the last. */
bool op_of_payload(struct es_bytes payload, uint32_t *ret_id, uint32_t *ret_part,
                   uint32_t *ret_event);

/* Whose value has this hash; NULL: nobody's. */
struct op *op_of_value(const uint8_t *value_hash, uint32_t *ret_part);

#endif
