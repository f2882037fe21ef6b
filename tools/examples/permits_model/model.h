/*
 * The read model of the example: how far the cases of a process have come. For
 * each kind of step, how often it was done, how many cases stand there now, and
 * how long after the step before it. It knows nothing of files or brokers:
 * state.h keeps it, main.c feeds it.
 *
 * Threads.  None: one model belongs to one thread.
 */
#ifndef PERMITS_MODEL_H
#define PERMITS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MODEL_STEP_COUNT_MAX 200 /* further kinds of steps are counted together */

struct model_step {
    char *name;
    uint64_t event_count;
    uint64_t cases_here; /* cases whose newest step this is */
    uint64_t waits;      /* how often it came after another step of its case */
    int64_t wait_ms;     /* all those waits together, by the events' ticks */
};

struct model_case {
    char *stream;
    size_t step; /* index of its newest step */
    uint64_t tick;
};

struct model {
    struct model_step steps[MODEL_STEP_COUNT_MAX];
    size_t step_count;
    size_t case_count;
    void *cases;       /* tree of struct model_case, by stream */
    uint64_t position; /* of the last event applied; 0: none yet */
    uint64_t epoch;    /* of the history that the position belongs to */
};

void model_init(struct model *model);
void model_deinit(struct model *model);

/* Applies one event. False: out of memory, and the model is as before. */
bool model_apply(struct model *model, const char *stream, const char *type, uint64_t tick,
                 uint64_t position);

/* The step of that name, made if need be; false: out of memory. */
bool model_step_index(struct model *model, const char *name, size_t *ret_index);

/* Puts a case where it stands, as state.c reads it back; false: out of memory. */
bool model_case_put(struct model *model, const char *stream, size_t step, uint64_t tick);

/* Calls 'visit' for each case in the order of their streams. */
typedef void model_case_visitor(const struct model_case *one, void *context);
void model_cases(const struct model *model, model_case_visitor *visit, void *context);

void model_print(const struct model *model, FILE *out);

#endif
