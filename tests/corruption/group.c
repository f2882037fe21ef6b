#include "tests/corruption/group.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "tests/corruption/reads.h"

static void make(const struct group *group, uint64_t number, struct damage *ret_damage)
{
    const struct group_config *config = &group->config;
    struct prng random;

    memset(ret_damage, 0, sizeof *ret_damage);
    ret_damage->image = &config->base->store;
    prng_seed(&random, number);
    config->class->make(config->base, number, &random, ret_damage);
}

void group_init(struct group *group, const struct group_config *config)
{
    size_t size = config->reach == NULL ? 1 : config->reach->unit_count + 1;

    memset(group, 0, sizeof *group);
    group->config = *config;
    group->units = calloc(1, size);
    group->owners = calloc(1, size);
    if (group->units == NULL || group->owners == NULL) {
        err(2, "calloc");
    }
}

/* ---- Alone --------------------------------------------------------------------- */

static void run_alone(struct group *group, uint64_t number, const struct damage *damage,
                      bool is_known, bool is_whole)
{
    const struct trial_reading reading = {.history = group->config.history,
                                          .owners = is_known ? group->units : NULL,
                                          .owner_count = 1,
                                          .is_whole = is_whole || !is_known};
    struct trial_result results[TRIAL_OWNERS_MAX];

    trial_run(damage, &reading, group->config.path, results);
    group->trial_count++;
    group->whole_count += reading.is_whole ? 1 : 0;
    group->config.told(group->config.context, number, damage, &results[0]);
}

/* ---- Together ------------------------------------------------------------------ */

/* Puts the pages that a change changes into those of the same file, or takes it over. */
static void merge_change(const struct damage_base *base, struct damage *to,
                         struct image_file *change)
{
    const struct image_file *file = directory_image_find(&base->store, change->name);

    for (size_t i = 0; i < to->change_count; i++) {
        if (strcmp(to->changes[i].name, change->name) != 0) {
            continue;
        }
        for (uint64_t at = 0; at < file->size; at += READS_PAGE_BYTES) {
            size_t size = file->size - at < READS_PAGE_BYTES ? file->size - at : READS_PAGE_BYTES;

            if (memcmp(file->bytes + at, change->bytes + at, size) != 0) {
                memcpy(to->changes[i].bytes + at, change->bytes + at, size);
            }
        }
        return;
    }
    to->changes[to->change_count++] = *change;
    change->bytes = NULL;
}

static void run_together(struct group *group, const uint64_t *numbers, uint32_t count,
                         struct trial_result results[TRIAL_OWNERS_MAX])
{
    const struct group_config *config = &group->config;
    const struct trial_reading reading = {
        .history = config->history, .owners = group->owners, .owner_count = count};
    struct damage all = {.image = &config->base->store};

    memset(group->owners, TRIAL_OWNER_NOBODY, config->reach->unit_count);
    for (uint32_t i = 0; i < count; i++) {
        struct damage damage;

        make(group, numbers[i], &damage);
        (void)reach_of(config->reach, all.image, &damage, group->units);
        for (uint32_t unit = 0; unit < config->reach->unit_count; unit++) {
            if (group->units[unit] != 0) {
                group->owners[unit] = (uint8_t)(i + 1);
            }
        }
        for (size_t j = 0; j < damage.change_count; j++) {
            merge_change(config->base, &all, &damage.changes[j]);
        }
        damage_free(&damage);
    }
    trial_run(&all, &reading, config->path, results);
    damage_free(&all);
}

/* Served: each has its own result. Else by halves, down to one alone. */
static void divide(struct group *group, const uint64_t *numbers, uint32_t count)
{
    struct trial_result results[TRIAL_OWNERS_MAX];
    struct damage damage;
    bool is_served = false;

    if (count > 1) {
        run_together(group, numbers, count, results);
        is_served = results[0].status == ES_OK && results[0].outcome != TRIAL_CRASHED &&
                    results[0].outcome != TRIAL_HUNG;
    }
    for (uint32_t i = 0; i < count && (is_served || count == 1); i++) {
        make(group, numbers[i], &damage);
        if (is_served && trial_is_good(results[i].outcome)) {
            group->trial_count++;
            group->config.told(group->config.context, numbers[i], &damage, &results[i]);
        } else { /* what is bad in company is tried alone */
            (void)reach_of(group->config.reach, damage.image, &damage, group->units);
            run_alone(group, numbers[i], &damage, true, is_served);
        }
        damage_free(&damage);
    }
    if (!is_served && count > 1) {
        divide(group, numbers, count / 2);
        divide(group, numbers + count / 2, count - count / 2);
    }
}

void group_end(struct group *group)
{
    if (group->waiting_count > 0) {
        divide(group, group->waiting, group->waiting_count);
    }
    group->waiting_count = 0;
    if (group->config.reach != NULL) {
        memset(group->owners, TRIAL_OWNER_NOBODY, group->config.reach->unit_count);
    }
}

static void wait_for_company(struct group *group, uint64_t number)
{
    const uint32_t unit_count = group->config.reach->unit_count;
    bool is_apart = group->waiting_count < TRIAL_OWNERS_MAX;

    for (uint32_t i = 0; i < unit_count && is_apart; i++) {
        is_apart = group->units[i] == 0 || group->owners[i] == TRIAL_OWNER_NOBODY;
    }
    if (!is_apart) {
        struct damage damage;

        group_end(group);
        make(group, number, &damage);
        (void)reach_of(group->config.reach, damage.image, &damage, group->units);
        damage_free(&damage);
    }
    for (uint32_t i = 0; i < unit_count; i++) {
        if (group->units[i] != 0) {
            group->owners[i] = (uint8_t)(group->waiting_count + 1);
        }
    }
    group->waiting[group->waiting_count++] = number;
}

void group_try(struct group *group, uint64_t number)
{
    const struct group_config *config = &group->config;
    bool is_whole = config->reach == NULL ||
                    (group->trial_count + group->waiting_count) % config->whole_every == 0;
    enum reach_kind kind = REACH_ALL;
    struct damage damage;

    make(group, number, &damage);
    if (config->reach != NULL) {
        kind = reach_of(config->reach, damage.image, &damage, group->units);
    }
    if (kind == REACH_PAGES && !is_whole) {
        wait_for_company(group, number);
    } else {
        run_alone(group, number, &damage, kind != REACH_ALL, is_whole);
    }
    damage_free(&damage);
}
