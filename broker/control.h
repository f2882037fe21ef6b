/*
 * The broker's front door for producers, and its ear for the system: accepts on
 * control.sock, hands out lanes with their descriptors, watches the processes
 * that own them, and hears SIGTERM and SIGINT. What a lane is, lanes.h knows; it
 * belongs to the commit thread, so every change goes there by inbox_call().
 *
 * Peers.   A peer is its SO_PEERCRED, never what it says. One message is one
 *          SOCK_SEQPACKET packet; descriptors that come with it are closed. A
 *          peer that breaks the protocol is disconnected.
 * Death.   A process is known to have ended by its pidfd alone, which the kernel hands
 *          out for a connection where it can: a connection can end for other reasons,
 *          and a silent process may be stopped.
 * Threads. The one that calls control_run().
 */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "broker/inbox.h"
#include "broker/lanes.h"

enum {
    CONTROL_WHY_BYTES = 512
};

struct control;

struct control_config {
    const char *socket_path;
    bool group_given; /* then 'group' may connect too */
    gid_t group;
    struct inbox *inbox; /* these outlive it */
    struct lanes *lanes;
};

/*
 * Listens, and watches the owners of lanes that were taken over. SIGTERM and
 * SIGINT must be blocked in all threads. 'why' gets a sentence on failure.
 * Call it before the commit thread runs.
 */
ES_MUST_USE enum es_status control_new(const struct control_config *config, char *why,
                                       struct control **ret_control);

/* Serves until SIGTERM, SIGINT or control_stop(). */
void control_run(struct control *control);

/* Ends control_run(). Any thread. */
void control_stop(struct control *control);

/* Closes everything and removes the socket. NULL is fine. */
void control_free(struct control *control);

#endif
