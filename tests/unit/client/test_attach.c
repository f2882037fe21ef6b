/*
 * Whatever listens on control.sock may answer: nothing it sends is mapped before it
 * is checked, no descriptor leaks, and the producer is told who is to blame.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <eventspine.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/codec/attach.h"
#include "shm/control.h"
#include "shm/lane.h"
#include "shm/ring.h"
#include "tests/support/temp_directory.h"

#define FD_COUNT_MAX 20u

/* One answer of a peer that is no broker, to one producer. */
struct impostor {
    char run_dir[TEMP_DIRECTORY_BYTES_MAX];
    int listen_fd;
    uint8_t bytes[8192];
    size_t size; /* 0: hangs up without a word */
    int fds[FD_COUNT_MAX];
    uint32_t fd_count;
    struct es_connection *connection;
};

static int open_impostor(void **state)
{
    static struct impostor impostor;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct es_connection_options options = {.timeout_ns = UINT64_C(30000000000)};

    memset(&impostor, 0, sizeof impostor);
    temp_directory_make_tmpfs(impostor.run_dir);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.80s/control.sock",
                   impostor.run_dir);
    impostor.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(impostor.listen_fd, (const struct sockaddr *)&address, sizeof address),
                     0);
    assert_int_equal(listen(impostor.listen_fd, 4), 0);
    options.run_dir = impostor.run_dir;
    assert_int_equal(es_connection_open(&options, &impostor.connection), ES_OK);
    *state = &impostor;
    return 0;
}

static int close_impostor(void **state)
{
    struct impostor *impostor = *state;

    es_connection_close(impostor->connection);
    close(impostor->listen_fd);
    temp_directory_remove(impostor->run_dir);
    return 0;
}

static void *answer_once(void *context)
{
    struct impostor *impostor = context;
    int peer = accept(impostor->listen_fd, NULL, NULL);
    uint8_t request[1024];
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(int) * FD_COUNT_MAX)];
    } space = {.bytes = {0}};
    struct iovec vector = {.iov_base = impostor->bytes, .iov_len = impostor->size};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    (void)!recv(peer, request, sizeof request, 0);
    if (impostor->fd_count > 0) {
        struct cmsghdr *header;

        message.msg_control = space.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * impostor->fd_count);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * impostor->fd_count);
        memcpy(CMSG_DATA(header), impostor->fds, sizeof(int) * impostor->fd_count);
    }
    if (impostor->size > 0) {
        (void)!sendmsg(peer, &message, MSG_NOSIGNAL);
    }
    close(peer);
    return NULL;
}

static enum es_status open_producer(struct impostor *impostor)
{
    struct es_producer *producer = NULL;
    enum es_status status;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, answer_once, impostor), 0);
    status = es_producer_open(impostor->connection, NULL, &producer);
    pthread_join(thread, NULL);
    if (status == ES_OK) {
        es_producer_close(producer);
    } else {
        assert_null(producer);
    }
    return status;
}

static uint32_t descriptor_count(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint32_t count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

static void reply_with(struct impostor *impostor, uint32_t lane_index, uint64_t incarnation,
                       uint32_t ring_index)
{
    const struct es_attach_reply reply = {.status = ES_OK,
                                          .message = {.data = "", .size = 0},
                                          .lane_index = lane_index,
                                          .incarnation = incarnation,
                                          .ring_index = ring_index};
    uint32_t size = 0;

    assert_int_equal(es_attach_reply_encode(&reply, impostor->bytes, sizeof impostor->bytes, &size),
                     ES_OK);
    impostor->size = size;
}

static void a_peer_that_hangs_up_is_no_broker_now(void **state)
{
    struct impostor *impostor = *state;

    assert_int_equal(open_producer(impostor), ES_E_UNREACHABLE);
    assert_non_null(strstr(es_connection_error(impostor->connection), "hung up"));
}

static void an_answer_that_cannot_be_read_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } answers[] = {
        {"\x90", 1},
        {"\xc1", 1},
        {"\x96\x01\x00\xa0\x00\x01", 6},                  /* ends early */
        {"\x96\x01\x00\xa0\xcd\x01\x00\x01\x00", 9},      /* lane 256 */
        {"\x96\x01\x00\xa0\x00\x01\x10", 7},              /* ring 16 */
        {"\x96\x01\x64\xa0\x00\x00\x00", 7},              /* no such status */
        {"\x96\x01\x00\xdb\xff\xff\xff\xff\x00\x00", 10}, /* a text of 4 GiB */
    };
    struct impostor *impostor = *state;
    uint32_t before = descriptor_count();

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        memcpy(impostor->bytes, answers[i].bytes, answers[i].size);
        impostor->size = answers[i].size;
        assert_int_equal(open_producer(impostor), ES_E_PROTOCOL);
    }
    memset(impostor->bytes, 0x90, sizeof impostor->bytes);
    impostor->size = sizeof impostor->bytes;
    assert_int_equal(open_producer(impostor), ES_E_PROTOCOL);
    assert_int_equal(descriptor_count(), before);
}

