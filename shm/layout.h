/*
 * What every party must agree on before it maps anything: the layout id, the
 * bounds, and the arithmetic that turns two settings (ring slots, bytes of a
 * lane's arena) into all sizes. The pictures of the mapped files stand beside
 * their code: control.h, ring.h, lane.h. Little-endian machines only; x86-64
 * and arm64 are built and tested.
 *
 * Any change to a picture, a bound or the meaning of a mapped word is a new
 * ES_LAYOUT_ID: two builds that disagree refuse each other at attach.
 */
#ifndef ES_SHM_LAYOUT_H
#define ES_SHM_LAYOUT_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

#define ES_LAYOUT_ID UINT32_C(0x45530001)

#define ES_CONTROL_MAGIC UINT64_C(0x4c52544350535645) /* "EVSPCTRL" */
#define ES_RING_MAGIC UINT64_C(0x474e495250535645)    /* "EVSPRING" */
#define ES_LANE_MAGIC UINT64_C(0x454e414c50535645)    /* "EVSPLANE" */

#define ES_PAGE_BYTES 4096u
#define ES_CACHE_LINE_BYTES 64u
#define ES_RECORD_ALIGNMENT 32u /* records start at multiples of this in the arena */

#define ES_RING_COUNT_MAX 16u  /* one ring per user id */
#define ES_LANE_COUNT_MAX 256u /* a ticket has 8 bits for the lane */
#define ES_CREDIT_COUNT_MAX 256u
#define ES_SLOT_COUNT_MIN 2u
#define ES_SLOT_COUNT_MAX (1u << 20)
#define ES_SLOT_COUNT_DEFAULT (1u << 16)
#define ES_ARENA_BYTES_MIN (64u << 10)
#define ES_ARENA_BYTES_MAX (32u << 20)
#define ES_ARENA_BYTES_DEFAULT (4u << 20)
#define ES_ARENA_BYTES_TINY ES_PAGE_BYTES /* what lane.h itself can work with; for tests */
#define ES_PRODUCER_NAME_BYTES_MAX 255u

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the mapped files are little-endian");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
              "a lock hidden in an atomic would not be shared between processes");
static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint32_t) == 4,
              "atomics are mapped as plain words");

/* Every size that follows from the two settings; the same on both sides. */
struct es_geometry {
    uint32_t slot_count;        /* of each ring; a power of two */
    uint32_t lane_count;        /* lanes usable at one time: slots >= lanes x credits */
    uint32_t credit_count;      /* records of one lane that may be in flight */
    uint32_t record_bytes_max;  /* an eighth of the arena, record header included */
    uint32_t payload_bytes_max; /* record_bytes_max without the header */
    uint32_t arena_bytes;       /* a multiple of ES_PAGE_BYTES */
};

/*
 * Computes the geometry for 'slot_count' (a power of two from 2 to 2^20) and
 * 'arena_bytes' (64 KiB to 32 MiB, a multiple of 4096).
 *
 * ES_E_INVALID: a bound is broken; '*ret_geometry' is untouched.
 */
ES_MUST_USE enum es_status es_geometry_make(uint64_t slot_count, uint64_t arena_bytes,
                                            struct es_geometry *ret_geometry);

/* The sizes of the files in bytes, multiples of ES_PAGE_BYTES. */
size_t es_control_bytes(void);
size_t es_ring_bytes(uint32_t slot_count);
size_t es_lane_bytes(uint32_t arena_bytes, uint32_t credit_count);

#endif
