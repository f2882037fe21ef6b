#include "broker/connections.h"

#include <assert.h>
#include <stddef.h>
#include <unistd.h>

void connections_init(struct connections *connections)
{
    connections->accept_count = 0;
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        connections->places[i].fd = -1;
    }
}

void connections_deinit(struct connections *connections)
{
    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (connections->places[i].fd >= 0) {
            connection_end(&connections->places[i]);
        }
    }
}

void connection_end(struct connection *connection)
{
    close(connection->fd);
    connection->fd = -1;
}

static uint32_t waiting_of(const struct connections *connections, uint32_t uid)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        const struct connection *one = &connections->places[i];

        count += one->fd >= 0 && !one->is_attached && one->uid == uid;
    }
    return count;
}

static struct connection *oldest_without_lane(struct connections *connections,
                                              const uint64_t incarnations[ES_LANE_COUNT_MAX])
{
    struct connection *oldest = NULL;

    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *one = &connections->places[i];

        if (one->fd >= 0 && one->is_attached && incarnations[one->lane_index] != one->incarnation &&
            (oldest == NULL || one->accepted < oldest->accepted)) {
            oldest = one;
        }
    }
    return oldest;
}

/* The oldest who never asked, of the user who has most of those. */
static struct connection *oldest_of_the_crowd(struct connections *connections)
{
    struct connection *found = NULL;
    uint32_t crowd = 0;

    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *one = &connections->places[i];

        if (one->fd < 0 || one->is_attached) {
            continue;
        }
        if (found != NULL && one->uid == found->uid) {
            found = one->accepted < found->accepted ? one : found;
        } else if (found == NULL || waiting_of(connections, one->uid) > crowd) {
            crowd = waiting_of(connections, one->uid);
            found = one;
        }
    }
    return found;
}

static struct connection *drop(struct connections *connections,
                               const uint64_t incarnations[ES_LANE_COUNT_MAX])
{
    struct connection *dropped = oldest_without_lane(connections, incarnations);

    if (dropped == NULL) {
        dropped = oldest_of_the_crowd(connections);
    }
    if (dropped != NULL) {
        connection_end(dropped);
    }
    return dropped;
}

bool connections_drop_one(struct connections *connections,
                          const uint64_t incarnations[ES_LANE_COUNT_MAX])
{
    return drop(connections, incarnations) != NULL;
}

struct connection *connections_place(struct connections *connections,
                                     const uint64_t incarnations[ES_LANE_COUNT_MAX])
{
    struct connection *place = NULL;

    for (uint32_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (connections->places[i].fd < 0) {
            return &connections->places[i];
        }
    }
    place = drop(connections, incarnations);
    assert(place != NULL); /* a lane has one connection, and lanes are fewer than places */
    return place;
}

void connections_fill(struct connections *connections, struct connection *place, int fd,
                      uint32_t uid, pid_t pid)
{
    *place = (struct connection){
        .fd = fd, .uid = uid, .pid = pid, .accepted = ++connections->accept_count};
}
