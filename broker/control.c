#include "broker/control.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/admission.h"
#include "broker/attach_reply.h"
#include "broker/connections.h"
#include "broker/logger.h"
#include "broker/owners.h"
#include "broker/process.h"
#include "broker/socket_file.h"
#include "shm/codec/attach.h"
#include "shm/codec/names.h"
#include "shm/futex.h"
#include "shm/probe.h"

enum {
    LISTEN_BACKLOG = 4096, /* the kernel takes what it allows */
    EVENTS_PER_WAIT = 32,
    TELL_AGAIN_MS = 20,            /* until the commit thread's inbox takes an end again */
    DESCRIPTORS_RECEIVED_MAX = 253 /* SCM_MAX_FD: all that one message can bring */
};

/* What an epoll event is about, in its data: a kind, and an index. */
enum source {
    SOURCE_LISTENER,
    SOURCE_SIGNALS,
    SOURCE_STOP,
    SOURCE_CONNECTION,
    SOURCE_OWNER
};

struct control {
    struct control_config config;
    int epoll_fd;
    int listener_fd;
    struct admission admission;
    int signal_fd;
    int stop_fd;
    bool is_over;
    struct connections connections;
    struct owners owners;
};

static enum es_status watch(struct control *control, int fd, enum source source, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};

    return epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? ES_OK : ES_E_IO;
}

static enum es_status listen_on(struct control *control, char *why)
{
    const char *path = control->config.socket_path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum es_status status = socket_file_clear(path, why, CONTROL_WHY_BYTES);

    if (status != ES_OK) {
        return status;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    control->listener_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->listener_fd < 0 ||
        bind(control->listener_fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(path, control->config.group_given ? 0660 : 0600) != 0 ||
        (control->config.group_given && chown(path, (uid_t)-1, control->config.group) != 0) ||
        listen(control->listener_fd, LISTEN_BACKLOG) != 0) {
        snprintf(why, CONTROL_WHY_BYTES, "cannot listen on %s: %s", path, strerror(errno));
        return errno == EACCES || errno == EPERM ? ES_E_PERMISSION : ES_E_IO;
    }
    return admission_open(&control->admission, control->epoll_fd, control->listener_fd,
                          (epoll_data_t){.u64 = (uint64_t)SOURCE_LISTENER << 32});
}

static enum es_status hear_signals(struct control *control)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    control->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    control->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control->signal_fd < 0 || control->stop_fd < 0 ||
        watch(control, control->signal_fd, SOURCE_SIGNALS, 0) != ES_OK) {
        return ES_E_IO;
    }
    return watch(control, control->stop_fd, SOURCE_STOP, 0);
}

/* ---- connections --------------------------------------------------------- */

static bool is_welcome(const struct control *control, const struct ucred *peer)
{
    return peer->uid == geteuid() || peer->uid == 0 || control->config.group_given;
}

/* Who waits outside is told of again and again: so one has to go, or nobody is told of
 * any for a while. */
static void make_descriptor_room(struct control *control, int accept_error)
{
    bool lacks_descriptors = accept_error == EMFILE || accept_error == ENFILE;
    bool lacks_memory = accept_error == ENOBUFS || accept_error == ENOMEM;

    if (lacks_memory ||
        (lacks_descriptors &&
         !connections_drop_one(&control->connections, control->owners.incarnations))) {
        admission_rest(&control->admission, es_monotonic_ns());
    }
}

/* False: nobody waits, or there is no descriptor for them. */
static bool accept_one(struct control *control)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct connection *place = NULL;
    int fd = accept4(control->listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        make_descriptor_room(control, errno);
        return false;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || !is_welcome(control, &peer)) {
        close(fd);
        return true;
    }
    place = connections_place(&control->connections, control->owners.incarnations);
    connections_fill(&control->connections, place, fd, peer.uid, peer.pid);
    if (watch(control, fd, SOURCE_CONNECTION, (uint32_t)(place - control->connections.places)) !=
        ES_OK) {
        connection_end(place);
    }
    return true;
}

static void accept_some(struct control *control)
{
    for (int i = 0; i < ADMISSIONS_AT_ONCE; i++) {
        if (!accept_one(control)) {
            return;
        }
    }
    admission_rest(&control->admission, es_monotonic_ns());
}

struct attaching {
    struct control *control;
    const struct connection *connection;
    struct lanes_applicant applicant;
    char name[ES_ATTACH_NAME_MAX + 1];
    struct lanes_attachment attachment;
    uint64_t last_number;
    char message[ES_ATTACH_MESSAGE_MAX]; /* why not, where the status alone does not tell */
    enum es_status status;
};

