#include "libclient/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libclient/receipt.h"
#include "shm/codec/attach.h"
#include "shm/futex.h"
#include "shm/probe.h"

#define DESCRIPTOR_COUNT 3u
#define LANE_DESCRIPTOR 2u
#define DESCRIPTOR_COUNT_MAX 16u /* a hostile peer may send more; all are closed */
#define MESSAGE_BYTES_SHOWN 400
#define RECEIVE_TRY_COUNT 2u

/* What the broker answered, before anything of it is mapped. */
struct grant {
    int fds[DESCRIPTOR_COUNT_MAX]; /* control page, ring, lane */
    uint32_t fd_count;
    uint32_t lane_index;
    uint64_t incarnation;
    uint32_t ring_index;
    uint64_t last_number;
};

static void close_descriptors(struct grant *grant)
{
    for (uint32_t i = 0; i < grant->fd_count; i++) {
        if (grant->fds[i] >= 0) {
            close(grant->fds[i]);
        }
    }
    grant->fd_count = 0;
}

static enum es_status protocol_error(const struct es_connection *connection, const char *what)
{
    return es_fail(connection, ES_E_PROTOCOL, "%s/control.sock: %s; is that an Eventspine broker?",
                   connection->run_dir, what);
}

static enum es_status other_version(const struct es_connection *connection)
{
    return es_fail(connection, ES_E_VERSION,
                   "the broker in %s has another layout of shared memory: use the library and the "
                   "broker of one release",
                   connection->run_dir);
}

static enum es_status hung_up(const struct es_connection *connection)
{
    return es_fail(connection, ES_E_UNREACHABLE,
                   "%s/control.sock: the broker hung up before it answered; it may be stopping: "
                   "try again",
                   connection->run_dir);
}

/* Takes whatever descriptors came, so that none leaks. */
static void take_descriptors(struct msghdr *message, struct grant *grant)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
            int fd;

            memcpy(&fd, (const uint8_t *)part + at, sizeof fd);
            if (grant->fd_count < DESCRIPTOR_COUNT_MAX) {
                grant->fds[grant->fd_count++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

static enum es_status read_grant(const struct es_connection *connection, const uint8_t *bytes,
                                 size_t size, struct grant *grant)
{
    struct es_attach_reply reply;
    enum es_status status = es_attach_reply_decode(bytes, size, &reply);

    if (status == ES_OK && (reply.status < ES_E_EXISTS || reply.status > ES_FENCED ||
                            (reply.status == ES_OK && (reply.lane_index >= ES_LANE_COUNT_MAX ||
                                                       reply.ring_index >= ES_RING_COUNT_MAX)))) {
        status = ES_E_PROTOCOL;
    }
    if (status != ES_OK && status != ES_E_VERSION) {
        return protocol_error(connection, "its answer cannot be read");
    }
    if (status == ES_E_VERSION) {
        return other_version(connection);
    }
    if (reply.status != ES_OK) {
        return es_fail(connection, reply.status, "%.*s",
                       reply.message.size < MESSAGE_BYTES_SHOWN ? (int)reply.message.size
                                                                : MESSAGE_BYTES_SHOWN,
                       reply.message.data);
    }
    grant->lane_index = reply.lane_index;
    grant->incarnation = reply.incarnation;
    grant->ring_index = reply.ring_index;
    grant->last_number = reply.last_number;
    if (grant->fd_count != DESCRIPTOR_COUNT) {
        return protocol_error(connection, "it did not send the three descriptors of a lane");
    }
    return ES_OK;
}

/* A lane whose descriptors find no place is made and taken back for nothing, and a name
 * claimed: so it is not asked for where there is none. */
static enum es_status check_room(const struct es_connection *connection, int fd)
{
    int spare[DESCRIPTOR_COUNT];
    uint32_t count = 0;

    while (count < DESCRIPTOR_COUNT) {
        spare[count] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (spare[count] < 0) {
            break;
        }
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        close(spare[i]);
    }
    if (count == DESCRIPTOR_COUNT) {
        return ES_OK;
    }
    return es_fail(connection, ES_E_LIMIT,
                   "this process has no room for the %u descriptors of a lane: close some, or "
                   "raise ulimit -n",
                   DESCRIPTOR_COUNT);
}

static enum es_status send_request(const struct es_connection *connection,
                                   const struct es_attach_wish *wish, int fd)
{
    const struct es_attach_request request = {.layout_id = ES_LAYOUT_ID,
                                              .client_name = es_text_of(connection->client_name),
                                              .producer = es_text_of(wish->producer),
                                              .take_over = wish->take_over};
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    uint32_t size = 0;
    enum es_status status = es_attach_request_encode(&request, bytes, sizeof bytes, &size);

    if (status != ES_OK) {
        return status;
    }
    return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size ? ES_OK : hung_up(connection);
}

/* The answer has come, or the end of the connection. */
static enum es_status take_grant(const struct es_connection *connection, int fd,
                                 struct grant *grant)
{
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * DESCRIPTOR_COUNT_MAX)];
    } descriptors;
    struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = descriptors.bytes,
                             .msg_controllen = sizeof descriptors.bytes};
    ssize_t size = -1;

    /* More than once: with an answer that is not taken a lane is lost. */
    for (uint32_t i = 0; i < RECEIVE_TRY_COUNT && size < 0; i++) {
        size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    }
    if (size <= 0) {
        return hung_up(connection);
    }
    take_descriptors(&message, grant);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return protocol_error(connection, "its answer is too long");
    }
    return read_grant(connection, bytes, (size_t)size, grant);
}

