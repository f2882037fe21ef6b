#include "tests/support/fake_broker_state.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/codec/attach.h"
#include "shm/futex.h"

#define ROUND_NS 2000000 /* how long the lane thread sleeps without a bell */

void fake_require(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "fake broker: %s\n", what);
        abort();
    }
}

/* ---- memory ------------------------------------------------------------- */

static void make_memory(struct fake_lanes *lanes)
{
    struct es_control_identity identity = {.ring_id = ++lanes->ring_id,
                                           .start_number = lanes->start_number,
                                           .epoch = FAKE_EPOCH,
                                           .transaction_bytes_max = 1u << 20,
                                           .durability = ES_DURABILITY_OS,
                                           .broker_pid = (uint32_t)getpid()};
    const struct es_control_ring ring = {.ring_id = 1000 + lanes->ring_id, .uid = getuid()};
    const struct es_control_head head = {0};

    identity.geometry = lanes->geometry;
    memset(identity.store_id, 7, sizeof identity.store_id);
    fake_require(es_segment_create(lanes->directory_fd, "control", es_control_bytes(), 0600,
                                   ES_GROUP_NONE, &lanes->control_segment) == ES_OK,
                 "no control page");
    es_control_format(&lanes->control, &lanes->control_segment, &identity, &head);
    fake_require(es_segment_create(lanes->directory_fd, "ring-0",
                                   es_ring_bytes(lanes->geometry.slot_count), 0600, ES_GROUP_NONE,
                                   &lanes->ring_segment) == ES_OK,
                 "no ring");
    es_ring_format(&lanes->ring_segment, ring.ring_id, lanes->geometry.slot_count);
    fake_require(es_ring_reader_attach(&lanes->ring, &lanes->ring_segment, ring.ring_id,
                                       lanes->geometry.slot_count, 0) == ES_OK,
                 "the ring cannot be attached");
    es_control_set_ring(&lanes->control, 0, &ring);
    es_control_set_state(&lanes->control, ES_BROKER_SERVING);
}

static void drop_memory(struct fake_lanes *lanes)
{
    for (uint32_t i = 0; i < lanes->lane_count; i++) {
        es_segment_unmap(&lanes->lanes[i].segment);
    }
    lanes->lane_count = 0;
    es_segment_unmap(&lanes->ring_segment);
    es_segment_unmap(&lanes->control_segment);
}

void fake_lanes_renew(struct fake_lanes *lanes)
{
    pthread_mutex_lock(&lanes->lock);
    drop_memory(lanes);
    make_memory(lanes);
    pthread_mutex_unlock(&lanes->lock);
}

/* ---- attaching ---------------------------------------------------------- */

static bool send_with_fds(int peer, const void *bytes, size_t size, const int *fds, uint32_t count)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * 3)];
    } space = {.bytes = {0}};
    struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    if (count > 0) {
        struct cmsghdr *header;

        message.msg_control = space.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    return sendmsg(peer, &message, MSG_NOSIGNAL) == (ssize_t)size;
}

static bool send_reply(int peer, const struct es_attach_reply *reply, const int *fds,
                       uint32_t count)
{
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    uint32_t size = 0;

    fake_require(es_attach_reply_encode(reply, bytes, sizeof bytes, &size) == ES_OK, "no reply");
    return send_with_fds(peer, bytes, size, fds, count);
}

static void refuse(struct fake_lanes *lanes, int peer)
{
    const struct es_attach_reply reply = {.status = lanes->refusal,
                                          .message = es_text_of("the fake broker refuses")};

    (void)send_reply(peer, &reply, NULL, 0);
}

bool fake_lanes_is_alive(void *context, uint64_t incarnation)
{
    const struct fake_lanes *lanes = context;

    for (uint32_t i = 0; i < lanes->lane_count; i++) {
        if (lanes->lanes[i].is_open && lanes->lanes[i].incarnation == incarnation) {
            return !es_lane_is_closed(&lanes->lanes[i].reader);
        }
    }
    return false;
}

static void drain(struct fake_lanes *lanes, uint32_t count, bool is_answered);