static void attach(void *context)
{
    struct attaching *attaching = context;

    attaching->status = lanes_attach(attaching->control->config.lanes, &attaching->applicant,
                                     &attaching->attachment);
}

static enum es_status make_lane(void *context, uint64_t *ret_incarnation)
{
    struct attaching *attaching = context;

    attach(attaching);
    *ret_incarnation = attaching->attachment.incarnation;
    return attaching->status;
}

/* The lane, and with it the name: answered when everything that the name's owner had
 * published, and then the new owner, are durable. */
static enum es_status claim(struct attaching *attaching, const struct es_attach_request *request)
{
    struct control *control = attaching->control;
    struct errand errand = {.producer = request->producer,
                            .uid = attaching->connection->uid,
                            .make_lane = make_lane,
                            .context = attaching,
                            .take_over = request->take_over};
    enum es_reason reason = es_name_check(request->producer);
    enum es_status status = ES_OK;

    if (reason != ES_REASON_NONE) {
        snprintf(attaching->message, sizeof attaching->message, "not a producer's name: %s",
                 es_reason_text((uint32_t)reason));
        return ES_E_INVALID;
    }
    status = inbox_run(control->config.inbox, &errand);
    if (status == ES_E_BUSY && owners_find_ended(&control->owners)) {
        status = inbox_run(control->config.inbox, &errand);
    }
    if (status == ES_E_BUSY) {
        snprintf(attaching->message, sizeof attaching->message,
                 "process %u owns the producer's name: end it, or take the name over",
                 errand.owner_pid);
    } else if (status == ES_E_PERMISSION) {
        snprintf(attaching->message, sizeof attaching->message,
                 "the producer's name is another user's");
    } else if (status == ES_NO_SPACE && attaching->status == ES_OK) { /* no lane was tried */
        snprintf(attaching->message, sizeof attaching->message,
                 "the disk is below its reserve: names are given again when there is room");
    } else if (status == ES_E_CORRUPT) {
        snprintf(attaching->message, sizeof attaching->message,
                 "what is stored of the producer's name is damaged: see `esctl verify`");
    }
    attaching->last_number = errand.last_number;
    return status;
}

/* False: the peer did not take it. */
static bool reply(const struct attaching *attaching, enum es_status status)
{
    const struct lanes_attachment *attachment = &attaching->attachment;
    const char *words =
        attaching->message[0] != '\0' ? attaching->message : attach_reply_words(status);
    const struct es_attach_reply answer = {.status = status,
                                           .message = es_text_of(words),
                                           .lane_index = attachment->lane_index,
                                           .incarnation = attachment->incarnation,
                                           .ring_index = attachment->ring_index,
                                           .last_number = attaching->last_number};

    return attach_reply_send(attaching->connection->fd, &answer, attachment);
}

static void describe(struct attaching *attaching, const struct es_attach_request *request)
{
    const struct connection *connection = attaching->connection;
    bool is_producer = request->producer.size > 0;
    struct es_text name = is_producer ? request->producer : request->client_name;

    snprintf(attaching->name, sizeof attaching->name, "%.*s", (int)name.size, name.data);
    attaching->applicant = (struct lanes_applicant){.uid = connection->uid,
                                                    .pid = connection->pid,
                                                    .name = attaching->name,
                                                    .is_producer = is_producer};
    attaching->applicant.pid_start_time = process_start_time(connection->pid);
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void close_descriptors(const struct lanes_attachment *attachment)
{
    close(attachment->control_fd);
    close(attachment->ring_fd);
    close(attachment->lane_fd);
}

/* A lane that was made, but the broker stops before its claim is durable. */
static void give_up(const struct attaching *attaching)
{
    if (attaching->attachment.incarnation != 0) {
        close_descriptors(&attaching->attachment);
    }
}

static enum es_status serve_attach(struct control *control, struct connection *connection,
                                   const struct es_attach_request *request)
{
    struct attaching attaching = {.control = control, .connection = connection};
    struct lanes_attachment *made = &attaching.attachment;
    bool is_gone = false;
    int pidfd = -1;
    enum es_status status = ES_OK;

    if (request->layout_id != ES_LAYOUT_ID) {
        return reply(&attaching, ES_E_VERSION) ? ES_OK : ES_E_CLOSED;
    }
    describe(&attaching, request);
    if (attaching.applicant.is_producer) {
        status = claim(&attaching, request);
    } else {
        status = inbox_call(control->config.inbox, attach, &attaching);
        status = status == ES_OK ? attaching.status : status;
    }
    if (status != ES_OK) {
        give_up(&attaching);
        return reply(&attaching, status) ? ES_OK : ES_E_CLOSED;
    }
    connection->is_attached = reply(&attaching, ES_OK);
    ES_PROBE(attach_reply_sent);
    connection->lane_index = made->lane_index;
    connection->incarnation = made->incarnation;
    close_descriptors(made);
    pidfd = process_watch_peer(connection->fd, connection->pid, attaching.applicant.pid_start_time,
                               &is_gone);
    if (is_gone || !connection->is_attached) { /* dead, or it never heard of its lane */
        owners_add_ended(&control->owners, made->lane_index, made->incarnation);
        close_if_open(pidfd);
    } else {
        owners_add(&control->owners, made->lane_index, made->incarnation, pidfd);
    }
    return connection->is_attached ? ES_OK : ES_E_CLOSED;
}

static void close_received(struct msghdr *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

            for (size_t i = 0; i < count; i++) {
                int fd = -1;

                memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
                close(fd);
            }
        }
    }
}

