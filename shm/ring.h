/*
 * The ring: in which order the records of all lanes of one user id arrived.
 * It holds tickets, not bytes. The bytes, and the truth about what is there
 * (a lane's 'published' word), are lane.h; sleeping is doorbell.h.
 *
 * A slot is one word, EMPTY(lap) or the complete ticket FULL(lap, lane, low
 * bits of the lane sequence). There is no third state, so a producer may die
 * at any instruction: either its ticket is there or it is not, and if not the
 * broker finds the record by sweeping the lanes. Position p (0, 1, 2 ...) lives
 * in slot p mod slots on lap p / slots; a zeroed file is an empty ring.
 *
 * Placing at position t = tail, whose lap is L:
 *   EMPTY(L)                   -> compare-and-swap to FULL(L, ...), then move
 *                                 the tail from t to t + 1
 *   FULL(L, ...), or any lap
 *   newer than L               -> position t is done: help the tail forward
 *   any lap older than L       -> the ring is full, or the tail lies: look again
 * Helping on "newer" is what keeps the ring going: a producer dies between its
 * two compare-and-swaps, the broker frees the slot, and from then on position t
 * reads EMPTY(L + 1). Helping only on FULL would leave every later producer
 * before that slot for ever.
 *
 * The broker walks its own cursor. The tail is a hint that any producer of the
 * uid can spoil, as it can every slot; so the broker believes neither:
 *   EMPTY(L) at the cursor     -> nothing there; but if the tail (checked to lie
 *                                 within one lap) is beyond it, a ticket was
 *                                 erased: the position is voided and skipped
 *   FULL(L, ...)               -> a ticket: a hint which lane to look at
 *   any other lap              -> forged: the position is voided and skipped
 * and it puts a tail outside [cursor, cursor + slots] back to the cursor. An
 * erased, forged, replayed or unplaceable ticket delays its own user's records
 * by one sweep and loses nothing.
 *
 * A taken slot stays FULL(L) until es_ring_free(), which the committer calls
 * after the control page has the cursor: raise the tail, then EMPTY(L + 1).
 *
 * Threads.  es_ring_place and es_ring_step: any thread of any process. Calls
 *           on the reader: the broker's committing thread alone.
 * Ordering. What the records of a ticket need is carried by the lane's
 *           'published' word, not by the ring; still:
 *   [R1] ticket     place: CAS slot, seq_cst         take: load slot, seq_cst
 *   [R2] free slot  free: store slot, release        place: load slot, acquire
 *   [R3] tail       free: raise tail, release,       place: load tail, acquire
 *                   before [R2]
 *   [D1] the CAS of [R1] and the load of [R1] are seq_cst, for they are also
 *        one half each of the Dekker pair with 'sleeping' (doorbell.h).
 */
#ifndef ES_SHM_RING_H
#define ES_SHM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/layout.h"
#include "shm/segment.h"

/*     0 magic | 8 layout_id | 12 slot_count | 16 ring_id     by the broker, once
 *    64 tail       a hint, moved by producers, raised by the broker
 *   128 bell       futex word, counts up     | 132 sleeping   (doorbell.h)
 *  4096 slots, 8 bytes each                                                */
struct es_ring_file {
    _Atomic uint64_t magic;
    _Atomic uint32_t layout_id;
    _Atomic uint32_t slot_count;
    _Atomic uint64_t ring_id;
    uint8_t reserved_24[40];
    _Atomic uint64_t tail;
    uint8_t reserved_72[56];
    _Atomic uint32_t bell;
    _Atomic uint32_t sleeping;
    uint8_t reserved_136[3960];
    _Atomic uint64_t slots[];
};
static_assert(offsetof(struct es_ring_file, ring_id) == 16, "identity in the first line");
static_assert(offsetof(struct es_ring_file, tail) == 64, "own cache line");
static_assert(offsetof(struct es_ring_file, bell) == 128, "own cache line");
static_assert(offsetof(struct es_ring_file, sleeping) == 132, "beside the bell");
static_assert(sizeof(struct es_ring_file) == ES_PAGE_BYTES, "slots start at the second page");

/*  bit 63..24 lap | 23 full | 22..15 lane | 14..0 low bits of the lane sequence */
#define ES_SLOT_LAP_SHIFT 24u
#define ES_SLOT_LAP_MASK ((UINT64_C(1) << 40) - 1)
#define ES_SLOT_FULL (UINT64_C(1) << 23)
#define ES_SLOT_LANE_SHIFT 15u
#define ES_SLOT_SEQUENCE_MASK ((UINT64_C(1) << 15) - 1)
static_assert(ES_LANE_COUNT_MAX <= 1u << 8, "a lane index has eight bits");
static_assert(ES_CREDIT_COUNT_MAX <= 1u << 14, "low bits tell any two in flight apart");

/* After this many steps (es_ring_step) without success a producer gives up. A
 * dead producer leaves the tail at most one position behind, three steps to help. */
#define ES_RING_STEP_COUNT_MAX 1024u

