#include "libclient/guard.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "libclient/limits.h"
#include "libclient/owned_names.h"
#include "shm/codec/hash.h"
#include "shm/layout.h"

/* Wiped by the kernel in a child, however it was forked; pthread_atfork() does
 * the same where a kernel does not know MADV_WIPEONFORK. */
static _Atomic uint64_t *process_word;

/* Copied by fork, so a child's number is beyond all of its ancestors'. */
static uint64_t process_last;

static pthread_mutex_t prepare_lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic(void *) retired[ES_RETIRED_HANDLE_COUNT];
static _Atomic uint32_t retired_next;

static void forget_process(void)
{
    atomic_store_explicit(process_word, 0, memory_order_relaxed);
    pthread_mutex_init(&prepare_lock, NULL); /* another thread may have held it */
    es_owned_names_forget_process();
}

static enum es_status make_process_word(void)
{
    void *page =
        mmap(NULL, ES_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        return ES_E_NO_MEMORY;
    }
    process_word = page;
    (void)madvise(page, ES_PAGE_BYTES, MADV_WIPEONFORK);
    if (pthread_atfork(NULL, NULL, forget_process) != 0) {
        process_word = NULL;
        munmap(page, ES_PAGE_BYTES);
        return ES_E_NO_MEMORY;
    }
    return ES_OK;
}

enum es_status es_guard_prepare(void)
{
    enum es_status status = ES_OK;

    pthread_mutex_lock(&prepare_lock);
    if (process_word == NULL) {
        es_hash_warm_up();
        status = make_process_word();
    }
    if (status == ES_OK && atomic_load_explicit(process_word, memory_order_relaxed) == 0) {
        process_last++;
        atomic_store_explicit(process_word, process_last, memory_order_relaxed);
    }
    pthread_mutex_unlock(&prepare_lock);
    return status;
}

uint64_t es_guard_process(void)
{
    return atomic_load_explicit(process_word, memory_order_relaxed);
}

void es_guard_init(struct es_guard *guard)
{
    guard->process = es_guard_process();
    atomic_init(&guard->in_use, 0);
    atomic_init(&guard->is_open, 1);
}

enum es_status es_guard_enter(struct es_guard *guard)
{
    if (guard->process != es_guard_process()) {
        return ES_E_FORKED;
    }
    /* Acquire: what the thread that used the handle before has left [G1]. */
    if (atomic_exchange_explicit(&guard->in_use, 1, memory_order_acquire) != 0) {
        return ES_E_WRONG_THREAD;
    }
    if (atomic_load_explicit(&guard->is_open, memory_order_relaxed) == 0) {
        es_guard_leave(guard);
        return ES_E_CLOSED;
    }
    return ES_OK;
}

void es_guard_leave(struct es_guard *guard)
{
    atomic_store_explicit(&guard->in_use, 0, memory_order_release); /* [G1] */
}

enum es_status es_guard_check(const struct es_guard *guard)
{
    if (guard->process != es_guard_process()) {
        return ES_E_FORKED;
    }
    return atomic_load_explicit(&guard->is_open, memory_order_relaxed) != 0 ? ES_OK : ES_E_CLOSED;
}

bool es_guard_close(struct es_guard *guard)
{
    if (es_guard_enter(guard) != ES_OK) {
        return false;
    }
    atomic_store_explicit(&guard->is_open, 0, memory_order_relaxed);
    es_guard_leave(guard);
    return true;
}

void *es_handle_new(size_t size)
{
    return calloc(1, size);
}

void es_handle_retire(void *handle)
{
    uint32_t index = atomic_fetch_add_explicit(&retired_next, 1, memory_order_relaxed);

    /* acq_rel: whoever frees it later frees a handle that its owner is done with. */
    free(atomic_exchange_explicit(&retired[index % ES_RETIRED_HANDLE_COUNT], handle,
                                  memory_order_acq_rel));
}
