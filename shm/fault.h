/*
 * A shared file that its other holder truncates or cannot extend turns the next
 * access into a SIGBUS. In a watched range that maps one private zero page in its
 * place and notes the fact, so that the access goes on over zeros, which no
 * checksum believes, and the owner of the range can be cut off. A SIGBUS anywhere
 * else ends the process as it always did. For the broker; a library leaves its
 * user's signal handlers alone.
 *
 * System calls that are handed such memory fail with EFAULT instead: futex.h copes,
 * and the broker hands it to no other.
 *
 * Threads: any, each index one at a time. The handler itself only loads and stores
 * atomics and maps the page.
 */
#ifndef ES_SHM_FAULT_H
#define ES_SHM_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/layout.h"
#include "shm/segment.h"

#define ES_FAULT_RANGE_COUNT_MAX (ES_LANE_COUNT_MAX + ES_RING_COUNT_MAX + 1)

/* Installs the handler, for the whole process. ES_E_IO: errno tells. */
ES_MUST_USE enum es_status es_fault_install(void);

/*
 * Watches the mapping of 'segment' until es_fault_forget(), which must come before
 * it is unmapped. ES_E_LIMIT: ES_FAULT_RANGE_COUNT_MAX are watched already.
 */
ES_MUST_USE enum es_status es_fault_watch(const struct es_segment *segment, uint32_t *ret_index);
void es_fault_forget(uint32_t index);

/* Whether an access to the range has failed since it is watched: what was read from
 * it may be zeros, what was written may be lost. */
bool es_fault_was_hit(uint32_t index);

#endif