/* Makes 'incarnation' the owner of the name. False: it has a living one. */
static bool claim_name(struct fake_lanes *lanes, const struct es_attach_request *request,
                       struct fake_lane *lane, struct es_attach_reply *reply)
{
    lane->producer = NULL;
    if (request->producer.size == 0) {
        return true;
    }
    lane->producer = fake_producers_find(&lanes->producers, request->producer, true);
    if (!request->take_over && fake_lanes_is_alive(lanes, lane->producer->owner_incarnation)) {
        reply->status = ES_E_BUSY;
        reply->message = es_text_of("the name has a living owner");
        return false;
    }
    drain(lanes, UINT32_MAX, true);
    lane->producer->owner_incarnation = lane->incarnation;
    reply->last_number = lane->producer->last_number;
    return true;
}

static void grant(struct fake_lanes *lanes, int peer, const struct es_attach_request *request)
{
    uint32_t index = lanes->lane_count;
    struct fake_lane *lane = &lanes->lanes[index];
    struct es_control_lane entry = {.ring_index = 0, .uid = getuid(), .pid = (uint32_t)getpid()};
    struct es_attach_reply reply = {.status = ES_OK, .message = es_text_of("")};
    char name[32];
    int fds[3];

    fake_require(index < FAKE_LANE_COUNT_MAX, "too many lanes");
    entry.incarnation = lanes->start_number << 32 | ++lanes->incarnation_last;
    lane->incarnation = entry.incarnation;
    if (!claim_name(lanes, request, lane, &reply)) {
        (void)send_reply(peer, &reply, NULL, 0);
        return;
    }
    lanes->lane_count++;
    (void)snprintf(name, sizeof name, "lane-%u", index);
    fake_require(
        es_segment_create(lanes->directory_fd, name,
                          es_lane_bytes(lanes->geometry.arena_bytes, lanes->geometry.credit_count),
                          0600, ES_GROUP_NONE, &lane->segment) == ES_OK,
        "no lane");
    es_lane_format(&lane->segment, entry.incarnation, lanes->geometry.arena_bytes,
                   lanes->geometry.credit_count);
    fake_require(es_lane_reader_attach(&lane->reader, &lane->segment, entry.incarnation,
                                       lanes->geometry.arena_bytes, lanes->geometry.credit_count, 0,
                                       0) == ES_OK,
                 "the lane cannot be attached");
    es_control_set_lane(&lanes->control, index, &entry);
    fake_require(es_segment_reopen_readonly(lanes->directory_fd, "control", &lanes->control_segment,
                                            &fds[0]) == ES_OK,
                 "the control page cannot be opened again");
    fds[1] = lanes->ring_segment.fd;
    fds[2] = lane->segment.fd;
    reply.lane_index = index;
    reply.incarnation = entry.incarnation;
    if (atomic_load(&lanes->lost_answer_count) > 0) {
        atomic_fetch_sub(&lanes->lost_answer_count, 1);
        (void)shutdown(peer, SHUT_RDWR);
        lane->is_open = true;
    } else {
        lane->is_open = send_reply(peer, &reply, fds, 3); /* false: it has gone */
    }
    close(fds[0]);
    lane->is_broken = false;
    atomic_fetch_add(&lanes->attach_count, 1);
}

/* One message of a peer, or its end. */
static void serve_peer(struct fake_lanes *lanes, uint32_t at)
{
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    struct es_attach_request request;
    ssize_t size = recv(lanes->peer_fds[at], bytes, sizeof bytes, MSG_DONTWAIT);

    if (size <= 0) {
        close(lanes->peer_fds[at]);
        lanes->peer_fds[at] = lanes->peer_fds[--lanes->peer_count];
        return;
    }
    pthread_mutex_lock(&lanes->lock);
    if (lanes->refusal != ES_OK) {
        refuse(lanes, lanes->peer_fds[at]);
    } else {
        fake_require(es_attach_request_decode(bytes, (size_t)size, &request) == ES_OK,
                     "a malformed request to attach");
        grant(lanes, lanes->peer_fds[at], &request);
    }
    pthread_mutex_unlock(&lanes->lock);
}

