/*
 * Attaching: asks the broker over control.sock for a lane, checks all that comes
 * back, and maps it; and tells later whether that memory is still the broker's.
 * What is written into the lane is producer.c's business.
 *
 * Trust.  The broker is believed no more than anybody who can listen on that
 *         path: descriptors are counted, checked for type and size before they
 *         are mapped, indices bounded, ids compared.
 * Memory. Mapped until es_attachment_close(); never inherited by a child.
 * Threads. One at a time.
 */
#ifndef ES_CLIENT_ATTACH_H
#define ES_CLIENT_ATTACH_H

#include "libclient/connection.h"
#include "shm/control.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"
#include "shm/segment.h"

struct es_attachment {
    int socket_fd; /* open as long as the lane is in use: tells the broker that we live */
    uint32_t lane_index;
    struct es_segment control_segment;
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_control control;
    struct es_ring ring;
    struct es_lane_writer lane;
    struct es_control_identity identity; /* as it was at attaching */
};

/*
 * ES_E_UNREACHABLE: no broker, or no answer until 'deadline_ns'. ES_INTERRUPTED.
 * ES_E_LIMIT, ES_E_PERMISSION, ES_E_VERSION, ES_NOT_SERVING: as the broker says.
 * ES_E_PROTOCOL: what came is not what it should be. The error text tells.
 */
ES_MUST_USE enum es_status es_attachment_open(struct es_connection *connection, int64_t deadline_ns,
                                              struct es_attachment *ret_attachment);

/* Says in the lane that nothing follows, unmaps, and hangs up. */
void es_attachment_close(struct es_attachment *attachment);

/*
 * False: the broker has made new shared memory, or has given the lane to
 * somebody else; nothing that is in it will be answered any more. A few hundred
 * nanoseconds: ask while waiting, not before each record.
 */
bool es_attachment_is_current(const struct es_attachment *attachment);

#endif
