/*
 * The histories of the store, as the oracle knows them: which epochs there have been,
 * and up to which position the present one is theirs. From that follows what a client
 * must be told that comes with a checkpoint or a receipt of any of them.
 *
 * Threads. One.
 */
#ifndef TESTS_SIMULATION_SIM_CLAIMS_H
#define TESTS_SIMULATION_SIM_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/eventspine_status.h"

enum {
    HISTORIES_MAX = 512
};

struct claims {
    uint32_t count;
    struct {
        uint64_t epoch;
        uint64_t begin;    /* it begins behind this position */
        uint64_t end;      /* the last position that is theirs; UINT64_MAX: it goes on */
        bool is_forgotten; /* the store that is in place has never had it */
    } histories[HISTORIES_MAX];
};

void claims_clear(void);
bool claims_know(uint64_t epoch);

/* It begins behind position 'end', where all others end. */
void claims_new_epoch(uint64_t epoch, uint64_t end);

/* For a copy of the store, and when it is put in place. */
void claims_save(struct claims *ret_saved);
void claims_restore(const struct claims *saved);

/* Whether there is a position that was given under it, and is there. */
bool claims_have_position(uint64_t epoch);

/* ES_OK, ES_REGRESSED or ES_DIVERGED. */
enum es_status claims_judge(uint64_t epoch, uint64_t position);

#endif
