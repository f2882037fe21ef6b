#include "broker/flusher.h"

#include <pthread.h>
#include <stdlib.h>

#include "shm/futex.h"
#include "shm/probe.h"

struct flusher {
    struct flusher_config config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping;
    bool has_cut; /* 'point' is to be, or is being, flushed */
    struct log_point point;
};

static void flush(struct flusher *flusher, const struct log_point *point)
{
    struct counters *counters = flusher->config.counters;
    int64_t begun_ns = es_monotonic_ns();
    struct store_books books;

    if (store_flush_wait(flusher->config.store) != ES_OK) {
        flusher->config.failed("flushing the store", store_why(flusher->config.store));
    }
    ES_PROBE(flush_store_flushed);
    if (store_books(flusher->config.store, &books) != ES_OK ||
        log_note_books(flusher->config.log, &(struct log_books){books.number, books.bytes}) !=
            ES_OK) {
        flusher->config.failed("noting the store's books", log_why(flusher->config.log));
    }
    if (log_mark_flushed(flusher->config.log, point) != ES_OK) {
        flusher->config.failed("marking the log as flushed", log_why(flusher->config.log));
    }
    counter_add(&counters->flushes, 1);
    counter_add(&counters->flush_ns_total, (uint64_t)(es_monotonic_ns() - begun_ns));
}

static void *run(void *context)
{
    struct flusher *flusher = context;

    pthread_setname_np(pthread_self(), "es-flusher");
    if (store_begin_merging(flusher->config.store) != ES_OK) {
        flusher->config.failed("beginning to merge the store's files",
                               store_why(flusher->config.store));
    }
    pthread_mutex_lock(&flusher->lock);
    while (!flusher->is_stopping || flusher->has_cut) {
        if (flusher->has_cut) {
            struct log_point point = flusher->point;

            pthread_mutex_unlock(&flusher->lock);
            flush(flusher, &point);
            pthread_mutex_lock(&flusher->lock);
            flusher->has_cut = false;
            pthread_cond_broadcast(&flusher->changed);
        } else {
            pthread_cond_wait(&flusher->changed, &flusher->lock);
        }
    }
    pthread_mutex_unlock(&flusher->lock);
    return NULL;
}

enum es_status flusher_new(const struct flusher_config *config, struct flusher **ret_flusher)
{
    struct flusher *flusher = calloc(1, sizeof *flusher);

    if (flusher == NULL) {
        return ES_E_NO_MEMORY;
    }
    flusher->config = *config;
    pthread_mutex_init(&flusher->lock, NULL);
    pthread_cond_init(&flusher->changed, NULL);
    if (pthread_create(&flusher->thread, NULL, run, flusher) != 0) {
        pthread_cond_destroy(&flusher->changed);
        pthread_mutex_destroy(&flusher->lock);
        free(flusher);
        return ES_E_NO_MEMORY;
    }
    *ret_flusher = flusher;
    return ES_OK;
}

void flusher_free(struct flusher *flusher)
{
    if (flusher == NULL) {
        return;
    }
    pthread_mutex_lock(&flusher->lock);
    flusher->is_stopping = true;
    pthread_cond_broadcast(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
    pthread_join(flusher->thread, NULL);
    pthread_cond_destroy(&flusher->changed);
    pthread_mutex_destroy(&flusher->lock);
    free(flusher);
}

void flusher_wait(struct flusher *flusher)
{
    pthread_mutex_lock(&flusher->lock);
    while (flusher->has_cut) {
        pthread_cond_wait(&flusher->changed, &flusher->lock);
    }
    pthread_mutex_unlock(&flusher->lock);
}

enum es_status flusher_begin(struct flusher *flusher, const struct log_point *point)
{
    enum es_status status = ES_OK;

    flusher_wait(flusher);
    status = store_flush_begin(flusher->config.store);
    if (status != ES_OK) {
        return status;
    }
    pthread_mutex_lock(&flusher->lock);
    flusher->point = *point;
    flusher->has_cut = true;
    pthread_cond_broadcast(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
    return ES_OK;
}
