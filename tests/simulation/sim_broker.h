/*
 * The process of the broker: assembled as broker_parts.c does it, without sockets. What its
 * control thread and request workers would do, clients ask for here: each call is a
 * fiber that waits in the real inbox.
 *
 * Threads. One: the host.
 */
#ifndef TESTS_SIMULATION_SIM_BROKER_H
#define TESTS_SIMULATION_SIM_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/lanes.h"
#include "broker/startup.h"
#include "shm/codec/replies.h"
#include "shm/codec/requests.h"
#include "tests/simulation/sim.h"

/* Begins a process. The one before has been buried. */
void sim_broker_start(void);

/* Begins a process that only tries to start: before it would touch shared memory it
 * shows what it has found, and ends as SIM_KILLED. */
void sim_broker_try(void (*found)(const struct startup *startup));

/* It runs, has come into its commit loop, and was not asked to stop. */
bool sim_broker_is_serving(void);

/* It had come so far, whatever became of it since. */
bool sim_broker_has_served(void);

/* Asks for a clean stop. */
void sim_broker_stop(void);

/* Of the process that ran last: what startup_open() said. */
enum es_status sim_broker_start_status(void);
const char *sim_broker_why(void);

/* From a fiber, never to return: the process ends so. */
__attribute__((noreturn)) void sim_broker_ends(enum sim_end end);

/* From the host, once sim.end says that it has ended, or to kill it where it stands:
 * its memory, fibers and mappings go, and what its store had not flushed. */
void sim_broker_bury(void);

/* ---- what clients ask for (sim_broker_calls.c); answers come by the callbacks, in a fiber ---- */

struct sim_attach {
    uint32_t uid;
    pid_t pid;
    const char *name; /* of a producer; NULL: none */
    bool take_over;
    enum es_status status;
    uint64_t last_number;
    struct lanes_attachment attachment;
    void (*done)(struct sim_attach *attach);
    void *context;
};

/* 'attach' stays the caller's, until 'done' or the end of the process. */
void sim_broker_attach(struct sim_attach *attach);

/* The process 'pid', whose lane in the model was 'lane', has ended: its lanes are told so. */
void sim_broker_owner_gone(pid_t pid, uint32_t lane);

struct sim_request {
    const uint8_t *transaction;
    uint32_t transaction_bytes;
    uint32_t flags;
    uint32_t uid;
    const char *producer; /* NULL: unnamed */
    uint64_t timeout_ns;
    enum es_status status; /* of inbox_submit() */
    struct es_lane_result result;
    void (*done)(struct sim_request *request);
    void *context;
};

void sim_broker_submit(struct sim_request *request);

/* A question that a request worker answers, with the real handler of its verb: hello or
 * producer. */
struct sim_question {
    struct es_request request;
    uint32_t uid;
    enum es_status status; /* the handler's */
    struct es_reply reply; /* with ES_OK, in 'done' alone */
    void (*done)(struct sim_question *question);
    void *context;
};

/* 'question' stays the caller's, until 'done' or the end of the process. */
void sim_broker_ask(struct sim_question *question);

#endif