static void too_few_or_too_many_descriptors_are_refused_and_closed(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 4, 16, 17, 20};
    struct impostor *impostor = *state;
    int fd = memfd_create("something", MFD_CLOEXEC);
    uint32_t before = descriptor_count();

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        reply_with(impostor, 0, 1, 0);
        impostor->fd_count = counts[i];
        for (uint32_t at = 0; at < counts[i]; at++) {
            impostor->fds[at] = fd;
        }
        assert_int_equal(open_producer(impostor), ES_E_PROTOCOL);
        assert_int_equal(descriptor_count(), before);
    }
    close(fd);
}

/* ---- memory that is almost right ---------------------------------------- */

/* Real segments of the smallest geometry, so that one thing at a time can be wrong. */
struct memory {
    struct es_geometry geometry;
    struct es_segment control_segment;
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_control control;
};

static struct es_segment make_segment(size_t size)
{
    struct es_segment segment = {.fd = memfd_create("segment", MFD_CLOEXEC), .size = size};

    assert_int_equal(ftruncate(segment.fd, (off_t)size), 0);
    segment.base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, segment.fd, 0);
    assert_ptr_not_equal(segment.base, MAP_FAILED);
    return segment;
}

static void make_memory(struct memory *memory)
{
    struct es_control_identity identity = {.ring_id = 3, .start_number = 1};
    const struct es_control_head head = {0};
    const struct es_control_ring ring = {.ring_id = 33};

    assert_int_equal(es_geometry_make(16, ES_ARENA_BYTES_MIN, &memory->geometry), ES_OK);
    identity.geometry = memory->geometry;
    identity.transaction_bytes_max = 4096;
    identity.durability = ES_DURABILITY_OS;
    memory->control_segment = make_segment(es_control_bytes());
    es_control_format(&memory->control, &memory->control_segment, &identity, &head);
    es_control_set_ring(&memory->control, 0, &ring);
    es_control_set_state(&memory->control, ES_BROKER_SERVING);
    memory->ring_segment = make_segment(es_ring_bytes(16));
    es_ring_format(&memory->ring_segment, 33, 16);
    memory->lane_segment =
        make_segment(es_lane_bytes(memory->geometry.arena_bytes, memory->geometry.credit_count));
    es_lane_format(&memory->lane_segment, 5, memory->geometry.arena_bytes,
                   memory->geometry.credit_count);
}

static void free_memory(struct memory *memory)
{
    es_segment_unmap(&memory->control_segment);
    es_segment_unmap(&memory->ring_segment);
    es_segment_unmap(&memory->lane_segment);
}

static void offer(struct impostor *impostor, const struct memory *memory, int control_fd)
{
    reply_with(impostor, 0, 5, 0);
    impostor->fd_count = 3;
    impostor->fds[0] = control_fd;
    impostor->fds[1] = memory->ring_segment.fd;
    impostor->fds[2] = memory->lane_segment.fd;
}

static int read_only(int fd)
{
    char path[64];
    int again;

    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(again >= 0);
    return again;
}

static void memory_as_it_should_be_is_taken(void **state)
{
    struct impostor *impostor = *state;
    struct memory memory;
    int control_fd;

    make_memory(&memory);
    control_fd = read_only(memory.control_segment.fd);
    offer(impostor, &memory, control_fd);
    assert_int_equal(open_producer(impostor), ES_OK);
    close(control_fd);
    free_memory(&memory);
}

static void memory_that_is_wrong_in_one_thing_is_refused(void **state)
{
    struct impostor *impostor = *state;
    int pipe_fds[2];

    assert_int_equal(pipe(pipe_fds), 0);
    for (uint32_t wrong = 0; wrong < 10; wrong++) {
        enum es_status expected = ES_E_PROTOCOL;
        uint32_t before;
        struct memory memory;
        int control_fd;

        make_memory(&memory);
        control_fd = read_only(memory.control_segment.fd);
        before = descriptor_count();
        offer(impostor, &memory, control_fd);
        switch (wrong) {
        case 0: impostor->fds[0] = pipe_fds[0]; break; /* not a file */
        case 1: impostor->fds[1] = pipe_fds[1]; break;
        case 2: impostor->fds[2] = pipe_fds[1]; break;
        case 3: assert_int_equal(ftruncate(memory.lane_segment.fd, 4096), 0); break;
        case 4: assert_int_equal(ftruncate(memory.ring_segment.fd, 8192 + 4096), 0); break;
        case 5: impostor->fds[2] = memory.ring_segment.fd; break; /* exchanged */
        case 6: reply_with(impostor, 0, 6, 0); break;             /* another's lane */
        case 7: reply_with(impostor, 0, 5, 1); break;             /* a ring that is not open */
        case 8: reply_with(impostor, 200, 5, 0); break;           /* more lanes than there are */
        default:                                                  /* another layout */
            atomic_store(&memory.control.file->layout_id, ES_LAYOUT_ID + 1);
            expected = ES_E_VERSION;
        }
        assert_int_equal(open_producer(impostor), expected);
        assert_int_equal(descriptor_count(), before);
        close(control_fd);
        free_memory(&memory);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

int main(void)
{
#define FIXED(test) cmocka_unit_test_setup_teardown(test, open_impostor, close_impostor)
    const struct CMUnitTest tests[] = {
        FIXED(a_peer_that_hangs_up_is_no_broker_now),
        FIXED(an_answer_that_cannot_be_read_is_refused),
        FIXED(too_few_or_too_many_descriptors_are_refused_and_closed),
        FIXED(memory_as_it_should_be_is_taken),
        FIXED(memory_that_is_wrong_in_one_thing_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