/* One packet. Anything but one sound request to attach ends the connection. */
static void hear(struct control *control, uint32_t index)
{
    struct connection *connection = &control->connections.places[index];
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    union {
        char bytes[CMSG_SPACE(DESCRIPTORS_RECEIVED_MAX * sizeof(int))];
        struct cmsghdr alignment;
    } control_bytes;
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control_bytes.bytes,
                             .msg_controllen = sizeof control_bytes.bytes};
    struct es_attach_request request;
    enum es_status status = ES_E_CLOSED;
    ssize_t size = 0;

    if (connection->fd < 0) {
        return; /* closed by an earlier event of the same round */
    }
    size = recvmsg(connection->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0 && connection->is_attached) {
        owners_hang_up(&control->owners, connection->lane_index, connection->incarnation);
    }
    if (size > 0) {
        close_received(&message);
    }
    if (size > 0 && (message.msg_flags & MSG_TRUNC) == 0 && !connection->is_attached) {
        status = es_attach_request_decode(bytes, (size_t)size, &request);
        if (status == ES_OK) {
            status = serve_attach(control, connection, &request);
        }
    }
    if (status != ES_OK) {
        connection_end(connection);
    }
}

/* ---- life ---------------------------------------------------------------- */

enum es_status control_new(const struct control_config *config, char *why,
                           struct control **ret_control)
{
    struct control *control = calloc(1, sizeof *control);
    enum es_status status = ES_OK;

    if (control == NULL) {
        snprintf(why, CONTROL_WHY_BYTES, "not enough memory");
        return ES_E_NO_MEMORY;
    }
    control->config = *config;
    control->listener_fd = -1;
    control->signal_fd = -1;
    control->stop_fd = -1;
    connections_init(&control->connections);
    control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    owners_init(&control->owners, config->lanes, config->inbox, control->epoll_fd, SOURCE_OWNER);
    snprintf(why, CONTROL_WHY_BYTES, "cannot make descriptors");
    status = control->epoll_fd < 0 ? ES_E_IO : hear_signals(control);
    if (status == ES_OK) {
        status = listen_on(control, why);
    }
    if (status != ES_OK) {
        control_free(control);
        return status;
    }
    owners_find(&control->owners);
    *ret_control = control;
    return ES_OK;
}

static void handle(struct control *control, const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64;

    switch ((enum source)(event->data.u64 >> 32)) {
    case SOURCE_LISTENER: accept_some(control); break;
    case SOURCE_CONNECTION: hear(control, index); break;
    case SOURCE_OWNER: owners_hear(&control->owners, index); break;
    case SOURCE_SIGNALS:
        log_info("stopping: asked to by a signal");
        control->is_over = true;
        break;
    case SOURCE_STOP: control->is_over = true; break;
    }
}

void control_run(struct control *control)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    bool has_untold = false;

    while (!control->is_over) {
        int wait_ms = admission_wait_ms(&control->admission, es_monotonic_ns(),
                                        has_untold ? TELL_AGAIN_MS : -1);
        int count = epoll_wait(control->epoll_fd, events, EVENTS_PER_WAIT, wait_ms);

        for (int i = 0; i < count; i++) {
            handle(control, &events[i]);
        }
        has_untold = owners_tell(&control->owners);
    }
}

void control_stop(struct control *control)
{
    uint64_t one = 1;
    ssize_t written = write(control->stop_fd, &one, sizeof one);

    assert(written == (ssize_t)sizeof one);
    (void)written;
}

void control_free(struct control *control)
{
    if (control == NULL) {
        return;
    }
    connections_deinit(&control->connections);
    owners_deinit(&control->owners);
    if (control->listener_fd >= 0) {
        close(control->listener_fd);
        unlink(control->config.socket_path);
    }
    close_if_open(control->signal_fd);
    close_if_open(control->stop_fd);
    close_if_open(control->epoll_fd);
    free(control);
}
