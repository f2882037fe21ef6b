#include "broker/admission.h"

#define NS_PER_MS 1000000

static bool set_events(const struct admission *admission, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = admission->data};

    return epoll_ctl(admission->epoll_fd, operation, admission->listener_fd, &event) == 0;
}

enum es_status admission_open(struct admission *admission, int epoll_fd, int listener_fd,
                              epoll_data_t data)
{
    *admission = (struct admission){.epoll_fd = epoll_fd, .listener_fd = listener_fd, .data = data};
    return set_events(admission, EPOLL_CTL_ADD, EPOLLIN) ? ES_OK : ES_E_IO;
}

void admission_rest(struct admission *admission, int64_t now_ns)
{
    if (set_events(admission, EPOLL_CTL_MOD, 0)) {
        admission->rests_until_ns = now_ns + (int64_t)ADMISSION_REST_MS * NS_PER_MS;
    }
}

int admission_wait_ms(struct admission *admission, int64_t now_ns, int wait_ms)
{
    int64_t rest_ms = 0;

    if (admission->rests_until_ns == 0) {
        return wait_ms;
    }
    if (now_ns >= admission->rests_until_ns && set_events(admission, EPOLL_CTL_MOD, EPOLLIN)) {
        admission->rests_until_ns = 0;
        return wait_ms;
    }
    rest_ms = (admission->rests_until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    if (rest_ms < 1) {
        rest_ms = 1; /* it could not be opened: again in a moment */
    }
    return wait_ms < 0 || rest_ms < wait_ms ? (int)rest_ms : wait_ms;
}
