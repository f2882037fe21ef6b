/*
 * A listening socket in an epoll set that takes no more than ADMISSIONS_AT_ONCE
 * connections before it rests for ADMISSION_REST_MS, if so many came.
 *
 * Whoever connects and goes, again and again, has each of his connections looked at for
 * about the time that it takes him to make one: unbounded, that is a second processor
 * for him, taken from those who are connected. Who waits in the kernel's queue is let in
 * in its order, at thousands a second.
 *
 * Threads. The one that waits on the epoll set.
 */
#ifndef BROKER_ADMISSION_H
#define BROKER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "shm/eventspine_status.h"

enum {
    ADMISSIONS_AT_ONCE = 4,
    ADMISSION_REST_MS = 1
};

struct admission {
    int epoll_fd;
    int listener_fd;
    epoll_data_t data;      /* of its events */
    int64_t rests_until_ns; /* 0: it is open */
};

/* Watches 'listener_fd', which stays the caller's. ES_E_IO. */
ES_MUST_USE enum es_status admission_open(struct admission *admission, int epoll_fd,
                                          int listener_fd, epoll_data_t data);

/* Its connections are told of no more until the rest is over. */
void admission_rest(struct admission *admission, int64_t now_ns);

/* Opens it again if its time has come. Returns how long epoll_wait() may wait for its
 * sake: 'wait_ms' (-1: for ever), or less. */
int admission_wait_ms(struct admission *admission, int64_t now_ns, int wait_ms);

#endif
