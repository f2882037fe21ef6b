/*
 * What can be told of a listening Unix socket from outside, by its file: whether
 * somebody listens, or the file is a leftover. transport.h listens.
 *
 * Threads. Any; nothing is kept.
 */
#ifndef BROKER_SOCKET_FILE_H
#define BROKER_SOCKET_FILE_H

#include <stddef.h>

#include "shm/eventspine_status.h"

/*
 * Removes a socket file that nobody listens on; nothing there is fine too.
 * ES_E_BUSY: somebody listens, or it is no socket; 'why' gets a sentence.
 */
ES_MUST_USE enum es_status socket_file_clear(const char *path, char *why, size_t why_bytes);

#endif
