/*
 * Whether an event is what its hash says, and whether it follows the event it
 * should. Both are asked by every reader; a wrong answer is damage, and is
 * reported, not delivered. envelope.h decodes. Pure functions; any thread.
 */
#ifndef EVENTSPINE_CODEC_CHAIN_H
#define EVENTSPINE_CODEC_CHAIN_H

#include "shm/codec/envelope.h"

/* ES_E_CORRUPT: the stored hash is not the hash of the event's other members. */
ES_MUST_USE enum es_status es_chain_verify_hash(const struct es_event_view *view);

/*
 * The event at 'sequence' names as its predecessor the event whose hash is
 * 'predecessor_hash': empty for sequence 1, and only there. For the first event
 * of a truncated stream it is the head's hash_before_first.
 *
 * ES_E_CORRUPT: it names another, or none.
 */
ES_MUST_USE enum es_status es_chain_verify_link(const struct es_event_view *view, uint64_t sequence,
                                                struct es_bytes predecessor_hash);

#endif
