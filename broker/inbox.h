/*
 * The commit thread's letter box: transactions that came by request instead of
 * by ring, and calls that must run on the commit thread because it alone owns
 * lanes, rings and the control page. Any thread posts and waits; the commit
 * thread takes, answers and never waits for anybody.
 *
 * What it does not do: look into a transaction (sequencer.h), or know how the
 * commit thread sleeps: the 'wake' of inbox_new() does.
 *
 * Threads. inbox_submit, inbox_call: any but the commit thread. inbox_take,
 *          inbox_answer, inbox_close: the commit thread.
 */
#ifndef BROKER_INBOX_H
#define BROKER_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"
#include "shm/lane.h"

struct inbox;

/* One posted transaction or call; the inbox owns it. */
struct submission {
    struct submission *next;
    void (*call)(void *context); /* not NULL: a call, and nothing below counts */
    void *context;
    uint32_t flags; /* ES_RECORD_* of shm/lane.h */
    uint32_t uid;   /* whose request it is */
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

/*
 * Posts a copy of 'transaction' and waits for its result.
 *
 * ES_OK: '*ret_result' holds the answer, whatever it says.
 * ES_NOT_SERVING: the inbox is closed; nothing was posted.
 * ES_FULL: INBOX_WAITING_MAX wait already; nothing was posted.
 * ES_E_UNKNOWN: no answer in time: it may be stored yet. (ES_NOT_SERVING, if it
 * was not even looked at.)
 */
ES_MUST_USE enum es_status inbox_submit(struct inbox *inbox, const void *transaction,
                                        uint32_t transaction_bytes, uint32_t flags, uint32_t uid,
                                        uint64_t timeout_ns, struct es_lane_result *ret_result);

/* Runs 'call' on the commit thread between two batches and waits, without a
 * deadline, until it has returned. ES_NOT_SERVING, ES_FULL: it was not run. */
ES_MUST_USE enum es_status inbox_call(struct inbox *inbox, void (*call)(void *context),
                                      void *context);

/* The next transaction or call, or NULL; answer it before the inbox is freed. */
struct submission *inbox_take(struct inbox *inbox);

/* Hands the result (or the end of the call) to whoever waits; 'submission' is gone. */
void inbox_answer(struct inbox *inbox, struct submission *submission);

/* Whether inbox_take() would find something. Any thread. */
bool inbox_has_work(struct inbox *inbox);

/* Refuses what comes from now on and what was not yet taken, with ES_NOT_SERVING.
 * Whoever was taken is still to be answered. */
void inbox_close(struct inbox *inbox);

#endif
