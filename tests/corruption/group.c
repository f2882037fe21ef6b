#include "tests/corruption/group.h"

#include <assert.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "tests/corruption/reads.h"

static_assert(READS_PAGE_BYTES == sizeof((struct group_patch *)0)->bytes, "a page is a patch");

static void *made(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL) {
        err(2, "calloc");
    }
    return memory;
}

void group_init(struct group *group, const struct group_config *config)
{
    size_t size = config->reach == NULL ? 1 : config->reach->unit_count + 1;

    memset(group, 0, sizeof *group);
    group->config = *config;
    group->units = made(size);
    for (uint32_t i = 0; i < GROUP_OPEN_MAX; i++) {
        group->companies[i].owners = made(size);
    }
}

static void make(const struct group *group, uint64_t number, struct damage *ret_damage)
{
    const struct group_config *config = &group->config;
    struct prng random;

    memset(ret_damage, 0, sizeof *ret_damage);
    ret_damage->image = &config->base->store;
    prng_seed(&random, number);
    config->class->make(config->base, number, &random, ret_damage);
}

/* ---- Alone --------------------------------------------------------------------- */

static void run_alone(struct group *group, uint64_t number, const struct damage *damage,
                      enum reach_kind kind, bool is_whole)
{
    const struct trial_reading reading = {.history = group->config.history,
                                          .owners = kind == REACH_ALL ? NULL : group->units,
                                          .owner_count = 1,
                                          .is_whole = is_whole || kind == REACH_ALL};
    struct trial_result results[TRIAL_OWNERS_MAX];

    trial_run(damage, &reading, group->config.path, results);
    group->whole_count += reading.is_whole ? 1 : 0;
    group->config.told(group->config.context, number, damage, &results[0]);
}

static void try_alone(struct group *group, uint64_t number, bool is_whole)
{
    enum reach_kind kind = REACH_ALL;
    struct damage damage;

    make(group, number, &damage);
    kind = reach_of(group->config.reach, damage.image, &damage, group->units);
    run_alone(group, number, &damage, kind, is_whole);
    damage_free(&damage);
}

/* ---- In company ---------------------------------------------------------------- */

static void apply_patch(struct damage *to, const struct group_patch *patch)
{
    size_t i = 0;

    while (i < to->change_count && strcmp(to->changes[i].name, patch->file->name) != 0) {
        i++;
    }
    if (i == to->change_count) {
        to->changes[i] = *patch->file;
        to->changes[i].bytes = made(patch->file->size + 1);
        memcpy(to->changes[i].bytes, patch->file->bytes, patch->file->size);
        to->change_count++;
    }
    memcpy(to->changes[i].bytes + patch->offset, patch->bytes, patch->size);
}

/* Members 'first' to 'first + count', with the owners numbered from 'first'. */
static void run_members(struct group *group, const struct group_company *company, uint32_t first,
                        uint32_t count, struct trial_result results[TRIAL_OWNERS_MAX])
{
    const uint32_t unit_count = group->config.reach->unit_count;
    uint8_t *owners = made(unit_count);
    const struct trial_reading reading = {
        .history = group->config.history, .owners = owners, .owner_count = count};
    struct damage all = {.image = &group->config.base->store};

    for (uint32_t unit = 0; unit < unit_count; unit++) {
        uint8_t owner = company->owners[unit];

        if (owner == TRIAL_OWNER_SEVERAL) {
            owners[unit] = owner;
        } else if (owner > first && owner <= first + count) {
            owners[unit] = (uint8_t)(owner - first);
        }
    }
    for (uint32_t i = first; i < first + count; i++) {
        for (uint32_t j = 0; j < company->members[i].patch_count; j++) {
            apply_patch(&all, &company->members[i].patches[j]);
        }
    }
    trial_run(&all, &reading, group->config.path, results);
    damage_free(&all);
    free(owners);
}

static void tell_member(struct group *group, const struct group_member *member,
                        const struct trial_result *result)
{
    struct damage damage = {.image = &group->config.base->store};

    if (!trial_is_good(result->outcome) || result->is_unsure) {
        try_alone(group, member->number, !trial_is_good(result->outcome));
        return;
    }
    memcpy(damage.what, member->what, sizeof damage.what);
    group->config.told(group->config.context, member->number, &damage, result);
}

