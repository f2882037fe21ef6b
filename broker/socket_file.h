/*
 * What can be told of a listening Unix socket from outside, by its file: whether
 * somebody listens, whether he still answers, whether the file is a leftover.
 * No nng here: it speaks the eight bytes of the SP greeting itself, as a
 * stranger would. transport.h listens.
 *
 * Threads. Any; nothing is kept.
 */
#ifndef BROKER_SOCKET_FILE_H
#define BROKER_SOCKET_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "shm/eventspine_status.h"

enum socket_file_peer {
    SOCKET_FILE_PEER_SUB = 33, /* SP protocol numbers: what we say that we are */
    SOCKET_FILE_PEER_REQ = 48
};

/*
 * Removes a socket file that nobody listens on; nothing there is fine too.
 * ES_E_BUSY: somebody listens, or it is no socket; 'why' gets a sentence.
 */
ES_MUST_USE enum es_status socket_file_clear(const char *path, char *why, size_t why_bytes);

/* True if the listener at 'path' accepts and greets within a second. */
bool socket_file_answers(const char *path, enum socket_file_peer peer);

/* True if the libraries of this process get the sendmsg() of shims/nng_sendmsg.c. */
bool socket_sendmsg_is_cured(void);

#endif
