#include "broker/attach_reply.h"

#include <string.h>
#include <sys/socket.h>

enum {
    DESCRIPTORS_SENT = 3
};

const char *attach_reply_words(enum es_status status)
{
    switch (status) {
    case ES_OK: return "";
    case ES_E_LIMIT:
        return "all lanes are taken: close a producer, or start the broker with more "
               "--slots";
    case ES_NO_SPACE:
        return "shared memory is full: make room in /dev/shm, or start the broker "
               "with a smaller --lane-bytes";
    case ES_E_VERSION:
        return "this library and the broker have different memory layouts: use "
               "the same version of both";
    case ES_NOT_SERVING: return "the broker is stopping";
    default: return es_status_text(status);
    }
}

static void put_descriptors(struct msghdr *message, void *control_bytes, size_t size,
                            const struct lanes_attachment *attachment)
{
    const int descriptors[DESCRIPTORS_SENT] = {attachment->control_fd, attachment->ring_fd,
                                               attachment->lane_fd};
    struct cmsghdr *header = NULL;

    memset(control_bytes, 0, size);
    message->msg_control = control_bytes;
    message->msg_controllen = size;
    header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptors);
    memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
}

bool attach_reply_send(int socket_fd, const struct es_attach_reply *reply,
                       const struct lanes_attachment *attachment)
{
    uint8_t bytes[ES_ATTACH_BYTES_MAX];
    union {
        char bytes[CMSG_SPACE(DESCRIPTORS_SENT * sizeof(int))];
        struct cmsghdr alignment;
    } control_bytes;
    struct iovec part = {.iov_base = bytes};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    uint32_t size = 0;

    if (es_attach_reply_encode(reply, bytes, sizeof bytes, &size) != ES_OK) {
        return false;
    }
    part.iov_len = size;
    if (reply->status == ES_OK) {
        put_descriptors(&message, control_bytes.bytes, sizeof control_bytes.bytes, attachment);
    }
    return sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}
