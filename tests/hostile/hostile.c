/*
 * A process that breaks every rule it can reach, for test_hostile.py:
 *   hostile RUN_DIR ATTACK SEED SECONDS     ("list" prints the attacks)
 * Says what it did in one line: "ATTACK rounds N cut_off N not_cut_off N worst_ms N events N".
 * What it appends soundly goes to streams of the variant "evil", with payloads that tell
 * themselves whether they are whole, so that the checker can say whether the broker has
 * committed anything else.
 */
#include "tests/hostile/hostile.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/codec/attach.h"
#include "shm/codec/pack.h"
#include "shm/codec/transaction.h"
#include "shm/doorbell.h"
#include "shm/futex.h"

#define CUT_OFF_NS_MAX INT64_C(1000000000)
#define RECEIVED_DESCRIPTORS 3

bool hostile_is_over(const struct hostile *h)
{
    return es_monotonic_ns() >= h->until_ns;
}

int hostile_connect(const struct hostile *h, const char *name, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/%.20s", h->run_dir, name);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool receive(int fd, struct es_attach_reply *ret_reply, uint8_t *bytes,
                    int fds[RECEIVED_DESCRIPTORS])
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * RECEIVED_DESCRIPTORS)];
    } descriptors;
    struct iovec vector = {.iov_base = bytes, .iov_len = ES_ATTACH_BYTES_MAX};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = descriptors.bytes,
                             .msg_controllen = sizeof descriptors.bytes};
    ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *part = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;

    if (part == NULL || part->cmsg_len != CMSG_LEN(sizeof(int) * RECEIVED_DESCRIPTORS) ||
        es_attach_reply_decode(bytes, (size_t)size, ret_reply) != ES_OK) {
        return false;
    }
    memcpy(fds, CMSG_DATA(part), sizeof(int) * RECEIVED_DESCRIPTORS);
    return true;
}

static bool map_lane(struct hostile *h, const struct es_attach_reply *reply, const int *fds)
{
    const struct es_geometry *geometry = &h->identity.geometry;

    if (es_segment_map(fds[0], es_control_bytes(), false, &h->control_segment) != ES_OK ||
        es_control_attach(&h->control, &h->control_segment) != ES_OK) {
        return false;
    }
    es_control_identity(&h->control, &h->identity);
    h->lane_index = reply->lane_index;
    h->incarnation = reply->incarnation;
    h->ring_index = reply->ring_index;
    if (es_segment_map(fds[1], es_ring_bytes(geometry->slot_count), true, &h->ring_segment) !=
            ES_OK ||
        es_segment_map(fds[2], es_lane_bytes(geometry->arena_bytes, geometry->credit_count), true,
                       &h->lane_segment) != ES_OK) {
        return false;
    }
    struct es_control_ring entry;

    return es_control_ring(&h->control, h->ring_index, &entry) == ES_OK &&
           es_ring_attach(&h->ring, &h->ring_segment, entry.ring_id, geometry->slot_count) ==
               ES_OK &&
           es_lane_writer_attach(&h->writer, &h->lane_segment, h->incarnation,
                                 geometry->arena_bytes, geometry->credit_count) == ES_OK;
}

static bool attach_once(struct hostile *h)
{
    struct es_attach_request request = {.layout_id = ES_LAYOUT_ID,
                                        .client_name = es_text_of("hostile")};
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    struct es_attach_reply reply;
    int fds[RECEIVED_DESCRIPTORS];
    uint32_t size = 0;

    h->control_segment = h->ring_segment = h->lane_segment = ES_SEGMENT_NONE;
    h->socket = hostile_connect(h, "control.sock", SOCK_SEQPACKET);
    if (h->socket < 0) {
        return false;
    }
    if (es_attach_request_encode(&request, bytes, sizeof bytes, &size) == ES_OK &&
        send(h->socket, bytes, size, MSG_NOSIGNAL) == (ssize_t)size &&
        receive(h->socket, &reply, bytes, fds) && map_lane(h, &reply, fds)) {
        return true;
    }
    hostile_detach(h);
    return false;
}

bool hostile_attach(struct hostile *h)
{
    while (!hostile_is_over(h)) {
        if (attach_once(h)) {
            return true;
        }
        es_cpu_relax();
    }
    return false;
}

void hostile_detach(struct hostile *h)
{
    if (h->lane_segment.base != NULL) {
        struct es_lane_file *file = h->lane_segment.base;

        atomic_store(&file->closed, 1);
    }
    es_segment_unmap(&h->lane_segment);
    es_segment_unmap(&h->ring_segment);
    es_segment_unmap(&h->control_segment);
    if (h->socket >= 0) {
        close(h->socket);
    }
    h->socket = -1;
}

