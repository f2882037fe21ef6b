/*
 * The rules of named producers: who may write under a name, and which number is
 * taken, answered again, or refused. sequencer.c asks for each transaction that
 * comes under a name, and acts on the answer.
 *
 * Owner.   The lane whose incarnation the name's entry holds. A record of any
 *          other lane is fenced: that is what makes a takeover final, whatever
 *          the former owner still publishes, and after any restart.
 * Numbers. last + 1 is taken, more only where a gap is allowed. One at or below
 *          it is answered from the store (first_result.h), which knows it only
 *          once everything of the producer is applied: until then, a barrier.
 *
 * Threads. The commit thread alone.
 */
#ifndef BROKER_PRODUCER_RULES_H
#define BROKER_PRODUCER_RULES_H

#include "broker/heads.h"
#include "broker/sequencer.h"
#include "broker/store.h"
#include "shm/codec/reason.h"
#include "shm/codec/transaction.h"

struct producer_verdict {
    enum es_status status; /* ES_OK: taken, or answered again */
    enum es_reason reason;
    bool is_repeat;            /* 'result' is the answer, and nothing is to be stored */
    struct cache_entry *entry; /* the producer's */
    uint8_t content_hash[ES_CONTENT_HASH_SIZE];
    struct es_lane_result result;
};

/* Whether 'uid' may use the name: its first user, root and the broker's own. */
bool producer_rules_may_use(const struct producer_state *state, uint32_t uid);

/*
 * Who: sets status, reason and entry. 'incoming->producer' is the name.
 * ES_E_*: the store cannot be read.
 */
ES_MUST_USE enum es_status producer_rules_judge_owner(struct heads *heads,
                                                      const struct incoming *incoming,
                                                      struct producer_verdict *verdict);

/*
 * Which number, of a transaction whose reading was begun; after judge_owner.
 *
 * ES_FULL: a repeat of what is not applied yet: close the batch, apply it, ask again.
 * ES_E_*: the store cannot be read.
 */
ES_MUST_USE enum es_status producer_rules_judge_number(struct store *store, struct heads *heads,
                                                       const struct incoming *incoming,
                                                       const struct es_transaction_reader *reader,
                                                       struct producer_verdict *verdict);

/*
 * Makes the lane 'incarnation' of user 'uid' the owner of the name, from the next
 * transaction on; 'submission' is answered once that is durable. '*ret_last_number'
 * is the last number accepted under the name.
 *
 * ES_FULL: the batch has no room; the owner is as before. ES_E_*: the store cannot be
 * read.
 */
ES_MUST_USE enum es_status producer_rules_claim(struct heads *heads, struct batch *batch,
                                                struct es_text producer, uint64_t incarnation,
                                                uint32_t uid, struct submission *submission,
                                                uint64_t *ret_last_number);

#endif
