/*
 * Who is connected to control.sock, and who has to go when there is no place for
 * one more. What they say, control.h hears.
 *
 * Bounded. CONNECTIONS_MAX places. Where all are taken, one is made: of the oldest
 *          connection whose lane is another's by now (it is of no more use to anybody),
 *          else of the oldest that has not asked yet, of the user who has most of
 *          those. There always is one: lanes are fewer than places. So neither many
 *          connections, nor those of owners who closed their lane and stay, keep
 *          anybody out, and one user's crowd drops none but its own.
 * Threads. The control thread alone.
 */
#ifndef BROKER_CONNECTIONS_H
#define BROKER_CONNECTIONS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/layout.h"

enum {
    CONNECTIONS_MAX = 512
};

static_assert(CONNECTIONS_MAX > ES_LANE_COUNT_MAX, "one is always to spare");

struct connection {
    int fd; /* -1: not in use */
    uint32_t uid;
    pid_t pid;
    bool is_attached;
    uint32_t lane_index; /* once it is attached */
    uint64_t incarnation;
    uint64_t accepted; /* counts up: which one is the oldest */
};

struct connections {
    struct connection places[CONNECTIONS_MAX];
    uint64_t accept_count;
};

void connections_init(struct connections *connections);

/* Closes all of them. */
void connections_deinit(struct connections *connections);

/* 'incarnations' holds, by lane index, whose each lane is now. Returns a free place. */
struct connection *connections_place(struct connections *connections,
                                     const uint64_t incarnations[ES_LANE_COUNT_MAX]);

/* Makes a descriptor free, as connections_place() would; false: there is none to drop. */
bool connections_drop_one(struct connections *connections,
                          const uint64_t incarnations[ES_LANE_COUNT_MAX]);

/* Puts a new connection into a free place. */
void connections_fill(struct connections *connections, struct connection *place, int fd,
                      uint32_t uid, pid_t pid);

void connection_end(struct connection *connection);

#endif