/* One party's view of a mapped ring; the mapping must outlive it. */
struct es_ring {
    struct es_ring_file *file;
    uint32_t slot_count; /* as agreed over the control socket, not as found */
    uint32_t lap_shift;
};

/* What a slot says: look at 'lane_index', at least up to this sequence. */
struct es_ticket {
    uint64_t position; /* in the ring */
    uint32_t lane_index;
    uint32_t sequence_low; /* 15 bits; see es_ticket_sequence() */
};

/* The broker's side: positions below 'freed' are empty again, those from there
 * to 'cursor' are taken and wait for their commit. */
struct es_ring_reader {
    struct es_ring ring;
    uint64_t cursor;
    uint64_t freed;
    uint64_t voided_count; /* positions skipped as erased or forged, for status */
};

/* Writes the header of a new ring into a zeroed file of es_ring_bytes(). */
void es_ring_format(struct es_segment *segment, uint64_t ring_id, uint32_t slot_count);

/*
 * Attaches to a mapped ring for placing tickets.
 *
 * ES_E_VERSION: another layout. ES_E_CORRUPT: not a ring, another ring id, or
 * another number of slots or bytes than 'slot_count' asks for.
 */
ES_MUST_USE enum es_status es_ring_attach(struct es_ring *ring, const struct es_segment *segment,
                                          uint64_t ring_id, uint32_t slot_count);

/*
 * Places the ticket for record 'sequence' of lane 'lane_index' (below
 * ES_LANE_COUNT_MAX), which the caller has published. Never blocks.
 *
 * ES_FULL: the ring is full or spoiled; no ticket was placed. This is no
 * failure: the broker's sweep finds the record in about 10 ms.
 */
ES_MUST_USE enum es_status es_ring_place(struct es_ring *ring, uint32_t lane_index,
                                         uint64_t sequence);

/*
 * es_ring_place() in single steps, each with one access to shared memory, so
 * that tests and models can stop or kill a producer between any two. Begin with
 * a placement that is zero but for its lane and sequence.
 *
 * ES_EMPTY: not done, step again. ES_OK: the ticket is placed and this
 * placement is over. 'is_placed' turns true one step earlier, when the slot is
 * taken but the tail not yet moved.
 */
enum es_placement_at {
    ES_PLACE_TAIL = 0,
    ES_PLACE_SLOT,
    ES_PLACE_CLAIM,
    ES_PLACE_MOVE
};
struct es_placement {
    uint32_t lane_index;
    uint64_t sequence;
    enum es_placement_at at;
    bool is_placed;
    uint64_t position; /* the tail as it was read */
};
ES_MUST_USE enum es_status es_ring_step(struct es_ring *ring, struct es_placement *placement);

/*
 * Attaches the broker to a ring, new ('cursor' 0) or left by a former broker
 * ('cursor' as made durable: every position below it is committed). Producers
 * may be placing tickets meanwhile. Repairs what a kill may have left: raises
 * the tail to the cursor, then frees slots that were taken, are below the
 * cursor, and had not been freed; voids nothing that waits.
 *
 * ES_REGRESSED: a slot at or beyond the cursor has been freed already, so this
 * cursor is older than what the ring has seen; nothing is changed. Refuse this
 * ring and its lanes; not the whole start, for any process of its uid can forge
 * it. (A store that is truly older shows in the control page, which none can.)
 * ES_E_VERSION, ES_E_CORRUPT: as es_ring_attach().
 */
ES_MUST_USE enum es_status es_ring_reader_attach(struct es_ring_reader *reader,
                                                 const struct es_segment *segment, uint64_t ring_id,
                                                 uint32_t slot_count, uint64_t cursor);

/*
 * Takes the ticket at the cursor and moves on, past at most one lap of voided
 * positions. Never blocks.
 *
 * ES_EMPTY: nothing there; '*ret_ticket' is untouched (the cursor may have
 * moved past voided positions).
 */
ES_MUST_USE enum es_status es_ring_take(struct es_ring_reader *reader,
                                        struct es_ticket *ret_ticket);

/* Whether es_ring_take() would find something to do; changes nothing. The
 * seq_cst half of the broker's re-check before it sleeps [D1]. */
bool es_ring_has_ticket(const struct es_ring_reader *reader);

/*
 * Frees the taken positions below 'cursor' (at most reader->cursor), which the
 * control page holds by now: raises the tail first, then empties the slots.
 */
void es_ring_free(struct es_ring_reader *reader, uint64_t cursor);

/* Tickets that wait, as the tail tells it: 0..slot_count. An estimate. */
uint32_t es_ring_depth(const struct es_ring_reader *reader);

/*
 * The full sequence that a ticket means, for a lane whose last taken record is
 * 'consumed' and which may have 'credit_count' records in flight; 0: stale or
 * forged, skip it. The record may not be published: never go past that word.
 */
uint64_t es_ticket_sequence(uint64_t consumed, uint32_t credit_count, uint32_t sequence_low);

/* The words of a slot, for tests, models and inspection. */
uint64_t es_slot_empty(uint64_t lap);
uint64_t es_slot_full(uint64_t lap, uint32_t lane_index, uint64_t sequence);

#endif