static void *control_main(void *context)
{
    struct fake_lanes *lanes = context;

    while (!atomic_load(&lanes->is_stopping)) {
        struct pollfd fds[65];

        fds[0] = (struct pollfd){.fd = lanes->listen_fd, .events = POLLIN};
        for (uint32_t i = 0; i < lanes->peer_count; i++) {
            fds[1 + i] = (struct pollfd){.fd = lanes->peer_fds[i], .events = POLLIN};
        }
        if (poll(fds, 1 + lanes->peer_count, 20) <= 0) {
            continue;
        }
        for (uint32_t i = lanes->peer_count; i > 0; i--) {
            if (fds[i].revents != 0 && !atomic_load(&lanes->holds_attach)) {
                serve_peer(lanes, i - 1);
            }
        }
        if (fds[0].revents != 0 && lanes->peer_count < 64) {
            int peer = accept4(lanes->listen_fd, NULL, NULL, SOCK_CLOEXEC);

            if (peer >= 0) {
                lanes->peer_fds[lanes->peer_count++] = peer;
            }
        }
    }
    return NULL;
}

/* ---- records ------------------------------------------------------------ */

static void judge_record(struct fake_lanes *lanes, struct fake_lane *lane, const void *transaction,
                         const struct es_record *record, struct es_lane_result *result)
{
    uint64_t number = 0;

    if (lane->is_broken && (record->flags & ES_RECORD_RESUME) == 0) {
        result->status = ES_PREVIOUS_FAILED;
        return;
    }
    if (lane->producer != NULL && !fake_producer_admits(lane->producer, lane->incarnation,
                                                        transaction, record, result, &number)) {
        return;
    }
    result->position = lanes->position + 1;
    result->stream_sequence = record->sequence;
    result->commit_number = lanes->position + 1;
    result->epoch = FAKE_EPOCH;
    if (lanes->judge != NULL) {
        lanes->judge(lanes->judge_context, transaction, record->size, result);
    }
    if (result->status == ES_OK) {
        lanes->position++;
        if (lane->producer != NULL) {
            fake_producer_store(lane->producer, number, transaction, record->size, result);
        }
    }
}

static void answer(struct fake_lanes *lanes, struct fake_lane *lane, const void *transaction,
                   const struct es_record *record, bool is_answered)
{
    struct es_lane_result result = {.sequence = record->sequence};

    judge_record(lanes, lane, transaction, record, &result);
    lane->is_broken = (record->flags & ES_RECORD_ORDERED) != 0 && result.status != ES_OK;
    atomic_fetch_add(&lanes->record_count, 1);
    if (is_answered) {
        es_lane_stage(&lane->reader, &result);
        es_lane_ack(&lane->reader, record->sequence);
        es_lane_wake(&lane->reader);
    }
}

/* Takes at most 'count' records out of each lane. */
static void drain(struct fake_lanes *lanes, uint32_t count, bool is_answered)
{
    uint8_t *buffer = malloc(lanes->geometry.record_bytes_max);
    struct es_ticket ticket;

    fake_require(buffer != NULL, "no memory");
    while (es_ring_take(&lanes->ring, &ticket) == ES_OK) {
        es_ring_free(&lanes->ring, lanes->ring.cursor);
    }
    for (uint32_t i = 0; i < lanes->lane_count; i++) {
        struct fake_lane *lane = &lanes->lanes[i];
        struct es_record record;

        for (uint32_t taken = 0; lane->is_open && taken < count &&
                                 es_lane_next(&lane->reader, buffer,
                                              lanes->geometry.record_bytes_max, &record) == ES_OK;
             taken++) {
            answer(lanes, lane, buffer, &record, is_answered);
        }
    }
    free(buffer);
}

