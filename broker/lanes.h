/*
 * The broker's side of shared memory: the control page, a ring for each user
 * and a lane for each producer handle; made, handed out, taken back. Here is the
 * broker's doubt about each lane: its private cursor, whether it is believed,
 * whether its owner lives.
 *
 * What it does not do: find them again after a restart (lanes_take_over.h), speak
 * over the control socket (control.h), fetch records (drain.h), decide what is
 * durable (committer.h).
 *
 * Threads. The commit thread alone, but for lanes_head(); others come by inbox_call().
 */
#ifndef BROKER_LANES_H
#define BROKER_LANES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/batch.h"
#include "broker/counters.h"
#include "shm/codec/last_record.h"
#include "shm/control.h"
#include "shm/lane_reader.h"
#include "shm/ring.h"
#include "shm/segment.h"

/* Private; see lanes_state.h. */
struct lanes;

/* A user's ring, and how far batches have come with it. */
struct lane_ring {
    bool is_open;
    uint32_t index;
    uint32_t uid;
    uint64_t ring_id;
    struct es_segment segment;
    struct es_ring_reader reader;
    uint64_t done_cursor;   /* every ticket below it is in a batch, or stale */
    uint64_t touched_batch; /* the newest batch with a ticket of it */
    /* The ticket in hand: records of 'lane' up to 'until' are still to be taken. */
    struct lane *lane;
    uint64_t until;
    bool has_ticket;
    uint32_t lane_count;
    int64_t active_ns;      /* when it was looked at last; 0: never */
    int64_t rests_until_ns; /* it had its share, or called in vain: share.h */
    uint32_t vain_turns;    /* looks in a row without a record */
    uint32_t fault_index;   /* shm/fault.h */
};

struct lane {
    bool is_open;
    bool order_broken; /* an ordered record was refused: see ES_RECORD_ORDERED */
    bool owner_gone;   /* its process has ended */
    bool is_producer;  /* 'name' is a named producer's: only its owner may write here */
    uint32_t index;
    uint32_t uid;
    pid_t pid;
    uint64_t pid_start_time;
    uint64_t incarnation;
    struct lane_ring *ring;
    struct es_segment segment;
    struct es_lane_reader reader;
    uint64_t done_sequence; /* records up to it are in a batch ... */
    uint32_t done_offset;   /* ... and the next one begins here */
    uint64_t touched_batch;
    int64_t backlog_since_ns; /* 0: nothing waits without a ticket */
    uint32_t fault_index;     /* shm/fault.h */
    uint32_t name_bytes;
    char name[ES_PRODUCER_NAME_BYTES_MAX + 1]; /* or of the client, for people */
};

struct lanes_config {
    int directory_fd; /* of the segment directory; outlives it */
    gid_t group;      /* ES_GROUP_NONE: the owner alone */
    struct es_control_identity identity;
    struct counters *counters;
};

/*
 * Makes a new generation of shared memory.
 * ES_NO_SPACE, ES_E_IO, ES_E_PERMISSION: as the system says; errno is kept.
 */
ES_MUST_USE enum es_status lanes_new(const struct lanes_config *config,
                                     const struct es_control_head *head, struct lanes **ret_lanes);

/* Leaves the files in place, for a successor. NULL is fine. */
void lanes_free(struct lanes *lanes);

void lanes_set_state(struct lanes *lanes, enum es_broker_state state);

/* ---- handing out ------------------------------------------------------- */

struct lanes_attachment {
    uint32_t lane_index;
    uint64_t incarnation;
    uint32_t ring_index;
    int control_fd; /* read-only; all three are the caller's to close */
    int ring_fd;
    int lane_fd;
};

/* Who wants a lane. */
struct lanes_applicant {
    uint32_t uid;
    pid_t pid;
    uint64_t pid_start_time;
    const char *name; /* of the client, or of the producer */
    bool is_producer;
};

/*
 * Makes a lane for a process. ES_E_LIMIT: all are taken. ES_NO_SPACE: shared
 * memory is full. ES_E_IO: a system call failed; errno is kept.
 */
ES_MUST_USE enum es_status lanes_attach(struct lanes *lanes,
                                        const struct lanes_applicant *applicant,
                                        struct lanes_attachment *ret_attachment);

/* Called for each open lane: whose it is. */
typedef void (*lanes_owner_fn)(void *context, uint32_t index, uint64_t incarnation, pid_t pid,
                               uint64_t pid_start_time);
void lanes_visit_owners(struct lanes *lanes, lanes_owner_fn visit, void *context);

/* The owner's process has ended: what it has published is still taken. */
void lanes_owner_gone(struct lanes *lanes, uint32_t index, uint64_t incarnation);

/* The owner's process lives and has ended its connection. If it never said that it had mapped
 * the lane, it never will: it mapped and said so before. Then the lane is taken back. */
void lanes_owner_hung_up(struct lanes *lanes, uint32_t index, uint64_t incarnation);

/* ---- for drain.h and committer.h --------------------------------------- */

struct lane_ring *lanes_ring(struct lanes *lanes, uint32_t index);

/* NULL: no such lane is open. */
struct lane *lanes_lane(struct lanes *lanes, uint32_t index);
struct lane *lanes_find(struct lanes *lanes, uint64_t incarnation);

/* Somebody may still publish in it: not closed, not cut off, its process not gone. */
bool lanes_is_in_use(const struct lane *lane);

/* Ends the use of a lane that broke a rule, and logs it. */
void lanes_evict(struct lanes *lanes, struct lane *lane);

/*
 * Cuts off the lanes whose memory was taken away under the broker (truncated by
 * their owner; for a ring, all of its lanes). From then on it reads zeros there.
 */
void lanes_check_faults(struct lanes *lanes);

/* Takes back the lanes that are closed, evicted or ownerless and fully answered. */
void lanes_tidy(struct lanes *lanes);

/* What the batch has touched, as it stands now: the content of its 'Last'. */
void lanes_fill_last(struct lanes *lanes, uint64_t batch_number, struct es_last *ret_last);

/* The control page says that the batch is durable: cursors, lanes, then the head. */
void lanes_advance(struct lanes *lanes, const struct es_last *last,
                   const struct es_control_head *head);

/* What the control page says: the newest durable batch. Any thread. ES_E_BUSY: it changes. */
ES_MUST_USE enum es_status lanes_head(const struct lanes *lanes, struct es_control_head *ret_head);

/* Frees the ring's slots that the batch has used up. */
void lanes_free_slots(struct lanes *lanes, const struct es_last *last);

/* Answers the records of the batch, and then wakes who sleeps. */
void lanes_acknowledge(struct lanes *lanes, const struct es_last *last);

/* At a clean end: removes the files that no producer uses any more, all of them if
 * no lane is open. Else they stay, for the successor and for who waits for it. */
void lanes_remove_if_unused(struct lanes *lanes);

/* Records that wait in all lanes, taken or not. */
uint64_t lanes_backlog(struct lanes *lanes);

#endif