/* Served: each has its own result. Else by halves, down to one alone. */
static void divide(struct group *group, const struct group_company *company, uint32_t first,
                   uint32_t count)
{
    struct trial_result results[TRIAL_OWNERS_MAX];

    if (count == 1) {
        try_alone(group, company->members[first].number, false);
        return;
    }
    run_members(group, company, first, count, results);
    if (results[0].status != ES_OK || results[0].outcome == TRIAL_CRASHED ||
        results[0].outcome == TRIAL_HUNG) {
        divide(group, company, first, count / 2);
        divide(group, company, first + count / 2, count - count / 2);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        tell_member(group, &company->members[first + i], &results[i]);
    }
}

static void run_company(struct group *group, struct group_company *company)
{
    if (company->count > 0) {
        divide(group, company, 0, company->count);
        company->count = 0;
        memset(company->owners, TRIAL_OWNER_NOBODY, group->config.reach->unit_count);
    }
}

void group_end(struct group *group)
{
    for (uint32_t i = 0; i < GROUP_OPEN_MAX; i++) {
        run_company(group, &group->companies[i]);
    }
}

/* ---- Gathering ----------------------------------------------------------------- */

/* The pages that are others. False: too many to be one of several. */
static bool find_patches(const struct damage_base *base, const struct damage *damage,
                         struct group_member *ret_member)
{
    ret_member->patch_count = 0;
    for (size_t i = 0; i < damage->change_count; i++) {
        const struct image_file *change = &damage->changes[i];
        const struct image_file *file = directory_image_find(&base->store, change->name);

        for (uint64_t at = 0; at < file->size; at += READS_PAGE_BYTES) {
            size_t size = file->size - at < READS_PAGE_BYTES ? file->size - at : READS_PAGE_BYTES;
            struct group_patch *patch = &ret_member->patches[ret_member->patch_count];

            if (memcmp(file->bytes + at, change->bytes + at, size) == 0) {
                continue;
            }
            if (ret_member->patch_count++ == GROUP_PATCHES_MAX) {
                return false;
            }
            patch->file = file;
            patch->offset = at;
            patch->size = (uint32_t)size;
            memcpy(patch->bytes, change->bytes + at, size);
        }
    }
    return true;
}

static bool has_room(const struct group *group, const struct group_company *company)
{
    const struct history *history = group->config.history;

    for (uint32_t i = 0; i < group->config.reach->unit_count; i++) {
        if (group->units[i] != 0 && company->owners[i] != TRIAL_OWNER_NOBODY &&
            !history_unit_is_of_positions(history, i)) {
            return false;
        }
    }
    return true;
}

/* The first that has room; if none has, the fullest is tried and begins anew. */
static struct group_company *find_company(struct group *group)
{
    struct group_company *fullest = &group->companies[0];

    for (uint32_t i = 0; i < GROUP_OPEN_MAX; i++) {
        struct group_company *company = &group->companies[i];

        if (has_room(group, company)) {
            return company;
        }
        fullest = company->count > fullest->count ? company : fullest;
    }
    return fullest;
}

static void join_company(struct group *group, const struct group_member *member)
{
    struct group_company *company = find_company(group);

    if (!has_room(group, company)) {
        struct damage damage;

        run_company(group, company);
        make(group, member->number, &damage);
        (void)reach_of(group->config.reach, damage.image, &damage, group->units);
        damage_free(&damage);
    }
    company->members[company->count++] = *member;
    for (uint32_t i = 0; i < group->config.reach->unit_count; i++) {
        if (group->units[i] != 0) {
            company->owners[i] = company->owners[i] == TRIAL_OWNER_NOBODY ? (uint8_t)company->count
                                                                          : TRIAL_OWNER_SEVERAL;
        }
    }
    if (company->count == TRIAL_OWNERS_MAX) {
        run_company(group, company);
    }
}

void group_try(struct group *group, uint64_t number)
{
    static struct group_member member;
    const struct group_config *config = &group->config;
    bool is_whole = config->reach == NULL || group->begun_count++ % config->whole_every == 0;
    enum reach_kind kind = REACH_ALL;
    struct damage damage;

    make(group, number, &damage);
    if (config->reach != NULL) {
        kind = reach_of(config->reach, damage.image, &damage, group->units);
    }
    if (kind == REACH_PAGES && !is_whole && find_patches(config->base, &damage, &member)) {
        member.number = number;
        memcpy(member.what, damage.what, sizeof member.what);
        damage_free(&damage);
        join_company(group, &member);
        return;
    }
    run_alone(group, number, &damage, kind, is_whole);
    damage_free(&damage);
}
