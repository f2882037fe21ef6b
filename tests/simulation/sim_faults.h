/*
 * Which fault strikes when, and how often each has struck. A fault at a call is
 * armed with a countdown of calls of disk and store; the call at which it comes to
 * zero says what it can suffer.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_FAULTS_H
#define TESTS_SIMULATION_SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* X(name, words) */
#define SIM_FAULTS(X)                                                      \
    X(KILL_AT_DISK, "broker killed at a disk call")                        \
    X(KILL_AT_STORE, "broker killed at a store call")                      \
    X(KILL_AT_SHARED, "broker killed between two stores to shared memory") \
    X(KILL_TORN, "broker killed in the middle of a write")                 \
    X(KILL_IN_START, "broker killed while it starts")                      \
    X(KILL_BETWEEN, "broker killed between two calls")                     \
    X(MACHINE_AT_CALL, "machine down at a call")                           \
    X(MACHINE_TORN, "machine down in the middle of a write")               \
    X(MACHINE_BETWEEN, "machine down between two calls")                   \
    X(WRITE_EIO, "write fails, data there or not")                         \
    X(WRITE_ENOSPC, "write fails for want of space")                       \
    X(SYNC_EIO, "sync fails, data there or not")                           \
    X(READ_EIO, "read fails")                                              \
    X(APPLY_EIO, "store write fails, data there or not")                   \
    X(FLUSH_EIO, "store flush fails halfway")                              \
    X(GET_EIO, "store read fails")                                         \
    X(EARLY_FLUSH, "a family flushed on its own")                          \
    X(CLEAN_STOP, "clean stop")                                            \
    X(PRODUCER_WRITING, "producer dies in a claim")                        \
    X(PRODUCER_PUBLISHED, "producer dies before its ticket")               \
    X(PRODUCER_PLACE_TAIL, "producer dies before it reads the tail")       \
    X(PRODUCER_PLACE_SLOT, "producer dies before it reads the slot")       \
    X(PRODUCER_PLACE_CLAIM, "producer dies before it takes the slot")      \
    X(PRODUCER_PLACE_MOVE, "producer dies before it moves the tail")       \
    X(PRODUCER_PLACED, "producer dies before it rings the bell")           \
    X(PRODUCER_WAITING, "producer dies while it waits")                    \
    X(PRODUCER_CLOSED, "producer leaves")                                  \
    X(TICKET_ERASED, "ticket erased")                                      \
    X(TICKET_FORGED, "ticket forged or replayed")                          \
    X(TAIL_SPOILT, "ring tail spoilt")                                     \
    X(SHARED_FULL, "no room for shared memory")                            \
    X(CLOCK_BACK, "wall clock set back")                                   \
    X(CLOCK_AHEAD, "wall clock set ahead")                                 \
    X(BELOW_RESERVE, "disk below its reserve")                             \
    X(REQUEST_TIMEOUT, "request not waited for")                           \
    X(REQUEST_TWICE, "request sent twice")                                 \
    X(TAKEOVER, "producer's name taken over")                              \
    X(NUMBER_AGAIN, "numbered transaction sent again")                     \
    X(NUMBER_MISUSED, "number used for something else, or too high")       \
    X(FLIP_LOG, "bits flipped in the log")                                 \
    X(FLIP_ANCHOR, "bits flipped in the anchor")                           \
    X(FLIP_STORE, "bits flipped in the store")                             \
    X(HISTORY_CUT, "unsynced history lost, durability os")                 \
    X(RESTORED, "an older copy put in place, epoch lost")

enum sim_fault {
#define SIM_FAULT_NAME(name, words) FAULT_##name,
    SIM_FAULTS(SIM_FAULT_NAME)
#undef SIM_FAULT_NAME
    FAULT_COUNT
};

/* What else happened that must have happened often: asked for, answered, found.
 * X(name, words) */
#define SIM_KINDS(X)                                                           \
    X(NAMED_STORED, "request under a name: stored")                            \
    X(NAMED_AGAIN, "request under a name: a number again, answered as before") \
    X(NAMED_GAP, "request under a name: stored behind a gap")                  \
    X(NAMED_HIGH, "request under a name: refused, a gap or another's number")  \
    X(NAMED_BUSY, "request under a name: a live lane owns it")                 \
    X(NAMED_STRANGER, "request under a name: it is another user's")            \
    X(QUESTION_FOUND, "question for a number: its receipt")                    \
    X(QUESTION_NONE, "question for a number: never stored")                    \
    X(QUESTION_RACE, "question for a number that its lane had just published") \
    X(CLAIM_HELD, "checkpoint or receipt: the store goes on from it")          \
    X(CLAIM_REGRESSED, "checkpoint or receipt: the store is older")            \
    X(CLAIM_DIVERGED, "checkpoint or receipt: of another history")             \
    X(COPY_MADE, "copy of the whole store put by")

enum sim_kind {
#define SIM_KIND_NAME(name, words) KIND_##name,
    SIM_KINDS(SIM_KIND_NAME)
#undef SIM_KIND_NAME
    KIND_COUNT
};

/* Of one seed, and summed up over many. Plain numbers alone: it lies in shared memory. */
struct sim_counts {
    uint64_t faults[FAULT_COUNT];
    uint64_t kinds[KIND_COUNT];
    uint64_t seeds;
    uint64_t traces; /* the sum of them */
    uint64_t operations;
    uint64_t stored;
    uint64_t refused;
    uint64_t unknown;
    uint64_t commits;
    uint64_t events;
    uint64_t starts;
    uint64_t refusals_to_start;
};

const char *sim_fault_words(enum sim_fault fault);
void sim_counts_add(struct sim_counts *sum, const struct sim_counts *more);

/* It has struck. */
void sim_fault(enum sim_fault fault);

/* It has happened. */
void sim_kind(enum sim_kind kind);
const char *sim_kind_words(enum sim_kind kind);

/* How many have struck in this seed. */
uint64_t sim_faults_struck(void);

enum sim_call {
    CALL_READ, /* and everything else that changes nothing */
    CALL_WRITE,
    CALL_SYNC,
    CALL_CHANGE, /* of names and files */
    CALL_SHARED, /* a store to shared memory */
    CALL_STORE_READ,
    CALL_STORE_APPLY,
    CALL_STORE_FLUSH,
    CALL_COUNT
};

enum sim_verdict {
    VERDICT_GO,
    VERDICT_KILL_AFTER, /* do it, then call sim_kill() */
    VERDICT_TEAR,       /* do any part of it, then call sim_kill() */
    VERDICT_FAIL,       /* ES_E_IO, the data there or not */
    VERDICT_NO_SPACE
};

/*
 * A broker's fiber is about to call disk or store: may let other fibers go first,
 * may end the process. Outside of fibers it answers VERDICT_GO.
 */
enum sim_verdict sim_point(enum sim_call call);

/* Ends the process, or the machine, as sim_point() had decided. */
__attribute__((noreturn)) void sim_kill(void);

/* Arms the next fault at a call; disarms it. */
void sim_faults_arm(void);
void sim_faults_disarm(void);

#endif