/* Maps descriptor 'index' of the grant, which is the segment's then. */
static enum es_status map(struct grant *grant, uint32_t index, size_t size, bool writable,
                          struct es_segment *ret_segment)
{
    enum es_status status = es_segment_map_or_keep(grant->fds[index], size, writable, ret_segment);

    if (status == ES_OK) {
        grant->fds[index] = -1;
    }
    return status;
}

static enum es_status map_all(struct grant *grant, struct es_attachment *attachment)
{
    const struct es_geometry *geometry = &attachment->identity.geometry;
    struct es_control_ring ring;
    enum es_status status = map(grant, 0, es_control_bytes(), false, &attachment->control_segment);

    if (status == ES_OK) {
        status = es_control_attach(&attachment->control, &attachment->control_segment);
    }
    if (status != ES_OK) {
        return status;
    }
    es_control_identity(&attachment->control, &attachment->identity);
    if (grant->lane_index >= geometry->lane_count) {
        return ES_E_PROTOCOL;
    }
    status = es_control_ring(&attachment->control, grant->ring_index, &ring);
    if (status == ES_OK) {
        status =
            map(grant, 1, es_ring_bytes(geometry->slot_count), true, &attachment->ring_segment);
    }
    if (status == ES_OK) {
        status = es_ring_attach(&attachment->ring, &attachment->ring_segment, ring.ring_id,
                                geometry->slot_count);
    }
    if (status == ES_OK) {
        status = map(grant, LANE_DESCRIPTOR,
                     es_lane_bytes(geometry->arena_bytes, geometry->credit_count), true,
                     &attachment->lane_segment);
    }
    if (status == ES_OK) {
        status =
            es_lane_writer_attach(&attachment->lane, &attachment->lane_segment, grant->incarnation,
                                  geometry->arena_bytes, geometry->credit_count);
    }
    return status;
}

static void unmap_all(struct es_attachment *attachment)
{
    es_owned_names_remove(&attachment->owned_name);
    es_segment_unmap(&attachment->lane_segment);
    es_segment_unmap(&attachment->ring_segment);
    es_segment_unmap(&attachment->control_segment);
    if (attachment->socket_fd >= 0) {
        close(attachment->socket_fd);
        attachment->socket_fd = -1;
    }
}

enum es_status es_attachment_ask(struct es_connection *connection,
                                 const struct es_attach_wish *wish,
                                 struct es_attachment *ret_attachment)
{
    enum es_status status;

    *ret_attachment = (struct es_attachment){.socket_fd = -1,
                                             .producer = wish->producer,
                                             .control_segment = ES_SEGMENT_NONE,
                                             .ring_segment = ES_SEGMENT_NONE,
                                             .lane_segment = ES_SEGMENT_NONE};
    es_owned_names_add(&ret_attachment->owned_name, wish->producer);
    status = es_connection_greet(connection);
    if (status == ES_OK) {
        status = es_connection_control_socket(connection, &ret_attachment->socket_fd);
    }
    if (status == ES_OK) {
        status = check_room(connection, ret_attachment->socket_fd);
    }
    if (status == ES_OK) {
        status = send_request(connection, wish, ret_attachment->socket_fd);
        ES_PROBE(producer_attach_asked);
    }
    if (status != ES_OK) {
        unmap_all(ret_attachment);
    }
    return status == ES_E_BUSY ? ES_NOT_SERVING : status;
}

/* Makes the attachment of an answer that has come; nothing is left of it on failure. */
static enum es_status accept_lane(const struct es_connection *connection,
                                  struct es_attachment *attachment)
{
    struct grant grant = {0};
    enum es_status status = take_grant(connection, attachment->socket_fd, &grant);

