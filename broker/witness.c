#include "broker/witness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/limits.h"

struct witness {
    struct witness_config config;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping;
    bool has_news; /* 'newest' is beyond 'written' */
    bool is_idle;  /* the thread waits without a deadline */
    struct anchor_state newest;
};

/* Waits until it stops, or for so long; with the lock held. */
static void pause_for(struct witness *witness, uint64_t ns)
{
    struct timespec until;
    int error = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(ns % 1000000000U);
    until.tv_sec += (time_t)(ns / 1000000000U) + until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (!witness->is_stopping && error == 0) {
        error = pthread_cond_timedwait(&witness->changed, &witness->lock, &until);
    }
}

/* By one thread at a time: with durability os the log is synced first, so that the
 * anchor names only what is on disk. */
static void write_down(struct witness *witness, const struct anchor_state *state)
{
    if (witness->config.syncs_log && log_sync(witness->config.log) != ES_OK) {
        witness->config.failed("syncing the commit log", log_why(witness->config.log));
    }
    if (anchor_write(witness->config.anchor, state) != ES_OK) {
        witness->config.failed("writing the anchor", "the write or its sync failed");
    }
}

static void *run(void *context)
{
    struct witness *witness = context;
    uint64_t delay_ns = witness->config.syncs_log ? OS_SYNC_INTERVAL_NS : ANCHOR_DELAY_NS;

    pthread_setname_np(pthread_self(), "es-witness");
    pthread_mutex_lock(&witness->lock);
    while (!witness->is_stopping) {
        struct anchor_state state;

        if (!witness->has_news) {
            witness->is_idle = true;
            pthread_cond_wait(&witness->changed, &witness->lock);
            witness->is_idle = false;
            continue;
        }
        pause_for(witness, delay_ns);
        if (witness->is_stopping) {
            break;
        }
        state = witness->newest;
        witness->has_news = false;
        pthread_mutex_unlock(&witness->lock);
        write_down(witness, &state);
        pthread_mutex_lock(&witness->lock);
    }
    pthread_mutex_unlock(&witness->lock);
    return NULL;
}

enum es_status witness_new(const struct witness_config *config, const struct anchor_state *state,
                           struct witness **ret_witness)
{
    struct witness *witness = calloc(1, sizeof *witness);
    pthread_condattr_t attributes;

    if (witness == NULL) {
        return ES_E_NO_MEMORY;
    }
    witness->config = *config;
    witness->newest = *state;
    pthread_mutex_init(&witness->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&witness->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&witness->thread, NULL, run, witness) != 0) {
        witness_free(witness);
        return ES_E_NO_MEMORY;
    }
    witness->is_running = true;
    *ret_witness = witness;
    return ES_OK;
}

void witness_note(struct witness *witness, uint64_t batch_number, uint64_t commit_number,
                  uint64_t position, const uint8_t *store_hash)
{
    pthread_mutex_lock(&witness->lock);
    witness->newest.clean = false;
    witness->newest.batch_number = batch_number;
    witness->newest.commit_number = commit_number;
    witness->newest.position = position;
    memcpy(witness->newest.store_hash, store_hash, ANCHOR_HASH_BYTES);
    if (witness->config.is_at_once) {
        write_down(witness, &witness->newest); /* the thread has no news and writes nothing */
        pthread_mutex_unlock(&witness->lock);
        return;
    }
    witness->has_news = true;
    if (witness->is_idle) {
        pthread_cond_signal(&witness->changed);
    }
    pthread_mutex_unlock(&witness->lock);
}

static void end_thread(struct witness *witness)
{
    if (!witness->is_running) {
        return;
    }
    pthread_mutex_lock(&witness->lock);
    witness->is_stopping = true;
    pthread_cond_signal(&witness->changed);
    pthread_mutex_unlock(&witness->lock);
    pthread_join(witness->thread, NULL);
    witness->is_running = false;
}

enum es_status witness_stop_clean(struct witness *witness)
{
    end_thread(witness);
    witness->newest.clean = true;
    return anchor_write(witness->config.anchor, &witness->newest);
}

void witness_free(struct witness *witness)
{
    if (witness == NULL) {
        return;
    }
    end_thread(witness);
    pthread_cond_destroy(&witness->changed);
    pthread_mutex_destroy(&witness->lock);
    free(witness);
}
