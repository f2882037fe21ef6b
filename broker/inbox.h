/*
 * The commit thread's letter box: transactions that came by request instead of
 * by ring, and calls that must run on the commit thread because it alone owns
 * lanes, rings and the control page. Any thread posts and waits; the commit
 * thread takes, answers and never waits for anybody. An errand is what has to do
 * with the owner of a producer's name: it is done once everything that the owner
 * had published lies in batches before it, and answered when those are durable.
 *
 * What it does not do: look into a transaction (sequencer.h), or know how the
 * commit thread sleeps: the 'wake' of inbox_new() does.
 *
 * Threads. inbox_submit, inbox_call*, inbox_run: any but the commit thread. inbox_take,
 *          inbox_answer, inbox_refuse, inbox_close: the commit thread.
 */
#ifndef BROKER_INBOX_H
#define BROKER_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/codec/view.h"
#include "shm/eventspine_status.h"
#include "shm/lane.h"

struct inbox;

/*
 * What somebody wants done about a producer's name. It is the caller's, who waits
 * and reads the answer; the commit thread fills it in.
 */
struct errand {
    struct es_text producer; /* whose name */
    uint32_t uid;            /* who asks */
    /*
     * Of a claim, else NULL: makes the lane that shall own the name, called once,
     * on the commit thread. Any status but ES_OK is the errand's.
     */
    enum es_status (*make_lane)(void *context, uint64_t *ret_incarnation);
    void *context;
    bool take_over; /* of a claim: also from a live owner */

    enum es_status status;      /* the answer */
    uint64_t last_number;       /* of a claim */
    uint64_t owner_incarnation; /* of the lane that owned the name before; 0: none is open */
    uint32_t owner_pid;
    bool owner_lives; /* it is in use */
};

/* One posted transaction, call or errand; the inbox owns it. */
struct submission {
    struct submission *next;
    void (*call)(void *context); /* not NULL: a call, and nothing below counts */
    void *context;
    struct errand *errand;   /* not NULL: an errand, and nothing below counts */
    uint32_t flags;          /* ES_RECORD_* of shm/lane.h */
    uint32_t uid;            /* whose request it is */
    uint32_t producer_bytes; /* of the producer's name, behind the transaction; 0: unnamed */
    uint32_t transaction_bytes;
    struct es_lane_result result; /* set by inbox_answer() */
    int state;                    /* private to inbox.c */
    uint8_t transaction[];
};

/* 'wake' is called after something was posted, from the posting thread. */
ES_MUST_USE enum es_status inbox_new(void (*wake)(void *wake_context), void *wake_context,
                                     struct inbox **ret_inbox);

/* Nobody may be waiting in it any more: see inbox_close(). NULL is fine. */
void inbox_free(struct inbox *inbox);

/* A transaction that comes by request. */
struct inbox_transaction {
    const void *bytes;
    uint32_t size;
    uint32_t flags; /* ES_RECORD_* */
    uint32_t uid;
    struct es_text producer; /* size 0: unnamed */
};

/*
 * Posts a copy of 'transaction' and waits for its result.
 *
 * ES_OK: '*ret_result' holds the answer, whatever it says.
 * ES_NOT_SERVING: the inbox is closed; nothing was posted.
 * ES_FULL: INBOX_WAITING_MAX wait already; nothing was posted.
 * ES_E_UNKNOWN: no answer in time: it may be stored yet. (ES_NOT_SERVING, if it
 * was not even looked at.)
 */
ES_MUST_USE enum es_status inbox_submit(struct inbox *inbox,
                                        const struct inbox_transaction *transaction,
                                        uint64_t timeout_ns, struct es_lane_result *ret_result);

/* Runs 'call' on the commit thread between two batches and waits, without a
 * deadline, until it has returned. ES_NOT_SERVING, ES_FULL: it was not run. */
ES_MUST_USE enum es_status inbox_call(struct inbox *inbox, void (*call)(void *context),
                                      void *context);

/* The same, but given up after 'timeout_ns', unless the commit thread has begun with it by
 * then. ES_NOT_SERVING, ES_FULL: it was not run, and never will be. */
ES_MUST_USE enum es_status inbox_call_within(struct inbox *inbox, void (*call)(void *context),
                                             void *context, uint64_t timeout_ns);

/*
 * Has the errand done and waits, without a deadline, until it is: its status.
 * ES_NOT_SERVING, ES_FULL: it was not begun, or the broker stops.
 */
ES_MUST_USE enum es_status inbox_run(struct inbox *inbox, struct errand *errand);

/* The next transaction, call or errand, or NULL; answer it before the inbox is freed. */
struct submission *inbox_take(struct inbox *inbox);

/* Hands the result (or the end of the call) to whoever waits; 'submission' is gone. */
void inbox_answer(struct inbox *inbox, struct submission *submission);

/* Tells whoever waits ES_NOT_SERVING instead: it was taken, and nothing was done. */
void inbox_refuse(struct inbox *inbox, struct submission *submission);

/* The name under which a transaction was submitted; a view into it. */
static inline struct es_text submission_producer(const struct submission *submission)
{
    return es_text_make((const char *)submission->transaction + submission->transaction_bytes,
                        submission->producer_bytes);
}

/* Whether inbox_take() would find something. Any thread. */
bool inbox_has_work(struct inbox *inbox);

/* Refuses what comes from now on and what was not yet taken, with ES_NOT_SERVING.
 * Whoever was taken is still to be answered. */
void inbox_close(struct inbox *inbox);

#endif
