/*
 * Attaching: asks the broker over control.sock for a lane, checks all that comes
 * back, and maps it; and tells later whether that memory is still the broker's.
 * What is written into the lane is producer.c's business.
 *
 * Trust.  The broker is believed no more than anybody who can listen on that
 *         path: descriptors are counted, checked for type and size before they
 *         are mapped, indices bounded, ids compared.
 * Memory. Mapped until es_attachment_close(); never inherited by a child.
 *         An attachment stays where it is: those with a name are in a list.
 * Threads. One at a time.
 */
#ifndef ES_CLIENT_ATTACH_H
#define ES_CLIENT_ATTACH_H

#include "libclient/connection.h"
#include "libclient/owned_names.h"
#include "shm/control.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"
#include "shm/segment.h"

/* Who asks for a lane. */
struct es_attach_wish {
    const char *producer; /* the name to own; "": none */
    bool take_over;
};

struct es_attachment {
    int socket_fd; /* open as long as the lane is in use; -1: nothing is, or was asked for */
    uint32_t lane_index;
    const char *producer; /* of the wish */
    struct es_owned_name owned_name;
    uint64_t last_number; /* of the named producer, when it was given its lane */
    struct es_segment control_segment;
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_control control;
    struct es_ring ring;
    struct es_lane_writer lane;
    struct es_control_identity identity; /* as it was at attaching */
};

/*
 * Asks for a lane and does not wait for the answer, which es_attachment_receive()
 * takes; 'wish->producer' lasts as long as the attachment. es_attachment_forget() if
 * nobody is to wait for it any more.
 *
 * ES_E_UNREACHABLE: no broker. ES_NOT_SERVING: it has too many to answer; try again.
 * ES_E_PERMISSION, ES_E_LIMIT, ES_E_IO: no socket, or no room for the descriptors of a
 * lane. The error text tells.
 */
ES_MUST_USE enum es_status es_attachment_ask(struct es_connection *connection,
                                             const struct es_attach_wish *wish,
                                             struct es_attachment *ret_attachment);

/*
 * ES_OK: the lane is there. ES_TIMEOUT, ES_INTERRUPTED: no answer yet; receive again.
 * All others end the asking:
 * ES_E_UNREACHABLE: the broker hung up.
 * ES_E_LIMIT, ES_E_PERMISSION, ES_E_VERSION, ES_NOT_SERVING: as the broker says.
 * ES_E_BUSY: the name has a living owner. (Not where that is this process, by a lane
 * that it never heard of, for the broker was killed before it could say so: such a
 * lane is taken over. One that another handle has is not.)
 * ES_E_PROTOCOL: what came is not what it should be. The error text tells.
 */
ES_MUST_USE enum es_status es_attachment_receive(struct es_connection *connection,
                                                 int64_t deadline_ns,
                                                 struct es_attachment *attachment);

/* Both, as one; ES_E_UNREACHABLE: also no answer until 'deadline_ns'. */
ES_MUST_USE enum es_status es_attachment_open(struct es_connection *connection,
                                              const struct es_attach_wish *wish,
                                              int64_t deadline_ns,
                                              struct es_attachment *ret_attachment);

/* Hangs up on a broker that has been asked. A lane that it has given is given back:
 * a living process keeps what it has been given, and with it its name. */
void es_attachment_forget(const struct es_connection *connection, struct es_attachment *attachment);

/* Says in the lane that nothing follows, unmaps, and hangs up. */
void es_attachment_close(struct es_attachment *attachment);

/*
 * False: the broker has made new shared memory, or has given the lane to
 * somebody else; nothing that is in it will be answered any more. A few hundred
 * nanoseconds: ask while waiting, not before each record.
 */
bool es_attachment_is_current(const struct es_attachment *attachment);

#endif
