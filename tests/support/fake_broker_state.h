/*
 * The inside of the fake broker, for its three files: fake_broker.c has the store
 * and the requests, fake_publisher.c the publisher, fake_lanes.c the shared memory.
 */
#ifndef TESTS_SUPPORT_FAKE_BROKER_STATE_H
#define TESTS_SUPPORT_FAKE_BROKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "shm/control.h"
#include "shm/doorbell.h"
#include "shm/lane_reader.h"
#include "shm/ring.h"
#include "shm/segment.h"
#include "tests/support/fake_broker.h"
#include "tests/support/fake_producers.h"
#include "tests/support/fake_sockets.h"

struct fake_event {
    char stream[64];
    uint64_t sequence;
    uint8_t *envelope;
    uint32_t envelope_bytes;
    uint8_t hash[32];
    bool is_hidden;
};

struct fake_lane {
    struct es_segment segment;
    struct es_lane_reader reader;
    bool is_open;
    bool is_broken; /* the order of its records */
    uint64_t incarnation;
    struct fake_producer *producer; /* NULL: it has no name */
};

struct fake_lanes {
    char run_dir[256];
    uint64_t start_number;
    pthread_t control_thread;
    pthread_t lane_thread;
    int listen_fd;
    int peer_fds[64];
    uint32_t peer_count;
    int directory_fd;
    _Atomic bool is_stopping;
    _Atomic bool holds_attach;
    _Atomic uint32_t lost_answer_count;
    _Atomic uint64_t attach_count;
    _Atomic uint64_t record_count;
    pthread_mutex_t lock; /* all below */
    bool is_held;
    enum es_status refusal;
    struct es_geometry geometry;
    struct es_segment control_segment;
    struct es_control control;
    struct es_segment ring_segment;
    struct es_ring_reader ring;
    uint64_t ring_id;
    struct fake_lane lanes[FAKE_LANE_COUNT_MAX];
    uint32_t lane_count;
    uint64_t incarnation_last;
    uint64_t position;
    fake_judge *judge;
    void *judge_context;
    struct fake_producers producers;
};

struct fake_broker {
    struct fake_lanes lanes;
    struct fake_sockets sockets;
    _Atomic uint64_t request_count;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    bool is_held;
    uint32_t break_count;
    uint32_t page_event_count;
    uint8_t *canned;
    uint32_t canned_bytes;
    uint64_t epoch;
    uint64_t start_number;
    uint64_t heartbeat_number;
    uint64_t heartbeat_position; /* told so far */
    uint64_t published_position;
    struct fake_event *events; /* position - 1 */
    uint64_t position;
};

/* Ends the test program unless 'is_true'. */
void fake_require(bool is_true, const char *what);

void fake_lanes_start(struct fake_lanes *lanes, const char *run_dir, uint64_t start_number);
void fake_lanes_stop(struct fake_lanes *lanes);
void fake_lanes_renew(struct fake_lanes *lanes);

/* Whether a lane is in use by its producer; a fake_lane_is_alive over the lanes. */
bool fake_lanes_is_alive(void *lanes, uint64_t incarnation);

/* The fake's lanes, for the calls that fake_lanes.c implements. */
struct fake_lanes *fake_broker_lanes(struct fake_broker *broker);

#endif