/* "evil N C...": N bytes follow from the number alone. */
static uint32_t fill_payload(uint8_t *payload, uint64_t number, uint32_t size)
{
    int length = snprintf((char *)payload, 64, "evil %" PRIu64 " %u ", number, size);

    memset(payload + length, 'a' + (int)(number % 26), size);
    return (uint32_t)length + size;
}

bool hostile_publish(struct hostile *h, uint32_t payload_bytes, bool with_ticket)
{
    struct es_operation append = {.kind = ES_OPERATION_APPEND};
    struct es_append_event event = {.tick = h->number + 1, .type = es_text_of("Evil")};
    static uint8_t payload[1 << 20];
    static char stream[64];
    struct es_pack pack;
    uint64_t sequence = 0;
    void *place = NULL;
    uint32_t size = 0;

    event.payload = (struct es_bytes){payload, fill_payload(payload, h->number + 1, payload_bytes)};
    snprintf(stream, sizeof stream, "evil:main:L0:p%ld:M1", (long)getpid());
    append.as.append.stream = es_text_of(stream);
    append.as.append.event_count = 1;
    if (es_lane_claim(&h->writer, event.payload.size + 512, &place) != ES_OK) {
        return false;
    }
    es_pack_init(&pack, place, event.payload.size + 512);
    es_transaction_write_begin(&pack, 0, 1);
    es_transaction_write_operation(&pack, &append);
    es_transaction_write_event(&pack, &event);
    if (es_pack_finish(&pack, &size) != ES_OK ||
        es_lane_publish(&h->writer, size, 0, &sequence) != ES_OK) {
        return false;
    }
    h->number++;
    if (with_ticket) {
        (void)!es_ring_place(&h->ring, h->lane_index, sequence);
        atomic_fetch_add(&h->ring.file->bell, 1);
        es_doorbell_ring(&h->ring);
    }
    return true;
}

void hostile_collect(struct hostile *h)
{
    struct es_lane_result result;

    while (es_lane_collect(&h->writer, &result) == ES_OK) {
    }
}

void hostile_await_cut_off(struct hostile *h)
{
    int64_t begun_ns = es_monotonic_ns();
    struct es_control_lane entry;

    for (;;) {
        int64_t waited_ns = es_monotonic_ns() - begun_ns;

        if (es_control_lane(&h->control, h->lane_index, &entry) != ES_OK ||
            entry.incarnation != h->incarnation) {
            h->cut_off++;
            h->cut_off_ns_max = waited_ns > h->cut_off_ns_max ? waited_ns : h->cut_off_ns_max;
            return;
        }
        if (waited_ns > 3 * CUT_OFF_NS_MAX) {
            h->not_cut_off++;
            return;
        }
        (void)poll(NULL, 0, 1);
    }
}

static attack_fn find(const struct attack *attacks, const char *name)
{
    for (; attacks->name != NULL; attacks++) {
        if (name == NULL) {
            printf("%s\n", attacks->name);
        } else if (strcmp(attacks->name, name) == 0) {
            return attacks->run;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct hostile h = {.socket = -1};
    struct rlimit files = {8192, 8192};
    attack_fn run = NULL;

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        (void)find(memory_attacks, NULL);
        (void)find(socket_attacks, NULL);
        return 0;
    }
    if (argc == 5) {
        run = find(memory_attacks, argv[2]);
        run = run == NULL ? find(socket_attacks, argv[2]) : run;
    }
    if (run == NULL) {
        fprintf(stderr, "hostile RUN_DIR ATTACK SEED SECONDS | hostile list\n");
        return 64;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_NOFILE, &files);
    h.run_dir = argv[1];
    prng_seed(&h.prng, strtoull(argv[3], NULL, 0));
    h.until_ns = es_monotonic_ns() + strtoll(argv[4], NULL, 10) * INT64_C(1000000000);
    h.control_segment = h.ring_segment = h.lane_segment = ES_SEGMENT_NONE;
    run(&h);
    printf("%s rounds %" PRIu64 " cut_off %" PRIu64 " not_cut_off %" PRIu64 " worst_ms %" PRId64
           " events %" PRIu64 "\n",
           argv[2], h.rounds, h.cut_off, h.not_cut_off, h.cut_off_ns_max / 1000000, h.number);
    return h.not_cut_off == 0 ? 0 : 1;
}
