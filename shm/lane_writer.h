/*
 * The producer's side of a lane (lane.h): claim room in the arena, fill it,
 * publish it, wait for its answer, collect it. Placing the ticket that tells
 * the broker where to look is ring.h, waking it doorbell.h; noticing that the
 * broker is gone is the connection's business.
 *
 * Trust.   All accounts are private. Of what the broker writes, only 'acked'
 *          and the results are read; an 'acked' outside what can be is ignored.
 * Threads. The one thread that owns the handle; es_lane_interrupt(): any.
 * Labels of ordering pairs: lane.h.
 */
#ifndef ES_SHM_LANE_WRITER_H
#define ES_SHM_LANE_WRITER_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/lane.h"
#include "shm/segment.h"

#define ES_LANE_SPIN_COUNT_DEFAULT 200u
#define ES_LANE_SLEEP_NS_MAX (20 * INT64_C(1000000))
#define ES_LANE_STAY_NS_MAX (150 * INT64_C(1000)) /* longer waits are slept through */

/* Private to the producer; nothing of it is shared. */
struct es_lane_writer {
    struct es_lane_file *file;
    struct es_lane_result *results;
    uint8_t *arena;
    uint64_t incarnation;
    uint64_t published; /* last sequence published */
    uint64_t collected; /* last sequence whose result was collected */
    uint32_t arena_bytes;
    uint32_t credit_count;
    uint32_t record_bytes_max;
    uint32_t next_offset;                /* where the next header goes, pad or record */
    uint32_t used_bytes;                 /* of the arena, by what is not collected, pads included */
    uint32_t claimed_bytes;              /* payload of the open claim; 0: none is open */
    uint32_t claimed_pad;                /* bytes of the pad before it */
    uint32_t spin_count;                 /* looks at 'acked' before sleeping; may be changed */
    uint32_t spans[ES_CREDIT_COUNT_MAX]; /* arena bytes of each record in flight */
    uint32_t wait_number;                /* goes into 'waiting'; never 0 there */
    uint64_t sleep_count;                /* waits that went to sleep, for status */
    uint64_t late_count;  /* sleeps that ended by their bound, though acked: lost wakes */
    int64_t sleep_ns_max; /* bound of one sleep; ES_LANE_SLEEP_NS_MAX */
    int64_t wait_ns;      /* how long a wait takes lately, a running mean; 0: not known */
};

/*
 * Attaches to a lane that was made for this handle and in which nothing was
 * published yet, and says so there. 'segment' must outlive the writer.
 *
 * ES_E_VERSION: another layout. ES_E_CORRUPT: not this lane, or not of this
 * geometry, or used before.
 */
ES_MUST_USE enum es_status es_lane_writer_attach(struct es_lane_writer *writer,
                                                 const struct es_segment *segment,
                                                 uint64_t incarnation, uint32_t arena_bytes,
                                                 uint32_t credit_count);

/*
 * Reserves room for a record with a payload of up to 'size' bytes (1 to the
 * record maximum less its header). '*ret_payload' lies in the arena: fill it,
 * then publish. A claim that is not published costs nothing; the next claim
 * replaces it.
 *
 * ES_FULL: no credit or no room until more results are collected. Never for a
 *          lane that has everything collected.
 * ES_E_TOO_LARGE: more than a record holds. ES_E_INVALID: 'size' is 0.
 */
ES_MUST_USE enum es_status es_lane_claim(struct es_lane_writer *writer, uint32_t size,
                                         void **ret_payload);

/*
 * Publishes the open claim with its first 'size' bytes (1 to what was claimed)
 * and 'flags' (of ES_RECORD_FLAGS_USER). From here on the record will be
 * committed or answered even if this process dies. Next: es_ring_place() and
 * es_doorbell_ring(), whose failure only delays it.
 *
 * ES_E_INVALID: no claim is open, or a bound is broken; nothing changed.
 */
ES_MUST_USE enum es_status es_lane_publish(struct es_lane_writer *writer, uint32_t size,
                                           uint32_t flags, uint64_t *ret_sequence);

/* Last sequence that is answered; at least writer->collected, at most
 * writer->published, whatever the word in shared memory says. */
uint64_t es_lane_acked(const struct es_lane_writer *writer);

/*
 * Copies out the next result in sequence order and gives its space and credit
 * back. Results come in the order of publication; none is skipped.
 *
 * ES_EMPTY: none is answered beyond those collected. ES_E_CORRUPT: the result
 * does not carry its sequence: the lane is damaged, give it up.
 */
ES_MUST_USE enum es_status es_lane_collect(struct es_lane_writer *writer,
                                           struct es_lane_result *ret_result);

/*
 * Waits until 'sequence' is answered: spins briefly; where waits have been shorter
 * than ES_LANE_STAY_NS_MAX lately, stays awake about as long, leaving the processor
 * to whoever wants it; then sleeps, in sleeps of at most 'sleep_ns_max', until
 * 'deadline_ns'. 'interrupt', if not NULL, is a
 * word of this process: the wait ends when it no longer holds
 * 'interrupt_expected' (es_lane_interrupt() changes it, from any thread or
 * signal handler).
 *
 * ES_OK: es_lane_collect() will answer. ES_TIMEOUT, ES_INTERRUPTED: as they say.
 * ES_E_INVALID: 'sequence' was not published.
 */
ES_MUST_USE enum es_status es_lane_wait(struct es_lane_writer *writer, uint64_t sequence,
                                        int64_t deadline_ns, const _Atomic uint32_t *interrupt,
                                        uint32_t interrupt_expected);

/* Changes the interrupt word and ends the waits that watch it. Any thread. */
void es_lane_interrupt(_Atomic uint32_t *interrupt);

/* Says that nothing more will be published; the broker takes the lane back when
 * it is drained. The writer is not used afterwards. */
void es_lane_close(struct es_lane_writer *writer);

/* The same for a lane that was given and could not be mapped, by its descriptor: the
 * broker would keep it as long as this process lives. */
void es_lane_close_unmapped(int fd);

#endif
