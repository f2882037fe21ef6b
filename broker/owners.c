#include "broker/owners.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "broker/logger.h"
#include "broker/process.h"

void owners_init(struct owners *owners, struct lanes *lanes, struct inbox *inbox, int epoll_fd,
                 uint32_t event_kind)
{
    *owners = (struct owners){.lanes = lanes,
                              .inbox = inbox,
                              .epoll_fd = epoll_fd,
                              .event_kind = (uint64_t)event_kind << 32};
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        owners->pidfds[i] = -1;
    }
}

void owners_deinit(struct owners *owners)
{
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (owners->pidfds[i] >= 0) {
            close(owners->pidfds[i]);
        }
    }
}

/* ---- watching ------------------------------------------------------------ */

static void set_untold(struct owners *owners, uint32_t index, bool is_untold)
{
    owners->untold_count += (uint32_t)is_untold - (uint32_t)owners->is_untold[index];
    owners->is_untold[index] = is_untold;
}

static void forget(struct owners *owners, uint32_t index)
{
    set_untold(owners, index, false);
    if (owners->pidfds[index] >= 0) {
        close(owners->pidfds[index]); /* leaves the epoll set with its last descriptor */
        owners->pidfds[index] = -1;
    }
}

void owners_add(struct owners *owners, uint32_t index, uint64_t incarnation, int pidfd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = owners->event_kind | index};

    forget(owners, index);
    owners->incarnations[index] = incarnation;
    owners->pidfds[index] = pidfd;
    if (pidfd >= 0 && epoll_ctl(owners->epoll_fd, EPOLL_CTL_ADD, pidfd, &event) != 0) {
        forget(owners, index);
    }
    if (owners->pidfds[index] < 0) {
        log_warning("cannot watch the owner of lane %u: it is kept until it is closed", index);
    }
}

static void find(void *context, uint32_t index, uint64_t incarnation, pid_t pid,
                 uint64_t pid_start_time)
{
    struct owners *owners = context;
    bool is_gone = false;
    int pidfd = process_watch(pid, pid_start_time, &is_gone);

    if (is_gone) {
        lanes_owner_gone(owners->lanes, index, incarnation);
    } else {
        owners_add(owners, index, incarnation, pidfd);
    }
}

void owners_find(struct owners *owners)
{
    lanes_visit_owners(owners->lanes, find, owners);
}

/* ---- ends ---------------------------------------------------------------- */

struct gone {
    struct lanes *lanes;
    uint32_t index;
    uint64_t incarnation;
};

static void tell_gone(void *context)
{
    const struct gone *gone = context;

    lanes_owner_gone(gone->lanes, gone->index, gone->incarnation);
}

static void end(struct owners *owners, uint32_t index)
{
    struct gone gone = {owners->lanes, index, owners->incarnations[index]};
    enum es_status status = ES_OK;

    forget(owners, index);
    status = inbox_call(owners->inbox, tell_gone, &gone);
    if (status == ES_NOT_SERVING) {
        log_debug("lane %u: its owner ended while the broker stops", index);
    } else if (status != ES_OK) {
        set_untold(owners, index, true);
    }
}

void owners_add_ended(struct owners *owners, uint32_t index, uint64_t incarnation)
{
    forget(owners, index);
    owners->incarnations[index] = incarnation;
    end(owners, index);
}

/* An event may be older than the watch: a lane that was closed is given to others,
 * perhaps in the very round in which its former owner ends. */
static bool has_ended(int pidfd)
{
    struct pollfd look = {.fd = pidfd, .events = POLLIN};

    return pidfd >= 0 && poll(&look, 1, 0) == 1;
}

void owners_hear(struct owners *owners, uint32_t index)
{
    if (has_ended(owners->pidfds[index])) {
        end(owners, index);
    }
}

bool owners_find_ended(struct owners *owners)
{
    bool is_found = false;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (owners->is_untold[i] || has_ended(owners->pidfds[i])) {
            end(owners, i);
            is_found = true;
        }
    }
    return is_found;
}

bool owners_tell(struct owners *owners)
{
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX && owners->untold_count > 0; i++) {
        if (owners->is_untold[i]) {
            end(owners, i);
        }
    }
    return owners->untold_count > 0;
}
