/*
 * The broker's answer to who asks for a lane: the message of shm/codec/attach.h,
 * with the descriptors beside it. Whether there is a lane, control.c decides.
 *
 * Threads. Any.
 */
#ifndef BROKER_ATTACH_REPLY_H
#define BROKER_ATTACH_REPLY_H

#include <stdbool.h>

#include "broker/lanes.h"
#include "shm/codec/attach.h"

/* What to tell a person about a status; "" for ES_OK. Static text. */
const char *attach_reply_words(enum es_status status);

/*
 * Sends 'reply' over the socket; with ES_OK also the descriptors of 'attachment',
 * which stay the caller's. False: the peer did not take it.
 */
bool attach_reply_send(int socket_fd, const struct es_attach_reply *reply,
                       const struct lanes_attachment *attachment);

#endif
