#include "broker/inbox.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/limits.h"

/* A submission has two holders until it is answered: who waits for it, and the
 * commit thread. Whoever lets go last frees it. */
enum {
    POSTED,
    TAKEN,
    ANSWERED,
    REFUSED,
    ABANDONED
};

struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    void (*wake)(void *wake_context);
    void *wake_context;
    struct submission *first;
    struct submission *last;
    uint32_t waiting_count;
    bool is_closed;
};

enum es_status inbox_new(void (*wake)(void *wake_context), void *wake_context,
                         struct inbox **ret_inbox)
{
    struct inbox *inbox = calloc(1, sizeof *inbox);
    pthread_condattr_t attributes;

    if (inbox == NULL) {
        return ES_E_NO_MEMORY;
    }
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&inbox->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    inbox->wake = wake;
    inbox->wake_context = wake_context;
    *ret_inbox = inbox;
    return ES_OK;
}

void inbox_free(struct inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    assert(inbox->waiting_count == 0);
    pthread_cond_destroy(&inbox->answered);
    pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

/* Puts it at the end of the queue; with the lock held. */
static enum es_status post(struct inbox *inbox, struct submission *submission)
{
    if (inbox->is_closed) {
        return ES_NOT_SERVING;
    }
    if (inbox->waiting_count == INBOX_WAITING_MAX) {
        return ES_FULL;
    }
    if (inbox->last == NULL) {
        inbox->first = submission;
    } else {
        inbox->last->next = submission;
    }
    inbox->last = submission;
    inbox->waiting_count++;
    return ES_OK;
}

static void remove_posted(struct inbox *inbox, const struct submission *submission)
{
    struct submission *before = NULL;

    for (struct submission *at = inbox->first; at != submission; at = at->next) {
        before = at;
    }
    if (before == NULL) {
        inbox->first = submission->next;
    } else {
        before->next = submission->next;
    }
    if (inbox->last == submission) {
        inbox->last = before;
    }
}

static struct timespec deadline_after(uint64_t timeout_ns)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(timeout_ns / 1000000000U);
    at.tv_nsec += (long)(timeout_ns % 1000000000U);
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* Waits with the lock held; the submission is the caller's to free unless it
 * was abandoned to the commit thread. */
static enum es_status wait_for_answer(struct inbox *inbox, struct submission *submission,
                                      const struct timespec *deadline)
{
    int error = 0;

    while ((submission->state == POSTED && error != ETIMEDOUT) ||
           (submission->state == TAKEN && (error != ETIMEDOUT || submission->call != NULL))) {
        if (submission->state == TAKEN && submission->call != NULL) {
            deadline = NULL; /* it reads and writes what is the caller's */
        }
        error = deadline == NULL ? pthread_cond_wait(&inbox->answered, &inbox->lock)
                                 : pthread_cond_timedwait(&inbox->answered, &inbox->lock, deadline);
    }
    inbox->waiting_count--;
    switch (submission->state) {
    case ANSWERED: return ES_OK;
    case REFUSED: return ES_NOT_SERVING;
    case POSTED: /* not even looked at: certainly not stored */
        remove_posted(inbox, submission);
        return ES_NOT_SERVING;
    default: submission->state = ABANDONED; return ES_E_UNKNOWN;
    }
}

static enum es_status post_and_wait(struct inbox *inbox, struct submission *submission,
                                    const struct timespec *deadline,
                                    struct es_lane_result *ret_result)
{
    enum es_status status = ES_OK;

    pthread_mutex_lock(&inbox->lock);
    status = post(inbox, submission);
    pthread_mutex_unlock(&inbox->lock);
    if (status != ES_OK) {
        free(submission);
        return status;
    }
    inbox->wake(inbox->wake_context);
    pthread_mutex_lock(&inbox->lock);
    status = wait_for_answer(inbox, submission, deadline);
    pthread_mutex_unlock(&inbox->lock);
    if (status == ES_OK && ret_result != NULL) {
        *ret_result = submission->result;
    }
    if (status != ES_E_UNKNOWN) {
        free(submission);
    }
    return status;
}

enum es_status inbox_submit(struct inbox *inbox, const struct inbox_transaction *transaction,
                            uint64_t timeout_ns, struct es_lane_result *ret_result)
{
    struct submission *submission =
        calloc(1, sizeof *submission + transaction->size + transaction->producer.size);
    struct timespec deadline = deadline_after(timeout_ns);

    if (submission == NULL) {
        return ES_E_NO_MEMORY;
    }
    submission->flags = transaction->flags;
    submission->uid = transaction->uid;
    submission->transaction_bytes = transaction->size;
    submission->producer_bytes = transaction->producer.size;
    memcpy(submission->transaction, transaction->bytes, transaction->size);
    if (transaction->producer.size > 0) {
        memcpy(submission->transaction + transaction->size, transaction->producer.data,
               transaction->producer.size);
    }
    return post_and_wait(inbox, submission, &deadline, ret_result);
}

static enum es_status call_until(struct inbox *inbox, void (*call)(void *context), void *context,
                                 const struct timespec *deadline)
{
    struct submission *submission = calloc(1, sizeof *submission);

    if (submission == NULL) {
        return ES_E_NO_MEMORY;
    }
    submission->call = call;
    submission->context = context;
    return post_and_wait(inbox, submission, deadline, NULL);
}

enum es_status inbox_call(struct inbox *inbox, void (*call)(void *context), void *context)
{
    return call_until(inbox, call, context, NULL);
}

enum es_status inbox_call_within(struct inbox *inbox, void (*call)(void *context), void *context,
                                 uint64_t timeout_ns)
{
    struct timespec deadline = deadline_after(timeout_ns);

    return call_until(inbox, call, context, &deadline);
}

enum es_status inbox_run(struct inbox *inbox, struct errand *errand)
{
    struct submission *submission = calloc(1, sizeof *submission);
    enum es_status status = ES_OK;

    if (submission == NULL) {
        return ES_E_NO_MEMORY;
    }
    errand->status = ES_OK;
    submission->errand = errand;
    status = post_and_wait(inbox, submission, NULL, NULL);
    return status == ES_OK ? errand->status : status;
}

bool inbox_has_work(struct inbox *inbox)
{
    bool has_work = false;

    pthread_mutex_lock(&inbox->lock);
    has_work = inbox->first != NULL;
    pthread_mutex_unlock(&inbox->lock);
    return has_work;
}

struct submission *inbox_take(struct inbox *inbox)
{
    struct submission *submission = NULL;

    pthread_mutex_lock(&inbox->lock);
    submission = inbox->first;
    if (submission != NULL) {
        inbox->first = submission->next;
        if (inbox->first == NULL) {
            inbox->last = NULL;
        }
        submission->next = NULL;
        submission->state = TAKEN;
    }
    pthread_mutex_unlock(&inbox->lock);
    return submission;
}

static void let_go(struct inbox *inbox, struct submission *submission, int state)
{
    bool is_abandoned = false;

    pthread_mutex_lock(&inbox->lock);
    is_abandoned = submission->state == ABANDONED;
    submission->state = state;
    pthread_cond_broadcast(&inbox->answered);
    pthread_mutex_unlock(&inbox->lock);
    if (is_abandoned) {
        free(submission);
    }
}

void inbox_answer(struct inbox *inbox, struct submission *submission)
{
    let_go(inbox, submission, ANSWERED);
}

void inbox_refuse(struct inbox *inbox, struct submission *submission)
{
    let_go(inbox, submission, REFUSED);
}

void inbox_close(struct inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->is_closed = true;
    for (struct submission *at = inbox->first; at != NULL; at = at->next) {
        at->state = REFUSED;
    }
    inbox->first = NULL;
    inbox->last = NULL;
    pthread_cond_broadcast(&inbox->answered);
    pthread_mutex_unlock(&inbox->lock);
}