    if (status == ES_OK) {
        ES_PROBE(producer_attach_granted);
        attachment->lane_index = grant.lane_index;
        attachment->last_number = grant.last_number;
        status = map_all(&grant, attachment);
        if (status != ES_OK && grant.fds[LANE_DESCRIPTOR] >= 0) {
            es_lane_close_unmapped(grant.fds[LANE_DESCRIPTOR]);
        }
        es_owned_names_set(&attachment->owned_name, grant.incarnation);
        ES_PROBE(producer_attach_mapped);
        if (status == ES_E_VERSION) {
            status = other_version(connection);
        } else if (status != ES_OK && status != ES_E_NO_MEMORY && status != ES_E_IO) {
            status = protocol_error(connection, "the shared memory it sent is not a lane");
        } else if (status != ES_OK) {
            (void)es_fail(connection, status, "cannot map the broker's shared memory: %s",
                          strerror(errno));
        }
    }
    close_descriptors(&grant);
    if (status != ES_OK) {
        unmap_all(attachment);
    }
    return status;
}

/* ---- lanes that this process was given and never heard of ----------------- */

/* Remembers, of this connection, the name that was asked for last without an answer. */
static void set_unheard(struct es_connection *connection, const char *producer)
{
    pthread_mutex_lock(&connection->idle_lock);
    memcpy(connection->unheard, producer, strlen(producer) + 1); /* a checked name */
    pthread_mutex_unlock(&connection->idle_lock);
}

static bool is_unheard(struct es_connection *connection, const char *producer)
{
    bool is_equal;

    pthread_mutex_lock(&connection->idle_lock);
    is_equal = producer[0] != '\0' && strcmp(connection->unheard, producer) == 0;
    pthread_mutex_unlock(&connection->idle_lock);
    return is_equal;
}

/* By a lane that no handle has: one that has it is as alive as another process. */
static bool is_owned_here(struct es_connection *connection, const char *producer)
{
    struct es_producer_info info;

    return es_producer_ask(connection, producer, 0, &info) == ES_OK && info.owner_is_alive &&
           info.owner_pid == (uint32_t)getpid() && !es_owned_names_has(producer, info.owner_lane);
}

static enum es_status take_back(struct es_connection *connection, int64_t deadline_ns,
                                struct es_attachment *attachment)
{
    const struct es_attach_wish wish = {.producer = attachment->producer, .take_over = true};
    enum es_status status = es_attachment_ask(connection, &wish, attachment);

    return status == ES_OK ? es_attachment_receive(connection, deadline_ns, attachment) : status;
}

enum es_status es_attachment_receive(struct es_connection *connection, int64_t deadline_ns,
                                     struct es_attachment *attachment)
{
    enum es_status status =
        es_connection_wait(connection, attachment->socket_fd, POLLIN, deadline_ns);

    if (status != ES_OK) {
        return status;
    }
    status = accept_lane(connection, attachment);
    if (status == ES_E_BUSY && is_unheard(connection, attachment->producer) &&
        is_owned_here(connection, attachment->producer)) {
        set_unheard(connection, "");
        return take_back(connection, deadline_ns, attachment);
    }
    if (attachment->producer[0] == '\0') {
        return status;
    }
    if (status == ES_OK) {
        set_unheard(connection, "");
    } else if (status == ES_E_UNREACHABLE || status == ES_E_IO || status == ES_E_NO_MEMORY) {
        set_unheard(connection, attachment->producer);
    }
    return status;
}

enum es_status es_attachment_open(struct es_connection *connection,
                                  const struct es_attach_wish *wish, int64_t deadline_ns,
                                  struct es_attachment *ret_attachment)
{
    enum es_status status = es_attachment_ask(connection, wish, ret_attachment);

    if (status == ES_OK) {
        status = es_attachment_receive(connection, deadline_ns, ret_attachment);
        if (status == ES_TIMEOUT) {
            status =
                es_fail(connection, ES_E_UNREACHABLE,
                        "%s/control.sock: the broker did not answer in time", connection->run_dir);
        }
        if (status != ES_OK) {
            es_attachment_forget(connection, ret_attachment);
        }
    }
    return status;
}

void es_attachment_forget(const struct es_connection *connection, struct es_attachment *attachment)
{
    if (attachment->socket_fd >= 0) {
        /* From here on the broker sees that nobody hears it; before, its answer is taken. */
        (void)shutdown(attachment->socket_fd, SHUT_RD);
    }
    if (attachment->socket_fd >= 0 && accept_lane(connection, attachment) == ES_OK) {
        es_attachment_close(attachment);
    } else {
        unmap_all(attachment);
    }
}

void es_attachment_close(struct es_attachment *attachment)
{
    es_lane_close(&attachment->lane);
    unmap_all(attachment);
    ES_PROBE(producer_detached);
}

bool es_attachment_is_current(const struct es_attachment *attachment)
{
    struct es_control_lane lane;
    struct stat found;
    enum es_status status;

    /* A file that was replaced has no name any more. */
    if (fstat(attachment->control_segment.fd, &found) != 0 || found.st_nlink == 0) {
        return false;
    }
    status = es_control_lane(&attachment->control, attachment->lane_index, &lane);
    return status == ES_E_BUSY ||
           (status == ES_OK && lane.incarnation == attachment->lane.incarnation);
}