static void *lane_main(void *context)
{
    struct fake_lanes *lanes = context;

    while (!atomic_load(&lanes->is_stopping)) {
        static const _Atomic uint32_t zero; /* never changes: a bounded nap */
        const struct es_futex_word nap = {.word = &zero, .expected = 0};

        pthread_mutex_lock(&lanes->lock);
        if (!lanes->is_held) {
            drain(lanes, UINT32_MAX, true);
        }
        pthread_mutex_unlock(&lanes->lock);
        (void)!es_futex_wait(&nap, 1, es_deadline_after_ns(ROUND_NS));
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------- */

void fake_lanes_start(struct fake_lanes *lanes, const char *run_dir, uint64_t start_number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    pthread_mutex_init(&lanes->lock, NULL);
    (void)snprintf(lanes->run_dir, sizeof lanes->run_dir, "%s", run_dir);
    lanes->start_number = start_number;
    lanes->ring_id = start_number * 100;
    lanes->directory_fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fake_require(lanes->directory_fd >= 0, "no run directory");
    fake_require(es_geometry_make(FAKE_SLOT_COUNT, ES_ARENA_BYTES_MIN, &lanes->geometry) == ES_OK,
                 "no geometry");
    make_memory(lanes);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.80s/control.sock", run_dir);
    (void)unlink(address.sun_path);
    lanes->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    fake_require(lanes->listen_fd >= 0 &&
                     bind(lanes->listen_fd, (const struct sockaddr *)&address, sizeof address) ==
                         0 &&
                     listen(lanes->listen_fd, 16) == 0,
                 "no control socket");
    fake_require(pthread_create(&lanes->control_thread, NULL, control_main, lanes) == 0 &&
                     pthread_create(&lanes->lane_thread, NULL, lane_main, lanes) == 0,
                 "no thread");
}

void fake_lanes_stop(struct fake_lanes *lanes)
{
    char path[300];

    atomic_store(&lanes->is_stopping, true);
    pthread_join(lanes->control_thread, NULL);
    pthread_join(lanes->lane_thread, NULL);
    for (uint32_t i = 0; i < lanes->peer_count; i++) {
        close(lanes->peer_fds[i]);
    }
    close(lanes->listen_fd);
    (void)snprintf(path, sizeof path, "%s/control.sock", lanes->run_dir);
    (void)unlink(path);
    drop_memory(lanes);
    close(lanes->directory_fd);
    pthread_mutex_destroy(&lanes->lock);
}

void fake_broker_hold_lanes(struct fake_broker *broker, bool is_held)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    lanes->is_held = is_held;
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_answer_some(struct fake_broker *broker, uint32_t count)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    drain(lanes, count, true);
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_set_judge(struct fake_broker *broker, fake_judge *judge, void *context)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    lanes->judge = judge;
    lanes->judge_context = context;
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_set_stopped(struct fake_broker *broker, bool is_stopped)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    es_control_set_state(&lanes->control, is_stopped ? ES_BROKER_STOPPED : ES_BROKER_SERVING);
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_renew_memory(struct fake_broker *broker)
{
    fake_lanes_renew(fake_broker_lanes(broker));
}

void fake_broker_lose_memory(struct fake_broker *broker, uint32_t stored_count)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    drain(lanes, stored_count, false);
    drop_memory(lanes);
    make_memory(lanes);
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_hold_attach(struct fake_broker *broker, bool is_held)
{
    atomic_store(&fake_broker_lanes(broker)->holds_attach, is_held);
}

void fake_broker_set_geometry(struct fake_broker *broker, uint32_t slot_count, uint32_t arena_bytes)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    fake_require(es_geometry_make(slot_count, arena_bytes, &lanes->geometry) == ES_OK,
                 "no geometry");
    drop_memory(lanes);
    make_memory(lanes);
    pthread_mutex_unlock(&lanes->lock);
}

void fake_broker_lose_answers(struct fake_broker *broker, uint32_t count)
{
    atomic_store(&fake_broker_lanes(broker)->lost_answer_count, count);
}

void fake_broker_refuse_attach(struct fake_broker *broker, enum es_status status)
{
    struct fake_lanes *lanes = fake_broker_lanes(broker);

    pthread_mutex_lock(&lanes->lock);
    lanes->refusal = status;
    pthread_mutex_unlock(&lanes->lock);
}

uint64_t fake_broker_attach_count(struct fake_broker *broker)
{
    return atomic_load(&fake_broker_lanes(broker)->attach_count);
}

uint64_t fake_broker_record_count(struct fake_broker *broker)
{
    return atomic_load(&fake_broker_lanes(broker)->record_count);
}
