/*
 * One producer: sim_producers.c lets it live and take its steps, sim_producers_choose.c
 * chooses what it sends, sim_producers_faults.c kills it and lets it do harm. For these
 * three.
 */
#ifndef TESTS_SIMULATION_SIM_PRODUCERS_STATE_H
#define TESTS_SIMULATION_SIM_PRODUCERS_STATE_H

#include "shm/control.h"
#include "shm/lane_writer.h"
#include "shm/ring.h"
#include "tests/simulation/sim_broker.h"
#include "tests/simulation/sim_ops.h"

enum producer_at {
    AT_NOTHING,   /* no lane */
    AT_ATTACHING, /* asked for one */
    AT_LEISURE,
    AT_CLAIMED,   /* writes into its claim */
    AT_PUBLISHED, /* the ticket is to be placed */
    AT_PLACED     /* the bell is to be rung */
};

struct producer {
    bool is_alive;
    pid_t pid;
    uint32_t uid;
    enum producer_at at;
    struct sim_attach attach;
    struct es_segment control_segment;
    struct es_segment ring_segment;
    struct es_segment lane_segment;
    struct es_control control;
    struct es_ring ring;
    struct es_lane_writer writer;
    struct es_placement placement;
    uint32_t lane; /* in the model */
    bool is_ordered;
    bool is_mapped;
    uint32_t name; /* OP_UNNAMED: none */
    uint64_t next_number;
    uint64_t last_number; /* told, or answered OK */
    uint32_t again_at;    /* operations before it need not be sent again */
    bool must_resume;     /* a refusal was answered: the next one begins a new row */
    bool is_fenced;
    bool had_published; /* when the last broker ended */
    struct op *writing;
    uint32_t writing_bytes;
    struct op *flying[ES_CREDIT_COUNT_MAX]; /* published, not answered, by sequence */
};

/* Its process ends; what it had published gets 'fate' until somebody finds out. */
void producer_die(struct producer *producer, enum op_fate fate);

/* What it sends next: something new, or again what was not answered; NULL: nothing now. */
struct op *producer_choose(struct producer *producer);

void producer_kill(struct producer *producer);
void producer_spoil_ring(const struct producer *producer);

#endif
