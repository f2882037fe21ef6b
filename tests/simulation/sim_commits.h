/*
 * Reads the commits that the store holds beyond the model's into the model, checking
 * each of them (sim_model.h says for what); and, at the end, all of them at once.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_COMMITS_H
#define TESTS_SIMULATION_SIM_COMMITS_H

#include "tests/simulation/sim_ops.h"

void commits_read(void);

/* Of sim_model.c: whether the expectation of a part holds now. */
bool model_stream_accepts(const struct op_part *part);
bool model_key_accepts(const struct op_part *part);

#endif
