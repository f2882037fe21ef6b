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

static void set_untold(struct owners *owners, uint32_t index, enum owner_news news)
{
    owners->untold_count -= owners->untold[index] != OWNER_NO_NEWS;
    owners->untold_count += news != OWNER_NO_NEWS;
    owners->untold[index] = news;
}

static void forget(struct owners *owners, uint32_t index)
{
    set_untold(owners, index, OWNER_NO_NEWS);
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
        set_untold(owners, index, OWNER_ENDED);
    }
}

void owners_hang_up(struct owners *owners, uint32_t index, uint64_t incarnation)
{
    if (owners->incarnations[index] == incarnation && owners->untold[index] == OWNER_NO_NEWS) {
        set_untold(owners, index, OWNER_HUNG_UP);
    }
}

static void tell_hung_up(void *context)
{
    const struct owners *owners = context;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (owners->untold[i] == OWNER_HUNG_UP) {
            lanes_owner_hung_up(owners->lanes, i, owners->incarnations[i]);
        }
    }
}

/* All of them at once. False: there are none, or the inbox did not take it. */
static bool say_hung_up(struct owners *owners)
{
    uint32_t count = 0;
    enum es_status status = ES_OK;

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        count += owners->untold[i] == OWNER_HUNG_UP;
    }
    status = count > 0 ? inbox_call(owners->inbox, tell_hung_up, owners) : ES_EMPTY;
    if (status != ES_OK && status != ES_NOT_SERVING) {
        return false;
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (owners->untold[i] == OWNER_HUNG_UP) {
            set_untold(owners, i, OWNER_NO_NEWS);
        }
    }
    return true;
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
    bool is_found = owners->untold_count > 0 && say_hung_up(owners);

    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX; i++) {
        if (owners->untold[i] == OWNER_ENDED || has_ended(owners->pidfds[i])) {
            end(owners, i);
            is_found = true;
        }
    }
    return is_found;
}

bool owners_tell(struct owners *owners)
{
    if (owners->untold_count > 0) {
        (void)say_hung_up(owners);
    }
    for (uint32_t i = 0; i < ES_LANE_COUNT_MAX && owners->untold_count > 0; i++) {
        if (owners->untold[i] == OWNER_ENDED) {
            end(owners, i);
        }
    }
    return owners->untold_count > 0;
}
