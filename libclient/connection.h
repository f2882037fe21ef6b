/*
 * A connection: where the broker's run directory is, how long to wait, whether
 * waits are interrupted, and the idle question sockets. It sends nothing by
 * itself: question.h asks, attach.h attaches.
 *
 * Lifetime.  Every handle made from a connection, and every question on its way,
 *            holds a reference; closing only refuses new ones, the last to let
 *            go tears down. So closing in the wrong order harms nobody.
 * Threads.   Any, for all functions here.
 * Interrupt. One word to sleep on (futexes) and one eventfd to poll, always
 *            changed together; level, not edge: every wait ends until resume.
 */
#ifndef ES_CLIENT_CONNECTION_H
#define ES_CLIENT_CONNECTION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "libclient/eventspine.h"
#include "libclient/guard.h"
#include "libclient/limits.h"

struct es_question;

struct es_connection {
    struct es_guard guard;
    _Atomic uint32_t reference_count; /* 0: torn down */
    _Atomic uint32_t interrupted;     /* 0 or 1; the word that futex waits watch */
    int interrupt_fd;                 /* readable while interrupted */
    uint64_t id;                      /* never 0, never used again: keys error texts */
    uint64_t timeout_ns;
    pthread_mutex_t idle_lock;
    struct es_question *idle; /* under idle_lock, as is */
    uint32_t idle_count;
    char unheard[ES_NAME_BYTES_MAX + 1]; /* under idle_lock: attach.c; "": none */
    char run_dir[ES_RUN_DIR_BYTES_MAX + 1];
    char client_name[ES_CLIENT_NAME_BYTES_MAX + 1];
    size_t receipt_bytes; /* 0: none is presented */
    uint8_t receipt[ES_RECEIPT_BYTES_MAX];
};

/* Takes a reference. ES_E_CLOSED, ES_E_FORKED: there is none to take. */
ES_MUST_USE enum es_status es_connection_hold(struct es_connection *connection);
void es_connection_drop(struct es_connection *connection);

/* An allocation of this process has failed: ES_E_NO_MEMORY, with words. */
enum es_status es_fail_no_memory(const struct es_connection *connection);

/* Remembers, for this thread, what a failed call has to say; returns 'status'. */
__attribute__((format(printf, 3, 4))) enum es_status es_fail(const struct es_connection *connection,
                                                             enum es_status status,
                                                             const char *format, ...);

/* 'timeout_ns' from now, as a deadline of shm/futex.h. */
int64_t es_deadline_of(uint64_t timeout_ns);

/*
 * Waits until 'fd' is ready for 'events' (of poll), 'deadline_ns' passes or the
 * connection is interrupted. ES_OK, ES_TIMEOUT, ES_INTERRUPTED; ES_E_IO: poll failed.
 */
ES_MUST_USE enum es_status es_connection_wait(struct es_connection *connection, int fd,
                                              short events, int64_t deadline_ns);

/*
 * Whether a broker listens in the run directory, found out by connecting to
 * control.sock and closing again. Sets the error text.
 *
 * ES_E_UNREACHABLE: nobody listens. ES_E_PERMISSION: the directory or socket is
 * closed to this user.
 */
ES_MUST_USE enum es_status es_connection_probe(const struct es_connection *connection);

/*
 * The same, leaving the connected control socket open for attach.c, which
 * closes it. Where a crowd waits at the broker's door it waits too, a second at most:
 * ES_E_BUSY. ES_E_IO, ES_E_LIMIT: no descriptor.
 */
ES_MUST_USE enum es_status es_connection_control_socket(const struct es_connection *connection,
                                                        int *ret_fd);

#endif
