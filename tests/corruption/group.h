/*
 * Trials of one class, one after the other: alone, or several damages of tables in one start,
 * where no unit of the reading (history.h) that ends at an error is touched by two of them, so
 * each has its own result. What is bad in company, or not surely its own, is tried alone; a start
 * that is refused is divided until it is known whose damage it was.
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

enum {
    GROUP_PATCHES_MAX = 4, /* pages that one damage changes, to be one of several */
    GROUP_OPEN_MAX = 6     /* companies that are being gathered at a time */
};

/* A page as a damage leaves it. */
struct group_patch {
    const struct image_file *file;
    uint64_t offset;
    uint32_t size;
    uint8_t bytes[4096];
};

struct group_member {
    uint64_t number;
    char what[DAMAGE_WHAT_BYTES];
    struct group_patch patches[GROUP_PATCHES_MAX];
    uint32_t patch_count;
};

struct group_company {
    struct group_member members[TRIAL_OWNERS_MAX];
    uint32_t count;
    uint8_t *owners; /* by unit: struct trial_reading */
};

struct group {
    struct group_config config;
    uint64_t whole_count; /* trials that read everything */
    uint64_t begun_count;
    uint8_t *units; /* of the damage at hand */
    struct group_company companies[GROUP_OPEN_MAX];
};

void group_init(struct group *group, const struct group_config *config);

/* The result may come with a later call. */
void group_try(struct group *group, uint64_t number);

/* The results of those that wait. */
void group_end(struct group *group);

#endif
