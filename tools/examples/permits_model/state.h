/*
 * The example's own snapshot: the model and the position of its last event, in
 * one file that is replaced whole. So whatever kills the program, it finds a
 * model and the position that belongs to it, and goes on at position + 1: each
 * event counts exactly once.
 */
#ifndef PERMITS_STATE_H
#define PERMITS_STATE_H

#include <stdbool.h>

#include "tools/examples/permits_model/model.h"

enum state_result {
    STATE_OK = 0,
    STATE_NONE = 1,       /* there is no such file: a fresh start */
    STATE_E_DAMAGED = -1, /* not written by state_save(), or not whole */
    STATE_E_IO = -2,      /* see errno */
};

/* Fills an empty model; on any failure the caller still calls model_deinit(). */
enum state_result state_load(const char *path, struct model *model);

/* Returns once the file is on stable storage; a failure leaves the old one. */
enum state_result state_save(const char *path, const struct model *model);

#endif
