/*
 * Tells wrong use of a handle from right use, as far as it can be told: two
 * threads inside one handle, a handle in the child of a fork, a handle after
 * its closing. It protects no data and waits for nobody: a second thread is
 * sent away, not queued.
 *
 * A guard is the first member of a handle. Handles come from es_handle_new()
 * and go to es_handle_retire(), which keeps the memory of the last
 * ES_RETIRED_HANDLE_COUNT of them, so that a call on a handle closed a moment
 * ago reads a guard that says so. (Later than that it is a use after free, as
 * anywhere in C.)
 *
 * Cost. Entering and leaving is one atomic exchange and one store. Whether this
 * is still the process that made the handle is one load: a page that the kernel
 * wipes at fork holds the process's number.
 */
#ifndef ES_CLIENT_GUARD_H
#define ES_CLIENT_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

struct es_guard {
    _Atomic uint32_t is_open;
    _Atomic uint32_t in_use;
    uint64_t process; /* es_guard_process() of the maker */
};

/*
 * Readies what all guards of this process share; also what the hash library
 * wants done before there are threads. Call before making a handle.
 * ES_E_NO_MEMORY: no page for it.
 */
ES_MUST_USE enum es_status es_guard_prepare(void);

/* A number of this process among its ancestors; 0 in a child that has not
 * called es_guard_prepare() yet. */
uint64_t es_guard_process(void);

void es_guard_init(struct es_guard *guard);

/*
 * Before a call on a handle of one thread at a time; pairs with es_guard_leave().
 *
 * ES_E_FORKED, ES_E_WRONG_THREAD, ES_E_CLOSED: turn the caller away.
 */
ES_MUST_USE enum es_status es_guard_enter(struct es_guard *guard);
void es_guard_leave(struct es_guard *guard);

/* Before a call on a handle that several threads may use: ES_E_FORKED, ES_E_CLOSED. */
ES_MUST_USE enum es_status es_guard_check(const struct es_guard *guard);

/*
 * Marks a handle as closed. True: the caller now tears it down and retires it.
 * False: somebody is inside, it is closed already, or this is a child: leave it.
 */
bool es_guard_close(struct es_guard *guard);

/* Zeroed memory for a handle; NULL: none. */
void *es_handle_new(size_t size);

/* Gives the memory of a closed handle back, later. */
void es_handle_retire(void *handle);

#endif
