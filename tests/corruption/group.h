/*
 * Trials of one class, one after the other: alone, or several damages of tables in one start,
 * where no unit of the reading (history.h) is touched by two of them, so each has its own
 * result. A start of several that is refused is divided until it is known which of them it was.
 *
 * Threads. One.
 */
#ifndef TESTS_CORRUPTION_GROUP_H
#define TESTS_CORRUPTION_GROUP_H

#include "tests/corruption/trial.h"

/* Of one trial, once its result is known. */
typedef void (*group_told_fn)(void *context, uint64_t number, const struct damage *damage,
                              const struct trial_result *result);

struct group_config {
    const struct damage_base *base;
    const struct history *history;
    const struct reach *reach; /* NULL: each trial is alone, and reads everything */
    const struct damage_class *class;
    uint64_t whole_every; /* one of so many reads everything, alone */
    char path[IMAGE_PATH_BYTES];
    group_told_fn told;
    void *context;
};

struct group {
    struct group_config config;
    uint64_t whole_count; /* trials that read everything */
    uint64_t trial_count;
    uint8_t *units;  /* of the damage at hand */
    uint8_t *owners; /* of those that wait */
    uint64_t waiting[TRIAL_OWNERS_MAX];
    uint32_t waiting_count;
};

void group_init(struct group *group, const struct group_config *config);

/* The result may come with a later call. */
void group_try(struct group *group, uint64_t number);

/* The results of those that wait. */
void group_end(struct group *group);

#endif
