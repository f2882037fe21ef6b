/*
 * What the oracle knows of producers' names: who owns one, who may, and what was said
 * of a number.
 *
 *   - a claim is told the last number, and nothing of an earlier owner is stored later
 *   - a request under a name is refused as BUSY only where a lane may be alive that
 *     owns it, and never stored where one is
 *   - a number that a question said is not stored, is not stored later out of what its
 *     lane had published before the question
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_NAMES_H
#define TESTS_SIMULATION_SIM_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/codec/replies.h"
#include "tests/simulation/sim_ops.h"

/* Somebody claims a name, and is told: no, or yes, with this last number. */
void model_claims(uint32_t name);
void model_not_claimed(uint32_t name);
void model_claimed(uint32_t name, uint32_t lane, uint64_t last_number);

/* The producer holds its lane no more, whatever the broker knows of that. */
void model_lane_left(uint32_t lane);

/* The broker knows that the lane has no producer, or will before it serves. */
void model_lane_over(uint32_t lane);

/* A lane has it, as far as clients can know. */
bool names_is_owned(uint32_t name);

/* Of sim_model.c and sim_commits.c. */
void names_sent(struct op *op);
bool names_may_be_busy(const struct op *op);
void names_check_stored(const struct op *op);
void names_process_ended(void);

/* A question for a number: what is known when it is asked. */
struct names_question {
    uint32_t name;
    uint64_t number;
    uint64_t stamp;
    uint64_t last_number;
    bool exists; /* the name is certainly known */
    bool was_stored;
    bool is_raced; /* a lane had just published it */
};

void names_ask(struct names_question *question, uint32_t name, uint64_t number);
void names_told(const struct names_question *question, const struct es_producer_reply *reply);

#endif
